import { GIC_IRQ_LIMIT } from '@remio/arch';
import type { SavedValue } from '@remio/base';
import { type ControllerOf, type InterruptPort, PendingSet } from './interrupt-port.js';

/** What IAR reads when nothing is pending (IHI 0069, 2.2.1). */
export const GIC_SPURIOUS = 1023;

/** GICv2 CPU interface (IHI 0048, 4.4): offsets from GICC. */
const GICC_CTLR = 0x00n;
const GICC_PMR = 0x04n;
const GICC_IAR = 0x0cn;
const GICC_EOIR = 0x10n;
const GICC_SIZE = 0x2000n;

/**
 * The GIC's CPU interface: system registers (ICC_*_EL1) of a GICv3, memory-mapped (GICC) of a GICv2. Every interrupt
 * has priority 0 here, so one that is active holds back all others until its end.
 */
export class GicPort implements InterruptPort {
  readonly #gicc: bigint | undefined;
  readonly #pending = new PendingSet(GIC_IRQ_LIMIT);
  #active: number | undefined;
  /** ICC_IGRPEN1_EL1.Enable or GICC_CTLR.EnableGrp0. */
  enabled = false;
  /** ICC_PMR_EL1 or GICC_PMR: 0 lets nothing through. */
  mask = 0;

  constructor(gic: ControllerOf<'gicv2' | 'gicv3'>) {
    this.#gicc = gic.kind === 'gicv2' ? gic.gicc : undefined;
  }

  raise(irq: number): void {
    this.#pending.add(irq);
  }

  withdraw(irq: number): void {
    this.#pending.delete(irq);
  }

  get signalled(): boolean {
    return this.#next() !== undefined;
  }

  /** IAR: the interrupt that is taken now becomes active. */
  acknowledge(): number {
    const irq = this.#next();
    if (irq === undefined) return GIC_SPURIOUS;
    this.#pending.delete(irq);
    this.#active = irq;
    return irq;
  }

  /** EOIR: the active interrupt ends. */
  end(irq: number): void {
    if (irq === this.#active) this.#active = undefined;
  }

  load(address: bigint): bigint | undefined {
    const offset = this.#offset(address);
    switch (offset) {
      case undefined:
        return undefined;
      case GICC_CTLR:
        return this.enabled ? 1n : 0n;
      case GICC_PMR:
        return BigInt(this.mask);
      case GICC_IAR:
        return BigInt(this.acknowledge());
      default:
        return 0n;
    }
  }

  store(address: bigint, value: bigint): boolean {
    const offset = this.#offset(address);
    if (offset === undefined) return false;
    if (offset === GICC_CTLR) this.enabled = (value & 1n) !== 0n;
    else if (offset === GICC_PMR) this.mask = Number(value & 0xffn);
    else if (offset === GICC_EOIR) this.end(Number(value & 0x3ffn));
    return true;
  }

  reset(): void {
    this.#pending.clear();
    this.#active = undefined;
    this.enabled = false;
    this.mask = 0;
  }

  save(): object {
    return {
      pending: this.#pending.save(),
      active: this.#active ?? null,
      enabled: this.enabled,
      mask: this.mask,
    };
  }

  restore(saved: SavedValue): void {
    this.#pending.restore(saved.field('pending'));
    const active = saved.field('active');
    this.#active = active.isNull ? undefined : active.integer(0, GIC_IRQ_LIMIT - 1);
    this.enabled = saved.field('enabled').boolean();
    this.mask = saved.field('mask').integer(0, 0xff);
  }

  #next(): number | undefined {
    return this.enabled && this.mask !== 0 && this.#active === undefined ? this.#pending.lowest() : undefined;
  }

  #offset(address: bigint): bigint | undefined {
    if (this.#gicc === undefined || address < this.#gicc || address >= this.#gicc + GICC_SIZE) return undefined;
    return address - this.#gicc;
  }
}
