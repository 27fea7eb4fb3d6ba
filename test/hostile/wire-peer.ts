import { assert } from '@remio/base';
import {
  decodeHypervisorMessage,
  encodeVmMessage,
  type HypervisorMessage,
  type HypervisorRecord,
  PROTOCOL_VERSION,
  type VmRecord,
} from '@remio/protocol';
import { Dealer } from 'zeromq';

/** Milliseconds after which what was expected has not come. */
const PATIENCE_MS = 20_000;

/** Milliseconds between heartbeats: a peer that is silent is given up, and silence is not what cases are about. */
const HEARTBEAT_MS = 500;

/** What a frame of records says of itself, where it does not tell the truth. */
export interface FrameLies {
  /** Added to the sequence number that is due. */
  readonly skip?: number;
  /** Of another peer. */
  readonly session?: number;
}

/** A peer of the hypervisor that says whatever it is told to, true or not. */
export class WirePeer {
  readonly vms: readonly string[];
  readonly #dealer: Dealer;
  readonly #heard: HypervisorMessage[] = [];
  readonly #records: HypervisorRecord[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #handshake: Promise<void>;
  readonly #heartbeat: NodeJS.Timeout;
  #session = 0;
  #sent = 0;
  #last: Buffer | undefined;
  #closed = false;
  #writing: Promise<void> = Promise.resolve();

  /**
   * @param deaf never receives: what is sent to it piles up
   */
  constructor(
    endpoint: string,
    vms: readonly string[],
    { route, deaf = false }: { route?: string; deaf?: boolean } = {},
  ) {
    this.vms = vms;
    this.#dealer = new Dealer({
      linger: 0,
      ...(route === undefined ? {} : { routingId: route }),
      ...(deaf ? { receiveHighWaterMark: 1 } : {}),
    });
    this.#handshake = new Promise((resolve) => this.#dealer.events.on('handshake', () => resolve()));
    this.#dealer.connect(endpoint);
    if (!deaf) void this.#receive();
    this.#heartbeat = setInterval(() => {
      if (this.#session > 0) void this.#write(encodeVmMessage({ kind: 'heartbeat', session: this.#session, ack: 0 }));
    }, HEARTBEAT_MS);
  }

  /** The session that WELCOME gave. */
  get session(): number {
    return this.#session;
  }

  /** Until the socket is connected. */
  connected(): Promise<void> {
    return this.#handshake;
  }

  hello(digest: string, version = PROTOCOL_VERSION, vms = this.vms): Promise<void> {
    return this.bytes(encodeVmMessage({ kind: 'hello', version, digest, vms }));
  }

  async attach(digest: string): Promise<void> {
    await this.hello(digest);
    const welcome = await this.message('welcome');
    this.#session = welcome.session;
  }

  /** Takes the session for granted: for a peer that does not listen. */
  assume(session: number): void {
    this.#session = session;
  }

  send(records: readonly VmRecord[], { skip = 0, session = this.#session }: FrameLies = {}): Promise<void> {
    this.#sent += 1;
    const counters = { session, seq: this.#sent + skip, ack: 0, sentAt: 0 };
    return this.bytes(encodeVmMessage({ kind: 'records', ...counters, records }));
  }

  /** Sends a frame, whatever it is. */
  async bytes(frame: Uint8Array): Promise<void> {
    this.#last = Buffer.from(frame);
    await this.#write(this.#last);
  }

  /** Sends the last frame once more. */
  async again(): Promise<void> {
    assert(this.#last !== undefined, 'something was sent before');
    await this.#write(this.#last);
  }

  query(id: number, what: string, argument: unknown): Promise<void> {
    return this.bytes(encodeVmMessage({ kind: 'query', id, what, argument }));
  }

  /** Takes the first message of a kind that was not taken yet. */
  async message<K extends HypervisorMessage['kind']>(
    kind: K,
    matches: (message: Extract<HypervisorMessage, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<HypervisorMessage, { kind: K }>> {
    const isIt = (message: HypervisorMessage): message is Extract<HypervisorMessage, { kind: K }> =>
      message.kind === kind && matches(message as Extract<HypervisorMessage, { kind: K }>);
    return this.#take(this.#heard, isIt, kind);
  }

  /** Takes the first record of a kind that was not taken yet. */
  async record<K extends HypervisorRecord['kind']>(kind: K): Promise<Extract<HypervisorRecord, { kind: K }>> {
    const isIt = (record: HypervisorRecord): record is Extract<HypervisorRecord, { kind: K }> => record.kind === kind;
    return this.#take(this.#records, isIt, `record ${kind}`);
  }

  /** Ends without a word, as a killed process does. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#heartbeat);
    this.#dealer.close();
  }

  /** One writer at a time. */
  #write(frame: Buffer): Promise<void> {
    this.#writing = this.#writing.then(() => (this.#closed ? undefined : this.#dealer.send(frame)));
    return this.#writing;
  }

  async #take<T, S extends T>(from: T[], isIt: (item: T) => item is S, what: string): Promise<S> {
    const started = Date.now();
    for (;;) {
      const index = from.findIndex(isIt);
      const [found] = index < 0 ? [] : from.splice(index, 1);
      if (found !== undefined && isIt(found)) return found;
      const left = PATIENCE_MS - (Date.now() - started);
      assert(left > 0 && !this.#closed, `${this.vms.join(', ') || 'a peer'} waits in vain for ${what}`);
      await this.#news(left);
    }
  }

  /** Until something comes, or patience ends. */
  #news(left: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, left);
      this.#waiting.add(done);
    });
  }

  async #receive(): Promise<void> {
    while (!this.#closed) {
      try {
        const [frame] = await this.#dealer.receive();
        const decoded = decodeHypervisorMessage(frame ?? Buffer.alloc(0));
        assert(decoded.ok, `the hypervisor sends frames: ${decoded.ok ? '' : decoded.error}`);
        if (decoded.value.kind === 'records') this.#records.push(...decoded.value.records);
        else this.#heard.push(decoded.value);
        for (const wake of [...this.#waiting]) wake();
      } catch (error) {
        if (this.#closed) return;
        throw error;
      }
    }
  }
}
