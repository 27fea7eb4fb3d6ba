import { type InterruptController, VIRTUAL_TIMER_PPI, vcpuMpidr } from '@remio/arch';
import { assert, hex, type SavedValue } from '@remio/base';
import type { CoreHost } from './core.js';
import { GicPort } from './gic-port.js';

/** System registers as MSR and MRS name them: op0, op1, CRn, CRm, op2 (Arm ARM, C5.3 and D24). */
const sysreg = (op0: number, op1: number, crn: number, crm: number, op2: number): number =>
  ((op0 & 1) << 14) | (op1 << 11) | (crn << 7) | (crm << 3) | op2;

const MPIDR_EL1 = sysreg(3, 0, 0, 0, 5);
const SPSR_EL1 = sysreg(3, 0, 4, 0, 0);
const ELR_EL1 = sysreg(3, 0, 4, 0, 1);
const CURRENT_EL = sysreg(3, 0, 4, 2, 2);
const ICC_PMR_EL1 = sysreg(3, 0, 4, 6, 0);
const ESR_EL1 = sysreg(3, 0, 5, 2, 0);
const FAR_EL1 = sysreg(3, 0, 6, 0, 0);
const VBAR_EL1 = sysreg(3, 0, 12, 0, 0);
const ICC_IAR1_EL1 = sysreg(3, 0, 12, 12, 0);
const ICC_EOIR1_EL1 = sysreg(3, 0, 12, 12, 1);
const ICC_SRE_EL1 = sysreg(3, 0, 12, 12, 5);
const ICC_IGRPEN1_EL1 = sysreg(3, 0, 12, 12, 7);
const DAIF = sysreg(3, 3, 4, 2, 1);
const CNTFRQ_EL0 = sysreg(3, 3, 14, 0, 0);
const CNTVCT_EL0 = sysreg(3, 3, 14, 0, 2);
const CNTV_CTL_EL0 = sysreg(3, 3, 14, 3, 1);
const CNTV_CVAL_EL0 = sysreg(3, 3, 14, 3, 2);

/** PSTATE.DAIF as it stands in DAIF and SPSR_EL1. */
const DAIF_MASK = 0x3c0n;
const DAIF_I = 0x80n;
/** SPSR_EL1.M: EL1 with its own stack pointer. */
const MODE_EL1H = 5n;
/** Vectors of exceptions from the current level with SP_EL1 (Arm ARM, D1.3.1.1). */
const VECTOR_SYNC = 0x200n;
const VECTOR_IRQ = 0x280n;

/** CNTV_CTL_EL0 fields. */
const CTL_ENABLE = 1n;
const CTL_IMASK = 2n;
const CTL_ISTATUS = 4n;

/** The counter counts nanoseconds. */
const FREQUENCY = 1_000_000_000n;

/** The CPU interface by which a vCPU's interrupts come. */
export function createGicPort(controller: InterruptController): GicPort {
  assert(controller.kind === 'gicv2' || controller.kind === 'gicv3', 'an AArch64 VM has a GIC');
  return new GicPort(controller);
}

/** The system registers of a vCPU at EL1h, and its interrupts. */
export class Aarch64System {
  readonly #host: CoreHost;
  readonly #port: GicPort;
  readonly #systemRegisters: boolean;
  #daif = DAIF_MASK;
  #spsr = 0n;
  #elr = 0n;
  #esr = 0n;
  #far = 0n;
  #vbar = 0n;
  #timerControl = 0n;
  #timerCompare = 0n;

  /** @param controller a GICv3 has its CPU interface in system registers, a GICv2 in memory */
  constructor(host: CoreHost, port: GicPort, controller: InterruptController) {
    this.#host = host;
    this.#port = port;
    this.#systemRegisters = controller.kind === 'gicv3';
  }

  reset(): void {
    this.#daif = DAIF_MASK;
    this.#vbar = 0n;
    this.#timerControl = 0n;
    this.#port.reset();
  }

  raise(irq: number): void {
    this.#port.raise(irq);
  }

  timerArmed(): void {
    this.#port.withdraw(VIRTUAL_TIMER_PPI);
  }

  /** WFI ends with an interrupt that the GIC signals, masked or not. */
  get wakes(): boolean {
    return this.#port.signalled;
  }

