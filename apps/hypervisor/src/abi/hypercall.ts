import {
  type BaoCall,
  HC_REMIO,
  HYPERCALL_LAYOUT,
  type HypercallFrame,
  SBI_EID_BAO,
  SMCCC_FN_NUM_MASK,
  SMCCC_STD_SRVC32,
  SMCCC_STD_SRVC64,
  SMCCC_VND_HYP_SRVC32,
  SMCCC_VND_HYP_SRVC64,
} from '@remio/arch';
import { low32, toU64 } from '@remio/base';

/** A hypercall, told apart by who serves it. */
export type Hypercall =
  | { readonly service: 'bao'; readonly call: BaoCall }
  | { readonly service: 'psci'; readonly fid: bigint }
  | { readonly service: 'sbi'; readonly eid: bigint; readonly fid: bigint }
  /** An SMCCC call that nobody serves. */
  | { readonly service: 'unknown'; readonly fid: bigint };

/** PSCI's function numbers within the standard secure service: the low five bits. */
const PSCI_RANGE_MASK = 0xffe0;

/** Function ids as numbers: they have 32 bits, and bigints are objects. */
const FN_NUM_MASK = Number(SMCCC_FN_NUM_MASK);
const STD_SRVC32 = Number(SMCCC_STD_SRVC32);
const STD_SRVC64 = Number(SMCCC_STD_SRVC64);
const VND_HYP_SRVC32 = Number(SMCCC_VND_HYP_SRVC32);
const VND_HYP_SRVC64 = Number(SMCCC_VND_HYP_SRVC64);
const REMIO = Number(HC_REMIO);

/** Tells from the registers who serves a call (reference: sections B.2 and B.4). */
export function decodeHypercall(frame: HypercallFrame): Hypercall {
  const r = frame.registers;
  if (frame.arch === 'riscv64') {
    const eid = r[7] ?? 0n;
    const fid = r[6] ?? 0n;
    return eid === SBI_EID_BAO ? { service: 'bao', call: baoCall(frame, fid) } : { service: 'sbi', eid, fid };
  }
  // A function id is 32 bits: the upper half of x0 does not count (SMCCC 2.5).
  const fid = low32(r[0] ?? 0n);
  const number = fid & FN_NUM_MASK;
  switch (fid - number) {
    case STD_SRVC32:
    case STD_SRVC64:
      return { service: (fid & PSCI_RANGE_MASK) === 0 ? 'psci' : 'unknown', fid: BigInt(fid) };
    case VND_HYP_SRVC32:
    case VND_HYP_SRVC64:
      return { service: 'bao', call: baoCall(frame, number === REMIO ? HC_REMIO : BigInt(number)) };
    default:
      return { service: 'unknown', fid: BigInt(fid) };
  }
}

function baoCall(frame: HypercallFrame, nr: bigint): BaoCall {
  const r = frame.registers;
  const { inputs } = HYPERCALL_LAYOUT[frame.arch];
  return {
    nr,
    dm: r[inputs] ?? 0n,
    addr: r[inputs + 1] ?? 0n,
    op: r[inputs + 2] ?? 0n,
    value: r[inputs + 3] ?? 0n,
    id: r[inputs + 4] ?? 0n,
  };
}

/** Registers and PC after a call. */
export interface HypercallOutcome {
  readonly registers: readonly bigint[];
  readonly pc: bigint;
}

/** HVC leaves the PC past the instruction already; SMC and ECALL leave it at the instruction. */
export const pcAfterCall = (frame: HypercallFrame): bigint =>
  frame.conduit === 'hvc' ? frame.pc : toU64(frame.pc + 4n);

/**
 * Registers after a Bao hypercall: the outputs first, where the call has some, then the result over them.
 * @param ret signed result code
 * @param out the six outputs of a successful ASK, unsigned
 */
export function encodeBaoResult(
  frame: HypercallFrame,
  ret: bigint,
  out: readonly bigint[] | undefined,
): HypercallOutcome {
  const registers = frame.registers.slice();
  const { outputs, result } = HYPERCALL_LAYOUT[frame.arch];
  if (out !== undefined) {
    for (let n = 0; n < out.length; n += 1) registers[outputs + n] = out[n] ?? 0n;
  }
  if (frame.arch === 'riscv64') registers[0] = 0n;
  registers[result] = ret === 0n ? ret : toU64(ret);
  return { registers, pc: pcAfterCall(frame) };
}

/** Registers after an SMCCC call other than Bao's: x0 only. */
export const encodeSmcccResult = (frame: HypercallFrame, ret: bigint): HypercallOutcome => ({
  registers: [toU64(ret), ...frame.registers.slice(1)],
  pc: pcAfterCall(frame),
});

/** Registers after an SBI call: error in a0, value in a1. */
export const encodeSbiResult = (frame: HypercallFrame, error: bigint, value: bigint): HypercallOutcome => ({
  registers: [toU64(error), toU64(value), ...frame.registers.slice(2)],
  pc: pcAfterCall(frame),
});
