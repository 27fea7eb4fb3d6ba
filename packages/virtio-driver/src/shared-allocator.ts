import { assert } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';

/** Alignment of every piece, bytes: a cache line. */
const ALIGN = 64;

/** Hands out pieces of the memory that a frontend shares with its backend, from the start; nothing is given back. */
export class SharedAllocator {
  readonly memory: GuestMemory;
  #next = 0;

  constructor(memory: GuestMemory) {
    this.memory = memory;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.memory.size - this.#next;
  }

  /**
   * @param align power of two, at least 1
   * @returns the guest-physical address of `bytes` bytes; undefined if there is no room
   */
  allocate(bytes: number, align = ALIGN): bigint | undefined {
    assert(bytes >= 0 && Number.isInteger(bytes), 'a piece has a whole number of bytes');
    // The base is page-aligned, so offsets have the alignment of addresses.
    const start = Math.ceil(this.#next / align) * align;
    if (start + bytes > this.memory.size) return undefined;
    this.#next = start + bytes;
    return this.memory.base + BigInt(start);
  }
}
