import { exponential, type Prng } from '@remio/base';

/** When a client makes its next operation. Times are nanoseconds of the vCPU's counter. */
export interface Pace {
  /** The earliest time at which an operation is due; undefined: only when one that is in flight has ended. */
  readonly due: number | undefined;
  /** Takes an operation that is due. @returns the time at which it came, from which its latency counts */
  take(now: number): number;
  /** An operation has ended. */
  ended(now: number): void;
}

/** A closed loop: so many at a time, each thinks for a while before it makes the next. */
export class ClosedPace implements Pace {
  readonly #random: Prng;
  readonly #think: number;
  /** When each of those that are not in flight is ready, ascending. */
  readonly #ready: number[];

  /** @param think nanoseconds on average, exponentially distributed; 0: none */
  constructor(random: Prng, depth: number, think: number, start: number) {
    this.#random = random;
    this.#think = think;
    this.#ready = Array.from({ length: depth }, () => start + this.#pause()).sort((a, b) => a - b);
  }

  get due(): number | undefined {
    return this.#ready[0];
  }

  take(now: number): number {
    this.#ready.shift();
    return now;
  }

  ended(now: number): void {
    const at = now + this.#pause();
    let place = this.#ready.length;
    while (place > 0 && (this.#ready[place - 1] ?? 0) > at) place -= 1;
    this.#ready.splice(place, 0, at);
  }

  #pause(): number {
    return this.#think === 0 ? 0 : Math.round(this.#think * exponential(this.#random));
  }
}

/** An open loop: bursts of operations come at a rate, independently of each other, whatever becomes of those before. */
export class OpenPace implements Pace {
  readonly #random: Prng;
  readonly #gap: number;
  readonly #depth: number;
  readonly #burst: number;
  #next: number;
  /** Operations of the burst that comes next which were not taken yet. */
  #left: number;
  #inFlight = 0;

  /**
   * @param rate operations a second, on average; `burst` of them come at the same time
   * @param depth in flight at most; those that come meanwhile wait, and their time counts
   */
  constructor(
    random: Prng,
    { rate, burst }: { readonly rate: number; readonly burst: number },
    depth: number,
    start: number,
  ) {
    this.#random = random;
    this.#gap = (1e9 * burst) / rate;
    this.#depth = depth;
    this.#burst = burst;
    this.#left = burst;
    this.#next = start + this.#pause();
  }

  get due(): number | undefined {
    return this.#inFlight < this.#depth ? this.#next : undefined;
  }

  take(): number {
    const at = this.#next;
    this.#inFlight += 1;
    this.#left -= 1;
    if (this.#left === 0) {
      this.#left = this.#burst;
      this.#next = at + this.#pause();
    }
    return at;
  }

  ended(): void {
    this.#inFlight -= 1;
  }

  #pause(): number {
    return Math.max(1, Math.round(this.#gap * exponential(this.#random)));
  }
}
