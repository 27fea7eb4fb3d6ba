import {
  type Arch,
  encodeDataAbort,
  encodeGuestPageFault,
  FIRST_REGISTER,
  HYPERCALL_REGISTERS,
  type HypercallFrame,
  hypercallFrame,
  type MmioAccess,
  type MmioTrap,
} from '@remio/arch';
import { type AccessWidth, assert, guestAddress, toU64 } from '@remio/base';
import { CODE_SIZE } from './symbols.js';

/** Registers that loads and stores of programs use in turn: x9..x15, or t0..t2 and t3..t6. */
const SCRATCH: Readonly<Record<Arch, readonly number[]>> = {
  aarch64: [9, 10, 11, 12, 13, 14, 15],
  riscv64: [5, 6, 7, 28, 29, 30, 31],
};

/** The register that reads as 0. */
const ZERO: Readonly<Record<Arch, number>> = { aarch64: 31, riscv64: 0 };

/**
 * What hardware would show of a vCPU that runs a TypeScript program: the register file and the PC, and for each of the
 * program's operations the instruction that it would be.
 */
export class ProgramProcessor {
  readonly arch: Arch;
  readonly #index: number;
  readonly #scratch: readonly number[];
  readonly #zero: number;
  readonly #registers = new BigUint64Array(32);
  /** Architectural number of the first register of a hypercall, and how many there are. */
  readonly #first: number;
  readonly #count: number;
  /** What they hold; kept as the list that was loaded last, since nothing else is done with them. */
  #arguments: readonly bigint[] = [];
  #pc = 0n;
  #entry = 0n;
  /** Where the PC goes back to the entry point. */
  #codeEnd = 0n;
  #operations = 0;

  /** @param index position of the vCPU in its VM */
  constructor(arch: Arch, index: number) {
    this.arch = arch;
    this.#index = index;
    this.#first = FIRST_REGISTER[arch];
    this.#count = HYPERCALL_REGISTERS[arch];
    this.#scratch = SCRATCH[arch];
    this.#zero = ZERO[arch];
  }

  /** Starts at `entry` with `argument` in x0, or with the hart's number in a0 and `argument` in a1. */
  start(entry: bigint, argument: bigint): void {
    this.#entry = entry;
    this.#codeEnd = entry + BigInt(CODE_SIZE - 4);
    this.#pc = entry;
    this.#operations = 0;
    this.#arguments = this.arch === 'aarch64' ? [argument] : [BigInt(this.#index), argument];
  }

  /** The load or store as an instruction; a store's value is in its source register then. */
  access(address: bigint, width: AccessWidth, write: boolean, value: bigint): MmioAccess {
    const register = this.#scratch[this.#operations % this.#scratch.length] ?? 9;
    if (write) this.write(register, value);
    const registerWidth = this.arch === 'riscv64' || width === 8 ? 8 : 4;
    return { address: guestAddress(address), width, write, register, value, signExtend: false, registerWidth };
  }

  /** What hardware shows when the access traps. On RV64 both forms that hardware may choose are shown in turn. */
  trap(access: MmioAccess): MmioTrap {
    this.#operations += 1;
    const form = this.#operations % 2 === 0 ? 'htinst' : 'instruction';
    const pc = this.#nextPc();
    const trap = this.arch === 'aarch64' ? encodeDataAbort(access, pc) : encodeGuestPageFault(access, pc, form);
    assert(trap !== undefined, 'the address is one that a guest can access');
    return trap;
  }

  /** What hardware shows of an HVC or ECALL with these registers; missing ones are 0. */
  call(registers: readonly bigint[]): HypercallFrame {
    this.#operations += 1;
    const count = this.#count;
    const loaded = registers.length === count ? registers : Array.from({ length: count }, (_, n) => registers[n] ?? 0n);
    this.#arguments = loaded;
    return hypercallFrame(this.arch, loaded, this.#nextPc());
  }

  /** A hypercall is done: registers x0.. or a0.. and the PC as they stand now. */
  called(registers: readonly bigint[], pc: bigint): void {
    this.#arguments = registers;
    this.#pc = pc;
  }

  /** An access is done: the register that the hypervisor wrote, if it wrote one, and the PC as it stands now. */
  accessed(register: number | undefined, value: bigint, pc: bigint): void {
    if (register !== undefined) this.write(register, value);
    this.#pc = pc;
  }

  read(register: number): bigint {
    if (register === this.#zero) return 0n;
    const argument = register - this.#first;
    if (argument >= 0 && argument < this.#count) return this.#arguments[argument] ?? 0n;
    return this.#registers[register] ?? 0n;
  }

  write(register: number, value: bigint): void {
    if (register === this.#zero || register >= 32) return;
    const argument = register - this.#first;
    if (argument >= 0 && argument < this.#count) {
      this.#arguments = Array.from({ length: this.#count }, (_, n) =>
        n === argument ? toU64(value) : (this.#arguments[n] ?? 0n),
      );
    } else this.#registers[register] = value;
  }

  /** Code of a program is a stretch of addresses that its PC runs through again and again. */
  #nextPc(): bigint {
    if (this.#pc >= this.#codeEnd) this.#pc = this.#entry;
    return this.#pc;
  }
}
