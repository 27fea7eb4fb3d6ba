import { hex, type SavedValue } from '@remio/base';
import { type InterruptPort, PendingSet } from './interrupt-port.js';

/** First identity that no interrupt file has (RISC-V AIA, 3.1). */
const IDENTITY_LIMIT = 2048;

/** Indirectly accessed registers of an interrupt file (RISC-V AIA, 3.8). */
const EIDELIVERY = 0x70n;
const EITHRESHOLD = 0x72n;
const EIP0 = 0x80n;
const EIE0 = 0xc0n;
const EIE_END = 0x100n;
const WORDS = IDENTITY_LIMIT / 64;

/** A hart's guest interrupt file: messages of the APLIC arrive here, and the guest takes them by `stopei`. */
export class ImsicPort implements InterruptPort {
  readonly #pending = new PendingSet(IDENTITY_LIMIT);
  /** eie, 64 identities each. */
  readonly #enabled = new BigUint64Array(WORDS);
  #delivery = false;
  #threshold = 0;

  raise(irq: number): void {
    if (irq > 0) this.#pending.add(irq);
  }

  get signalled(): boolean {
    return this.#delivery && this.top() !== 0n;
  }

  /** `stopei` (3.9): the most urgent identity, which is its own priority, in bits 26..16 and 10..0; 0 for none. */
  top(): bigint {
    const irq = this.#pending.lowest(
      (id) =>
        (this.#threshold === 0 || id < this.#threshold) &&
        (((this.#enabled[Math.floor(id / 64)] ?? 0n) >> BigInt(id % 64)) & 1n) === 1n,
    );
    return irq === undefined ? 0n : BigInt((irq << 16) | irq);
  }

  /** A write of `stopei`, whatever the value: the most urgent interrupt is claimed. */
  claim(): void {
    this.#pending.delete(Number(this.top() & 0x7ffn));
  }

  /** `sireg`; undefined: the file has no such register. */
  read(select: bigint): bigint | undefined {
    if (select === EIDELIVERY) return this.#delivery ? 1n : 0n;
    if (select === EITHRESHOLD) return BigInt(this.#threshold);
    const word = wordOf(select);
    if (word === undefined) return undefined;
    if (select >= EIE0) return this.#enabled[word] ?? 0n;
    let pending = 0n;
    for (let bit = 0; bit < 64; bit += 1) if (this.#pending.has(64 * word + bit)) pending |= 1n << BigInt(bit);
    return pending;
  }

  write(select: bigint, value: bigint): boolean {
    if (select === EIDELIVERY) this.#delivery = (value & 1n) !== 0n;
    else if (select === EITHRESHOLD) this.#threshold = Number(value & BigInt(IDENTITY_LIMIT - 1));
    else {
      const word = wordOf(select);
      if (word === undefined) return false;
      if (select >= EIE0) this.#enabled[word] = value;
      else {
        for (let bit = 0; bit < 64; bit += 1) {
          if (((value >> BigInt(bit)) & 1n) === 1n) this.raise(64 * word + bit);
          else this.#pending.delete(64 * word + bit);
        }
      }
    }
    return true;
  }

  load(_address: bigint): bigint | undefined {
    return undefined;
  }

  store(_address: bigint, _value: bigint): boolean {
    return false;
  }

  reset(): void {
    this.#pending.clear();
    this.#enabled.fill(0n);
    this.#delivery = false;
    this.#threshold = 0;
  }

  save(): object {
    return {
      pending: this.#pending.save(),
      enabled: Array.from(this.#enabled, hex),
      delivery: this.#delivery,
      threshold: this.#threshold,
    };
  }

  restore(saved: SavedValue): void {
    this.#pending.restore(saved.field('pending'));
    if (this.#pending.has(0)) saved.field('pending').refuse('identities, which start at 1');
    for (const [word, entry] of saved.field('enabled').list(WORDS).entries()) this.#enabled[word] = entry.u64();
    this.#delivery = saved.field('delivery').boolean();
    this.#threshold = saved.field('threshold').integer(0, IDENTITY_LIMIT - 1);
  }
}

/** Position of a 64-bit word of eip or eie: on RV64, odd selectors do not exist. */
const wordOf = (select: bigint): number | undefined =>
  select >= EIP0 && select < EIE_END && select % 2n === 0n ? Number(select % 0x40n) / 2 : undefined;