  /** Where the PC goes for the interrupt that is taken now; undefined: none is. */
  takeInterrupt(pc: bigint, flags: number): bigint | undefined {
    if ((this.#daif & DAIF_I) !== 0n || !this.#port.signalled) return undefined;
    return this.#enter(pc, flags, VECTOR_IRQ);
  }

  /** Enters a synchronous exception; returns the PC. */
  exception(esr: bigint, far: bigint | undefined, pc: bigint, flags: number): bigint {
    this.#esr = esr;
    if (far !== undefined) this.#far = far;
    return this.#enter(pc, flags, VECTOR_SYNC);
  }

  /** ERET; undefined if SPSR_EL1 names another mode than EL1h. */
  eret(): { readonly pc: bigint; readonly flags: number } | undefined {
    if ((this.#spsr & 0x1fn) !== MODE_EL1H) return undefined;
    this.#daif = this.#spsr & DAIF_MASK;
    return { pc: this.#elr, flags: Number((this.#spsr >> 28n) & 15n) };
  }

  /** MSR DAIFSet and DAIFClr: the bits D, A, I, F as 3 to 0. */
  mask(bits: number, set: boolean): void {
    const mask = BigInt(bits) << 6n;
    this.#daif = set ? this.#daif | mask : this.#daif & ~mask;
  }

  /** MRS; undefined: there is no such register. */
  read(register: number): bigint | undefined {
    switch (register) {
      case MPIDR_EL1:
        // Bit 31 is RES1.
        return 0x8000_0000n | vcpuMpidr(this.#host.index);
      case CURRENT_EL:
        return 4n;
      case SPSR_EL1:
        return this.#spsr;
      case ELR_EL1:
        return this.#elr;
      case ESR_EL1:
        return this.#esr;
      case FAR_EL1:
        return this.#far;
      case VBAR_EL1:
        return this.#vbar;
      case DAIF:
        return this.#daif;
      case CNTFRQ_EL0:
        return FREQUENCY;
      case CNTVCT_EL0:
        return BigInt.asUintN(64, this.#host.counter());
      case CNTV_CTL_EL0:
        return this.#timerControl | (this.#host.counter() >= this.#timerCompare ? CTL_ISTATUS : 0n);
      case CNTV_CVAL_EL0:
        return this.#timerCompare;
      default:
        return this.#systemRegisters ? this.#readGic(register) : undefined;
    }
  }

  /** MSR; false: there is no such register, or it is read-only. */
  write(register: number, value: bigint): boolean {
    switch (register) {
      case SPSR_EL1:
        this.#spsr = value;
        return true;
      case ELR_EL1:
        this.#elr = value;
        return true;
      case ESR_EL1:
        this.#esr = value;
        return true;
      case FAR_EL1:
        this.#far = value;
        return true;
      case VBAR_EL1:
        this.#vbar = value & ~0x7ffn;
        return true;
      case DAIF:
        this.#daif = value & DAIF_MASK;
        return true;
      case CNTV_CTL_EL0:
        this.#timerControl = value & (CTL_ENABLE | CTL_IMASK);
        this.#arm();
        return true;
      case CNTV_CVAL_EL0:
        this.#timerCompare = value;
        this.#arm();
        return true;
      default:
        return this.#systemRegisters && this.#writeGic(register, value);
    }
  }

  save(): object {
    return {
      daif: hex(this.#daif),
      spsr: hex(this.#spsr),
      elr: hex(this.#elr),
      esr: hex(this.#esr),
      far: hex(this.#far),
      vbar: hex(this.#vbar),
      cntvCtl: hex(this.#timerControl),
      cntvCval: hex(this.#timerCompare),
      gic: this.#port.save(),
    };
  }

  restore(saved: SavedValue): void {
    const daif = saved.field('daif').u64();
    if ((daif & ~DAIF_MASK) !== 0n) saved.field('daif').refuse(`no bits outside ${hex(DAIF_MASK)}`);
    this.#daif = daif;
    this.#spsr = saved.field('spsr').u64();
    this.#elr = saved.field('elr').u64();
    this.#esr = saved.field('esr').u64();
    this.#far = saved.field('far').u64();
    this.#vbar = saved.field('vbar').u64();
    if ((this.#vbar & 0x7ffn) !== 0n) saved.field('vbar').refuse('a multiple of 0x800');
    this.#timerControl = saved.field('cntvCtl').u64(CTL_ENABLE | CTL_IMASK);
    this.#timerCompare = saved.field('cntvCval').u64();
    this.#port.restore(saved.field('gic'));
  }

  #enter(pc: bigint, flags: number, vector: bigint): bigint {
    this.#elr = pc;
    this.#spsr = (BigInt(flags) << 28n) | this.#daif | MODE_EL1H;
    this.#daif = DAIF_MASK;
    return this.#vbar + vector;
  }

  #arm(): void {
    const fires = (this.#timerControl & (CTL_ENABLE | CTL_IMASK)) === CTL_ENABLE;
    this.timerArmed();
    this.#host.setTimer(fires ? this.#timerCompare : undefined);
  }

  #readGic(register: number): bigint | undefined {
    switch (register) {
      case ICC_IAR1_EL1:
        return BigInt(this.#port.acknowledge());
      case ICC_PMR_EL1:
        return BigInt(this.#port.mask);
      case ICC_IGRPEN1_EL1:
        return this.#port.enabled ? 1n : 0n;
      case ICC_SRE_EL1:
        // The system registers are the only interface.
        return 7n;
      default:
        return undefined;
    }
  }

  #writeGic(register: number, value: bigint): boolean {
    switch (register) {
      case ICC_EOIR1_EL1:
        this.#port.end(Number(value & 0xff_ffffn));
        return true;
      case ICC_PMR_EL1:
        this.#port.mask = Number(value & 0xffn);
        return true;
      case ICC_IGRPEN1_EL1:
        this.#port.enabled = (value & 1n) !== 0n;
        return true;
      case ICC_SRE_EL1:
        return true;
      default:
        return false;
    }
  }
}
