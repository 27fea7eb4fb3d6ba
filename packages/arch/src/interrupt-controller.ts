import type { AccessWidth } from '@remio/base';

/**
 * An interrupt controller, with the physical addresses of its frames: the board's, and where a VM sees its own. The
 * hypervisor's interface (`gich`), the virtual CPU interface (`gicv`), a GICv3's memory-mapped CPU interface, and what
 * an IMSIC has are there where they are known.
 */
export type InterruptController =
  | {
      readonly kind: 'gicv2';
      readonly gicd: bigint;
      readonly gicc: bigint;
      readonly gich?: bigint;
      readonly gicv?: bigint;
    }
  | {
      readonly kind: 'gicv3';
      readonly gicd: bigint;
      readonly gicr: bigint;
      readonly gicc?: bigint;
      readonly gich?: bigint;
      readonly gicv?: bigint;
    }
  | { readonly kind: 'plic'; readonly base: bigint }
  | {
      readonly kind: 'aia';
      readonly aplic: bigint;
      readonly imsic: bigint;
      /** External interrupt identities of an interrupt file, from 1. */
      readonly msis?: number;
      /** Guest interrupt files of a hart. */
      readonly guestFiles?: number;
    };

/** GIC distributor (Arm IHI 0069, 12.9): offsets from GICD. */
export const GICD_CTLR = 0x0000;
export const GICD_TYPER = 0x0004;
export const GICD_ISENABLER = 0x0100;
export const GICD_ICENABLER = 0x0180;
export const GICD_ISPENDR = 0x0200;
export const GICD_IPRIORITYR = 0x0400;
export const GICD_ITARGETSR = 0x0800;
export const GICD_IROUTER = 0x6000;
export const GICD_SIZE = 0x1_0000;
/** GICv2's distributor and CPU interface are smaller (GIC-400, 3.1), and boards place other frames behind them. */
export const GICV2_GICD_SIZE = 0x1000;
export const GICV2_GICC_SIZE = 0x2000;
/** GICv2: EnableGrp0; GICv3: EnableGrp1 in the Non-secure view. Bit 0 as guests write it. */
export const GICD_CTLR_ENABLE = 1;
/** First shared interrupt. */
export const GIC_FIRST_SPI = 32;
/** First id that is no SPI any more. */
export const GIC_IRQ_LIMIT = 1020;
/** GICv3 redistributor of one CPU: the RD frame, then the SGI frame (IHI 0069, 12.10). */
export const GICR_STRIDE = 0x2_0000;
export const GICR_SGI_FRAME = 0x1_0000;
export const GICR_ISENABLER0 = 0x0100;
export const GICR_ICENABLER0 = 0x0180;

/** PLIC (RISC-V PLIC specification): offsets from its base. */
export const PLIC_PRIORITY = 0x0;
export const PLIC_ENABLE = 0x2000;
export const PLIC_ENABLE_STRIDE = 0x80;
export const PLIC_CONTEXT = 0x20_0000;
export const PLIC_CONTEXT_STRIDE = 0x1000;
export const PLIC_SIZE = 0x400_0000;
export const PLIC_IRQ_LIMIT = 1024;
/** The supervisor context of a hart: contexts alternate between machine and supervisor mode. */
export const plicContext = (hart: number): number => 2 * hart + 1;

/** APLIC domain (RISC-V AIA, chapter 4): offsets from its base. */
export const APLIC_DOMAINCFG = 0x0000;
export const APLIC_SOURCECFG = 0x0004;
export const APLIC_SETIENUM = 0x1edc;
export const APLIC_CLRIENUM = 0x1fdc;
export const APLIC_TARGET = 0x3004;
export const APLIC_SIZE = 0x4000;
/** Interrupt file of one hart (RISC-V AIA, chapter 3). */
export const IMSIC_PAGE = 0x1000;
export const APLIC_IRQ_LIMIT = 1024;
/** domaincfg: interrupts enabled, delivery by message. */
export const APLIC_DOMAINCFG_IE = 1 << 8;
export const APLIC_DOMAINCFG_DM = 1 << 2;
/** sourcecfg modes: inactive; rising edge. */
export const APLIC_SOURCE_INACTIVE = 0;
export const APLIC_SOURCE_EDGE1 = 4;
/** target: the hart in bits 31..18, the external interrupt identity in bits 10..0. */
export const APLIC_TARGET_HART_SHIFT = 18;
export const APLIC_TARGET_EIID_MASK = 0x7ff;

/** A store that a guest must make. */
export interface DeviceStore {
  readonly address: bigint;
  readonly width: AccessWidth;
  readonly value: bigint;
}

const store = (address: bigint, offset: number, value: number, width: AccessWidth = 4): DeviceStore => ({
  address: address + BigInt(offset),
  width,
  value: BigInt(value),
});

/**
 * The stores by which a guest enables an interrupt and routes it to one of its vCPUs.
 * @param enabled interrupts that the vCPU has enabled before: a PLIC has one word for 32 of them, which is written whole
 */
export function enableInterruptSequence(
  controller: InterruptController,
  irq: number,
  vcpu: number,
  enabled: readonly number[] = [],
): readonly DeviceStore[] {
  const word = 4 * Math.floor(irq / 32);
  // `<<` gives a signed number: bit 31 is made unsigned again.
  const bit = (1 << (irq % 32)) >>> 0;
  switch (controller.kind) {
    case 'gicv2':
      return [
        store(controller.gicd, GICD_CTLR, GICD_CTLR_ENABLE),
        ...(irq < GIC_FIRST_SPI ? [] : [store(controller.gicd, GICD_ITARGETSR + irq, 1 << (vcpu & 7), 1)]),
        store(controller.gicd, GICD_ISENABLER + word, bit),
      ];
    case 'gicv3':
      return irq < GIC_FIRST_SPI
        ? [store(controller.gicr, vcpu * GICR_STRIDE + GICR_SGI_FRAME + GICR_ISENABLER0, bit)]
        : [
            store(controller.gicd, GICD_CTLR, GICD_CTLR_ENABLE),
            store(controller.gicd, GICD_IROUTER + 8 * irq, vcpu, 8),
            store(controller.gicd, GICD_ISENABLER + word, bit),
          ];
    case 'plic': {
      const context = plicContext(vcpu);
      const first = 8 * word;
      const others = enabled.filter((other) => other >= first && other < first + 32);
      const flags = others.reduce((all, other) => (all | (1 << (other % 32))) >>> 0, bit);
      return [
        store(controller.base, PLIC_PRIORITY + 4 * irq, 1),
        store(controller.base, PLIC_CONTEXT + context * PLIC_CONTEXT_STRIDE, 0),
        store(controller.base, PLIC_ENABLE + context * PLIC_ENABLE_STRIDE + word, flags),
      ];
    }
    case 'aia':
      return [
        store(controller.aplic, APLIC_DOMAINCFG, APLIC_DOMAINCFG_IE | APLIC_DOMAINCFG_DM),
        store(controller.aplic, APLIC_SOURCECFG + 4 * (irq - 1), APLIC_SOURCE_EDGE1),
        store(controller.aplic, APLIC_TARGET + 4 * (irq - 1), ((vcpu << APLIC_TARGET_HART_SHIFT) | irq) >>> 0),
        store(controller.aplic, APLIC_SETIENUM, irq),
      ];
  }
}
