import {
  type InterruptController,
  type MmioAccess,
  PLIC_CONTEXT,
  PLIC_CONTEXT_STRIDE,
  PLIC_ENABLE,
  PLIC_ENABLE_STRIDE,
  PLIC_IRQ_LIMIT,
  PLIC_SIZE,
  plicContext,
} from '@remio/arch';
import { type Result, restoring } from '@remio/base';
import {
  accessValue,
  bitsOf,
  type Delivery,
  type IrqController,
  NOTHING,
  type Served,
  served,
  wordOf,
} from './irq-controller.js';
import { restoreFlags, restoreTable, saveFlags, saveTable } from './saved-tables.js';

/** Priorities and thresholds have three bits. */
const PRIORITY_MASK = 7;

/**
 * The virtual PLIC. Id 0, ids beyond the controller and ids already pending are ignored; a pending one goes to every
 * supervisor context that enables it with a priority above its threshold, and the first to claim it has it: here the
 * delivery is the claim, so the lowest such vCPU takes it.
 */
export class VPlic implements IrqController {
  readonly #base: bigint;
  readonly #end: bigint;
  readonly #vcpus: number;
  readonly #priority = new Uint32Array(PLIC_IRQ_LIMIT);
  readonly #pending = new Uint8Array(PLIC_IRQ_LIMIT);
  /** [vCPU][id] */
  readonly #enabled: readonly Uint8Array[];
  readonly #threshold: Uint32Array;

  constructor(plic: Extract<InterruptController, { kind: 'plic' }>, vcpus: number) {
    this.#base = plic.base;
    this.#end = plic.base + BigInt(PLIC_SIZE);
    this.#vcpus = vcpus;
    this.#enabled = Array.from({ length: vcpus }, () => new Uint8Array(PLIC_IRQ_LIMIT));
    this.#threshold = new Uint32Array(vcpus);
  }

  inject(irq: number): readonly Delivery[] {
    if (irq <= 0 || irq >= PLIC_IRQ_LIMIT) return NOTHING;
    this.#pending[irq] = 1;
    return this.#deliver(irq);
  }

  mmio(_vcpu: number, access: MmioAccess): Served | undefined {
    if (access.address < this.#base || access.address >= this.#end) return undefined;
    const offset = Number(access.address - this.#base);
    if (offset < 4 * PLIC_IRQ_LIMIT) {
      const irq = offset / 4;
      if (!access.write) return served(this.#priority[irq] ?? 0);
      this.#priority[irq] = accessValue(access) & PRIORITY_MASK;
      return served(0n, this.#deliver(irq));
    }
    for (let vcpu = 0; vcpu < this.#vcpus; vcpu += 1) {
      const context = plicContext(vcpu);
      const enable = offset - PLIC_ENABLE - context * PLIC_ENABLE_STRIDE;
      if (enable >= 0 && enable < PLIC_ENABLE_STRIDE) return this.#enable(vcpu, 8 * enable, access);
      if (offset === PLIC_CONTEXT + context * PLIC_CONTEXT_STRIDE) {
        if (!access.write) return served(this.#threshold[vcpu] ?? 0);
        this.#threshold[vcpu] = accessValue(access) & PRIORITY_MASK;
        return served(0n, this.#deliverAll());
      }
    }
    return served();
  }

  save(): object {
    return {
      kind: 'plic',
      priority: saveTable(this.#priority),
      pending: saveFlags(this.#pending),
      enabled: this.#enabled.map(saveFlags),
      threshold: saveTable(this.#threshold),
    };
  }

  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => {
      saved.field('kind').oneOf('plic');
      restoreTable(saved.field('priority'), this.#priority, PRIORITY_MASK);
      restoreFlags(saved.field('pending'), this.#pending);
      for (const [vcpu, entry] of saved.field('enabled').list(this.#vcpus).entries()) {
        restoreFlags(entry, this.#enabled[vcpu] ?? new Uint8Array());
      }
      restoreTable(saved.field('threshold'), this.#threshold, PRIORITY_MASK);
    });
  }

  #enable(vcpu: number, first: number, access: MmioAccess): Served {
    const flags = this.#enabled[vcpu] ?? new Uint8Array();
    if (!access.write) return served(wordOf(flags, first));
    const set = new Set(bitsOf(accessValue(access)));
    for (let bit = 0; bit < 32; bit += 1) flags[first + bit] = set.has(bit) ? 1 : 0;
    return served(0n, this.#deliverAll());
  }

  #deliverAll(): readonly Delivery[] {
    const deliveries: Delivery[] = [];
    for (let irq = 1; irq < PLIC_IRQ_LIMIT; irq += 1) deliveries.push(...this.#deliver(irq));
    return deliveries;
  }

  #deliver(irq: number): readonly Delivery[] {
    if (this.#pending[irq] !== 1) return NOTHING;
    for (let vcpu = 0; vcpu < this.#vcpus; vcpu += 1) {
      if (this.#enabled[vcpu]?.[irq] !== 1 || (this.#priority[irq] ?? 0) <= (this.#threshold[vcpu] ?? 0)) continue;
      this.#pending[irq] = 0;
      return [{ vcpu, irq }];
    }
    return NOTHING;
  }
}
