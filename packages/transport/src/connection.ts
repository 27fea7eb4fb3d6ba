import { err, ok, type Result } from '@remio/base';
import {
  bulkOf,
  type ControlMessage,
  CREDIT,
  carriesRecords,
  decodeControl,
  decodeHypervisorFrame,
  encodeVmMessage,
  type HypervisorRecord,
  Link,
  PROTOCOL_VERSION,
  type Refusal,
  transientVmFrame,
  type VmKind,
  type VmRecord,
  type VmTransport,
} from '@remio/protocol';
import { Dealer } from 'zeromq';
import { FrameSocket, KEEP_ALIVE } from './frame-socket.js';
import { hostTime } from './host-time.js';
import type { PeerKeys } from './keys.js';
import { Prover } from './prover.js';
import { SendTurn } from './send-turn.js';

/**
 * How a hypervisor is lost. `silent`: it has said nothing for {@link SILENCE_MS}, dead or alive. `gone`: it ended, or another
 * is in its place, which knows nothing of this session. `cut-off`: it lives, and one end broke the protocol.
 */
export type Loss = 'silent' | 'gone' | 'cut-off';

/** What a peer of the hypervisor is told. */
export interface ConnectionHandler {
  /**
   * @param arrivedAt when they arrived, in nanoseconds on the host's monotonic clock
   * @param transitNs time on the way, if the hypervisor said when it sent; 0 otherwise
   */
  onRecords(records: readonly HypervisorRecord[], arrivedAt: number, transitNs: number): void;
  /**
   * Whether what the records caused goes on in microtasks, so that more is to be sent that should travel along. Absent:
   * nobody knows.
   */
  goesOn?(): boolean;
  /** Records were sent as a frame at this time. */
  onSent?(sentAt: number): void;
  /** The session is over. */
  onLost(reason: string, loss: Loss): void;
  onReport?(vm: string, event: unknown): void;
}

/** Why an attachment failed. */
export interface AttachError {
  readonly code: Refusal | 'unreachable';
  readonly reason: string;
}

/** Milliseconds that the hypervisor has to answer a HELLO or a query. */
const ANSWER_MS = 5_000;
/** Milliseconds after which a hypervisor is given up that says nothing, not even a heartbeat. */
const SILENCE_MS = 5_000;

/** Frames that ZeroMQ may hold: more than credit lets through, with room for what is not under it. */
const SEND_QUEUE = 10 * CREDIT.frames;

/** Where a connection is in its life. */
type State = 'greeting' | 'open' | 'resuming' | 'closed';

type Message<K extends ControlMessage['kind']> = Extract<ControlMessage, { kind: K }>;

/** A peer's end of the wire: a DEALER socket with a routing id that ZeroMQ chooses at random. */
export class Connection implements VmTransport {
  /** Frames of records received and sent, each once. */
  readonly frames = { received: 0, sent: 0 };
  readonly #endpoint: string;
  /** Undefined: there are no keys. */
  readonly #prover: Prover | undefined;
  #vms: readonly string[];
  readonly #handler: ConnectionHandler;
  readonly #queries = new Map<number, (value: Result<unknown, string>) => void>();
  #socket: FrameSocket<Dealer, Buffer>;
  #link = new Link<VmRecord>(CREDIT, bulkOf);
  #state: State = 'greeting';
  #welcome: ((answer: Result<void, AttachError>) => void) | undefined;
  #session = 0;
  #token = '';
  #resumeMs = 0;
  /** What is to be told when the session has a connection again. */
  #held: ControlMessage[] = [];
  #nextQuery = 1;
  #heartbeat: NodeJS.Timeout | undefined;
  #giveUp: NodeJS.Timeout | undefined;
  /** Intervals of heartbeats, as this process counts them, in which nothing came: one that was stopped itself counts none. */
  #silence = 0;
  /** A frame was taken, and the next is not yet waited for. */
  #taken = false;
  readonly #turn: SendTurn;

