import {
  GIC_FIRST_SPI,
  GIC_IRQ_LIMIT,
  GICD_CTLR,
  GICD_CTLR_ENABLE,
  GICD_ICENABLER,
  GICD_IPRIORITYR,
  GICD_IROUTER,
  GICD_ISENABLER,
  GICD_ISPENDR,
  GICD_ITARGETSR,
  GICD_SIZE,
  GICD_TYPER,
  GICR_ICENABLER0,
  GICR_ISENABLER0,
  GICR_SGI_FRAME,
  GICR_STRIDE,
  GICV2_GICD_SIZE,
  type InterruptController,
  type MmioAccess,
} from '@remio/arch';
import { numberOf, type Result, restoring } from '@remio/base';
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

type Gic = Extract<InterruptController, { kind: 'gicv2' | 'gicv3' }>;

/** Bytes of a register file with one bit per interrupt. */
const BITMAP = GIC_IRQ_LIMIT / 8 + 1;

/**
 * The virtual GIC: distributor, and for GICv3 the redistributors' enables. An interrupt that is not enabled stays
 * pending until it is; pending twice is pending once. An id beyond the distributor is ignored.
 */
export class VGic implements IrqController {
  readonly #gic: Gic;
  readonly #vcpus: number;
  /**
   * Where the distributor and the redistributors begin, and just past them, as numbers (physical addresses are below
   * 2^53): every access of the VM is compared with them.
   */
  readonly #gicd: number;
  readonly #gicr: number;
  readonly #gicdEnd: number;
  readonly #gicrEnd: number;
  readonly #enabled = new Uint8Array(GIC_IRQ_LIMIT + 32);
  readonly #pending = new Uint8Array(GIC_IRQ_LIMIT + 32);
  readonly #target = new Uint32Array(GIC_IRQ_LIMIT);
  /** By interrupt: how it was delivered last. */
  readonly #deliveries: (readonly [Delivery] | undefined)[] = [];
  /** [vCPU * 32 + id] of private interrupts. */
  readonly #privateEnabled: Uint8Array;
  readonly #privatePending: Uint8Array;
  #on = false;

  constructor(gic: Gic, vcpus: number) {
    this.#gic = gic;
    this.#vcpus = vcpus;
    this.#gicd = Number(gic.gicd);
    this.#gicdEnd = this.#gicd + (gic.kind === 'gicv2' ? GICV2_GICD_SIZE : GICD_SIZE);
    this.#gicr = gic.kind === 'gicv3' ? Number(gic.gicr) : 0;
    this.#gicrEnd = gic.kind === 'gicv3' ? this.#gicr + GICR_STRIDE * vcpus : 0;
    this.#privateEnabled = new Uint8Array(32 * vcpus);
    this.#privatePending = new Uint8Array(32 * vcpus);
  }

  inject(irq: number, receiver: number): readonly Delivery[] {
    if (irq < 0 || irq >= GIC_IRQ_LIMIT) return NOTHING;
    if (irq < GIC_FIRST_SPI) {
      this.#privatePending[32 * receiver + irq] = 1;
      return this.#deliverPrivate(receiver, irq);
    }
    this.#pending[irq] = 1;
    return this.#deliver(irq);
  }

