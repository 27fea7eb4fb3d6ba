import type { GuestMemory } from '@remio/guest-memory';
import type { QueueConfig } from '@remio/virtqueue';

/** A descriptor as it is written, whatever that means. NEXT is set by the chain that it is put into. */
export interface Piece {
  readonly address: bigint;
  readonly length: number;
  /** VIRTQ_DESC_F_WRITE, INDIRECT, or bits that mean nothing. */
  readonly flags: number;
  /** Split: sets NEXT and this index, instead of that of the next piece; packed: sets NEXT. */
  readonly next?: number;
}

/** A used element. */
export interface UsedPiece {
  readonly id: number;
  readonly written: number;
}

/** A queue whose driver writes what it likes into it. */
export interface RawQueue {
  readonly index: number;
  readonly config: QueueConfig;
  /**
   * Writes a chain into the next descriptors and makes it available; the device is not notified.
   * @param id packed: the buffer id, instead of one that is free
   * @returns what the device will return: index of the head, or buffer id
   */
  put(pieces: readonly Piece[], id?: number): number;
  /** Writes an indirect table into this piece of memory; returns the piece that refers to it. */
  table(at: bigint, pieces: readonly Piece[]): Piece;
  /** Used elements that came since this was asked last. */
  used(): readonly UsedPiece[];
  /** Asks for no interrupts, or for all. */
  setInterrupts(wanted: boolean): void;
  /** Sets whether EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
}

/** Little-endian accessors at guest-physical addresses of the shared memory. */
export class RawMemory {
  readonly #memory: GuestMemory;

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  get base(): bigint {
    return this.#memory.base;
  }

  get size(): number {
    return this.#memory.size;
  }

  bytes(address: bigint, length: number): Uint8Array {
    return this.#memory.bytes(this.#at(address), length);
  }
  read16(address: bigint): number {
    return this.#memory.loadU16(this.#at(address));
  }
  read32(address: bigint): number {
    return this.#memory.readU32(this.#at(address));
  }
  write16(address: bigint, value: number): void {
    this.#memory.storeU16(this.#at(address), value & 0xffff);
  }
  write32(address: bigint, value: number): void {
    this.#memory.storeU32(this.#at(address), value >>> 0);
  }
  write64(address: bigint, value: bigint): void {
    this.#memory.writeU64(this.#at(address), BigInt.asUintN(64, value));
  }

  #at(address: bigint): number {
    return Number(address - this.#memory.base);
  }
}
