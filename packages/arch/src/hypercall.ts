import { toU64 } from '@remio/base';
import { SMCCC_VND_HYP_SRVC64 } from './aarch64.js';
import { HC_REMIO } from './bao.js';
import { SBI_EID_BAO } from './riscv64.js';
import type { Arch, Conduit, HypercallFrame } from './traps.js';

/** Arguments of a Bao hypercall. Numbers above 64 bits do not exist: each is taken modulo 2^64 by whoever made it. */
export interface BaoCall {
  /** Hypercall number: HC_IPC 1, HC_REMIO 2. */
  readonly nr: bigint;
  readonly dm: bigint;
  readonly addr: bigint;
  readonly op: bigint;
  readonly value: bigint;
  readonly id: bigint;
}

/** The function id of the call that every remote access makes twice. */
const REMIO_FUNCTION = SMCCC_VND_HYP_SRVC64 | HC_REMIO;

/** Where a Bao hypercall's parts lie in a {@link HypercallFrame}'s registers (positions in x0..x6 or a0..a7). */
export interface HypercallLayout {
  /** Position of input 0 (`dm`); the others follow. */
  readonly inputs: number;
  /** Position of output 0; the other five follow. */
  readonly outputs: number;
  /** Position of the result code. */
  readonly result: number;
}

/** Section B.1 of the reference: registers of the Bao hypercall. */
export const HYPERCALL_LAYOUT: Readonly<Record<Arch, HypercallLayout>> = {
  aarch64: { inputs: 1, outputs: 1, result: 0 },
  riscv64: { inputs: 0, outputs: 2, result: 1 },
};

/** Outputs of a successful ASK. */
export const ASK_OUTPUTS = 6;

/** Architectural number of the first register of a frame: x0, or a0 = x10. */
export const FIRST_REGISTER: Readonly<Record<Arch, number>> = { aarch64: 0, riscv64: 10 };

/** The instruction with which TypeScript guests call. */
export const DEFAULT_CONDUIT: Readonly<Record<Arch, Conduit>> = { aarch64: 'hvc', riscv64: 'ecall' };

/**
 * The registers that a guest loads for a Bao hypercall, on top of what they held.
 * @param before x0..x6 or a0..a7 before the guest loads its arguments; zeros if absent
 */
export function hypercallRegisters(arch: Arch, call: BaoCall, before?: readonly bigint[]): bigint[] {
  const { nr, dm, addr, op, value, id } = call;
  if (arch === 'riscv64') return [dm, addr, op, value, id, before?.[5] ?? 0n, nr, SBI_EID_BAO];
  const function_ = nr === HC_REMIO ? REMIO_FUNCTION : SMCCC_VND_HYP_SRVC64 | nr;
  return [function_, dm, addr, op, value, id, before?.[6] ?? 0n];
}

/** A frame as hardware shows it after an HVC (PC past it) or ECALL (PC at it) at `at`. */
export const hypercallFrame = (arch: Arch, registers: readonly bigint[], at: bigint): HypercallFrame => ({
  arch,
  conduit: DEFAULT_CONDUIT[arch],
  pc: arch === 'aarch64' ? toU64(at + 4n) : at,
  registers,
});

/** The result code that a guest reads after a Bao hypercall, as a signed number. */
export const hypercallResult = (arch: Arch, registers: readonly bigint[]): bigint =>
  BigInt.asIntN(64, registers[HYPERCALL_LAYOUT[arch].result] ?? 0n);

/** Output `n` (0 to 5) of a Bao hypercall. */
export const hypercallOutput = (arch: Arch, registers: readonly bigint[], n: number): bigint =>
  registers[HYPERCALL_LAYOUT[arch].outputs + n] ?? 0n;