  mmio(vcpu: number, access: MmioAccess): Served | undefined {
    const address = numberOf(access.address);
    if (address >= this.#gicd && address < this.#gicdEnd) return this.#distributor(vcpu, address - this.#gicd, access);
    if (address < this.#gicr || address >= this.#gicrEnd) return undefined;
    const redistributor = address - this.#gicr;
    const owner = Math.floor(redistributor / GICR_STRIDE);
    const offset = redistributor % GICR_STRIDE;
    if (offset < GICR_SGI_FRAME) return served();
    return this.#privateEnable(owner, offset - GICR_SGI_FRAME, GICR_ISENABLER0, GICR_ICENABLER0, access);
  }

  save(): object {
    return {
      kind: this.#gic.kind,
      on: this.#on,
      enabled: saveFlags(this.#enabled),
      pending: saveFlags(this.#pending),
      target: saveTable(this.#target),
      privateEnabled: saveFlags(this.#privateEnabled),
      privatePending: saveFlags(this.#privatePending),
    };
  }

  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => {
      saved.field('kind').oneOf(this.#gic.kind);
      this.#on = saved.field('on').boolean();
      restoreFlags(saved.field('enabled'), this.#enabled);
      restoreFlags(saved.field('pending'), this.#pending);
      restoreTable(saved.field('target'), this.#target, 0xff);
      restoreFlags(saved.field('privateEnabled'), this.#privateEnabled);
      restoreFlags(saved.field('privatePending'), this.#privatePending);
    });
  }

  #distributor(vcpu: number, offset: number, access: MmioAccess): Served {
    if (offset === GICD_CTLR) {
      if (!access.write) return served(this.#on ? GICD_CTLR_ENABLE : 0);
      this.#on = (accessValue(access) & GICD_CTLR_ENABLE) !== 0;
      return served(0n, this.#deliverAll());
    }
    if (offset === GICD_TYPER) return served(Math.ceil(GIC_IRQ_LIMIT / 32) - 1);
    if (within(offset, GICD_ISENABLER, BITMAP)) return this.#enable(vcpu, offset - GICD_ISENABLER, access, true);
    if (within(offset, GICD_ICENABLER, BITMAP)) return this.#enable(vcpu, offset - GICD_ICENABLER, access, false);
    if (within(offset, GICD_ISPENDR, BITMAP)) return this.#setPending(offset - GICD_ISPENDR, access);
    if (within(offset, GICD_IPRIORITYR, GIC_IRQ_LIMIT)) return served();
    if (within(offset, GICD_ITARGETSR, GIC_IRQ_LIMIT) && this.#gic.kind === 'gicv2') {
      return this.#targets(offset - GICD_ITARGETSR, access);
    }
    if (within(offset, GICD_IROUTER, 8 * GIC_IRQ_LIMIT) && this.#gic.kind === 'gicv3') {
      const irq = Math.floor((offset - GICD_IROUTER) / 8);
      if (!access.write) return served(this.#target[irq] ?? 0);
      // Affinity 0 is the vCPU's position; the upper affinities of a VM are 0.
      if (offset % 8 === 0 && irq >= GIC_FIRST_SPI) this.#target[irq] = accessValue(access) & 0xff;
      return served();
    }
    return served();
  }

  #enable(vcpu: number, offset: number, access: MmioAccess, on: boolean): Served {
    const first = 8 * offset;
    if (offset < 4) {
      return this.#gic.kind === 'gicv2'
        ? this.#privateEnable(vcpu, offset, on ? 0 : -1, on ? -1 : 0, access)
        : served();
    }
    if (!access.write) return served(wordOf(this.#enabled, first));
    const deliveries: Delivery[] = [];
    for (const bit of bitsOf(accessValue(access))) {
      this.#enabled[first + bit] = on ? 1 : 0;
      deliveries.push(...this.#deliver(first + bit));
    }
    return served(0n, deliveries);
  }

  #privateEnable(vcpu: number, offset: number, set: number, clear: number, access: MmioAccess): Served {
    if (offset !== set && offset !== clear) return served();
    if (!access.write) return served(wordOf(this.#privateEnabled, 32 * vcpu));
    const deliveries: Delivery[] = [];
    for (const bit of bitsOf(accessValue(access))) {
      this.#privateEnabled[32 * vcpu + bit] = offset === set ? 1 : 0;
      deliveries.push(...this.#deliverPrivate(vcpu, bit));
    }
    return served(0n, deliveries);
  }

  #setPending(offset: number, access: MmioAccess): Served {
    const first = 8 * offset;
    if (!access.write) return served(wordOf(this.#pending, first));
    const deliveries: Delivery[] = [];
    for (const bit of bitsOf(accessValue(access))) {
      if (first + bit >= GIC_FIRST_SPI) deliveries.push(...this.inject(first + bit, 0));
    }
    return served(0n, deliveries);
  }

  #targets(irq: number, access: MmioAccess): Served {
    if (!access.write) return served(1 << (this.#target[irq] ?? 0));
    for (let n = 0; n < access.width; n += 1) {
      const mask = Number((access.value >> BigInt(8 * n)) & 0xffn);
      // Several targets are one: the lowest CPU that is named takes the interrupt.
      if (mask !== 0 && irq + n >= GIC_FIRST_SPI) this.#target[irq + n] = 31 - Math.clz32(mask & -mask);
    }
    return served();
  }

  #deliverAll(): readonly Delivery[] {
    const deliveries: Delivery[] = [];
    for (let irq = GIC_FIRST_SPI; irq < GIC_IRQ_LIMIT; irq += 1) deliveries.push(...this.#deliver(irq));
    return deliveries;
  }

  #deliver(irq: number): readonly Delivery[] {
    if (!this.#on || this.#pending[irq] !== 1 || this.#enabled[irq] !== 1) return NOTHING;
    const vcpu = this.#target[irq] ?? 0;
    if (vcpu >= this.#vcpus) return NOTHING;
    this.#pending[irq] = 0;
    const known = this.#deliveries[irq];
    if (known?.[0].vcpu === vcpu) return known;
    const delivery = [{ vcpu, irq }] as const;
    this.#deliveries[irq] = delivery;
    return delivery;
  }

  #deliverPrivate(vcpu: number, irq: number): readonly Delivery[] {
    const at = 32 * vcpu + irq;
    if (this.#privatePending[at] !== 1 || this.#privateEnabled[at] !== 1) return NOTHING;
    this.#privatePending[at] = 0;
    return [{ vcpu, irq }];
  }
}

const within = (offset: number, start: number, length: number): boolean => offset >= start && offset < start + length;
