import { enableInterruptSequence, type InterruptController, type MmioAccess } from '@remio/arch';
import { type AccessWidth, guestAddress } from '@remio/base';
import { describe, expect, it } from 'vitest';
import type { Profile, RuleId } from '../remio/index.js';
import { createIrqController, type Delivery, type IrqController } from './index.js';

const GICV2: InterruptController = { kind: 'gicv2', gicd: 0xf901_0000n, gicc: 0xf902_f000n };
const GICV3: InterruptController = { kind: 'gicv3', gicd: 0x0800_0000n, gicr: 0x080a_0000n };
const PLIC: InterruptController = { kind: 'plic', base: 0x0c00_0000n };
const AIA: InterruptController = { kind: 'aia', aplic: 0x0d00_0000n, imsic: 0x2800_0000n };

/** A VM's controller, with what reached vCPUs and which rules bit. */
class Bench {
  readonly rules: RuleId[] = [];
  readonly #irqc: IrqController;
  readonly #vcpus: number;

  constructor(controller: InterruptController, { vcpus = 2, profile = 'hardened' as Profile } = {}) {
    this.#irqc = createIrqController(controller, vcpus, profile);
    this.#vcpus = vcpus;
  }

  inject(irq: number, receiver = 0): readonly string[] {
    return this.#named(this.#irqc.inject(irq, receiver, (rule) => this.rules.push(rule)));
  }

  write(address: bigint, value: number, { by = 0, width = 4 as AccessWidth } = {}): readonly string[] {
    const served = this.#irqc.mmio(by, access(address, width, true, BigInt(value)));
    if (served === undefined) throw new Error('not an address of the controller');
    return this.#named(served.deliveries);
  }

  read(address: bigint, by = 0): number | undefined {
    const served = this.#irqc.mmio(by, access(address, 4, false, 0n));
    return served === undefined ? undefined : Number(served.value);
  }

  /** `vCPU:interrupt`. */
  #named(deliveries: readonly Delivery[]): readonly string[] {
    for (const { vcpu } of deliveries) expect(vcpu).toBeLessThan(this.#vcpus);
    return deliveries.map(({ vcpu, irq }) => `${vcpu}:${irq}`);
  }
}

const access = (address: bigint, width: AccessWidth, write: boolean, value: bigint): MmioAccess => ({
  address: guestAddress(address),
  width,
  write,
  register: 9,
  value,
  signExtend: false,
  registerWidth: 8,
});

describe.each([
  ['vGICv2', GICV2, 0xf901_0000n],
  ['vGICv3', GICV3, 0x0800_0000n],
] as const)('%s (A.15)', (_, controller, gicd) => {
  const on = (bench: Bench): readonly string[] => bench.write(gicd, 1);
  const enable = (bench: Bench, irq: number): readonly string[] =>
    bench.write(gicd + 0x100n + 4n * BigInt(irq >> 5), (1 << (irq & 31)) >>> 0);
  const disable = (bench: Bench, irq: number): readonly string[] =>
    bench.write(gicd + 0x180n + 4n * BigInt(irq >> 5), (1 << (irq & 31)) >>> 0);
  const route = (bench: Bench, irq: number, vcpu: number): readonly string[] =>
    controller.kind === 'gicv2'
      ? bench.write(gicd + 0x800n + BigInt(irq), 1 << vcpu, { width: 1 })
      : bench.write(gicd + 0x6000n + 8n * BigInt(irq), vcpu, { width: 8 });

  it('delivers an enabled SPI to vCPU 0, wherever it was raised', () => {
    const bench = new Bench(controller);
    on(bench);
    enable(bench, 79);
    expect(bench.inject(79, 1)).toEqual(['0:79']);
    expect(bench.inject(79, 0)).toEqual(['0:79']);
  });

  it('keeps a disabled SPI pending until it is enabled, once however often it came', () => {
    const bench = new Bench(controller);
    on(bench);
    for (let n = 0; n < 3; n += 1) expect(bench.inject(79)).toEqual([]);
    expect(bench.read(gicd + 0x208n)).toBe(1 << 15);
    expect(enable(bench, 79)).toEqual(['0:79']);
    expect(enable(bench, 79)).toEqual([]);
    expect(bench.read(gicd + 0x208n)).toBe(0);
  });

  it('keeps SPIs pending while the distributor is off', () => {
    const bench = new Bench(controller);
    enable(bench, 40);
    enable(bench, 41);
    expect(bench.inject(41)).toEqual([]);
    expect(bench.inject(40)).toEqual([]);
    expect(on(bench)).toEqual(['0:40', '0:41']);
  });

  it('a disabled SPI is not delivered any more', () => {
    const bench = new Bench(controller);
    on(bench);
    enable(bench, 79);
    disable(bench, 79);
    expect(bench.read(gicd + 0x108n)).toBe(0);
    expect(bench.inject(79)).toEqual([]);
  });

  it('routes an SPI where the guest says', () => {
    const bench = new Bench(controller);
    on(bench);
    enable(bench, 79);
    route(bench, 79, 1);
    expect(bench.inject(79)).toEqual(['1:79']);
  });

  it('an SPI that is routed to a vCPU that there is not waits', () => {
    const bench = new Bench(controller);
    on(bench);
    enable(bench, 79);
    route(bench, 79, 5);
    expect(bench.inject(79)).toEqual([]);
    route(bench, 79, 1);
    expect(enable(bench, 79)).toEqual(['1:79']);
  });

  it.each([[1020], [1023], [1024], [5000], [-1]])('ignores interrupt %i, beyond the distributor', (irq) => {
    const bench = new Bench(controller);
    on(bench);
    for (let word = 0; word < 32; word += 1) bench.write(gicd + 0x100n + 4n * BigInt(word), 0xffff_ffff);
    expect(bench.inject(irq)).toEqual([]);
  });

  it('takes the last SPI, 1019', () => {
    const bench = new Bench(controller);
    on(bench);
    enable(bench, 1019);
    expect(bench.inject(1019)).toEqual(['0:1019']);
  });

  it('ISPENDR makes an SPI pending, and no private interrupt', () => {
    const bench = new Bench(controller);
    on(bench);
    enable(bench, 40);
    expect(bench.write(gicd + 0x204n, 1 << 8)).toEqual(['0:40']);
    expect(bench.write(gicd + 0x200n, 0xffff_ffff)).toEqual([]);
  });

  it('answers for its own registers only', () => {
    const bench = new Bench(controller);
    expect(bench.read(gicd + 4n)).toBe(31);
    // A GICv2's distributor is a page: boards have its CPU interface right behind.
    const size = controller.kind === 'gicv2' ? 0x1000n : 0x1_0000n;
    expect(bench.read(gicd + size - 0x10n)).toBe(0);
    expect(bench.read(gicd - 4n)).toBeUndefined();
    expect(bench.read(gicd + size)).toBeUndefined();
  });
});

