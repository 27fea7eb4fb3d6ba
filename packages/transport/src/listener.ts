import { randomBytes } from 'node:crypto';
import {
  bulkOf,
  type ControlMessage,
  CREDIT,
  carriesRecords,
  decodeControl,
  decodeVmFrame,
  decodeVmMessage,
  encodeHypervisorMessage,
  type HypervisorRecord,
  Link,
  type Refusal,
  transientHypervisorFrame,
} from '@remio/protocol';
import { Router } from 'zeromq';
import { type Challenges, mayHave } from './challenges.js';
import { type Door, openDoor, strangerProblem } from './door.js';
import type { Doorkeeper } from './doorkeeper.js';
import { FrameSocket, KEEP_ALIVE } from './frame-socket.js';
import {
  type Claim,
  DENIED,
  type Greeting,
  type Hello,
  isSame,
  logged,
  NOT_CHOSEN,
  namesIn,
  OBSERVERS_ONLY,
  otherVersion,
  type Resume,
  whoGreets,
} from './greeting.js';
import { hostTime } from './host-time.js';
import type { HypervisorKeys } from './keys.js';
import type { ListenerHandler, Rejection } from './listener-handler.js';
import { isChosen, type PeerState, PeerTable } from './peer-table.js';

/** Milliseconds between heartbeats. */
const HEARTBEAT_MS = 500;
/** Milliseconds after which a peer is given up that says nothing, or acknowledges nothing although more waits for it. */
const SILENCE_MS = 5_000;
/** Milliseconds that a session outlives its connection. */
const RESUME_MS = 1_000;
/** Records that may wait for a peer that is away, or that does not acknowledge. */
const QUEUE_MAX = 16_384;
/** Frames that ZeroMQ may hold for a peer: more than credit lets through, with room for what is not under it. */
const SEND_QUEUE = 10 * CREDIT.frames;

const NS_PER_MS = 1e6;

/** Whoever proves what was not asked, or again, or after too long. */
const UNASKED: Rejection = { code: 'protocol', reason: 'nothing was to be proven' };
const TOO_LONG: Rejection = { code: 'protocol', reason: 'the greeting is too long' };

/** A stranger that left before it got its answer misses nothing. */
const ignore = (): void => {};

/** The hypervisor's end of the wire: a ROUTER socket. */
export class Listener {
  /** Frames of records received and sent, each once: a test counts them. */
  readonly frames = { received: 0, sent: 0 };
  readonly #handler: ListenerHandler;
  readonly #digest: string;
  readonly #socket: FrameSocket<Router, [Buffer, Buffer]>;
  /** Whom it has asked for a proof; undefined: there are no keys. */
  readonly #challenges: Challenges | undefined;
  readonly #doorkeeper: Doorkeeper | undefined;
  readonly #peers = new PeerTable();
  /** Peers for which something waits that may go. */
  readonly #dirty: PeerState[] = [];
  readonly #timer: NodeJS.Timeout;
  #watchedAt = hostTime();
  /** When the records arrived that are being dealt with, if they have caused nothing yet; 0: none. */
  #arrivedAt = 0;
  #nextSession = 1;
  #closed = false;

