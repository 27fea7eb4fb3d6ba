import { assert } from '@remio/base';
import {
  type ControlMessage,
  decodeVmMessage,
  encodeHypervisorMessage,
  type HypervisorRecord,
  PROTOCOL_VERSION,
  type Refusal,
  transientHypervisorFrame,
  type VmRecord,
} from '@remio/protocol';
import { Router } from 'zeromq';
import { FrameSocket } from './frame-socket.js';
import { hostTime } from './host-time.js';

/** A peer of the hypervisor: a process that runs VMs, or an observer. */
export interface Peer {
  readonly session: number;
  readonly vms: readonly string[];
}

interface PeerState extends Peer {
  readonly route: Buffer;
  /** The frame on its way out, after its address: ZeroMQ has copied it when `send` returns. */
  readonly parts: [Buffer, Buffer];
  readonly onRefused: () => void;
  /** Last frame received, and last sent. */
  received: number;
  sent: number;
  outgoing: HypervisorRecord[];
  lastHeard: number;
}

/** What the hypervisor decides and does about its peers. */
export interface ListenerHandler {
  /** Whether a peer may have what it claims; a refusal says why. */
  admit(vms: readonly string[], digest: string): { readonly code: Refusal; readonly reason: string } | undefined;
  onAttached(peer: Peer): void;
  /**
   * @param arrivedAt when they arrived, in nanoseconds on the host's monotonic clock
   * @param transitNs time on the way, if the peer said when it sent; 0 otherwise
   */
  onRecords(peer: Peer, records: readonly VmRecord[], arrivedAt: number, transitNs: number): void;
  onReport(peer: Peer, vm: string, event: unknown): void;
  /** Answers a query of an observer or a VM's process. */
  onQuery(what: string, argument: unknown): unknown;
  /** The peer is gone, cut off or said goodbye; its VMs are free. */
  onLost(peer: Peer, reason: string): void;
  /** A peer was turned away or misbehaved: for the log. */
  onRefused(reason: string): void;
}

/** Milliseconds between heartbeats, and after which a silent peer is given up. */
const HEARTBEAT_MS = 500;
const SILENCE_MS = 5_000;

/** Bytes of a routing id that ZeroMQ chose: a zero, and 32 bits. */
const CHOSEN_BYTES = 5;

/** A routing id as the key of a map: the number that ZeroMQ chose, or the bytes that the peer did. */
const keyOf = (route: Buffer): number | string =>
  route.length === CHOSEN_BYTES && route[0] === 0 ? route.readUInt32LE(1) : route.toString('latin1');

/** A stranger that left before it got its answer misses nothing. */
const ignore = (): void => {};

/** The hypervisor's end of the wire: a ROUTER socket. */
export class Listener {
  /** Frames of records received and sent: a test counts them. */
  readonly frames = { received: 0, sent: 0 };
  readonly #handler: ListenerHandler;
  readonly #digest: string;
  readonly #socket: FrameSocket<Router, [Buffer, Buffer]>;
  readonly #peers = new Map<number | string, PeerState>();
  readonly #sessions = new Map<number, PeerState>();
  readonly #dirty: PeerState[] = [];
  readonly #timer: NodeJS.Timeout;
  #nextSession = 1;
  #closed = false;

  private constructor(handler: ListenerHandler, digest: string, router: Router) {
    this.#handler = handler;
    this.#digest = digest;
    this.#socket = new FrameSocket(router, ([route, bytes]) => {
      if (route !== undefined && bytes !== undefined && !this.#closed) this.#take(route, bytes);
      this.flush();
      this.#socket.receive();
    });
    // A process that was killed shows as a disconnect: every peer is tried, and whoever cannot be reached is lost.
    router.events.on('disconnect', () => this.#beat());
    this.#timer = setInterval(() => this.#watch(), HEARTBEAT_MS);
    this.#timer.unref();
  }