describe('private interrupts of a vGIC (A.15)', () => {
  it('GICv2: a PPI, or an SGI, reaches the vCPU on whose CPU it was raised, and its banked enable counts', () => {
    for (const irq of [27, 3]) {
      const bench = new Bench(GICV2);
      expect(bench.inject(irq, 1)).toEqual([]);
      expect(bench.write(GICV2.gicd + 0x100n, 1 << irq, { by: 0 })).toEqual([]);
      expect(bench.write(GICV2.gicd + 0x100n, 1 << irq, { by: 1 })).toEqual([`1:${irq}`]);
      expect(bench.inject(irq, 0)).toEqual([`0:${irq}`]);
    }
  });

  it('GICv3: the enables are in the redistributor of the vCPU', () => {
    const bench = new Bench(GICV3);
    const sgiFrame = (vcpu: number): bigint => GICV3.gicr + BigInt(vcpu) * 0x2_0000n + 0x1_0000n;
    expect(bench.write(GICV3.gicd + 0x100n, 1 << 27)).toEqual([]);
    expect(bench.inject(27, 1)).toEqual([]);
    expect(bench.write(sgiFrame(0) + 0x100n, 1 << 27)).toEqual([]);
    expect(bench.write(sgiFrame(1) + 0x100n, 1 << 27)).toEqual(['1:27']);
    expect(bench.read(sgiFrame(1) + 0x100n)).toBe(1 << 27);
    bench.write(sgiFrame(1) + 0x180n, 1 << 27);
    expect(bench.inject(27, 1)).toEqual([]);
    expect(bench.read(GICV3.gicr + 2n * 0x2_0000n)).toBeUndefined();
  });
});

