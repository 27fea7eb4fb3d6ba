import { type InterruptController, SUPERVISOR_SOFTWARE_INTERRUPT, SUPERVISOR_TIMER_INTERRUPT } from '@remio/arch';
import { assert, hex, type SavedValue } from '@remio/base';
import type { CoreHost } from './core.js';
import { ImsicPort } from './imsic-port.js';
import type { InterruptPort } from './interrupt-port.js';
import { PlicPort } from './plic-port.js';

/** CSR numbers (Privileged ISA, table of supervisor CSRs; AIA, 2.2). */
const SSTATUS = 0x100;
const SIE = 0x104;
const STVEC = 0x105;
const SSCRATCH = 0x140;
const SEPC = 0x141;
const SCAUSE = 0x142;
const STVAL = 0x143;
const SIP = 0x144;
const SISELECT = 0x150;
const SIREG = 0x151;
const STOPEI = 0x15c;
const SATP = 0x180;
const TIME = 0xc01;

/** sstatus fields. */
const SSTATUS_SIE = 1n << 1n;
const SSTATUS_SPIE = 1n << 5n;
const SSTATUS_SPP = 1n << 8n;

/** Bits of sie and sip: software, timer and external interrupts, by their number in scause. */
const SSI = SUPERVISOR_SOFTWARE_INTERRUPT;
const STI = SUPERVISOR_TIMER_INTERRUPT;
const SEI = 9;
const bitOf = (interrupt: number): bigint => 1n << BigInt(interrupt);
const INTERRUPTS = bitOf(SSI) | bitOf(STI) | bitOf(SEI);
/** The most urgent first (Privileged ISA, 3.1.9). */
const PRIORITY = [SEI, SSI, STI];

const CAUSE_INTERRUPT = 1n << 63n;

/** The port by which a hart's external interrupts come. */
export function createRiscvPort(controller: InterruptController, hart: number): InterruptPort {
  assert(controller.kind === 'aia' || controller.kind === 'plic', 'an RV64 VM has a PLIC or an AIA');
  return controller.kind === 'aia' ? new ImsicPort() : new PlicPort(controller, hart);
}

/**
 * The supervisor CSRs of a hart and its interrupts. There is supervisor mode only, and no translation: sstatus.SPP reads
 * 1 and satp 0, whatever is written.
 */
export class Riscv64Csrs {
  readonly #host: CoreHost;
  readonly #port: InterruptPort;
  /** sstatus without SPP. */
  #status = 0n;
  #sie = 0n;
  #stvec = 0n;
  #sscratch = 0n;
  #sepc = 0n;
  #scause = 0n;
  #stval = 0n;
  #siselect = 0n;
  /** sip.SSIP and sip.STIP; sip.SEIP is the port's. */
  #pending = 0n;

  constructor(host: CoreHost, port: InterruptPort) {
    this.#host = host;
    this.#port = port;
  }

  reset(): void {
    this.#status = 0n;
    this.#sie = 0n;
    this.#stvec = 0n;
    this.#pending = 0n;
    this.#port.reset();
  }

  /** Local interrupts by their number in scause, all others as external ones. */
  raise(irq: number): void {
    if (irq === SSI || irq === STI) this.#pending |= bitOf(irq);
    else this.#port.raise(irq);
  }

  timerArmed(): void {
    this.#pending &= ~bitOf(STI);
  }

