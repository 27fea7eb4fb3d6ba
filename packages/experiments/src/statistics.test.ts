import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { difference, estimate, fitUsl, uslThroughput } from './index.js';

describe('estimates', () => {
  it('give the mean and the margin of Student’s t', () => {
    const { mean, margin } = estimate([10, 12, 14]);
    expect(mean).toBe(12);
    expect(margin).toBeCloseTo((4.303 * 2) / Math.sqrt(3), 3);
    expect(estimate([5]).margin).toBe(Number.POSITIVE_INFINITY);
    expect(estimate([5, 5, 5]).margin).toBe(0);
  });

  it('call a difference clear only where repetitions hardly explain it', () => {
    expect(difference([100, 101, 99], [120, 121, 119])).toMatchObject({ mean: 20, relative: 0.2, clear: true });
    expect(difference([100, 140, 60], [120, 161, 79])).toMatchObject({ mean: 20, clear: false });
    expect(difference([100], [120]).clear).toBe(false);
    expect(difference([7, 7], [7, 7]).clear).toBe(false);
  });
});

describe('the Universal Scalability Law', () => {
  test.prop([
    fc.double({ min: 1, max: 1e6, noNaN: true }),
    fc.double({ min: 0, max: 0.5, noNaN: true }),
    fc.double({ min: 0, max: 0.01, noNaN: true }),
  ])('finds the parameters of a system that obeys it', (lambda, sigma, kappa) => {
    const law = { lambda, sigma, kappa, peak: undefined, fit: 1 };
    const loads = [1, 2, 4, 8, 16, 32, 64].map((n) => ({ n, throughput: uslThroughput(law, n) }));
    const found = fitUsl(loads);
    expect(found?.fit).toBeGreaterThan(0.999);
    for (const { n, throughput } of loads) {
      expect(Math.abs(uslThroughput(found ?? law, n) / throughput - 1)).toBeLessThan(1e-3);
    }
  });

  it('says where throughput falls again, and nothing where it never does', () => {
    const law = { lambda: 1000, sigma: 0.1, kappa: 0.01, peak: undefined, fit: 1 };
    const loads = [1, 2, 4, 8, 16].map((n) => ({ n, throughput: uslThroughput(law, n) }));
    expect(fitUsl(loads)?.peak).toBeCloseTo(Math.sqrt(0.9 / 0.01), 1);
    expect(fitUsl([1, 2, 3, 4].map((n) => ({ n, throughput: 10 * n })))?.peak).toBeUndefined();
    expect(fitUsl([{ n: 1, throughput: 1 }])).toBeUndefined();
  });
});
