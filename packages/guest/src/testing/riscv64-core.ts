import {
  CAUSE_LOAD_ACCESS,
  CAUSE_LOAD_GUEST_PAGE_FAULT,
  CAUSE_STORE_ACCESS,
  CAUSE_STORE_GUEST_PAGE_FAULT,
  GPA_LIMIT,
  HYPERCALL_REGISTERS,
  loadStoreInstruction,
  type MmioAccess,
} from '@remio/arch';
import { type AccessWidth, guestAddress, hex, type SavedValue, signExtend, toU64 } from '@remio/base';
import type { Bus } from './bus.js';
import { type Core, type CoreHost, NEXT, type Step, WFI } from './core.js';
import type { InterruptPort } from './interrupt-port.js';
import { expandCompressed } from './riscv64-compressed.js';
import { Riscv64Csrs } from './riscv64-csrs.js';

/** Synchronous exceptions of scause that arise here. */
const CAUSE_ILLEGAL = 2n;
const CAUSE_BREAKPOINT = 3n;

const WIDTHS: readonly AccessWidth[] = [1, 2, 4, 8];

const A0 = 10;

/** An instruction, fetched: its 32-bit form, and what lies in memory. */
interface Fetched {
  readonly word: number;
  /** The 2 or 4 bytes at the PC. */
  readonly raw: number;
  readonly size: 2 | 4;
}

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);
/** The low 32 bits, sign-extended: what the W instructions leave. */
const word32 = (value: bigint): bigint => toU64(BigInt.asIntN(32, value));

const immI = (word: number): bigint => BigInt((word | 0) >> 20);
const immS = (word: number): bigint => BigInt((((word | 0) >> 25) << 5) | ((word >>> 7) & 31));
const immU = (word: number): bigint => BigInt((word & 0xffff_f000) | 0);
const immB = (word: number): bigint =>
  BigInt(
    (((word | 0) >> 31) << 12) | (((word >>> 7) & 1) << 11) | (((word >>> 25) & 63) << 5) | (((word >>> 8) & 15) << 1),
  );
const immJ = (word: number): bigint =>
  BigInt(
    (((word | 0) >> 31) << 20) |
      (((word >>> 12) & 255) << 12) |
      (((word >>> 20) & 1) << 11) |
      (((word >>> 21) & 1023) << 1),
  );

/** A hart in VS-mode without translation: RV64I with Zicsr, Zifencei and the integer part of C. */
export class Riscv64Core implements Core {
  pc = 0n;
  readonly #x = new BigUint64Array(32);
  readonly #bus: Bus;
  readonly #host: CoreHost;
  readonly #csrs: Riscv64Csrs;
  /** Traps so far: both forms of a trap that hardware may choose (htinst or not) are shown in turn. */
  #traps = 0;

  constructor(bus: Bus, host: CoreHost, port: InterruptPort) {
    this.#bus = bus;
    this.#host = host;
    this.#csrs = new Riscv64Csrs(host, port);
  }

  reset(entry: bigint, argument: bigint): void {
    this.#csrs.reset();
    this.#x.fill(0n);
    this.pc = entry & ~1n;
    this.#x[A0] = BigInt(this.#host.index);
    this.#x[A0 + 1] = argument;
  }

  read(register: number): bigint {
    return this.#x[register] ?? 0n;
  }

  write(register: number, value: bigint): void {
    if (register !== 0 && register < 32) this.#x[register] = value;
  }

  raise(irq: number): void {
    this.#csrs.raise(irq);
  }

  timerArmed(): void {
    this.#csrs.timerArmed();
  }

  wakes(): boolean {
    return this.#csrs.wakes;
  }

  takeInterrupt(): void {
    this.pc = this.#csrs.takeInterrupt(this.pc) ?? this.pc;
  }

  exception(cause: bigint, address: bigint): void {
    this.pc = this.#csrs.trap(cause, address, this.pc);
  }

  step(): Step {
    const fetched = this.#fetch();
    if (fetched === undefined) return { kind: 'stop', reason: `no code at ${hex(this.pc)}` };
    const { word, size } = fetched;
    const rd = (word >>> 7) & 31;
    const next = toU64(this.pc + BigInt(size));
    switch (word & 0x7f) {
      case 0x37: // LUI
        return this.#done(rd, immU(word), next);
      case 0x17: // AUIPC
        return this.#done(rd, this.pc + immU(word), next);
      case 0x6f: // JAL
        return this.#done(rd, next, this.pc + immJ(word));
      case 0x67: // JALR
        return this.#done(rd, next, (this.#rs1(word) + immI(word)) & ~1n);
      case 0x63:
        return this.#branch(word, fetched, next);
      case 0x03:
        return this.#load(word, fetched, next);
      case 0x23:
        return this.#store(word, fetched, next);
      case 0x13:
        return this.#result(rd, alu(this.#rs1(word), toU64(immI(word)), word, false, shiftIs(word, 6)), fetched, next);
      case 0x1b:
        return this.#result(rd, aluW(this.#rs1(word), toU64(immI(word)), word, false), fetched, next);
      case 0x33:
        return this.#result(rd, alu(this.#rs1(word), this.#rs2(word), word, true, shiftIs(word, 7)), fetched, next);
      case 0x3b:
        return this.#result(rd, aluW(this.#rs1(word), this.#rs2(word), word, true), fetched, next);
      case 0x0f: // FENCE, FENCE.I: a vCPU sees its own accesses in order
        return this.#done(0, 0n, next);
      case 0x73:
        return this.#system(word, fetched, next);
      default:
        return this.#illegal(fetched);
    }
  }

