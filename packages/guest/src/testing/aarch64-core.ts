import { ESR_IL, type InterruptController, XZR } from '@remio/arch';
import { hex, type SavedValue, toU64 } from '@remio/base';
import {
  addWithCarry,
  bits,
  conditionHolds,
  cut,
  decodeBitMasks,
  extend,
  FLAG_C,
  FLAG_V,
  nz,
  shift,
  signedBits,
} from './aarch64-data.js';
import { Aarch64Accesses, type AccessHost } from './aarch64-load-store.js';
import { Aarch64System } from './aarch64-system.js';
import type { Bus } from './bus.js';
import { type Core, type CoreHost, NEXT, type Step, WFI } from './core.js';
import type { GicPort } from './gic-port.js';

/** ESR_EL1 of an instruction that is none (EC 0). */
const ESR_UNKNOWN = ESR_IL;

/**
 * A vCPU at EL1 without translation: the A64 instructions that move data between registers and memory, compute on
 * general registers, branch, and call. No floating point, no EL0.
 */
export class Aarch64Core implements Core, AccessHost {
  pc = 0n;
  /** x0 to x30, then SP. */
  readonly #x = new BigUint64Array(32);
  #flags = 0;
  readonly #bus: Bus;
  readonly #accesses: Aarch64Accesses;
  readonly #system: Aarch64System;

  constructor(bus: Bus, host: CoreHost, port: GicPort, controller: InterruptController) {
    this.#bus = bus;
    this.#accesses = new Aarch64Accesses(this, bus);
    this.#system = new Aarch64System(host, port, controller);
  }

  reset(entry: bigint, argument: bigint): void {
    this.#system.reset();
    this.#x.fill(0n);
    this.#flags = 0;
    this.pc = entry & ~3n;
    this.#x[0] = argument;
  }

  read(register: number): bigint {
    return register === XZR ? 0n : (this.#x[register] ?? 0n);
  }

  write(register: number, value: bigint): void {
    if (register < XZR) this.#x[register] = value;
  }

  readSp(register: number): bigint {
    return this.#x[register] ?? 0n;
  }

  writeSp(register: number, value: bigint): void {
    this.#x[register] = toU64(value);
  }

  raise(irq: number): void {
    this.#system.raise(irq);
  }

  timerArmed(): void {
    this.#system.timerArmed();
  }

  wakes(): boolean {
    return this.#system.wakes;
  }

  takeInterrupt(): void {
    this.pc = this.#system.takeInterrupt(this.pc, this.#flags) ?? this.pc;
  }

  exception(cause: bigint, address: bigint | undefined): void {
    this.pc = this.#system.exception(cause, address, this.pc, this.#flags);
  }

  unknown(): Step {
    this.exception(ESR_UNKNOWN, undefined);
    return NEXT;
  }

  done(): Step {
    this.pc = toU64(this.pc + 4n);
    return NEXT;
  }

  step(): Step {
    const word = this.#bus.fetch(this.pc, 4);
    if (word === undefined) return { kind: 'stop', reason: `no code at ${hex(this.pc)}` };
    // Main encoding, op1 (Arm ARM, C4.1).
    switch (bits(word, 28, 25)) {
      case 0b1000:
      case 0b1001:
        return this.#immediate(word);
      case 0b1010:
      case 0b1011:
        return this.#branchOrSystem(word);
      case 0b0100:
      case 0b1100:
        return this.#accesses.step(word);
      case 0b0101:
      case 0b1101:
        return this.#registers(word);
      default:
        return this.unknown();
    }
  }

  save(): object {
    return { pc: hex(this.pc), x: Array.from(this.#x, hex), nzcv: this.#flags, system: this.#system.save() };
  }

  restore(saved: SavedValue): void {
    this.pc = saved.field('pc').u64();
    if ((this.pc & 3n) !== 0n) saved.field('pc').refuse('a multiple of 4');
    for (const [register, entry] of saved.field('x').list(32).entries()) this.#x[register] = entry.u64();
    this.#flags = saved.field('nzcv').integer(0, 15);
    this.#system.restore(saved.field('system'));
  }

  /** Writes a register, zero-extended from 32 bits if it is a W. */
  #put(register: number, value: bigint, wide: boolean): Step {
    this.write(register, cut(value, wide));
    return this.done();
  }

  #immediate(word: number): Step {
    const wide = word >>> 31 === 1;
    const [rd, rn] = [bits(word, 4, 0), bits(word, 9, 5)];
    const op = bits(word, 30, 29);
    switch (bits(word, 25, 23)) {
      case 0b000:
      case 0b001: {
        // ADR, ADRP
        const offset = (signedBits(word, 23, 5) << 2n) | BigInt(op);
        const page = word >>> 31 === 1;
        return this.#put(rd, page ? (this.pc & ~0xfffn) + (offset << 12n) : this.pc + offset, true);
      }
      case 0b010: {
        const imm = BigInt(bits(word, 21, 10)) << (bits(word, 22, 22) === 1 ? 12n : 0n);
        return this.#addSub(word, this.readSp(rn), imm, true);
      }
      case 0b100: {
        const masks = decodeBitMasks(bits(word, 22, 22), bits(word, 15, 10), bits(word, 21, 16), true, wide);
        if (masks === undefined) return this.unknown();
        return this.#logical(op, this.read(rn), masks.wmask, rd, wide, true);
      }
      case 0b101:
        return this.#moveWide(word, op, rd, wide);
      case 0b110:
        return this.#bitfield(word, op, rd, rn, wide);
      default:
        return this.unknown();
    }
  }

  /** ADD, SUB, ADDS, SUBS; register 31 is SP where `sp` says so, but the result of a flag-setting one is never. */
  #addSub(word: number, a: bigint, operand: bigint, sp: boolean): Step {
    const wide = word >>> 31 === 1;
    const subtract = bits(word, 30, 30) === 1;
    const { value, flags } = addWithCarry(a, subtract ? ~operand : operand, subtract ? 1n : 0n, wide);
    const rd = bits(word, 4, 0);
    if (bits(word, 29, 29) === 1) this.#flags = flags;
    else if (sp) {
      this.writeSp(rd, value);
      return this.done();
    }
    return this.#put(rd, value, wide);
  }

