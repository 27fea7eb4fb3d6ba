import { assert } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';

/** Alignment of every piece, bytes: a cache line. */
const ALIGN = 64;

const padded = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/** A stretch of the shared memory. */
export interface PoolPiece {
  /** Into the memory; a multiple of 64. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Memory that a frontend shares with its backend, for data that comes and goes: pieces are given back. The first stretch
 * that is long enough is taken, and neighbours that are free become one; there are never many, since what is in flight is
 * bounded.
 */
export class SharedPool {
  readonly memory: GuestMemory;
  /** Bytes altogether. */
  readonly size: number;
  /** Free stretches, by offset; no two touch. */
  readonly #offsets: number[];
  readonly #lengths: number[];
  #free: number;

  /** @param offset of the pool in the memory, a multiple of 64 */
  constructor(memory: GuestMemory, offset: number, size: number) {
    assert(offset % ALIGN === 0 && offset + size <= memory.size, 'a pool lies in its memory');
    this.memory = memory;
    this.size = Math.floor(size / ALIGN) * ALIGN;
    this.#offsets = [offset];
    this.#lengths = [this.size];
    this.#free = this.size;
  }

  /** Bytes that are free, perhaps not in one piece. */
  get free(): number {
    return this.#free;
  }

  /** A piece of at least this many bytes; undefined: there is no such room now. */
  allocate(bytes: number): PoolPiece | undefined {
    assert(bytes > 0, 'a piece has a byte at least');
    const length = padded(bytes);
    const at = this.#lengths.findIndex((free) => free >= length);
    const offset = this.#offsets[at];
    const free = this.#lengths[at];
    if (offset === undefined || free === undefined) return undefined;
    if (free === length) {
      this.#offsets.splice(at, 1);
      this.#lengths.splice(at, 1);
    } else {
      this.#offsets[at] = offset + length;
      this.#lengths[at] = free - length;
    }
    this.#free -= length;
    return { offset, length };
  }

  /** Gives a piece back. */
  release({ offset, length }: PoolPiece): void {
    let at = this.#offsets.findIndex((free) => free > offset);
    if (at < 0) at = this.#offsets.length;
    const before = (this.#offsets[at - 1] ?? -1) + (this.#lengths[at - 1] ?? 0);
    const next = this.#offsets[at];
    assert(before <= offset && (next === undefined || offset + length <= next), 'what is given back was taken');
    this.#free += length;
    const joinsNext = next === offset + length;
    if (at > 0 && before === offset) {
      const joined = (this.#lengths[at - 1] ?? 0) + length + (joinsNext ? (this.#lengths[at] ?? 0) : 0);
      this.#lengths[at - 1] = joined;
      if (joinsNext) {
        this.#offsets.splice(at, 1);
        this.#lengths.splice(at, 1);
      }
    } else if (joinsNext) {
      this.#offsets[at] = offset;
      this.#lengths[at] = (this.#lengths[at] ?? 0) + length;
    } else {
      this.#offsets.splice(at, 0, offset);
      this.#lengths.splice(at, 0, length);
    }
  }
}