  save(): object {
    return { pc: hex(this.pc), x: Array.from(this.#x, hex), traps: this.#traps, csrs: this.#csrs.save() };
  }

  restore(saved: SavedValue): void {
    this.pc = saved.field('pc').u64();
    if ((this.pc & 1n) !== 0n) saved.field('pc').refuse('an even address');
    for (const [register, entry] of saved.field('x').list(32).entries()) {
      this.#x[register] = entry.u64(register === 0 ? 0n : undefined);
    }
    this.#traps = saved.field('traps').integer(0, Number.MAX_SAFE_INTEGER);
    this.#csrs.restore(saved.field('csrs'));
  }

  #fetch(): Fetched | undefined {
    const half = this.#bus.fetch(this.pc, 2);
    if (half === undefined) return undefined;
    // What stands for no 32-bit instruction decodes as none below: 0 is illegal by definition.
    if ((half & 3) !== 3) return { word: expandCompressed(half) ?? 0, raw: half, size: 2 };
    const upper = this.#bus.fetch(toU64(this.pc + 2n), 2);
    if (upper === undefined) return undefined;
    const word = ((upper << 16) | half) >>> 0;
    return { word, raw: word, size: 4 };
  }

  #rs1(word: number): bigint {
    return this.#x[(word >>> 15) & 31] ?? 0n;
  }

  #rs2(word: number): bigint {
    return this.#x[(word >>> 20) & 31] ?? 0n;
  }

  #done(register: number, value: bigint, next: bigint): Step {
    this.write(register, toU64(value));
    this.pc = toU64(next);
    return NEXT;
  }

  #result(register: number, value: bigint | undefined, fetched: Fetched, next: bigint): Step {
    return value === undefined ? this.#illegal(fetched) : this.#done(register, value, next);
  }

  #illegal({ raw }: Fetched): Step {
    this.exception(CAUSE_ILLEGAL, BigInt(raw));
    return NEXT;
  }

  #branch(word: number, fetched: Fetched, next: bigint): Step {
    const a = this.#rs1(word);
    const b = this.#rs2(word);
    const taken = compare((word >>> 12) & 7, a, b);
    if (taken === undefined) return this.#illegal(fetched);
    return this.#done(0, 0n, taken ? this.pc + immB(word) : next);
  }

  #load(word: number, fetched: Fetched, next: bigint): Step {
    const funct3 = (word >>> 12) & 7;
    const width = WIDTHS[funct3 & 3] ?? 1;
    const signExtended = funct3 < 4;
    if (!signExtended && width === 8) return this.#illegal(fetched);
    const address = toU64(this.#rs1(word) + immI(word));
    const register = (word >>> 7) & 31;
    const value = this.#bus.load(address, width);
    if (value !== undefined) return this.#done(register, signExtended ? signExtend(value, width, 8) : value, next);
    const access = { address: guestAddress(address), width, write: false, register, value: 0n };
    return this.#trap({ ...access, signExtend: signExtended, registerWidth: 8 }, fetched);
  }

  #store(word: number, fetched: Fetched, next: bigint): Step {
    const width = WIDTHS[(word >>> 12) & 7];
    if (width === undefined) return this.#illegal(fetched);
    const address = toU64(this.#rs1(word) + immS(word));
    const value = this.#rs2(word);
    if (this.#bus.store(address, width, value)) return this.#done(0, 0n, next);
    const register = (word >>> 20) & 31;
    const access = { address: guestAddress(address), width, write: true, register, value };
    return this.#trap({ ...access, signExtend: false, registerWidth: 8 }, fetched);
  }

  #trap(access: MmioAccess, { raw, size }: Fetched): Step {
    const { address, write, value } = access;
    if (address >= GPA_LIMIT) {
      // No guest-physical address: it never reaches the second stage.
      this.exception(write ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS, address);
      return NEXT;
    }
    this.#traps += 1;
    const transformed = loadStoreInstruction(access);
    // Bit 1 clear: the transformed instruction stands for a compressed one.
    const htinst = this.#traps % 2 === 0 ? BigInt(size === 2 ? transformed & ~2 : transformed) : 0n;
    return {
      kind: 'mmio',
      trap: {
        arch: 'riscv64',
        scause: write ? CAUSE_STORE_GUEST_PAGE_FAULT : CAUSE_LOAD_GUEST_PAGE_FAULT,
        stval: address,
        htval: address >> 2n,
        htinst: BigInt.asUintN(32, htinst),
        sepc: this.pc,
        instruction: htinst === 0n ? raw : 0,
        source: value,
      },
    };
  }

  #system(word: number, fetched: Fetched, next: bigint): Step {
    const funct3 = (word >>> 12) & 7;
    if (funct3 !== 0) return this.#csr(word, funct3, fetched, next);
    switch (word >>> 0) {
      case 0x0000_0073: // ECALL
        return {
          kind: 'hypercall',
          frame: {
            arch: 'riscv64',
            conduit: 'ecall',
            pc: this.pc,
            registers: [...this.#x.subarray(A0, A0 + HYPERCALL_REGISTERS.riscv64)],
          },
        };
      case 0x0010_0073: // EBREAK
        this.exception(CAUSE_BREAKPOINT, this.pc);
        return NEXT;
      case 0x1020_0073: // SRET
        this.pc = this.#csrs.sret();
        return NEXT;
      case 0x1050_0073: // WFI
        this.pc = next;
        return WFI;
      default:
        return this.#illegal(fetched);
    }
  }

  /** CSRRW, CSRRS, CSRRC, and their immediate forms. */
  #csr(word: number, funct3: number, fetched: Fetched, next: bigint): Step {
    const csr = word >>> 20;
    const field = (word >>> 15) & 31;
    const operand = funct3 >= 4 ? BigInt(field) : this.read(field);
    const operation = funct3 & 3;
    const old = this.#csrs.read(csr);
    if (old === undefined || operation === 0) return this.#illegal(fetched);
    // Setting or clearing no bits by x0 or 0 is no write (Zicsr).
    if (operation === 1 || field !== 0) {
      const value = operation === 1 ? operand : operation === 2 ? old | operand : old & ~operand;
      if (!this.#csrs.write(csr, toU64(value))) return this.#illegal(fetched);
    }
    return this.#done((word >>> 7) & 31, old, next);
  }
}