  /** AND, ORR, EOR, ANDS. The immediate forms may name SP as their destination. */
  #logical(op: number, a: bigint, b: bigint, rd: number, wide: boolean, sp: boolean): Step {
    const value = cut(op === 1 ? a | b : op === 2 ? a ^ b : a & b, wide);
    if (op === 3) this.#flags = nz(value, wide) & ~(FLAG_C | FLAG_V);
    else if (sp) {
      this.writeSp(rd, value);
      return this.done();
    }
    return this.#put(rd, value, wide);
  }

  /** MOVN, MOVZ, MOVK. */
  #moveWide(word: number, op: number, rd: number, wide: boolean): Step {
    const half = bits(word, 22, 21);
    if (op === 1 || (!wide && half > 1)) return this.unknown();
    const at = BigInt(16 * half);
    const imm = BigInt(bits(word, 20, 5)) << at;
    const value = op === 0 ? ~imm : op === 2 ? imm : (this.read(rd) & ~(0xffffn << at)) | imm;
    return this.#put(rd, value, wide);
  }

  /** SBFM, BFM, UBFM: shifts and extensions by immediates are aliases of these. */
  #bitfield(word: number, op: number, rd: number, rn: number, wide: boolean): Step {
    const [n, immr, imms] = [bits(word, 22, 22), bits(word, 21, 16), bits(word, 15, 10)];
    const masks = decodeBitMasks(n, imms, immr, false, wide);
    if (masks === undefined || op === 3 || n !== word >>> 31 || (!wide && (immr > 31 || imms > 31))) {
      return this.unknown();
    }
    const { wmask, tmask } = masks;
    const from = this.read(rn);
    const old = op === 1 ? this.read(rd) : 0n;
    const bottom = (old & ~wmask) | (shift(from, 3, immr, wide) & wmask);
    const top = op === 0 ? (((from >> BigInt(imms)) & 1n) === 1n ? -1n : 0n) : old;
    return this.#put(rd, (top & ~tmask) | (bottom & tmask), wide);
  }

  #registers(word: number): Step {
    const wide = word >>> 31 === 1;
    const [rd, rn, rm] = [bits(word, 4, 0), bits(word, 9, 5), bits(word, 20, 16)];
    const amount = bits(word, 15, 10);
    if (bits(word, 28, 24) === 0b01010) {
      if (!wide && amount > 31) return this.unknown();
      const operand = shift(this.read(rm), bits(word, 23, 22), amount, wide);
      return this.#logical(
        bits(word, 30, 29),
        this.read(rn),
        bits(word, 21, 21) === 1 ? ~operand : operand,
        rd,
        wide,
        false,
      );
    }
    if (bits(word, 28, 24) !== 0b01011) return this.unknown();
    if (bits(word, 21, 21) === 0) {
      if (bits(word, 23, 22) === 3 || (!wide && amount > 31)) return this.unknown();
      return this.#addSub(word, this.read(rn), shift(this.read(rm), bits(word, 23, 22), amount, wide), false);
    }
    const by = bits(word, 12, 10);
    if (bits(word, 23, 22) !== 0 || by > 4) return this.unknown();
    return this.#addSub(word, this.readSp(rn), extend(this.read(rm), bits(word, 15, 13), by), true);
  }

  #branchOrSystem(word: number): Step {
    const op = bits(word, 31, 26);
    if (op === 0b000101 || op === 0b100101) {
      // B, BL
      if (op === 0b100101) this.write(30, toU64(this.pc + 4n));
      return this.#jump(this.pc + 4n * signedBits(word, 25, 0));
    }
    if (bits(word, 30, 25) === 0b011010) {
      // CBZ, CBNZ
      const zero = cut(this.read(bits(word, 4, 0)), word >>> 31 === 1) === 0n;
      return this.#branchIf(zero === (bits(word, 24, 24) === 0), signedBits(word, 23, 5));
    }
    if (bits(word, 30, 25) === 0b011011) {
      // TBZ, TBNZ
      const bit = (bits(word, 31, 31) << 5) | bits(word, 23, 19);
      const clear = ((this.read(bits(word, 4, 0)) >> BigInt(bit)) & 1n) === 0n;
      return this.#branchIf(clear === (bits(word, 24, 24) === 0), signedBits(word, 18, 5));
    }
    if ((word & 0xff00_0010) >>> 0 === 0x5400_0000) {
      return this.#branchIf(conditionHolds(bits(word, 3, 0), this.#flags), signedBits(word, 23, 5));
    }
    if ((word & 0xffe0_001f) >>> 0 === 0xd400_0002) return this.#call('hvc');
    if ((word & 0xffe0_001f) >>> 0 === 0xd400_0003) return this.#call('smc');
    if (word >>> 22 === 0x354) return this.#systemInstruction(word);
    return this.#branchRegister(word);
  }

  #jump(target: bigint): Step {
    this.pc = toU64(target);
    return NEXT;
  }

  #branchIf(taken: boolean, offset: bigint): Step {
    return taken ? this.#jump(this.pc + 4n * offset) : this.done();
  }

  /** BR, BLR, RET, ERET. */
  #branchRegister(word: number): Step {
    if (word >>> 0 === 0xd69f_03e0) {
      const returned = this.#system.eret();
      if (returned === undefined) return this.unknown();
      this.#flags = returned.flags;
      return this.#jump(returned.pc);
    }
    const target = this.read(bits(word, 9, 5));
    switch ((word & 0xffff_fc1f) >>> 0) {
      case 0xd63f_0000:
        this.write(30, toU64(this.pc + 4n));
        return this.#jump(target);
      case 0xd61f_0000:
      case 0xd65f_0000:
        return this.#jump(target);
      default:
        return this.unknown();
    }
  }

  /** The PC stays here; the frame shows what ELR_EL2 would hold: past an HVC, at an SMC. */
  #call(conduit: 'hvc' | 'smc'): Step {
    const pc = conduit === 'hvc' ? toU64(this.pc + 4n) : this.pc;
    return { kind: 'hypercall', frame: { arch: 'aarch64', conduit, pc, registers: [...this.#x.subarray(0, 7)] } };
  }

  /** Hints, barriers, MSR and MRS. */
  #systemInstruction(word: number): Step {
    const [read, register, rt] = [bits(word, 21, 21) === 1, bits(word, 19, 5), bits(word, 4, 0)];
    if (bits(word, 20, 20) === 1) {
      if (!read) return this.#system.write(register, this.read(rt)) ? this.done() : this.unknown();
      const value = this.#system.read(register);
      return value === undefined ? this.unknown() : this.#put(rt, value, true);
    }
    const fixed = (word & 0xffff_f01f) >>> 0;
    if (fixed === 0xd503_201f) {
      // Hints: WFI is number 3, all others are as NOP.
      const step = this.done();
      return bits(word, 11, 5) === 3 ? WFI : step;
    }
    // Barriers: a vCPU sees its own accesses in order.
    if (fixed === 0xd503_301f) return this.done();
    if ((word & 0xffff_f0df) >>> 0 === 0xd503_40df) {
      this.#system.mask(bits(word, 11, 8), bits(word, 5, 5) === 0);
      return this.done();
    }
    return this.unknown();
  }
}
