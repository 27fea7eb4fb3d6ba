import type { Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import type { Chain, DeviceQueue, Popped, QueueError, Recalled, Used } from '@remio/virtqueue';
import type { ContentLie, TrickLie } from './lie.js';
import type { RawUsed } from './raw-used.js';

/** Bytes that a device claims beyond the room that it had. */
const TOO_MUCH = 4096;

/** What the queue's lies may do to the rest of the device. */
export interface TrickHost {
  readonly memory: GuestMemory;
  /** The raw ring of this queue; undefined while it is reset. */
  raw(): RawUsed | undefined;
  /** The driver is interrupted without a cause, many times. */
  storm(): void;
  /** The device forgets everything. */
  forget(): void;
  /** The backend ends without a word. */
  crash(): void;
  needsReset(): void;
  /** Asks whether a lie may be told once more, and counts it. */
  tell(lie: TrickLie | ContentLie): boolean;
}

/** A queue that plays a trick or gives wrong answers, and is honest otherwise. */
export class LyingQueue implements DeviceQueue {
  readonly #queue: DeviceQueue;
  readonly #trick: TrickLie | undefined;
  readonly #contents: readonly ContentLie[];
  readonly #host: TrickHost;
  readonly #chains = new Map<number, Chain>();
  /** Requests that were ended as they should be. */
  #ended = 0;
  /** The trick has been played, and nothing more comes of this queue. */
  #over = false;
  /** The driver notified, and not everything was taken since. */
  #kicked = false;
  /** Requests that the device has ended, which nobody is shown. */
  readonly #kept: number[] = [];

  constructor(
    queue: DeviceQueue,
    lies: { readonly trick: TrickLie | undefined; readonly contents: readonly ContentLie[] },
    host: TrickHost,
  ) {
    this.#queue = queue;
    this.#trick = lies.trick;
    this.#contents = lies.contents;
    this.#host = host;
  }

  get size(): number {
    return this.#queue.size;
  }
  get inFlight(): number {
    return this.#queue.inFlight;
  }
  get error(): QueueError | undefined {
    return this.#queue.error;
  }

  /** Whether the driver is told of what was used. */
  get tells(): boolean {
    return !this.#plays('silent');
  }

  notified(): void {
    this.#queue.notified();
  }

  /** The driver notified. */
  kicked(): void {
    this.#kicked = true;
  }

  /** The driver resets the queue, and the device is as good as new. */
  renew(): void {
    for (const head of this.#kept.splice(0)) this.#queue.push(head, 0);
    this.#chains.clear();
    this.#over = false;
    this.#ended = 0;
  }

  pop(): Popped {
    for (;;) {
      if (!this.#kicked && this.#plays('no-kicks')) return { kind: 'empty' };
      const popped = this.#queue.pop();
      if (popped.kind === 'empty') this.#kicked = false;
      if (popped.kind !== 'chain') return popped;
      if (!this.#plays('stale')) {
        if (this.#contents.length > 0) this.#chains.set(popped.chain.head, popped.chain);
        return popped;
      }
      this.#queue.push(popped.chain.head, popped.chain.writableLength);
    }
  }

  push(head: number, written: number): boolean {
    if (this.#over) {
      this.#kept.push(head);
      return true;
    }
    this.#overwrite(head);
    const trick = this.#trick;
    if (trick === undefined || this.#ended < trick.after) {
      this.#ended += 1;
      return this.#queue.push(head, written);
    }
    return this.#play(trick, head, written);
  }

  pushAll(used: readonly Used[]): boolean {
    if (this.#trick === undefined && this.#contents.length === 0) return this.#queue.pushAll(used);
    return used.every(({ head, written }) => this.push(head, written));
  }

  shouldInterrupt(): boolean | 'wait' {
    return this.#queue.shouldInterrupt();
  }

  setNotifications(wanted: boolean): void {
    this.#queue.setNotifications(wanted && !this.#plays('no-kicks'));
  }

  heads(): readonly number[] {
    return this.#queue.heads();
  }
  recall(head: number): Recalled {
    return this.#queue.recall(head);
  }
  save(): unknown {
    return this.#queue.save();
  }
  restore(state: unknown): Result<void, string> {
    return this.#queue.restore(state);
  }

  /** Whether a trick that goes on and on is played now. */
  #plays(trick: TrickLie['trick']): boolean {
    return this.#trick?.trick === trick && this.#ended >= this.#trick.after && this.#host.tell(this.#trick);
  }

  #overwrite(head: number): void {
    const chain = this.#chains.get(head);
    this.#chains.delete(head);
    if (chain === undefined) return;
    for (const lie of this.#contents) {
      if (this.#ended < lie.after || !this.#host.tell(lie)) continue;
      const start = lie.at < 0 ? chain.writableLength + lie.at : lie.at;
      lie.content.forEach((byte, n) => {
        let at = start + n;
        for (const { offset, length } of chain.writable) {
          if (at < length) {
            this.#host.memory.writeU8(offset + at, byte);
            return;
          }
          at -= length;
        }
      });
    }
  }

  #play(lie: TrickLie, head: number, written: number): boolean {
    const queue = this.#queue;
    const raw = this.#host.raw();
    if (raw === undefined) return queue.push(head, written);
    /** From here on nothing comes of the queue, if the lie may still be told. */
    const last = (): boolean => {
      if (!this.#host.tell(lie)) return false;
      this.#over = true;
      return true;
    };
    switch (lie.trick) {
      case 'id-beyond':
        if (!last()) break;
        raw.use(0xfff0, written);
        this.#kept.push(head);
        return true;
      case 'twice':
        if (!last()) break;
        queue.push(head, written);
        raw.use(head, written);
        return true;
      case 'never-made': {
        const known = new Set(queue.heads());
        const free = Array.from({ length: queue.size }, (_, id) => id).find((id) => !known.has(id));
        if (free === undefined || !last()) break;
        raw.use(free, written);
        this.#kept.push(head);
        return true;
      }
      case 'index-ahead':
      case 'index-back':
        if (!last()) break;
        raw.setIndex(lie.trick === 'index-back' ? -1 : queue.size + 1);
        this.#kept.push(head);
        return true;
      case 'out-of-order': {
        const newest = queue.heads().at(-1);
        if (newest === undefined || newest === queue.heads()[0] || !last()) break;
        raw.use(newest, written);
        this.#kept.push(head);
        return true;
      }
      case 'too-long':
        return queue.push(head, this.#host.tell(lie) ? written + TOO_MUCH : written);
      case 'never':
        if (!last()) break;
        this.#kept.push(head);
        return true;
      case 'storm':
        if (this.#host.tell(lie)) this.#host.storm();
        break;
      case 'forget':
        if (!last()) break;
        this.#kept.push(head);
        this.#host.forget();
        return true;
      case 'crash':
        if (!last()) break;
        this.#kept.push(head);
        this.#host.crash();
        return true;
      case 'needs-reset':
        if (!last()) break;
        this.#kept.push(head);
        this.#host.needsReset();
        return true;
      case 'rewrite':
        if (this.#host.tell(lie)) raw.scribble(head);
        break;
      case 'stale':
      case 'silent':
      case 'no-kicks':
        break;
    }
    return queue.push(head, written);
  }
}