  private constructor(handler: ListenerHandler, digest: string, router: Router, door: Door | undefined) {
    this.#handler = handler;
    this.#digest = digest;
    this.#challenges = door?.challenges;
    this.#doorkeeper = door?.keeper;
    this.#socket = new FrameSocket(router, ([route, bytes]) => {
      this.#arrivedAt = 0;
      if (route !== undefined && bytes !== undefined) this.#take(route, bytes);
      this.flush();
      this.#socket.receive();
    });
    // A process that was killed shows as a disconnect: every peer is tried, and whoever cannot be reached is away.
    router.events.on('disconnect', () => this.#beat());
    this.#timer = setInterval(() => this.#watch(), HEARTBEAT_MS);
    this.#timer.unref();
  }

  /**
   * Binds an endpoint (`ipc://…` or `tcp://…`).
   * @param keys lets in only who has one of them; absent: everybody, unencrypted
   * @throws Error that says why it cannot be bound
   */
  static async bind(
    endpoint: string,
    digest: string,
    handler: ListenerHandler,
    keys?: HypervisorKeys,
  ): Promise<Listener> {
    const door = keys === undefined ? undefined : await openDoor(keys, handler);
    const router = new Router({
      ...door?.options,
      mandatory: true,
      sendTimeout: 0,
      linger: 200,
      sendHighWaterMark: SEND_QUEUE,
      ...KEEP_ALIVE,
    });
    if (door !== undefined) {
      router.events.on('handshake:error:protocol', ({ error }) => handler.onRefused(strangerProblem(error.code), []));
      router.events.on('handshake:error:other', () =>
        handler.onRefused('a connection that ended in its handshake', []),
      );
    }
    try {
      await router.bind(endpoint);
    } catch (error) {
      router.close();
      door?.keeper.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`endpoint ${endpoint} cannot be bound: ${reason}; choose another, or stop what uses it`);
    }
    const listener = new Listener(handler, digest, router, door);
    listener.#socket.receive();
    return listener;
  }

  /** Queues a record for a peer; {@link flush} sends. */
  send(session: number, record: HypervisorRecord): void {
    const peer = this.#peers.get(session);
    if (peer === undefined) return;
    const { queued } = peer.link;
    if (queued === 0 || queued === QUEUE_MAX) this.#dirty.push(peer);
    peer.link.push(record);
  }

  /** Records that wait for a peer. */
  waiting(session: number): number {
    return this.#peers.get(session)?.link.queued ?? 0;
  }

  /** Sends what is queued, as far as credit goes: one frame per peer, if its records fit. */
  flush(): void {
    for (let peer = this.#dirty.pop(); peer !== undefined; peer = this.#dirty.pop()) {
      if (peer.link.queued > QUEUE_MAX)
        this.cut(peer.session, `it acknowledges nothing, and ${QUEUE_MAX} records wait`);
      else if (peer.away === undefined) this.#fill(peer);
    }
  }

  /** Cuts a peer off; its VMs are lost. */
  cut(session: number, reason: string): void {
    const peer = this.#peers.get(session);
    if (peer === undefined) return;
    this.#tell(peer, { kind: 'refused', code: 'protocol', reason });
    this.#drop(peer, reason);
  }

  /** Passes a report on to everybody who claims no VM. */
  broadcast(vm: string, event: unknown): void {
    for (const peer of this.#peers.all()) {
      if (peer.vms.length === 0) this.#tell(peer, { kind: 'report', vm, event });
    }
  }

  /** Says goodbye to every peer and closes the socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    for (const peer of this.#peers.all()) {
      clearTimeout(peer.away);
      this.#tell(peer, { kind: 'goodbye', session: peer.session, reason: 'the hypervisor stops' });
    }
    this.#socket.close();
    this.#doorkeeper?.close();
  }

  #fill(peer: PeerState): void {
    const { link } = peer;
    for (let records = link.take(); records !== undefined; records = link.take()) {
      this.frames.sent += 1;
      const sentAt = hostTime();
      link.weigh(this.#sendRecords(peer, link.sent, records, sentAt));
      if (this.#arrivedAt === 0) continue;
      this.#handler.onTurn?.(sentAt - this.#arrivedAt);
      this.#arrivedAt = 0;
    }
  }

  /** @returns the frame's length */
  #sendRecords(peer: PeerState, seq: number, records: readonly HypervisorRecord[], sentAt: number): number {
    const { session, link, parts } = peer;
    const bytes = transientHypervisorFrame({ kind: 'records', session, seq, ack: link.tell(), sentAt, records });
    parts[1] = bytes;
    this.#socket.send(parts, peer.onRefused);
    return bytes.length;
  }

  #take(route: Buffer, bytes: Buffer): void {
    const peer = this.#peers.at(route);
    if (peer === undefined) this.#stranger(route, bytes);
    else if (carriesRecords(bytes)) this.#records(peer, bytes);
    else this.#message(peer, bytes);
  }

  /** A frame of whoever has no session. */
  #stranger(route: Buffer, bytes: Buffer): void {
    const decoded = decodeVmMessage(bytes);
    if (!decoded.ok) {
      this.#handler.onRefused(`a frame of a stranger: ${decoded.error}`, []);
      this.#refuse(route, 'protocol', decoded.error);
      return;
    }
    const message = decoded.value;
    switch (message.kind) {
      case 'hello':
      case 'claim':
      case 'resume':
        if (this.#challenges === undefined) this.#greeted(route, message, undefined);
        else this.#challenge(this.#challenges, route, message, bytes);
        return;
      case 'proof': {
        const answered = this.#challenges?.answer(route, message.proofs);
        if (answered === undefined) this.#turnAway(route, 'a stranger', UNASKED);
        else this.#greeted(route, answered.greeting, answered.proven);
        return;
      }
      case 'query':
        // Late frames of a peer that was cut off or came back elsewhere are not worth an answer each.
        this.#refuse(route, 'protocol', 'say HELLO first');
        return;
      default:
        return;
    }
  }

  /** Nothing but its version is looked at of what somebody says who has proven nothing. */
  #challenge(challenges: Challenges, route: Buffer, greeting: Greeting, frame: Buffer): void {
    const early =
      (greeting.kind === 'resume' ? undefined : otherVersion(greeting)) ?? (isChosen(route) ? undefined : NOT_CHOSEN);
    const nonce = early === undefined ? challenges.ask(route, greeting, frame) : undefined;
    if (nonce !== undefined) this.#answer(route, { kind: 'challenge', nonce });
    else this.#turnAway(route, whoGreets(greeting), early ?? TOO_LONG, namesIn(greeting));
  }

  /** @param proven names whose keys the peer has; undefined: there are no keys */
  #greeted(route: Buffer, greeting: Greeting, proven: ReadonlySet<string> | undefined): void {
    if (proven?.size === 0) this.#turnAway(route, whoGreets(greeting), DENIED, namesIn(greeting));
    else if (greeting.kind === 'hello') this.#hello(route, greeting, proven);
    else if (greeting.kind === 'claim') this.#claim(route, greeting, proven);
    else this.#resume(route, greeting, proven);
  }

  #records(peer: PeerState, bytes: Buffer): void {
    const decoded = decodeVmFrame(bytes);
    if (!decoded.ok) {
      this.#malformed(peer, decoded.error);
      return;
    }
    const frame = decoded.value;
    const { link } = peer;
    const wrong =
      frame.session === peer.session
        ? link.receive(frame.seq, frame.ack, bytes.length)
        : `frame ${frame.seq} of session ${frame.session}, which is another`;
    if (wrong !== undefined) {
      this.cut(peer.session, wrong);
      return;
    }
    this.frames.received += 1;
    const arrivedAt = hostTime();
    peer.lastHeard = arrivedAt;
    this.#arrivedAt = arrivedAt;
    this.#handler.onRecords(peer, frame.records, arrivedAt, frame.sentAt === 0 ? 0 : arrivedAt - frame.sentAt);
    // What waited for this acknowledgement may go. The peer is told apart that it may go on, lest both wait.
    if (link.queued > 0) this.#dirty.push(peer);
    if (link.owesAck) this.#acknowledge(peer);
  }

  #message(peer: PeerState, bytes: Buffer): void {
    const decoded = decodeControl(bytes);
    if (!decoded.ok) {
      this.#malformed(peer, decoded.error);
      return;
    }
    peer.lastHeard = hostTime();
    this.#control(peer, decoded.value);
  }

  #malformed(peer: PeerState, error: string): void {
    this.#handler.onRefused(`a frame: ${error}`, peer.vms);
    this.cut(peer.session, error);
  }

  #control(peer: PeerState, message: ControlMessage): void {
    switch (message.kind) {
      case 'report':
        if (peer.vms.includes(message.vm)) this.#handler.onReport(peer, message.vm, message.event);
        else this.cut(peer.session, `a report of ${message.vm}, which it has not claimed`);
        return;
      case 'query': {
        // Who has a VM's key may run that VM, and not watch the others.
        const may = this.#challenges === undefined || peer.vms.length === 0;
        const value = may ? this.#handler.onQuery(message.what, message.argument) : OBSERVERS_ONLY;
        this.#tell(peer, { kind: 'reply', id: message.id, value });
        return;
      }
      case 'goodbye':
        this.#drop(peer, message.reason);
        return;
      case 'heartbeat': {
        const wrong =
          message.session === peer.session
            ? peer.link.acknowledged(message.ack)
            : `a heartbeat of session ${message.session}, which is another`;
        if (wrong !== undefined) this.cut(peer.session, wrong);
        else if (peer.link.queued > 0) this.#dirty.push(peer);
        return;
      }
      default:
        this.cut(peer.session, `a ${message.kind} from a peer`);
    }
  }

  #hello(route: Buffer, hello: Hello, proven: ReadonlySet<string> | undefined): void {
    const denied = proven === undefined || mayHave(hello.vms, proven) ? undefined : DENIED;
    const refusal = denied ?? this.#mismatch(hello) ?? this.#admission(hello);
    if (refusal === undefined) this.#welcome(route, hello.vms, false);
    else this.#turnAway(route, whoGreets(hello), refusal, hello.vms);
  }

  #claim(route: Buffer, claim: Claim, proven: ReadonlySet<string> | undefined): void {
    const chosen = this.#handler.choose(claim.of, proven);
    const vms = 'code' in chosen ? [claim.of] : chosen;
    const hello: Hello = { kind: 'hello', version: claim.version, digest: claim.digest, vms };
    const refusal = this.#mismatch(hello) ?? ('code' in chosen ? chosen : this.#admission(hello));
    if (refusal === undefined) this.#welcome(route, vms, true);
    else this.#turnAway(route, whoGreets(claim), refusal);
  }

  /** @param vms that it names */
  #turnAway(route: Buffer, who: string, { code, reason }: Rejection, vms: readonly string[] = []): void {
    this.#refuse(route, code, reason);
    this.#handler.onRefused(`${who}: ${reason}`, logged(vms));
  }

  /** @param tell whether the peer does not know yet which VMs it has */
  #welcome(route: Buffer, vms: readonly string[], tell: boolean): void {
    const session = this.#nextSession;
    this.#nextSession += 1;
    const peer: PeerState = {
      session,
      vms,
      link: new Link<HypervisorRecord>(CREDIT, bulkOf),
      token: randomBytes(16).toString('hex'),
      parts: [route, Buffer.alloc(0)],
      onRefused: () => this.#away(peer, route),
      lastHeard: hostTime(),
      stalledSince: undefined,
      away: undefined,
    };
    this.#peers.add(peer);
    const { token } = peer;
    const times = { heartbeatMs: HEARTBEAT_MS, resumeMs: RESUME_MS };
    if (tell) this.#tell(peer, { kind: 'granted', vms });
    this.#tell(peer, { kind: 'welcome', session, token, ...times, credit: CREDIT });
    this.#handler.onAttached(peer);
  }

  #mismatch(hello: Hello): Rejection | undefined {
    const version = otherVersion(hello);
    if (version !== undefined) return version;
    if (hello.vms.length > 0 && hello.digest !== this.#digest) {
      const reason = `topology ${hello.digest.slice(0, 12)}; the hypervisor runs ${this.#digest.slice(0, 12)}`;
      return { code: 'topology', reason };
    }
    return undefined;
  }

  #admission(hello: Hello): Rejection | undefined {
    // Whoever starts a process anew has seen to the old one's end: a process that is away does not keep its VMs from it.
    for (const peer of this.#peers.all()) {
      if (peer.away !== undefined && peer.vms.some((vm) => hello.vms.includes(vm))) {
        this.#drop(peer, 'it was away, and another process claims its VM');
      }
    }
    return this.#handler.admit(hello.vms, hello.digest);
  }

  /** A peer lost its connection and has a new one: both sides send again what the other has not got. */
  #resume(route: Buffer, resume: Resume, proven: ReadonlySet<string> | undefined): void {
    const { session, token, received } = resume;
    const peer = this.#peers.get(session);
    if (peer === undefined || !isSame(peer.token, token) || (proven !== undefined && !mayHave(peer.vms, proven))) {
      const refusal: Rejection = { code: 'session', reason: `session ${session} is over, or another's` };
      if (proven === undefined) this.#refuse(route, refusal.code, refusal.reason);
      else this.#turnAway(route, whoGreets(resume), refusal, [...proven]);
      return;
    }
    const wrong = peer.link.resumed(received);
    if (wrong !== undefined) {
      this.#refuse(route, 'protocol', wrong);
      this.#drop(peer, wrong);
      return;
    }
    clearTimeout(peer.away);
    peer.away = undefined;
    peer.lastHeard = hostTime();
    this.#peers.move(peer, route);
    peer.onRefused = () => this.#away(peer, route);
    this.#tell(peer, { kind: 'resumed', session, received: peer.link.tell() });
    for (const { seq, records } of peer.link.unacknowledged()) this.#sendRecords(peer, seq, records, 0);
    this.#fill(peer);
  }

  /**
   * A peer cannot be reached by a route: it has some time to come back. An observer has nothing to come back for.
   * ZeroMQ may say so only after the peer has come back by another route: that one stands.
   */
  #away(peer: PeerState, route: Buffer): void {
    if (peer.parts[0] !== route) return;
    if (peer.away !== undefined || this.#closed || this.#peers.get(peer.session) !== peer) return;
    const gone = (): void => this.#drop(peer, 'it cannot be reached');
    if (peer.vms.length === 0) gone();
    else peer.away = setTimeout(gone, RESUME_MS).unref();
  }

  #acknowledge(peer: PeerState): void {
    this.#tell(peer, { kind: 'heartbeat', session: peer.session, ack: peer.link.tell() });
  }

  #tell(peer: PeerState, message: ControlMessage): void {
    if (peer.away === undefined) this.#socket.send([peer.parts[0], encodeHypervisorMessage(message)], peer.onRefused);
  }

  #refuse(route: Buffer, code: Refusal, reason: string): void {
    this.#answer(route, { kind: 'refused', code, reason });
  }

  /** Says something to whoever has no session. */
  #answer(route: Buffer, message: ControlMessage): void {
    this.#socket.send([route, encodeHypervisorMessage(message)], ignore);
  }

  #drop(peer: PeerState, reason: string): void {
    if (!this.#peers.delete(peer)) return;
    clearTimeout(peer.away);
    this.#handler.onLost(peer, reason);
    this.flush();
  }

  #beat(): void {
    for (const peer of this.#peers.all()) this.#acknowledge(peer);
  }

  #watch(): void {
    const now = hostTime();
    // When this process itself was stopped, nobody else was silent.
    const slept = Math.max(0, now - this.#watchedAt - 2 * HEARTBEAT_MS * NS_PER_MS);
    this.#watchedAt = now;
    for (const peer of this.#peers.all()) {
      peer.lastHeard += slept;
      peer.stalledSince = peer.link.stalled ? (peer.stalledSince ?? now) : undefined;
      if (peer.away !== undefined) continue;
      if (now - peer.lastHeard > SILENCE_MS * NS_PER_MS) {
        this.cut(peer.session, `nothing was heard for ${SILENCE_MS} ms`);
      } else if (now - (peer.stalledSince ?? now) > SILENCE_MS * NS_PER_MS) {
        this.cut(peer.session, `it acknowledged nothing for ${SILENCE_MS} ms`);
      }
    }
    this.#beat();
  }
}
