import { describe, expect, it } from 'vitest';
import {
  AssertionError,
  assert,
  hex,
  isAccessWidth,
  low32,
  numberOf,
  Prng,
  signExtend,
  toU64,
  truncate,
  U64_MAX,
} from './index.js';

describe('64-bit values', () => {
  it('are cut to the width of an access', () => {
    expect(([1, 2, 4, 8] as const).map((width) => hex(truncate(U64_MAX, width)))).toEqual([
      '0xff',
      '0xffff',
      '0xffffffff',
      '0xffffffffffffffff',
    ]);
  });

  it('are sign-extended to the width of the register', () => {
    expect(signExtend(0x8000_0000n, 4, 8)).toBe(0xffff_ffff_8000_0000n);
    expect(signExtend(0x80n, 1, 4)).toBe(0xffff_ff80n);
    expect(signExtend(0x7fn, 1, 8)).toBe(0x7fn);
  });

  it('takes registers apart into numbers', () => {
    for (const value of [0n, 1n, 0xffff_ffffn, 0x1_0000_0000n, 0x8765_4321_9abcn, BigInt(Number.MAX_SAFE_INTEGER)]) {
      expect(numberOf(value)).toBe(Number(value));
      expect(low32(value)).toBe(Number(value & 0xffff_ffffn));
    }
    expect(low32(U64_MAX)).toBe(0xffff_ffff);
    expect(numberOf(U64_MAX)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
  });

  it('wrap at 2^64', () => {
    expect([toU64(-1n), toU64(U64_MAX + 1n)]).toEqual([U64_MAX, 0n]);
  });

  it('have four widths', () => {
    expect([0, 1, 2, 3, 4, 8, 16].filter(isAccessWidth)).toEqual([1, 2, 4, 8]);
  });
});

describe('seeded random numbers', () => {
  const draw = (seed: number): number[] => {
    const prng = new Prng(seed);
    return Array.from({ length: 8 }, () => prng.u32());
  };

  it('are the same for the same seed and differ for another, in either half', () => {
    expect(draw(7)).toEqual(draw(7));
    expect(draw(7)).not.toEqual(draw(8));
    expect(draw(7)).not.toEqual(draw(7 + 2 ** 32));
  });

  it('stay below their bound and reach every value', () => {
    const prng = new Prng(1);
    expect([...new Set(Array.from({ length: 200 }, () => prng.below(5)))].sort()).toEqual([0, 1, 2, 3, 4]);
  });
});

it('an assertion names what was expected', () => {
  expect(() => assert(false, 'two and two are four')).toThrow(new AssertionError('two and two are four'));
  expect(() => assert(true, 'never said')).not.toThrow();
});
