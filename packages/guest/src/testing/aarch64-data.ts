import { toU64 } from '@remio/base';

/** Bits `high` to `low` of an instruction; fewer than 32. */
export const bits = (word: number, high: number, low: number): number => (word >>> low) & ((1 << (high - low + 1)) - 1);
/** The same, as a signed number. */
export const signedBits = (word: number, high: number, low: number): bigint =>
  BigInt((word << (31 - high)) >> (31 - high + low));

/** PSTATE.NZCV as bits 3 to 0. */
export const FLAG_N = 8;
export const FLAG_Z = 4;
export const FLAG_C = 2;
export const FLAG_V = 1;

/** The low 32 or 64 bits. */
export const cut = (value: bigint, wide: boolean): bigint => (wide ? toU64(value) : BigInt.asUintN(32, value));

/** AddWithCarry (Arm ARM, shared pseudocode): the sum, and its flags. */
export function addWithCarry(
  a: bigint,
  b: bigint,
  carry: bigint,
  wide: boolean,
): { readonly value: bigint; readonly flags: number } {
  const size = wide ? 64 : 32;
  const [x, y] = [cut(a, wide), cut(b, wide)];
  const value = cut(x + y + carry, wide);
  const signed = BigInt.asIntN(size, x) + BigInt.asIntN(size, y) + carry;
  return {
    value,
    flags:
      nz(value, wide) | (x + y + carry !== value ? FLAG_C : 0) | (BigInt.asIntN(size, value) !== signed ? FLAG_V : 0),
  };
}

/** The N and Z of a result. */
export const nz = (value: bigint, wide: boolean): number =>
  (((value >> (wide ? 63n : 31n)) & 1n) === 1n ? FLAG_N : 0) | (value === 0n ? FLAG_Z : 0);

/** ConditionHolds: conditions 14 and 15 are always true. */
export function conditionHolds(condition: number, flags: number): boolean {
  const n = (flags & FLAG_N) !== 0;
  const z = (flags & FLAG_Z) !== 0;
  const c = (flags & FLAG_C) !== 0;
  const v = (flags & FLAG_V) !== 0;
  const holds = [z, c, n, v, c && !z, n === v, n === v && !z, true][condition >> 1] ?? true;
  return (condition & 1) === 1 && condition < 14 ? !holds : holds;
}

/** ShiftReg: LSL, LSR, ASR or ROR by less than the size. */
export function shift(value: bigint, type: number, amount: number, wide: boolean): bigint {
  const size = wide ? 64 : 32;
  const by = BigInt(amount);
  const x = cut(value, wide);
  switch (type) {
    case 0:
      return cut(x << by, wide);
    case 1:
      return x >> by;
    case 2:
      return cut(BigInt.asIntN(size, x) >> by, wide);
    default:
      return cut((x >> by) | (x << BigInt(size - amount)), wide);
  }
}

/** ExtendReg: UXTB, UXTH, UXTW, UXTX, then the same signed, shifted left by `by`. */
export function extend(value: bigint, option: number, by: number): bigint {
  const size = 8 << (option & 3);
  const x = option < 4 ? BigInt.asUintN(size, value) : BigInt.asIntN(size, value);
  return toU64(x << BigInt(by));
}

/** The masks of a logical immediate or bitfield. */
export interface BitMasks {
  /** The rotated run of ones: the immediate itself. */
  readonly wmask: bigint;
  /** What a bitfield move keeps at the top. */
  readonly tmask: bigint;
}

const ones = (count: number): bigint => (1n << BigInt(count)) - 1n;

/** DecodeBitMasks (Arm ARM, shared pseudocode); undefined for reserved encodings. */
export function decodeBitMasks(
  n: number,
  imms: number,
  immr: number,
  immediate: boolean,
  wide: boolean,
): BitMasks | undefined {
  const length = 31 - Math.clz32((n << 6) | (~imms & 0x3f));
  if (length < 1) return undefined;
  const levels = (1 << length) - 1;
  if (immediate && (imms & levels) === levels) return undefined;
  const size = 1 << length;
  if (size > (wide ? 64 : 32)) return undefined;
  const s = imms & levels;
  const r = immr & levels;
  const run = ones(s + 1);
  const turned = ((run >> BigInt(r)) | (run << BigInt(size - r))) & ones(size);
  return {
    wmask: replicate(turned, size, wide),
    tmask: replicate(ones(((s - r) & levels) + 1), size, wide),
  };
}

const replicate = (element: bigint, size: number, wide: boolean): bigint => {
  let value = 0n;
  for (let at = 0; at < (wide ? 64 : 32); at += size) value |= element << BigInt(at);
  return value;
};