  /** Whether an interrupt is pending that sie enables: what ends WFI. */
  get wakes(): boolean {
    return (this.#sip() & this.#sie) !== 0n;
  }

  /** The interrupt that is taken now, and where the PC goes; undefined: none is. */
  takeInterrupt(pc: bigint): bigint | undefined {
    if ((this.#status & SSTATUS_SIE) === 0n) return undefined;
    const ready = this.#sip() & this.#sie;
    const interrupt = PRIORITY.find((candidate) => (ready & bitOf(candidate)) !== 0n);
    if (interrupt === undefined) return undefined;
    const base = this.trap(CAUSE_INTERRUPT | BigInt(interrupt), 0n, pc);
    return (this.#stvec & 1n) === 0n ? base : base + 4n * BigInt(interrupt);
  }

  /** Enters a trap; returns the base of stvec. */
  trap(cause: bigint, value: bigint, pc: bigint): bigint {
    this.#sepc = pc;
    this.#scause = cause;
    this.#stval = value;
    this.#status = (this.#status & SSTATUS_SIE) === 0n ? 0n : SSTATUS_SPIE;
    return this.#stvec & ~3n;
  }

  /** SRET; returns the PC. */
  sret(): bigint {
    this.#status = ((this.#status & SSTATUS_SPIE) === 0n ? 0n : SSTATUS_SIE) | SSTATUS_SPIE;
    return this.#sepc;
  }

  /** undefined: there is no such CSR. */
  read(csr: number): bigint | undefined {
    switch (csr) {
      case SSTATUS:
        return this.#status | SSTATUS_SPP;
      case SIE:
        return this.#sie;
      case STVEC:
        return this.#stvec;
      case SSCRATCH:
        return this.#sscratch;
      case SEPC:
        return this.#sepc;
      case SCAUSE:
        return this.#scause;
      case STVAL:
        return this.#stval;
      case SIP:
        return this.#sip();
      case SATP:
        return 0n;
      case TIME:
        return BigInt.asUintN(64, this.#host.counter());
      default:
        return this.#readImsic(csr);
    }
  }

  /** False: there is no such CSR, or it is read-only. */
  write(csr: number, value: bigint): boolean {
    switch (csr) {
      case SSTATUS:
        this.#status = value & (SSTATUS_SIE | SSTATUS_SPIE);
        return true;
      case SIE:
        this.#sie = value & INTERRUPTS;
        return true;
      case STVEC:
        this.#stvec = value & ~2n;
        return true;
      case SSCRATCH:
        this.#sscratch = value;
        return true;
      case SEPC:
        this.#sepc = value & ~1n;
        return true;
      case SCAUSE:
        this.#scause = value;
        return true;
      case STVAL:
        this.#stval = value;
        return true;
      case SIP:
        this.#pending = (this.#pending & bitOf(STI)) | (value & bitOf(SSI));
        return true;
      case SATP:
        return true;
      default:
        return this.#writeImsic(csr, value);
    }
  }

  save(): object {
    return {
      sstatus: hex(this.#status),
      sie: hex(this.#sie),
      stvec: hex(this.#stvec),
      sscratch: hex(this.#sscratch),
      sepc: hex(this.#sepc),
      scause: hex(this.#scause),
      stval: hex(this.#stval),
      siselect: hex(this.#siselect),
      sip: hex(this.#pending),
      port: this.#port.save(),
    };
  }

  restore(saved: SavedValue): void {
    this.#status = only(saved.field('sstatus'), SSTATUS_SIE | SSTATUS_SPIE);
    this.#sie = only(saved.field('sie'), INTERRUPTS);
    this.#stvec = only(saved.field('stvec'), ~2n);
    this.#sscratch = saved.field('sscratch').u64();
    this.#sepc = only(saved.field('sepc'), ~1n);
    this.#scause = saved.field('scause').u64();
    this.#stval = saved.field('stval').u64();
    this.#siselect = saved.field('siselect').u64();
    this.#pending = only(saved.field('sip'), bitOf(SSI) | bitOf(STI));
    this.#port.restore(saved.field('port'));
  }

  #sip(): bigint {
    return this.#pending | (this.#port.signalled ? bitOf(SEI) : 0n);
  }

  #readImsic(csr: number): bigint | undefined {
    if (!(this.#port instanceof ImsicPort)) return undefined;
    if (csr === SISELECT) return this.#siselect;
    if (csr === SIREG) return this.#port.read(this.#siselect);
    return csr === STOPEI ? this.#port.top() : undefined;
  }

  #writeImsic(csr: number, value: bigint): boolean {
    if (!(this.#port instanceof ImsicPort)) return false;
    if (csr === SIREG) return this.#port.write(this.#siselect, value);
    if (csr === SISELECT) this.#siselect = value;
    else if (csr === STOPEI) this.#port.claim();
    else return false;
    return true;
  }
}

/** A register that has these bits only. */
const only = (saved: SavedValue, mask: bigint): bigint => {
  const value = saved.u64();
  return (value & ~mask) === 0n ? value : saved.refuse(`no bits outside ${hex(BigInt.asUintN(64, mask))}`);
};
