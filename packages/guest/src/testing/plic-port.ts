import { PLIC_CONTEXT, PLIC_CONTEXT_STRIDE, PLIC_IRQ_LIMIT, plicContext } from '@remio/arch';
import type { SavedValue } from '@remio/base';
import { type ControllerOf, type InterruptPort, PendingSet } from './interrupt-port.js';

/** Claim and completion register of a context (RISC-V PLIC specification, chapters 7 and 8). */
const PLIC_CLAIM = 4;

/** The claim register of a hart's supervisor context. The platform's PLIC has decided who claims when it delivers. */
export class PlicPort implements InterruptPort {
  readonly #claim: bigint;
  readonly #pending = new PendingSet(PLIC_IRQ_LIMIT);

  constructor(plic: ControllerOf<'plic'>, hart: number) {
    this.#claim = plic.base + BigInt(PLIC_CONTEXT + plicContext(hart) * PLIC_CONTEXT_STRIDE + PLIC_CLAIM);
  }

  raise(irq: number): void {
    this.#pending.add(irq);
  }

  get signalled(): boolean {
    return this.#pending.lowest() !== undefined;
  }

  load(address: bigint): bigint | undefined {
    if (address !== this.#claim) return undefined;
    const irq = this.#pending.lowest() ?? 0;
    this.#pending.delete(irq);
    return BigInt(irq);
  }

  store(address: bigint, _value: bigint): boolean {
    return address === this.#claim;
  }

  reset(): void {
    this.#pending.clear();
  }

  save(): object {
    return { pending: this.#pending.save() };
  }

  restore(saved: SavedValue): void {
    this.#pending.restore(saved.field('pending'));
  }
}
