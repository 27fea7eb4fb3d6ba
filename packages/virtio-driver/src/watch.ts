import type { DriverQueue } from '@remio/virtqueue';

/**
 * What a driver expects of a queue.
 *
 * - `answers`: the device ends every request, sooner or later
 * - `room`: it takes what is sent when somebody wants it; that may be never
 * - `events`: buffers wait for what may never happen
 */
export type Expectation = 'answers' | 'room' | 'events';

/** How long a driver waits for its device. */
export interface Patience {
  /** Nanoseconds between two looks at queues in which something is in flight. */
  readonly lookEvery: bigint;
  /** Looks in a row that find no request ended, until the device is given up on. */
  readonly looks: number;
}

/** Half a minute: disks have such moments. */
export const PATIENCE: Patience = { lookEvery: 1_000_000_000n, looks: 30 };

/** A {@link Patience} of so many nanoseconds altogether. */
export const patienceOf = (nanoseconds: number): Patience => ({
  lookEvery: BigInt(Math.max(1, Math.ceil(nanoseconds / PATIENCE.looks))),
  looks: PATIENCE.looks,
});

/** Whether the requests of one queue end. */
export class QueueWatch {
  readonly index: number;
  readonly #ring: DriverQueue<unknown>;
  readonly #expects: Expectation;
  #returned = 0;
  #vain = 0;

  constructor(index: number, ring: DriverQueue<unknown>, expects: Expectation) {
    this.index = index;
    this.#ring = ring;
    this.#expects = expects;
  }

  /** Whether something is in flight that is expected to end. */
  get waits(): boolean {
    return this.#expects !== 'events' && this.#ring.inFlight > 0 && this.#ring.error === undefined;
  }

  /** Looks in a row that found nothing ended. */
  get vain(): number {
    return this.#vain;
  }

  /** Looks in a row after which the device does not answer; never, if it need not. */
  isHopeless(looks: number): boolean {
    return this.#expects === 'answers' && this.#vain >= looks;
  }

  /** What is in flight from now on has all the time. */
  begin(): void {
    this.#returned = this.#ring.returned;
    this.#vain = 0;
  }

  look(): void {
    const { returned } = this.#ring;
    this.#vain = this.waits && returned === this.#returned ? this.#vain + 1 : 0;
    this.#returned = returned;
  }
}