  /** @throws Error if the endpoint is none */
  private constructor(endpoint: string, vms: readonly string[], handler: ConnectionHandler, keys?: PeerKeys) {
    this.#endpoint = endpoint;
    this.#prover = keys === undefined ? undefined : new Prover(keys);
    this.#vms = vms;
    this.#handler = handler;
    this.#turn = new SendTurn(
      () => handler.goesOn?.() !== false,
      () => {
        this.flush();
        if (!this.#taken) return;
        // Only now is the next frame waited for.
        this.#taken = false;
        this.#socket.receive();
      },
    );
    this.#socket = this.#connect();
  }

  /**
   * Connects and claims VMs, by name or any that is free of a kind; an observer claims none.
   * @param keys where the hypervisor lets in only whom it knows; it is no other then, and nobody reads on the way
   * @returns why the hypervisor does not take this peer
   */
  static async attach(
    endpoint: string,
    digest: string,
    claim: readonly string[] | VmKind,
    handler: ConnectionHandler,
    keys?: PeerKeys,
  ): Promise<Result<Connection, AttachError>> {
    let connection: Connection;
    try {
      connection = new Connection(endpoint, typeof claim === 'string' ? [] : claim, handler, keys);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return err({ code: 'unreachable', reason: `${endpoint} is no endpoint: ${reason}` });
    }
    const version = PROTOCOL_VERSION;
    const answer = await connection.#hello(
      typeof claim === 'string'
        ? { kind: 'claim', version, digest, of: claim }
        : { kind: 'hello', version, digest, vms: claim },
    );
    if (answer.ok) return ok(connection);
    connection.close();
    return answer;
  }

  /** The VMs that this peer has. */
  get vms(): readonly string[] {
    return this.#vms;
  }

  /** Queues a record; {@link flush} sends. */
  send(record: VmRecord): void {
    this.#link.push(record);
  }

  /** Sends what is queued as one frame, as soon as no microtask is left. */
  flushSoon(): void {
    this.#turn.soon();
  }

  /** Sends what is queued, as far as credit goes: one frame, if the records fit. */
  flush(): void {
    if (this.#state !== 'open') return;
    const link = this.#link;
    for (let records = link.take(); records !== undefined; records = link.take()) {
      this.frames.sent += 1;
      const sentAt = hostTime();
      link.weigh(this.#sendRecords(link.sent, records, sentAt));
      this.#handler.onSent?.(sentAt);
    }
  }

  report(vm: string, event: unknown): void {
    this.#tell({ kind: 'report', vm, event });
  }

  /** Asks the hypervisor something; the answer is plain data. */
  query(what: string, argument: unknown): Promise<Result<unknown, string>> {
    const id = this.#nextQuery;
    this.#nextQuery += 1;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#queries.delete(id);
        resolve(err(`no answer within ${ANSWER_MS} ms`));
      }, ANSWER_MS);
      this.#queries.set(id, (value) => {
        clearTimeout(timer);
        this.#queries.delete(id);
        resolve(value);
      });
      this.#tell({ kind: 'query', id, what, argument });
    });
  }

  /** Says goodbye: the VMs are free for others. */
  detach(reason: string): void {
    if (this.#state === 'closed') return;
    this.flush();
    this.#tell({ kind: 'goodbye', session: this.#session, reason });
    this.close();
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    clearInterval(this.#heartbeat);
    clearTimeout(this.#giveUp);
    for (const answer of this.#queries.values()) answer(err('the connection was closed'));
    this.#socket.close();
  }

  #connect(): FrameSocket<Dealer, Buffer> {
    const options = { immediate: true, linger: 200, sendHighWaterMark: SEND_QUEUE, ...KEEP_ALIVE };
    const dealer = new Dealer({ ...options, ...this.#prover?.options });
    const socket = new FrameSocket<Dealer, Buffer>(dealer, ([bytes]) => {
      this.#turn.take();
      if (bytes !== undefined) this.#take(bytes);
      this.#taken = true;
      this.#turn.answer();
    });
    // Before it connects: what happens earlier is not told.
    for (const failure of ['auth', 'protocol', 'other'] as const) {
      dealer.events.on(`handshake:error:${failure}`, () => {
        // A connection that was lost is tried again until its session is over, whatever fails meanwhile.
        if (this.#state === 'greeting') this.#lost(this.#handshakeProblem(failure));
      });
    }
    dealer.events.on('disconnect', () => {
      if (socket === this.#socket) this.#disconnected();
    });
    try {
      dealer.connect(this.#endpoint);
    } catch (error) {
      dealer.close();
      throw error;
    }
    socket.receive();
    return socket;
  }

  #hello(hello: Message<'hello' | 'claim'>): Promise<Result<void, AttachError>> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        const reason = `nobody answers at ${this.#endpoint} within ${ANSWER_MS} ms`;
        this.#welcome?.(err({ code: 'unreachable', reason }));
      }, ANSWER_MS);
      this.#welcome = (answer) => {
        clearTimeout(timer);
        this.#welcome = undefined;
        resolve(answer);
      };
      this.#greet(hello);
    });
  }

  /** Says what is said first on a connection. */
  #greet(greeting: Message<'hello' | 'claim' | 'resume'>): void {
    const frame = encodeVmMessage(greeting);
    const names = greeting.kind === 'claim' ? undefined : this.#vms;
    this.#prover?.greets(frame, names);
    this.#socket.send(frame, this.#onRefused);
  }

  /** The hypervisor wants to see that this peer has the keys of what it asks for. */
  #challenged(nonce: Uint8Array): void {
    if (this.#prover === undefined) this.#lost(`the hypervisor at ${this.#endpoint} asks for keys, and there are none`);
    else if (this.#state !== 'open') this.#put({ kind: 'proof', proofs: this.#prover.prove(nonce) });
  }

  /** Why two ends do not even come to talk. */
  #handshakeProblem(failure: 'auth' | 'protocol' | 'other'): string {
    if (this.#prover === undefined) {
      return `what answers at ${this.#endpoint} ends the connection: if it is a hypervisor with keys, give yours (--keys DIR)`;
    }
    const { publicKey } = this.#prover;
    return failure === 'auth'
      ? `the hypervisor at ${this.#endpoint} does not know the key ${publicKey} of this process: its topology has others; ` +
          'give both the same file, and start the hypervisor anew'
      : `what answers at ${this.#endpoint} has not the hypervisor\u2019s key of the topology (keys.hypervisor), or uses no keys`;
  }

  #take(bytes: Buffer): void {
    this.#silence = 0;
    if (carriesRecords(bytes)) {
      this.#records(bytes);
      return;
    }
    const decoded = decodeControl(bytes);
    if (decoded.ok) this.#control(decoded.value);
    else this.#lost(`the hypervisor sent what is no frame: ${decoded.error}`);
  }

  #records(bytes: Buffer): void {
    const decoded = decodeHypervisorFrame(bytes);
    if (!decoded.ok) {
      this.#lost(`the hypervisor sent what is no frame: ${decoded.error}`);
      return;
    }
    const frame = decoded.value;
    const link = this.#link;
    const wrong =
      frame.session === this.#session
        ? link.receive(frame.seq, frame.ack, bytes.length)
        : `frame ${frame.seq} of session ${frame.session}, which is another`;
    if (wrong !== undefined) {
      this.#lost(wrong);
      return;
    }
    this.frames.received += 1;
    const arrivedAt = hostTime();
    this.#handler.onRecords(frame.records, arrivedAt, frame.sentAt === 0 ? 0 : arrivedAt - frame.sentAt);
    if (link.owesAck) this.#acknowledge();
  }

  #control(message: ControlMessage): void {
    switch (message.kind) {
      case 'welcome':
        this.#opened(message);
        return;
      case 'granted':
        if (this.#state === 'greeting') this.#vms = message.vms;
        return;
      case 'challenge':
        this.#challenged(message.nonce);
        return;
      case 'resumed':
        this.#resumed(message);
        return;
      case 'refused':
        if (this.#welcome !== undefined) this.#welcome(err({ code: message.code, reason: message.reason }));
        else {
          const loss = message.code === 'session' ? 'gone' : 'cut-off';
          this.#lost(`the hypervisor cut this peer off: ${message.reason}`, loss);
        }
        return;
      case 'goodbye':
        this.#lost(message.reason, 'gone');
        return;
      case 'heartbeat': {
        const wrong = this.#link.acknowledged(message.ack);
        if (wrong !== undefined) this.#lost(wrong);
        return;
      }
      case 'report':
        this.#handler.onReport?.(message.vm, message.event);
        return;
      case 'reply':
        this.#queries.get(message.id)?.(ok(message.value));
        return;
      default:
        return;
    }
  }

  #opened({ session, token, heartbeatMs, resumeMs, credit }: Message<'welcome'>): void {
    if (this.#state !== 'greeting') return;
    this.#state = 'open';
    this.#session = session;
    this.#token = token;
    this.#resumeMs = resumeMs;
    this.#link = new Link<VmRecord>(credit, bulkOf);
    // Connected: from now on a frame is taken at once, or the connection is lost.
    this.#socket.socket.sendTimeout = 0;
    this.#heartbeat = setInterval(() => this.#beat(heartbeatMs), heartbeatMs);
    this.#heartbeat.unref();
    this.#welcome?.(ok(undefined));
  }

  #beat(heartbeatMs: number): void {
    // While it has no connection, the time to resume counts.
    if (this.#state !== 'open') return;
    this.#silence += 1;
    if (this.#silence * heartbeatMs > SILENCE_MS)
      this.#lost(`the hypervisor has said nothing for ${SILENCE_MS} ms`, 'silent');
    else this.#acknowledge();
  }

  /** The connection is lost; the session goes on if the hypervisor can be reached again in time. */
  #disconnected(): void {
    if (this.#state === 'closed') return;
    if (this.#state === 'greeting' || this.#vms.length === 0) {
      this.#lost('the hypervisor is gone', 'gone');
      return;
    }
    if (this.#state === 'open') {
      this.#state = 'resuming';
      this.#giveUp = setTimeout(() => this.#lost('the hypervisor is gone', 'gone'), this.#resumeMs);
    }
    this.#socket.abandon();
    this.#taken = false;
    this.#socket = this.#connect();
    this.#greet({ kind: 'resume', session: this.#session, token: this.#token, received: this.#link.tell() });
  }

  /** Both sides send again what the other has not got. */
  #resumed({ session, received }: Message<'resumed'>): void {
    if (this.#state !== 'resuming' || session !== this.#session) return;
    const wrong = this.#link.resumed(received);
    if (wrong !== undefined) {
      this.#lost(wrong);
      return;
    }
    clearTimeout(this.#giveUp);
    this.#state = 'open';
    this.#silence = 0;
    this.#socket.socket.sendTimeout = 0;
    for (const { seq, records } of this.#link.unacknowledged()) this.#sendRecords(seq, records, 0);
    for (const message of this.#held.splice(0)) this.#put(message);
    this.flush();
  }

  /** @returns the frame's length */
  #sendRecords(seq: number, records: readonly VmRecord[], sentAt: number): number {
    const link = this.#link;
    const bytes = transientVmFrame({ kind: 'records', session: this.#session, seq, ack: link.tell(), sentAt, records });
    this.#socket.send(bytes, this.#onRefused);
    return bytes.length;
  }

  #acknowledge(): void {
    this.#tell({ kind: 'heartbeat', session: this.#session, ack: this.#link.tell() });
  }

  #tell(message: ControlMessage): void {
    if (this.#state === 'resuming') this.#held.push(message);
    else if (this.#state === 'open') this.#put(message);
  }

  #put(message: ControlMessage): void {
    this.#socket.send(encodeVmMessage(message), this.#onRefused);
  }

  /** A connected socket refuses nothing but for want of its connection, or because nobody reads what it sent. */
  readonly #onRefused = (): void => {
    if (this.#state === 'open') this.#disconnected();
  };

  #lost(reason: string, loss: Loss = 'cut-off'): void {
    if (this.#state === 'closed') return;
    if (this.#welcome !== undefined) {
      this.#welcome(err({ code: 'unreachable', reason }));
      return;
    }
    this.close();
    this.#handler.onLost(reason, loss);
  }
}
