import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Latency, showRate } from './index.js';

const of = (...samples: readonly number[]): Latency => {
  const latency = new Latency();
  for (const sample of samples) latency.record(sample);
  return latency;
};

describe('latencies', () => {
  it('gives every quantile to within 1%, and the largest exactly', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3.6e12 }), { minLength: 1, maxLength: 300 }), (samples) => {
        const { count, p50, p99, max } = of(...samples).summary();
        const sorted = [...samples].sort((a, b) => a - b);
        const exact = (share: number): number => sorted[Math.ceil(share * samples.length) - 1] ?? 0;
        expect(count).toBe(samples.length);
        expect(max).toBe(sorted.at(-1));
        // Whole nanoseconds: the smallest values are half a nanosecond off.
        expect(Math.abs(p50 - exact(0.5))).toBeLessThanOrEqual(Math.max(1, exact(0.5) * 0.01));
        expect(Math.abs(p99 - exact(0.99))).toBeLessThanOrEqual(Math.max(1, exact(0.99) * 0.01));
      }),
    );
  });

  it('takes what a clock that stands still or a machine that slept makes of a latency', () => {
    expect(of(0, 0, 0).summary()).toEqual({ count: 3, p50: 0, p99: 0, max: 0 });
    expect(of(-5).summary()).toMatchObject({ count: 1, p50: 0, max: 0 });
    expect(of(1e16).summary()).toMatchObject({ count: 1, max: 1e16 });
  });

  it('counts how many samples exceed no bound, and sums them, to within 1%', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 1e10 }), { maxLength: 200 }),
        fc.uniqueArray(fc.integer({ min: 1, max: 1e10 }), { minLength: 1, maxLength: 10 }),
        (samples, unsorted) => {
          const bounds = [...unsorted].sort((a, b) => a - b);
          const { atMost, count, sum } = of(...samples).histogram(bounds);
          const exact = samples.reduce((a, b) => a + b, 0);
          expect(count).toBe(samples.length);
          expect(Math.abs(sum - exact)).toBeLessThanOrEqual(samples.length + exact * 0.01);
          for (const [n, bound] of bounds.entries()) {
            // Samples within 1% of a bound (a nanosecond, for the smallest) may count on either side.
            const within = (factor: number, ns: number): number =>
              samples.filter((sample) => sample <= bound * factor + ns).length;
            expect(atMost[n]).toBeGreaterThanOrEqual(within(0.99, -1));
            expect(atMost[n]).toBeLessThanOrEqual(within(1.01, 1));
          }
        },
      ),
    );
    expect(new Latency().histogram([1, 2])).toEqual({ atMost: [0, 0], count: 0, sum: 0 });
  });

  it('has no samples at first, and none after a reset', () => {
    const none = { count: 0, p50: 0, p99: 0, max: 0 };
    expect(new Latency().summary()).toEqual(none);
    const latency = of(7, 8, 9);
    latency.reset();
    expect(latency.summary()).toEqual(none);
    expect(latency.count).toBe(0);
  });
});

describe('throughput for people', () => {
  it.each([
    [512 * 1024, 1e9, '512 KiB/s'],
    [3 * 2 ** 20, 2e9, '1.5 MiB/s'],
    [300 * 2 ** 20, 1e9, '300 MiB/s'],
  ])('%i bytes in %i ns are %s', (bytes, nanoseconds, text) => {
    expect(showRate(bytes, nanoseconds)).toBe(text);
  });
});