  /**
   * Binds an endpoint (`ipc://…` or `tcp://…`).
   * @throws Error that says why it cannot be bound
   */
  static async bind(endpoint: string, digest: string, handler: ListenerHandler): Promise<Listener> {
    const router = new Router({ mandatory: true, sendTimeout: 0, linger: 200, sendHighWaterMark: 100_000 });
    try {
      await router.bind(endpoint);
    } catch (error) {
      router.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`endpoint ${endpoint} cannot be bound: ${reason}; choose another, or stop what uses it`);
    }
    const listener = new Listener(handler, digest, router);
    listener.#socket.receive();
    return listener;
  }

  /** Queues a record for a peer; {@link flush} sends. */
  send(session: number, record: HypervisorRecord): void {
    const peer = this.#sessions.get(session);
    if (peer === undefined) return;
    if (peer.outgoing.length === 0) this.#dirty.push(peer);
    peer.outgoing.push(record);
  }

  /** Sends what is queued: one frame per peer. */
  flush(): void {
    for (let peer = this.#dirty.pop(); peer !== undefined; peer = this.#dirty.pop()) {
      if (peer.outgoing.length === 0) continue;
      peer.sent += 1;
      this.frames.sent += 1;
      peer.parts[1] = transientHypervisorFrame({
        kind: 'records',
        session: peer.session,
        seq: peer.sent,
        ack: peer.received,
        sentAt: hostTime(),
        records: peer.outgoing,
      });
      peer.outgoing = [];
      this.#socket.send(peer.parts, peer.onRefused);
    }
  }

  /** Cuts a peer off; its VMs are lost. */
  cut(session: number, reason: string): void {
    const peer = this.#sessions.get(session);
    if (peer === undefined) return;
    this.#tell(peer.route, { kind: 'refused', code: 'protocol', reason });
    this.#drop(peer, reason);
  }

  /** Passes a report on to everybody who claims no VM. */
  broadcast(vm: string, event: unknown): void {
    for (const peer of this.#peers.values()) {
      if (peer.vms.length === 0) this.#tell(peer.route, { kind: 'report', vm, event });
    }
  }

  /** Says goodbye to every peer and closes the socket. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    for (const peer of this.#peers.values()) {
      this.#tell(peer.route, { kind: 'goodbye', session: peer.session, reason: 'the hypervisor stops' });
    }
    this.#socket.close();
  }

  #take(route: Buffer, bytes: Buffer): void {
    const peer = this.#peers.get(keyOf(route));
    const decoded = decodeVmMessage(bytes);
    if (!decoded.ok) {
      this.#handler.onRefused(
        `a frame of ${peer === undefined ? 'a stranger' : peer.vms.join(', ')}: ${decoded.error}`,
      );
      if (peer === undefined) this.#tell(route, { kind: 'refused', code: 'protocol', reason: decoded.error });
      else this.cut(peer.session, decoded.error);
      return;
    }
    const message = decoded.value;
    if (peer === undefined) {
      if (message.kind === 'hello') this.#hello(route, message);
      // Late frames of a peer that was cut off are not worth an answer each.
      else if (message.kind === 'query')
        this.#tell(route, { kind: 'refused', code: 'protocol', reason: 'say HELLO first' });
      return;
    }
    const arrivedAt = hostTime();
    peer.lastHeard = arrivedAt;
    switch (message.kind) {
      case 'records': {
        if (message.session !== peer.session || message.seq !== peer.received + 1) {
          this.cut(peer.session, `frame ${message.seq} of session ${message.session} follows frame ${peer.received}`);
          return;
        }
        peer.received = message.seq;
        this.frames.received += 1;

        this.#handler.onRecords(
          peer,
          message.records,
          arrivedAt,
          message.sentAt === 0 ? 0 : arrivedAt - message.sentAt,
        );
        return;
      }
      case 'report':
        if (!peer.vms.includes(message.vm)) {
          this.cut(peer.session, `a report of ${message.vm}, which it has not claimed`);
          return;
        }
        this.#handler.onReport(peer, message.vm, message.event);
        return;
      case 'query':
        this.#tell(route, {
          kind: 'reply',
          id: message.id,
          value: this.#handler.onQuery(message.what, message.argument),
        });
        return;
      case 'goodbye':
        this.#drop(peer, message.reason);
        return;
      case 'heartbeat':
        return;
      default:
        this.cut(peer.session, `a ${message.kind} from a peer`);
    }
  }

  #hello(route: Buffer, hello: Extract<ControlMessage, { kind: 'hello' }>): void {
    const refuse = (code: Refusal, reason: string): void => {
      this.#tell(route, { kind: 'refused', code, reason });
      this.#handler.onRefused(`${hello.vms.join(', ') || 'an observer'}: ${reason}`);
    };
    if (hello.version !== PROTOCOL_VERSION) {
      refuse('version', `protocol version ${hello.version}; the hypervisor speaks ${PROTOCOL_VERSION}`);
      return;
    }
    if (hello.vms.length > 0 && hello.digest !== this.#digest) {
      refuse('topology', `topology ${hello.digest.slice(0, 12)}; the hypervisor runs ${this.#digest.slice(0, 12)}`);
      return;
    }
    const refusal = this.#handler.admit(hello.vms, hello.digest);
    if (refusal !== undefined) {
      refuse(refusal.code, refusal.reason);
      return;
    }
    const session = this.#nextSession;
    this.#nextSession += 1;
    const peer: PeerState = {
      session,
      vms: hello.vms,
      route,
      parts: [route, Buffer.alloc(0)],
      onRefused: () => this.#drop(peer, 'it cannot be reached'),
      received: 0,
      sent: 0,
      outgoing: [],
      lastHeard: hostTime(),
    };
    this.#peers.set(keyOf(route), peer);
    this.#sessions.set(session, peer);
    this.#tell(route, { kind: 'welcome', session, heartbeatMs: HEARTBEAT_MS });
    this.#handler.onAttached(peer);
  }

  #tell(route: Buffer, message: ControlMessage): void {
    this.#socket.send([route, encodeHypervisorMessage(message)], this.#peers.get(keyOf(route))?.onRefused ?? ignore);
  }

  #drop(peer: PeerState, reason: string): void {
    if (!this.#peers.delete(keyOf(peer.route))) return;
    this.#sessions.delete(peer.session);
    peer.outgoing = [];
    this.#handler.onLost(peer, reason);
    this.flush();
  }

  #beat(): void {
    for (const peer of this.#peers.values()) {
      this.#tell(peer.route, { kind: 'heartbeat', session: peer.session, ack: peer.received });
    }
  }

  #watch(): void {
    const now = hostTime();
    for (const peer of [...this.#peers.values()]) {
      if (now - peer.lastHeard > SILENCE_MS * 1e6) this.cut(peer.session, `nothing was heard for ${SILENCE_MS} ms`);
    }
    this.#beat();
    assert(this.#peers.size === this.#sessions.size, 'every peer has one session');
  }
}
