/** Refusals that are logged in a second: whoever reaches the endpoint can cause them, as fast as it connects. */
const LINES_PER_SECOND = 20;
const SECOND_NS = 1e9;

/** Counts refusals, and says which are worth a line of the log. */
export class Refusals {
  /** All of them. */
  count = 0;
  readonly #log: (text: string, vms: readonly string[]) => void;
  #since = Number.NEGATIVE_INFINITY;
  #lines = 0;

  constructor(log: (text: string, vms: readonly string[]) => void) {
    this.#log = log;
  }

  /** @param now nanoseconds on a monotonic clock */
  add(reason: string, vms: readonly string[], now: number): void {
    this.count += 1;
    if (now - this.#since >= SECOND_NS) {
      if (this.#lines > LINES_PER_SECOND) this.#log(`refused: ${this.#lines - LINES_PER_SECOND} others`, []);
      this.#since = now;
      this.#lines = 0;
    }
    this.#lines += 1;
    if (this.#lines <= LINES_PER_SECOND) this.#log(`refused: ${reason}`, vms);
  }
}
