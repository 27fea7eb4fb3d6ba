import type { GuestMemory } from '@remio/guest-memory';
import {
  DESC_ADDR,
  DESC_FLAGS,
  DESC_LEN,
  DESC_NEXT,
  DESC_SIZE,
  PDESC_FLAGS,
  PDESC_ID,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import type { GuestBuffer } from './types.js';

/** Most tables of a queue, and most descriptors of one: what does not fit goes into the ring itself. */
const TABLES_MAX = 64;
const ENTRIES_MAX = 32;
/** Buffers from which on a request takes a table while there is room in the ring. */
const BUFFERS_MIN = 3;

/** Tables for a queue of `size`. No list may be longer than the queue (2.7.5.3.1, 2.8.17). */
const shape = (size: number): { readonly tables: number; readonly entries: number } => ({
  tables: Math.min(size, TABLES_MAX),
  entries: Math.min(size, ENTRIES_MAX),
});

/** Bytes of the tables of a queue. */
export const indirectTablesSize = (size: number): number => {
  const { tables, entries } = shape(size);
  return tables * entries * DESC_SIZE;
};

/** Tables of indirect descriptors (2.7.5.3, 2.8.7) in memory that the driver owns. */
export class IndirectTables {
  readonly #memory: GuestMemory;
  /** Offset of the first table. */
  readonly #offset: number;
  readonly #entries: number;
  readonly #packed: boolean;
  readonly #free: number[];

  /**
   * @param offset a range of {@link indirectTablesSize} bytes, aligned to a descriptor
   * @param packed whether the tables have the layout of packed rings
   */
  constructor(memory: GuestMemory, offset: number, size: number, packed: boolean) {
    const { tables, entries } = shape(size);
    this.#memory = memory;
    this.#offset = offset;
    this.#entries = entries;
    this.#packed = packed;
    this.#free = Array.from({ length: tables }, (_, n) => n);
  }

  /**
   * Fills a table if the request is better off with one.
   * @param free descriptors of the ring that are free
   * @returns the table and the buffer that it is; undefined: put the buffers into the ring
   */
  fill(
    readable: readonly GuestBuffer[],
    writable: readonly GuestBuffer[],
    free: number,
  ): { readonly table: number; readonly buffer: GuestBuffer } | undefined {
    const count = readable.length + writable.length;
    const wanted = count >= BUFFERS_MIN || (count > 1 && count > free);
    const table = wanted && count <= this.#entries && free > 0 ? this.#free.pop() : undefined;
    if (table === undefined) return undefined;
    const start = this.#offset + table * this.#entries * DESC_SIZE;
    const memory = this.#memory;
    let n = 0;
    for (const [buffers, flag] of [
      [readable, 0],
      [writable, VIRTQ_DESC_F_WRITE],
    ] as const) {
      for (const { address, length } of buffers) {
        const at = start + n * DESC_SIZE;
        n += 1;
        memory.writeU64(at + DESC_ADDR, address);
        memory.writeU32(at + DESC_LEN, length);
        if (this.#packed) {
          memory.writeU16(at + PDESC_ID, 0);
          memory.writeU16(at + PDESC_FLAGS, flag);
        } else {
          memory.writeU16(at + DESC_FLAGS, flag | (n < count ? VIRTQ_DESC_F_NEXT : 0));
          memory.writeU16(at + DESC_NEXT, n < count ? n : 0);
        }
      }
    }
    return { table, buffer: { address: memory.base + BigInt(start), length: count * DESC_SIZE } };
  }

  give(table: number): void {
    this.#free.push(table);
  }
}
