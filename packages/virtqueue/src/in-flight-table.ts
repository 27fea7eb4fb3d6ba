import { assert } from '@remio/base';

/** Words before those of the heads. */
const SETTLED = 0;
const BATCH = 1;
const BATCH_USED = 2;
const BATCH_COUNT = 3;
const HEADER_WORDS = 4;
/** Words of a head: when it was taken (0: it is not in flight), and the head after it in its batch, plus 1. */
const TAKEN = 0;
const NEXT = 1;
const HEAD_WORDS = 2;

/** Bytes of the table of a queue with at most so many descriptors. */
export const inFlightTableBytes = (size: number): number => 4 * (HEADER_WORDS + HEAD_WORDS * size);

/** Where a lost device side of a split queue was. */
export interface InFlight {
  /** Chains that the driver can see as used, modulo 2^16. */
  readonly usedIdx: number;
  /** Heads that it had taken and not returned, in the order in which it took them. */
  readonly heads: readonly number[];
}

/**
 * Which chains of a split queue its device side has taken and not returned, in memory that outlives its process. A process
 * may end between any two stores: every one of them leaves a table that {@link recover} can make sense of. Chains that come
 * back are listed as a batch before the used index shows them, and are struck off after it: whether a batch was seen, the
 * used index in the ring tells. (vhost-user's inflight buffer does the same.)
 */
export class InFlightTable {
  readonly #words: Int32Array;
  readonly #size: number;
  /** Counts chains as they are taken; 1 to 2^32 - 1. */
  #counter = 0;

  /** @param words of {@link inFlightTableBytes}; zeros are an empty table */
  constructor(words: Int32Array) {
    this.#words = words;
    this.#size = Math.floor((words.length - HEADER_WORDS) / HEAD_WORDS);
    assert(this.#size > 0, 'the table has room for a head');
  }

  /** The queue begins to run: nothing is in flight, nothing was used. */
  clear(): void {
    this.#words.fill(0);
    this.#counter = 0;
  }

  /** The device takes a chain; told before anything is done about it. */
  take(head: number): void {
    this.#counter = this.#counter === 0xffff_ffff ? 1 : this.#counter + 1;
    this.#store(this.#at(head, TAKEN), this.#counter);
  }

  /**
   * Chains go back to the driver: their elements are in the ring, and the used index does not show them yet.
   * @param used the used index that will
   */
  ending(heads: Iterable<number>, used: number): void {
    let last = 0;
    let count = 0;
    for (const head of heads) {
      this.#store(this.#at(head, NEXT), last);
      last = head + 1;
      count += 1;
    }
    this.#store(BATCH_USED, used);
    this.#store(BATCH_COUNT, count);
    this.#store(BATCH, last);
  }

  /** The used index shows the chains of the batch. */
  ended(): void {
    let left = this.#load(BATCH_COUNT);
    for (let next = this.#load(BATCH); next !== 0 && left > 0; left -= 1) {
      const head = next - 1;
      this.#store(this.#at(head, TAKEN), 0);
      next = this.#load(this.#at(head, NEXT));
    }
    this.#store(SETTLED, this.#load(BATCH_USED));
    this.#store(BATCH, 0);
  }

  /**
   * Where the process was that wrote the table, and is lost; this one goes on with it.
   * @param shown the used index in the ring
   */
  recover(shown: number): InFlight {
    if (this.#load(BATCH) !== 0) {
      if (this.#load(BATCH_USED) === shown) this.ended();
      else this.#store(BATCH, 0);
    }
    const taken: (readonly [head: number, when: number])[] = [];
    for (let head = 0; head < this.#size; head += 1) {
      const when = this.#load(this.#at(head, TAKEN));
      if (when !== 0) taken.push([head, when]);
    }
    // Those in flight are no 2^31 chains apart: the distance says which came first, past the end of the numbers as well.
    taken.sort(([, a], [, b]) => (a - b) | 0);
    this.#counter = taken.at(-1)?.[1] ?? 0;
    return { usedIdx: this.#load(SETTLED) & 0xffff, heads: taken.map(([head]) => head) };
  }

  #at(head: number, word: number): number {
    assert(head < this.#size, 'the table has room for every head of its queue');
    return HEADER_WORDS + HEAD_WORDS * head + word;
  }

  #load(word: number): number {
    return Atomics.load(this.#words, word) >>> 0;
  }

  /** Atomic, so that no store moves before or behind another. */
  #store(word: number, value: number): void {
    Atomics.store(this.#words, word, value);
  }
}
