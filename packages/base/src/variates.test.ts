import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { exponential, fixedLog, Prng, unit } from './index.js';

describe('random variates that are the same on every machine', () => {
  test.prop([fc.double({ min: 1e-300, max: 1e300, noNaN: true })])('the logarithm is the logarithm', (value) => {
    expect(Math.abs(fixedLog(value) - Math.log(value))).toBeLessThanOrEqual(
      1e-14 * Math.max(1, Math.abs(Math.log(value))),
    );
  });

  it('a seed gives the same numbers for ever: these were written down once', () => {
    const random = new Prng(1);
    expect([unit(random), exponential(random), exponential(random)]).toEqual(WRITTEN_DOWN);
  });

  it('exponential numbers have mean and deviation 1', () => {
    const random = new Prng(2);
    const all = Array.from({ length: 100_000 }, () => exponential(random));
    const mean = all.reduce((a, b) => a + b, 0) / all.length;
    const deviation = Math.sqrt(all.reduce((a, b) => a + (b - mean) ** 2, 0) / all.length);
    expect(Math.abs(mean - 1)).toBeLessThan(0.02);
    expect(Math.abs(deviation - 1)).toBeLessThan(0.02);
    expect(Math.min(...all)).toBeGreaterThan(0);
  });
});

const WRITTEN_DOWN: readonly number[] = [0.13342684891540557, 0.2731979870482238, 1.8097317289964638];
