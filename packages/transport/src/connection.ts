import { err, ok, type Result } from '@remio/base';
import {
  type ControlMessage,
  decodeHypervisorMessage,
  encodeVmMessage,
  type HypervisorRecord,
  PROTOCOL_VERSION,
  type Refusal,
  transientVmFrame,
  type VmRecord,
} from '@remio/protocol';
import { Dealer } from 'zeromq';
import { FrameSocket } from './frame-socket.js';
import { hostTime } from './host-time.js';

/** What a peer of the hypervisor is told. */
export interface ConnectionHandler {
  /**
   * @param arrivedAt when they arrived, in nanoseconds on the host's monotonic clock
   * @param transitNs time on the way, if the hypervisor said when it sent; 0 otherwise
   */
  onRecords(records: readonly HypervisorRecord[], arrivedAt: number, transitNs: number): void;
  /** Records were sent as a frame at this time. */
  onSent?(sentAt: number): void;
  /** The hypervisor is gone, or has cut this peer off. */
  onLost(reason: string): void;
  onReport?(vm: string, event: unknown): void;
}

/** Why an attachment failed. */
export interface AttachError {
  readonly code: Refusal | 'unreachable';
  readonly reason: string;
}

// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { nextTick } = process;

/** Milliseconds that the hypervisor has to answer a HELLO or a query. */
const ANSWER_MS = 5_000;

/** A peer's end of the wire: a DEALER socket with a routing id that ZeroMQ chooses at random. */
export class Connection {
  /** Frames of records received and sent. */
  readonly frames = { received: 0, sent: 0 };
  readonly #handler: ConnectionHandler;
  readonly #socket: FrameSocket<Dealer, Buffer>;
  readonly #queries = new Map<number, (value: Result<unknown, string>) => void>();
  #outgoing: VmRecord[] = [];
  #welcome: ((answer: Result<void, AttachError>) => void) | undefined;
  #session = 0;
  #received = 0;
  #sent = 0;
  #nextQuery = 1;
  #timer: NodeJS.Timeout | undefined;
  #ticking = false;
  /** A frame was taken, and the next is not yet waited for. */
  #taken = false;
  #closed = false;

  private constructor(handler: ConnectionHandler, dealer: Dealer) {
    this.#handler = handler;
    this.#socket = new FrameSocket(dealer, ([bytes]) => {
      if (bytes !== undefined && !this.#closed) this.#take(bytes);
      this.#taken = true;
      this.flushSoon();
    });
    dealer.events.on('disconnect', () => this.#lost('the hypervisor is gone'));
  }

  /**
   * Connects and claims VMs; an observer claims none.
   * @returns why the hypervisor does not take this peer
   */
  static async attach(
    endpoint: string,
    digest: string,
    vms: readonly string[],
    handler: ConnectionHandler,
  ): Promise<Result<Connection, AttachError>> {
    const dealer = new Dealer({ immediate: true, linger: 200, sendHighWaterMark: 100_000 });
    try {
      dealer.connect(endpoint);
    } catch (error) {
      dealer.close();
      const reason = error instanceof Error ? error.message : String(error);
      return err({ code: 'unreachable', reason: `${endpoint} is no endpoint: ${reason}` });
    }
    const connection = new Connection(handler, dealer);
    connection.#socket.receive();
    const answer = await connection.#hello(endpoint, { kind: 'hello', version: PROTOCOL_VERSION, digest, vms });
    if (answer.ok) return ok(connection);
    connection.close();
    return answer;
  }

  /** Queues a record; {@link flush} sends. */
  send(record: VmRecord): void {
    this.#outgoing.push(record);
  }

  /**
   * Sends what is queued as one frame, as soon as no microtask is left: programs go on in microtasks, so all that they
   * cause travels together. Then the next frame is waited for.
   */
  flushSoon(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    nextTick(this.#tick);
  }

  readonly #tick = (): void => {
    this.#ticking = false;
    this.flush();
    if (!this.#taken) return;
    this.#taken = false;
    this.#socket.receive();
  };

  /** Sends what is queued as one frame. */
  flush(): void {
    if (this.#outgoing.length === 0 || this.#closed) return;
    this.#sent += 1;
    this.frames.sent += 1;
    const sentAt = hostTime();
    const frame = transientVmFrame({
      kind: 'records',
      session: this.#session,
      seq: this.#sent,
      ack: this.#received,
      sentAt,
      records: this.#outgoing,
    });
    this.#outgoing = [];
    this.#socket.send(frame, this.#onRefused);
    this.#handler.onSent?.(sentAt);
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
    if (this.#closed) return;
    this.flush();
    this.#tell({ kind: 'goodbye', session: this.#session, reason });
    this.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    for (const answer of this.#queries.values()) answer(err('the connection was closed'));
    this.#socket.close();
  }

  #hello(endpoint: string, hello: ControlMessage): Promise<Result<void, AttachError>> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#welcome?.(err({ code: 'unreachable', reason: `nobody answers at ${endpoint} within ${ANSWER_MS} ms` }));
      }, ANSWER_MS);
      this.#welcome = (answer) => {
        clearTimeout(timer);
        this.#welcome = undefined;
        resolve(answer);
      };
      this.#tell(hello);
    });
  }

  #take(bytes: Buffer): void {
    const decoded = decodeHypervisorMessage(bytes);
    if (!decoded.ok) {
      this.#lost(`the hypervisor sent what is no frame: ${decoded.error}`);
      return;
    }
    const message = decoded.value;
    switch (message.kind) {
      case 'records': {
        if (message.session !== this.#session || message.seq !== this.#received + 1) {
          this.#lost(`frame ${message.seq} of session ${message.session} follows frame ${this.#received}`);
          return;
        }
        this.#received = message.seq;
        this.frames.received += 1;
        const arrivedAt = hostTime();
        this.#handler.onRecords(message.records, arrivedAt, message.sentAt === 0 ? 0 : arrivedAt - message.sentAt);
        return;
      }
      case 'welcome':
        this.#session = message.session;
        // Connected: from now on a frame is taken at once, or the hypervisor cannot be reached.
        this.#socket.socket.sendTimeout = 0;
        this.#timer = setInterval(
          () => this.#tell({ kind: 'heartbeat', session: this.#session, ack: this.#received }),
          message.heartbeatMs,
        );
        this.#timer.unref();
        this.#welcome?.(ok(undefined));
        return;
      case 'refused':
        if (this.#welcome !== undefined) this.#welcome(err({ code: message.code, reason: message.reason }));
        else this.#lost(`the hypervisor cut this peer off: ${message.reason}`);
        return;
      case 'goodbye':
        this.#lost(message.reason);
        return;
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

  #tell(message: ControlMessage): void {
    if (!this.#closed) this.#socket.send(encodeVmMessage(message), this.#onRefused);
  }

  readonly #onRefused = (): void => this.#lost('the hypervisor cannot be reached');

  #lost(reason: string): void {
    if (this.#closed) return;
    if (this.#welcome !== undefined) {
      this.#welcome(err({ code: 'unreachable', reason }));
      return;
    }
    this.close();
    this.#handler.onLost(reason);
  }
}
