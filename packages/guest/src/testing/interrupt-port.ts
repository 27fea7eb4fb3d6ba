import type { InterruptController } from '@remio/arch';
import type { SavedValue } from '@remio/base';

/**
 * A vCPU's end of its interrupt controller: the GIC's CPU interface, the hart's IMSIC file, the PLIC's claim register.
 * An interrupt that was delivered to the vCPU waits here until the guest takes it; that needs no hypervisor.
 */
export interface InterruptPort {
  /** Makes an interrupt pending; merged while it already is. */
  raise(irq: number): void;
  /** Whether an interrupt asks for the vCPU now. */
  readonly signalled: boolean;
  /** A load of the port's registers; undefined: the address is none of them. */
  load(address: bigint): bigint | undefined;
  /** A store; false: the address is none of the port's. */
  store(address: bigint, value: bigint): boolean;
  reset(): void;
  save(): object;
  restore(saved: SavedValue): void;
}

/** The controllers of one architecture. */
export type ControllerOf<Kind extends InterruptController['kind']> = Extract<InterruptController, { kind: Kind }>;

/** Interrupts that are pending, ids ascending: equal priorities are taken by the lowest id first. */
export class PendingSet {
  readonly #limit: number;
  readonly #ids = new Set<number>();

  /** @param limit first id that does not exist */
  constructor(limit: number) {
    this.#limit = limit;
  }

  add(irq: number): void {
    if (irq >= 0 && irq < this.#limit) this.#ids.add(irq);
  }

  delete(irq: number): void {
    this.#ids.delete(irq);
  }

  has(irq: number): boolean {
    return this.#ids.has(irq);
  }

  clear(): void {
    this.#ids.clear();
  }

  /** The lowest id that `wanted` accepts; undefined if there is none. */
  lowest(wanted: (irq: number) => boolean = () => true): number | undefined {
    let lowest: number | undefined;
    for (const irq of this.#ids) if (wanted(irq) && (lowest === undefined || irq < lowest)) lowest = irq;
    return lowest;
  }

  save(): readonly number[] {
    return [...this.#ids].sort((a, b) => a - b);
  }

  restore(saved: SavedValue): void {
    this.#ids.clear();
    for (const entry of saved.list()) {
      const irq = entry.integer(0, this.#limit - 1);
      if (this.#ids.has(irq)) entry.refuse('each interrupt once');
      this.#ids.add(irq);
    }
  }
}
