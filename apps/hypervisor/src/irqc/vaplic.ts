import {
  APLIC_CLRIENUM,
  APLIC_DOMAINCFG,
  APLIC_DOMAINCFG_IE,
  APLIC_IRQ_LIMIT,
  APLIC_SETIENUM,
  APLIC_SIZE,
  APLIC_SOURCE_INACTIVE,
  APLIC_SOURCECFG,
  APLIC_TARGET,
  APLIC_TARGET_EIID_MASK,
  APLIC_TARGET_HART_SHIFT,
  type InterruptController,
  type MmioAccess,
} from '@remio/arch';
import { type Result, restoring } from '@remio/base';
import type { Profile, RuleId } from '../remio/index.js';
import { accessValue, type Delivery, type IrqController, NOTHING, type Served, served } from './irq-controller.js';
import { restoreFlags, restoreTable, saveFlags, saveTable } from './saved-tables.js';

/** Bits of domaincfg that hold what is written; source modes of sourcecfg. */
const DOMAINCFG_MASK = 0x1ff;
const SOURCECFG_MASK = 7;

/**
 * The virtual APLIC of an AIA machine: a source's interrupt goes as a message, with the identity that the guest chose,
 * to the guest interrupt file of the hart that it chose. The reference drops an interrupt whose source the guest has
 * not configured yet (D-23); `hardened` latches it.
 */
export class VAplic implements IrqController {
  readonly #base: bigint;
  readonly #end: bigint;
  readonly #vcpus: number;
  readonly #profile: Profile;
  readonly #mode = new Uint8Array(APLIC_IRQ_LIMIT);
  readonly #enabled = new Uint8Array(APLIC_IRQ_LIMIT);
  readonly #pending = new Uint8Array(APLIC_IRQ_LIMIT);
  readonly #target = new Uint32Array(APLIC_IRQ_LIMIT);
  #domain = 0;

  constructor(aia: Extract<InterruptController, { kind: 'aia' }>, vcpus: number, profile: Profile) {
    this.#base = aia.aplic;
    this.#end = aia.aplic + BigInt(APLIC_SIZE);
    this.#vcpus = vcpus;
    this.#profile = profile;
  }

  inject(irq: number, _receiver: number, onRule: (rule: RuleId) => void): readonly Delivery[] {
    if (irq <= 0 || irq >= APLIC_IRQ_LIMIT) return NOTHING;
    if (this.#mode[irq] === APLIC_SOURCE_INACTIVE) {
      if (this.#profile === 'reference') return NOTHING;
      onRule('H-LATCH');
    }
    this.#pending[irq] = 1;
    return this.#deliver(irq);
  }

  mmio(_vcpu: number, access: MmioAccess): Served | undefined {
    if (access.address < this.#base || access.address >= this.#end) return undefined;
    const offset = Number(access.address - this.#base);
    if (offset === APLIC_DOMAINCFG) {
      if (!access.write) return served((0x8000_0000 | this.#domain) >>> 0);
      this.#domain = accessValue(access) & DOMAINCFG_MASK;
      return served(0n, this.#deliverAll());
    }
    if (offset === APLIC_SETIENUM || offset === APLIC_CLRIENUM) {
      const irq = accessValue(access);
      if (!access.write || irq === 0 || irq >= APLIC_IRQ_LIMIT) return served();
      this.#enabled[irq] = offset === APLIC_SETIENUM ? 1 : 0;
      return served(0n, this.#deliver(irq));
    }
    const source = 1 + (offset - APLIC_SOURCECFG) / 4;
    if (source >= 1 && source < APLIC_IRQ_LIMIT) {
      if (!access.write) return served(this.#mode[source] ?? 0);
      this.#mode[source] = accessValue(access) & SOURCECFG_MASK;
      return served(0n, this.#deliver(source));
    }
    const target = 1 + (offset - APLIC_TARGET) / 4;
    if (target >= 1 && target < APLIC_IRQ_LIMIT) {
      if (!access.write) return served(this.#target[target] ?? 0);
      this.#target[target] = accessValue(access);
      return served(0n, this.#deliver(target));
    }
    return served();
  }

  save(): object {
    return {
      kind: 'aia',
      domaincfg: this.#domain,
      sourcecfg: saveTable(this.#mode),
      enabled: saveFlags(this.#enabled),
      pending: saveFlags(this.#pending),
      target: saveTable(this.#target),
    };
  }

  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => {
      saved.field('kind').oneOf('aia');
      this.#domain = saved.field('domaincfg').integer(0, DOMAINCFG_MASK);
      restoreTable(saved.field('sourcecfg'), this.#mode, SOURCECFG_MASK);
      restoreFlags(saved.field('enabled'), this.#enabled);
      restoreFlags(saved.field('pending'), this.#pending);
      restoreTable(saved.field('target'), this.#target, 0xffff_ffff);
    });
  }

  #deliverAll(): readonly Delivery[] {
    const deliveries: Delivery[] = [];
    for (let irq = 1; irq < APLIC_IRQ_LIMIT; irq += 1) deliveries.push(...this.#deliver(irq));
    return deliveries;
  }

  #deliver(irq: number): readonly Delivery[] {
    const ready =
      this.#pending[irq] === 1 &&
      this.#enabled[irq] === 1 &&
      this.#mode[irq] !== APLIC_SOURCE_INACTIVE &&
      (this.#domain & APLIC_DOMAINCFG_IE) !== 0;
    const target = this.#target[irq] ?? 0;
    const vcpu = target >>> APLIC_TARGET_HART_SHIFT;
    const eiid = target & APLIC_TARGET_EIID_MASK;
    if (!ready || vcpu >= this.#vcpus || eiid === 0) return NOTHING;
    this.#pending[irq] = 0;
    return [{ vcpu, irq: eiid }];
  }
}
