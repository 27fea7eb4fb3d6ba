import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeSet } from './range-set.js';

const range = fc.tuple(fc.nat(40), fc.nat(12)).map(([from, length]) => [from, from + length] as const);
const action = fc.record({ do: fc.constantFrom('add' as const, 'delete' as const), range });

describe('a set of ranges', () => {
  it('is the set of its bytes, whatever is added and deleted', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), range, (actions, [from, to]) => {
        const set = new RangeSet();
        const model = new Set<number>();
        for (const { do: what, range: part } of actions) {
          set[what](...part);
          for (let n = part[0]; n < part[1]; n += 1) model[what](n);
        }
        const bytes = [...set].flatMap(([start, end]) => Array.from({ length: end - start }, (_, n) => start + n));
        expect(bytes).toEqual([...model].sort((a, b) => a - b));
        const ranges = [...set];
        for (const [n, [start]] of ranges.entries()) expect(start).toBeGreaterThan(ranges[n - 1]?.[1] ?? -1);
        const inside = Array.from({ length: to - from }, (_, n) => model.has(from + n));
        expect(set.covers(from, to)).toBe(inside.every((is) => is));
        const missing = [...set.outside(from, to)].flatMap(([start, end]) =>
          Array.from({ length: end - start }, (_, n) => start + n),
        );
        expect(missing).toEqual(inside.flatMap((is, n) => (is ? [] : [from + n])));
      }),
      { numRuns: 2000 },
    );
  });
});
