import { assert, type GuestAddress } from '@remio/base';
import type { GuestMemory, Intent, RingAhead } from './guest-memory.js';

/** Granularity in which memory is fetched, bytes. */
const PAGE = 64;

/**
 * Memory that is far away, for tests: a range becomes local only when the test lets it arrive, and is forgotten after
 * the step unless it is held. Using what was not asked for, or what has not arrived, is an assertion.
 */
export class DelayedMemory implements GuestMemory {
  readonly base: GuestAddress;
  readonly size: number;
  readonly far = false;
  onLocal: () => void = () => {};
  readonly #far: GuestMemory;
  readonly #local = new Set<number>();
  readonly #wanted = new Set<number>();
  readonly #held = new Map<number, number>();

  constructor(far: GuestMemory) {
    this.#far = far;
    this.base = far.base;
    this.size = far.size;
  }

  /** How many pieces are on their way. */
  get wanted(): number {
    return this.#wanted.size;
  }

  /** Lets everything that is on its way arrive. False if nothing was. */
  deliver(): boolean {
    if (this.#wanted.size === 0) return false;
    for (const page of this.#wanted) this.#local.add(page);
    this.#wanted.clear();
    this.onLocal();
    return true;
  }

  /** Forgets what is local and not held, as after a step. */
  forget(): void {
    for (const page of this.#local) if (!this.#held.has(page)) this.#local.delete(page);
  }

  locate(address: bigint, length: number): number {
    return this.#far.locate(address, length);
  }

  need(offset: number, length: number, _intent: Intent): boolean {
    let all = true;
    this.#pages(offset, length, (page) => {
      if (this.#local.has(page)) return;
      all = false;
      this.#wanted.add(page);
    });
    return all;
  }

  afresh(_offset: number, _length: number): void {}
  ahead(_ring: RingAhead): void {}

  bytes(offset: number, length: number): Uint8Array {
    this.#check(offset, length);
    return this.#far.bytes(offset, length);
  }

  written(offset: number, length: number): void {
    this.#check(offset, length);
  }

  hold(offset: number, length: number): void {
    this.#pages(offset, length, (page) => this.#held.set(page, (this.#held.get(page) ?? 0) + 1));
  }

  release(offset: number, length: number): void {
    this.#pages(offset, length, (page) => {
      const count = this.#held.get(page) ?? 0;
      assert(count > 0, 'a range is released as often as it was held');
      if (count === 1) this.#held.delete(page);
      else this.#held.set(page, count - 1);
    });
  }

  readU8(offset: number): number {
    return this.#at(offset, 1).readU8(offset);
  }
  readU16(offset: number): number {
    return this.#at(offset, 2).readU16(offset);
  }
  readU32(offset: number): number {
    return this.#at(offset, 4).readU32(offset);
  }
  readU64(offset: number): bigint {
    return this.#at(offset, 8).readU64(offset);
  }
  writeU8(offset: number, value: number): void {
    this.#at(offset, 1).writeU8(offset, value);
  }
  writeU16(offset: number, value: number): void {
    this.#at(offset, 2).writeU16(offset, value);
  }
  writeU32(offset: number, value: number): void {
    this.#at(offset, 4).writeU32(offset, value);
  }
  writeU64(offset: number, value: bigint): void {
    this.#at(offset, 8).writeU64(offset, value);
  }
  loadU16(offset: number): number {
    return this.#at(offset, 2).loadU16(offset);
  }
  storeU16(offset: number, value: number): void {
    this.#at(offset, 2).storeU16(offset, value);
  }
  loadU32(offset: number): number {
    return this.#at(offset, 4).loadU32(offset);
  }
  storeU32(offset: number, value: number): void {
    this.#at(offset, 4).storeU32(offset, value);
  }

  #at(offset: number, length: number): GuestMemory {
    this.#check(offset, length);
    return this.#far;
  }

  #check(offset: number, length: number): void {
    this.#pages(offset, length, (page) => {
      assert(this.#local.has(page) || this.#held.has(page), `offset ${offset} was used before it was local`);
    });
  }

  #pages(offset: number, length: number, use: (page: number) => void): void {
    if (length === 0) return;
    for (let page = Math.floor(offset / PAGE); page <= Math.floor((offset + length - 1) / PAGE); page += 1) use(page);
  }
}