function compare(funct3: number, a: bigint, b: bigint): boolean | undefined {
  switch (funct3) {
    case 0: // BEQ
      return a === b;
    case 1: // BNE
      return a !== b;
    case 4: // BLT
      return signed(a) < signed(b);
    case 5: // BGE
      return signed(a) >= signed(b);
    case 6: // BLTU
      return a < b;
    case 7: // BGEU
      return a >= b;
    default:
      return undefined;
  }
}

/** What the upper bits of a shift say, below the shift amount of `bits`: 0 for SLL and SRL, 1 for SRA; else no shift. */
const shiftIs = (word: number, bits: 6 | 7): 0 | 1 | undefined => {
  const upper = word >>> (bits === 6 ? 26 : 25);
  return upper === 0 ? 0 : upper === (bits === 6 ? 0x10 : 0x20) ? 1 : undefined;
};

/**
 * OP and OP-IMM.
 * @param registers whether funct7 has a say: it makes ADD a SUB, and is 0 otherwise
 * @param shift what {@link shiftIs} says
 */
function alu(a: bigint, b: bigint, word: number, registers: boolean, shift: 0 | 1 | undefined): bigint | undefined {
  const funct3 = (word >>> 12) & 7;
  const amount = b & 63n;
  if (funct3 === 1) return shift === 0 ? a << amount : undefined;
  if (funct3 === 5) return shift === undefined ? undefined : (shift === 1 ? signed(a) : a) >> amount;
  if (registers && shift === undefined) return undefined;
  if (registers && shift === 1) return funct3 === 0 ? a - b : undefined;
  switch (funct3) {
    case 0:
      return a + b;
    case 2:
      return signed(a) < signed(b) ? 1n : 0n;
    case 3:
      return a < b ? 1n : 0n;
    case 4:
      return a ^ b;
    case 6:
      return a | b;
    default:
      return a & b;
  }
}

/** OP-32 and OP-IMM-32: ADD, SUB and shifts of words. */
function aluW(a: bigint, b: bigint, word: number, registers: boolean): bigint | undefined {
  const funct3 = (word >>> 12) & 7;
  const shift = shiftIs(word, 7);
  const amount = b & 31n;
  switch (funct3) {
    case 0:
      if (registers && shift === undefined) return undefined;
      return word32(registers && shift === 1 ? a - b : a + b);
    case 1:
      return shift === 0 ? word32(a << amount) : undefined;
    case 5:
      if (shift === undefined) return undefined;
      return word32((shift === 1 ? BigInt.asIntN(32, a) : BigInt.asUintN(32, a)) >> amount);
    default:
      return undefined;
  }
}
