import type { DeviceQueue, Popped, Used } from '@remio/virtqueue';

/**
 * Chains on their way through a queue of frames: where they come from after a saved state was taken over, and where they
 * go when the memory of the ring is not local yet.
 */
export class ChainFlow {
  readonly queue: DeviceQueue;
  /** Heads in flight in a queue that took over a saved state, to be served anew. */
  readonly #recalled: number[] = [];
  /** Chains of one frame each, to be seen by the driver together. */
  readonly #used: (readonly Used[])[] = [];
  #dirty = false;

  constructor(queue: DeviceQueue) {
    this.queue = queue;
  }

  /** Serves anew what the queue has in flight. */
  resume(): void {
    this.#recalled.push(...this.queue.heads());
  }

  /** The driver resets the queue: what is on its way back goes now, nothing is served anew. */
  end(): void {
    for (const head of this.#recalled.splice(0)) this.queue.push(head, 0);
    this.flush();
  }

  next(): Popped {
    const head = this.#recalled.shift();
    return head === undefined ? this.queue.pop() : this.queue.recall(head);
  }

  /** Returns chains to the driver, all at once, at the latest with the next {@link flush}. */
  use(used: readonly Used[]): void {
    this.#used.push(used);
    this.flush();
  }

  /** Writes what was used to the ring, oldest first; false if memory is not local yet. */
  flush(): boolean {
    for (;;) {
      const [next] = this.#used;
      if (next === undefined) return true;
      if (!this.queue.pushAll(next)) return false;
      this.#used.shift();
      this.#dirty = true;
    }
  }

  /** Whether something waits for memory to be returned. */
  get stuck(): boolean {
    return this.#used.length > 0;
  }

  /** Whether something was returned since this was asked last. */
  takeDirty(): boolean {
    const dirty = this.#dirty;
    this.#dirty = false;
    return dirty;
  }
}
