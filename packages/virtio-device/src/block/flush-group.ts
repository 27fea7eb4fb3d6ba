import type { BlockStorage, Done } from './storage.js';

/**
 * Flushes of a storage, for many who ask at the same time: one runs, and whoever asks meanwhile shares the next. A flush
 * that runs already does not count for them: what they want to be durable may have been done after it began.
 */
export class FlushGroup {
  readonly #storage: BlockStorage;
  #waiting: Done[] = [];
  #running = false;

  constructor(storage: BlockStorage) {
    this.#storage = storage;
  }

  /** Makes durable what the storage had done when this was called. */
  flush(done: Done): void {
    this.#waiting.push(done);
    if (!this.#running) this.#run();
  }

  #run(): void {
    const group = this.#waiting;
    this.#waiting = [];
    this.#running = true;
    this.#storage.flush((ok) => {
      this.#running = false;
      if (this.#waiting.length > 0) this.#run();
      for (const done of group) done(ok);
    });
  }
}
