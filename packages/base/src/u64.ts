/** Access widths of a load or store, in bytes. */
export type AccessWidth = 1 | 2 | 4 | 8;

/** All ones: 2^64-1. */
export const U64_MAX = 0xffff_ffff_ffff_ffffn;

const MASKS: Readonly<Record<AccessWidth, bigint>> = { 1: 0xffn, 2: 0xffffn, 4: 0xffff_ffffn, 8: U64_MAX };

/** Where a bigint is taken apart: `Number(bigint)` is a call into the engine's runtime, and the hot path has many. */
const WHOLE = new BigUint64Array(1);
const HALVES = new Uint32Array(WHOLE.buffer);

/** The low 32 bits. */
export function low32(value: bigint): number {
  WHOLE[0] = value;
  return HALVES[0] ?? 0;
}

/** A 64-bit value as a number: exact below 2^53; what is above stays above every number that is below. */
export function numberOf(value: bigint): number {
  WHOLE[0] = value;
  return (HALVES[0] ?? 0) + (HALVES[1] ?? 0) * 0x1_0000_0000;
}

/** `value` modulo 2^64. */
export const toU64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** The low `width` bytes of `value`. */
export const truncate = (value: bigint, width: AccessWidth): bigint => value & MASKS[width];

/** The low `width` bytes of `value`, sign-extended to `registerWidth` bytes, as an unsigned number. */
export const signExtend = (value: bigint, width: AccessWidth, registerWidth: 4 | 8): bigint =>
  BigInt.asUintN(registerWidth * 8, BigInt.asIntN(width * 8, value));

/** Lower-case hexadecimal with `0x` and no leading zeros. */
export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** Whether `value` is one of the widths a load or store has. */
export const isAccessWidth = (value: number): value is AccessWidth =>
  value === 1 || value === 2 || value === 4 || value === 8;
