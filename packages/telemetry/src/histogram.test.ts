import { describe, expect, it } from 'vitest';
import { Histogram } from './histogram.js';

const of = (...values: readonly number[]): Histogram => {
  const histogram = Histogram.create();
  for (const value of values) histogram.record(value);
  return histogram;
};

describe('HDR histograms', () => {
  it('keep three digits of every quantile, over nine orders of magnitude', () => {
    const values = Array.from({ length: 1000 }, (_, n) => Math.round(10 + n ** 3 * 3.6));
    const histogram = of(...values);
    for (const percent of [50, 90, 99, 99.9, 100]) {
      // A rank that falls between two samples may be either.
      const rank = Math.ceil((percent / 100) * values.length) - 1;
      const off = [rank - 1, rank, Math.min(rank + 1, values.length - 1)].map((n) => {
        const exact = values[n] ?? 0;
        return Math.abs(histogram.at(percent) / exact - 1);
      });
      expect(Math.min(...off)).toBeLessThanOrEqual(0.001);
    }
  });

  it('come back whole from their text, and join', () => {
    const one = of(5, 1_000_000, 3_600_000_000_000);
    const two = Histogram.decode(one.encode());
    two.add(of(7, 7));
    expect([two.count, two.at(50), two.at(40)]).toEqual([5, 7, 7]);
    expect(Histogram.decode(two.encode()).encode()).toBe(two.encode());
  });

  it('have no quantiles while they are empty', () => {
    expect([of().count, of().at(99), of().mean, of().max]).toEqual([0, 0, 0, 0]);
  });
});
