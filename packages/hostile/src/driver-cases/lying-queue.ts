import type { Result } from '@remio/base';
import type { DeviceQueue, Popped, QueueError, Recalled, Used } from '@remio/virtqueue';
import type { RingTrick } from './lie.js';
import type { RawUsed } from './raw-used.js';

/** Bytes that a device claims beyond the room that it had. */
const TOO_MUCH = 4096;

/** What the queue's trick may do to the rest of the device. */
export interface TrickHost {
  /** The raw ring of this queue. */
  raw(): RawUsed;
  /** The driver is interrupted without a cause, many times. */
  storm(): void;
  /** The device forgets everything. */
  forget(): void;
  needsReset(): void;
}

/** A queue that plays a trick, and is honest otherwise. */
export class LyingQueue implements DeviceQueue {
  readonly #queue: DeviceQueue;
  readonly #trick: RingTrick;
  readonly #host: TrickHost;
  /** Requests that are still ended as they should be. */
  #honest: number;
  /** The trick has been played, and nothing more comes of this queue. */
  #over = false;

  constructor(queue: DeviceQueue, trick: RingTrick, after: number, host: TrickHost) {
    this.#queue = queue;
    this.#trick = trick;
    this.#honest = after;
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
    return this.#trick !== 'silent' || this.#honest > 0;
  }

  pop(): Popped {
    for (;;) {
      const popped = this.#queue.pop();
      if (popped.kind === 'empty' && this.#trick === 'rewrite' && this.#queue.inFlight === 0) {
        this.#host.raw().scribble();
      }
      const stale = popped.kind === 'chain' && this.#trick === 'stale' && this.#honest === 0;
      if (!stale) return popped;
      this.#queue.push(popped.chain.head, popped.chain.writableLength);
    }
  }

  push(head: number, written: number): boolean {
    if (this.#over) return true;
    if (this.#honest > 0) {
      this.#honest -= 1;
      return this.#queue.push(head, written);
    }
    return this.#play(head, written);
  }

  pushAll(used: readonly Used[]): boolean {
    return used.every(({ head, written }) => this.push(head, written));
  }

  shouldInterrupt(): boolean {
    return this.#queue.shouldInterrupt();
  }

  setNotifications(wanted: boolean): void {
    this.#queue.setNotifications(wanted && (this.#trick !== 'no-kicks' || this.#honest > 0));
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

  #play(head: number, written: number): boolean {
    const queue = this.#queue;
    const raw = this.#host.raw();
    switch (this.#trick) {
      case 'id-beyond':
        this.#over = true;
        raw.use(0xfff0, written);
        return true;
      case 'twice':
        this.#over = true;
        queue.push(head, written);
        raw.use(head, written);
        return true;
      case 'never-made': {
        const known = new Set(queue.heads());
        const free = Array.from({ length: queue.size }, (_, id) => id).find((id) => !known.has(id));
        if (free === undefined) return queue.push(head, written);
        this.#over = true;
        raw.use(free, written);
        return true;
      }
      case 'index-ahead':
        this.#over = true;
        raw.setIndex(queue.size + 1);
        return true;
      case 'index-back':
        this.#over = true;
        raw.setIndex(-1);
        return true;
      case 'out-of-order': {
        const newest = queue.heads().at(-1);
        if (newest === undefined || newest === queue.heads()[0]) return queue.push(head, written);
        this.#over = true;
        raw.use(newest, written);
        return true;
      }
      case 'too-long':
        return queue.push(head, written + TOO_MUCH);
      case 'never':
        this.#over = true;
        return true;
      case 'storm':
        this.#host.storm();
        return queue.push(head, written);
      case 'forget':
        this.#over = true;
        this.#host.forget();
        return true;
      case 'needs-reset':
        this.#over = true;
        this.#host.needsReset();
        return true;
      case 'stale':
      case 'rewrite':
      case 'silent':
      case 'no-kicks':
        return queue.push(head, written);
    }
  }
}