describe.each(['reference', 'hardened'] as const)('vAPLIC, profile %s (A.15)', (profile) => {
  const base = 0x0d00_0000n;
  const target = (irq: number, hart: number, eiid: number) =>
    [base + 0x3004n + 4n * BigInt(irq - 1), (hart << 18) | eiid] as const;
  const configure = (bench: Bench, irq: number): readonly string[] => bench.write(base + 4n * BigInt(irq), 4);
  const enable = (bench: Bench, irq: number): readonly string[] => bench.write(base + 0x1edcn, irq);
  const on = (bench: Bench): readonly string[] => bench.write(base, (1 << 8) | (1 << 2));

  /** A domain that delivers interrupt 40 to hart 1 as identity 7. */
  const ready = (): Bench => {
    const bench = new Bench(AIA, { profile });
    on(bench);
    configure(bench, 40);
    bench.write(...target(40, 1, 7));
    enable(bench, 40);
    return bench;
  };

  it('sends a message with the guest\u2019s identity to the hart that the guest chose, every time', () => {
    const bench = ready();
    expect(bench.inject(40)).toEqual(['1:7']);
    expect(bench.inject(40)).toEqual(['1:7']);
    expect(bench.rules).toEqual([]);
  });

  it('an interrupt whose source is inactive is dropped by the reference and latched by hardened (D-23)', () => {
    const bench = new Bench(AIA, { profile });
    on(bench);
    bench.write(...target(40, 1, 7));
    enable(bench, 40);
    expect(bench.inject(40)).toEqual([]);
    expect(bench.rules).toEqual(profile === 'hardened' ? ['H-LATCH'] : []);
    expect(configure(bench, 40)).toEqual(profile === 'hardened' ? ['1:7'] : []);
    expect(bench.inject(40)).toEqual(['1:7']);
  });

  it('an active source that is not enabled latches, in both', () => {
    const bench = new Bench(AIA, { profile });
    on(bench);
    configure(bench, 40);
    bench.write(...target(40, 0, 7));
    for (let n = 0; n < 3; n += 1) expect(bench.inject(40)).toEqual([]);
    expect(enable(bench, 40)).toEqual(['0:7']);
    expect(enable(bench, 40)).toEqual([]);
  });

  it('interrupts wait while the domain is off', () => {
    const bench = new Bench(AIA, { profile });
    configure(bench, 40);
    bench.write(...target(40, 0, 7));
    enable(bench, 40);
    expect(bench.inject(40)).toEqual([]);
    expect(on(bench)).toEqual(['0:7']);
    expect(bench.read(base)).toBe(0x8000_0000 + (1 << 8) + (1 << 2));
  });

  it('clrienum disables', () => {
    const bench = ready();
    bench.write(base + 0x1fdcn, 40);
    expect(bench.inject(40)).toEqual([]);
    expect(enable(bench, 40)).toEqual(['1:7']);
  });

  it('a target that names no hart of the VM, or identity 0, holds the interrupt', () => {
    const bench = ready();
    bench.write(...target(40, 2, 7));
    expect(bench.inject(40)).toEqual([]);
    bench.write(...target(40, 0, 0));
    expect(bench.write(...target(40, 0, 9))).toEqual(['0:9']);
  });

  it.each([[0], [1024], [-3], [70_000]])('ignores interrupt %i', (irq) => {
    expect(ready().inject(irq)).toEqual([]);
  });

  it('ignores enables of sources that there are not', () => {
    const bench = ready();
    for (const irq of [0, 1024, 0xffff_ffff]) expect(enable(bench, irq)).toEqual([]);
    expect(bench.read(base + 0x4000n)).toBeUndefined();
  });
});

describe('vPLIC (A.15)', () => {
  const base = 0x0c00_0000n;
  const enables = (hart: number, irq: number): bigint =>
    base + 0x2000n + 0x80n * BigInt(2 * hart + 1) + 4n * BigInt(irq >> 5);
  const threshold = (hart: number): bigint => base + 0x20_0000n + 0x1000n * BigInt(2 * hart + 1);
  const bit = (irq: number): number => (1 << (irq & 31)) >>> 0;

  /** Interrupt 40 with a priority, enabled in hart 0. */
  const ready = (priority = 1): Bench => {
    const bench = new Bench(PLIC);
    bench.write(base + 4n * 40n, priority);
    bench.write(enables(0, 40), bit(40));
    return bench;
  };

  it('ignores id 0, ids beyond the controller, and negative ones', () => {
    const bench = ready();
    for (const irq of [0, 1024, 4096, -1]) expect(bench.inject(irq)).toEqual([]);
  });

  it('keeps an interrupt pending that no context enables, once however often it came', () => {
    const bench = new Bench(PLIC);
    bench.write(base + 4n * 40n, 1);
    for (let n = 0; n < 3; n += 1) expect(bench.inject(40)).toEqual([]);
    expect(bench.write(enables(1, 40), bit(40))).toHaveLength(1);
    expect(bench.write(enables(1, 40), bit(40))).toEqual([]);
  });

  it('priority 0 never interrupts; a priority must be above the threshold, not at it', () => {
    expect(ready(0).inject(40)).toEqual([]);
    const bench = ready(3);
    bench.write(threshold(0), 3);
    expect(bench.inject(40)).toEqual([]);
    expect(bench.write(threshold(0), 2)).toHaveLength(1);
    const raised = ready(1);
    raised.write(threshold(0), 1);
    expect(raised.inject(40)).toEqual([]);
    expect(raised.write(base + 4n * 40n, 2)).toHaveLength(1);
  });

  it('reads back what it was told: priorities and thresholds have three bits', () => {
    const bench = ready(0xff);
    expect(bench.read(base + 4n * 40n)).toBe(7);
    bench.write(threshold(1), 0xfa);
    expect(bench.read(threshold(1))).toBe(2);
    expect(bench.read(enables(0, 40))).toBe(bit(40));
    expect(bench.read(base + 0x400_0000n)).toBeUndefined();
  });
});

describe.each([
  ['vGICv2', GICV2],
  ['vGICv3', GICV3],
  ['vPLIC', PLIC],
  ['vAPLIC', AIA],
] as const)('%s and the stores of a guest', (_, controller) => {
  it('have every interrupt enabled that the guest enabled, in whatever word they share', () => {
    const bench = new Bench(controller);
    const enabled: number[] = [];
    for (const irq of [36, 37, 40, 78, 63, 64]) {
      for (const { address, width, value } of enableInterruptSequence(controller, irq, 0, enabled)) {
        bench.write(address, Number(value), { width });
      }
      enabled.push(irq);
    }
    expect(enabled.flatMap((irq) => bench.inject(irq))).toEqual(enabled.map((irq) => `0:${irq}`));
  });
});
