import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fifo } from './fifo.js';

const operation = fc.oneof(
  { weight: 300, arbitrary: fc.record({ kind: fc.constant('push' as const), value: fc.nat(5) }) },
  { weight: 250, arbitrary: fc.record({ kind: fc.constant('shift' as const), value: fc.constant(0) }) },
  { weight: 50, arbitrary: fc.record({ kind: fc.constant('remove' as const), value: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), value: fc.constant(0) }) },
);

describe('a queue that keeps its memory', () => {
  it('does what an array does', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 600, size: 'max' }), (operations) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        for (const { kind, value } of operations) {
          switch (kind) {
            case 'push':
              fifo.push(value);
              model.push(value);
              break;
            case 'shift':
              expect(fifo.shift()).toBe(model.shift());
              break;
            case 'remove': {
              const at = model.indexOf(value);
              if (at >= 0) model.splice(at, 1);
              expect(fifo.remove(value)).toBe(at);
              break;
            }
            case 'clear':
              fifo.clear();
              model.length = 0;
              break;
          }
          expect(fifo.length).toBe(model.length);
          expect(fifo.oldest).toBe(model[0]);
        }
        expect(fifo.includes(3)).toBe(model.includes(3));
        expect([...fifo]).toEqual(model);
      }),
    );
  });
});
