import type { MmioAccess } from '@remio/arch';
import type { Result } from '@remio/base';
import type { RuleId } from '../remio/index.js';

/** An interrupt that reaches a vCPU now. */
export interface Delivery {
  readonly vcpu: number;
  readonly irq: number;
}

/** What an access to the controller did. */
export interface Served {
  /** What a load reads; 0 for a store. */
  readonly value: bigint;
  readonly deliveries: readonly Delivery[];
}

/**
 * The interrupt controller of one VM, as the hypervisor emulates it (reference: section A.15): which interrupts are
 * enabled, where they go, and what waits. A delivered interrupt is the vCPU's: it merges there until it is taken.
 */
export interface IrqController {
  /** Serves an access; undefined if the address is none of the controller's. */
  mmio(vcpu: number, access: MmioAccess): Served | undefined;
  /**
   * Makes an interrupt pending; `receiver` is the vCPU on whose CPU the hypervisor injects it.
   * @param onRule told when `hardened` does otherwise than the reference would
   */
  inject(irq: number, receiver: number, onRule: (rule: RuleId) => void): readonly Delivery[];
  /** The registers, and what is pending, as plain data. */
  save(): object;
  /**
   * Takes over what {@link save} gave, checked as hostile input would be; the guest's interrupts are delivered by what
   * happens next, as if nothing had been.
   * @returns the first thing that is wrong with it; the controller is then of no use
   */
  restore(state: unknown): Result<void, string>;
}

export const NOTHING: readonly Delivery[] = [];
export const served = (value: bigint | number = 0n, deliveries: readonly Delivery[] = NOTHING): Served => ({
  value: BigInt(value),
  deliveries,
});

/** Positions of the bits that are set in a 32-bit word. */
export const bitsOf = (word: number): readonly number[] => {
  const bits: number[] = [];
  for (let bit = 0; bit < 32; bit += 1) if ((word & (1 << bit)) !== 0) bits.push(bit);
  return bits;
};

/** A word made of 32 flags from `first` on. */
export const wordOf = (flags: Uint8Array, first: number): number => {
  let word = 0;
  for (let bit = 0; bit < 32; bit += 1) if (flags[first + bit] === 1) word |= 1 << bit;
  return word >>> 0;
};

/** The bytes of a table of 32-bit (or wider) registers that an access reads. */
export const accessValue = (access: MmioAccess): number => Number(access.value & 0xffff_ffffn);
