import { assert, type GuestAddress } from '@remio/base';
import type { GuestMemory, Intent, RingAhead } from './guest-memory.js';

/** Memory of this process: an array, or a mapping that other processes see as well. Every range is local, always. */
export class LocalMemory implements GuestMemory {
  readonly base: GuestAddress;
  readonly size: number;
  readonly far = false;
  onLocal: () => void = () => {};
  /** Guest-physical address just past the last byte. */
  readonly #end: bigint;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;

  /**
   * @param base guest-physical address of the first byte
   * @param buffer the memory
   * @param size bytes of the buffer, from its start: a multiple of 4; all of them if absent
   */
  constructor(base: GuestAddress, buffer: ArrayBuffer | SharedArrayBuffer, size = buffer.byteLength) {
    assert(size % 4 === 0, 'guest memory is a whole number of words');
    this.base = base;
    this.size = size;
    this.#end = base + BigInt(size);
    this.#bytes = new Uint8Array(buffer, 0, size);
    this.#view = new DataView(buffer, 0, size);
    this.#u16 = new Uint16Array(buffer, 0, size >>> 1);
    this.#u32 = new Uint32Array(buffer, 0, size >>> 2);
  }

  locate(address: bigint, length: number): number {
    if (address < this.base || address > this.#end) return -1;
    // The difference is at most `size`, which is below 2^53: the number is exact, and nothing wraps.
    const offset = Number(address - this.base);
    return length <= this.size - offset ? offset : -1;
  }

  need(_offset: number, _length: number, _intent: Intent): boolean {
    return true;
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.#bytes.subarray(offset, offset + length);
  }

  afresh(_offset: number, _length: number): void {}
  ahead(_ring: RingAhead): void {}
  written(_offset: number, _length: number): void {}
  hold(_offset: number, _length: number): void {}
  release(_offset: number, _length: number): void {}

  readU8(offset: number): number {
    return this.#view.getUint8(offset);
  }
  readU16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }
  readU32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }
  readU64(offset: number): bigint {
    return this.#view.getBigUint64(offset, true);
  }
  writeU8(offset: number, value: number): void {
    this.#view.setUint8(offset, value);
  }
  writeU16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true);
  }
  writeU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }
  writeU64(offset: number, value: bigint): void {
    this.#view.setBigUint64(offset, value, true);
  }

  loadU16(offset: number): number {
    return Atomics.load(this.#u16, offset >>> 1);
  }
  storeU16(offset: number, value: number): void {
    Atomics.store(this.#u16, offset >>> 1, value);
  }
  loadU32(offset: number): number {
    return Atomics.load(this.#u32, offset >>> 2);
  }
  storeU32(offset: number, value: number): void {
    Atomics.store(this.#u32, offset >>> 2, value);
  }
}

/** Guest memory of this process alone, zeroed. */
export const allocateMemory = (base: GuestAddress, size: number): LocalMemory =>
  new LocalMemory(base, new ArrayBuffer(size));
