import { guestAddress } from '@remio/base';
import { allocateMemory } from '@remio/guest-memory';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type PoolPiece, SharedPool } from './shared-pool.js';

const pool = (size = 4096, offset = 128): SharedPool =>
  new SharedPool(allocateMemory(guestAddress(0x8000_0000n), 8192), offset, size);

it('hands pieces out from the start, each a whole number of cache lines', () => {
  const taken = pool();
  expect([taken.allocate(1), taken.allocate(65), taken.allocate(64)]).toEqual([
    { offset: 128, length: 64 },
    { offset: 192, length: 128 },
    { offset: 320, length: 64 },
  ]);
  expect(taken.free).toBe(4096 - 256);
});

it('has no room for more than is free in one piece', () => {
  const full = pool(256);
  const pieces = [1, 2, 3, 4].map(() => full.allocate(64));
  expect(full.allocate(1)).toBeUndefined();
  for (const n of [0, 2]) full.release(pieces[n] as PoolPiece);
  expect(full.free).toBe(128);
  expect(full.allocate(128)).toBeUndefined();
  full.release(pieces[1] as PoolPiece);
  expect(full.allocate(192)).toEqual({ offset: 128, length: 192 });
});

it('refuses what was given back twice', () => {
  const once = pool();
  const piece = once.allocate(64) as PoolPiece;
  once.release(piece);
  expect(() => once.release(piece)).toThrow('what is given back was taken');
});

it('pieces never overlap, and everything can be had again, whatever was taken and given back in whatever order', () => {
  const steps = fc.array(fc.oneof(fc.integer({ min: 1, max: 900 }), fc.integer({ min: -30, max: -1 })), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(steps, (wanted) => {
      const shared = pool();
      const held: PoolPiece[] = [];
      for (const step of wanted) {
        if (step > 0) {
          const piece = shared.allocate(step);
          if (piece === undefined) continue;
          for (const other of held) {
            expect(piece.offset >= other.offset + other.length || other.offset >= piece.offset + piece.length).toBe(
              true,
            );
          }
          held.push(piece);
        } else {
          const [piece] = held.splice(-step % Math.max(1, held.length), 1);
          if (piece !== undefined) shared.release(piece);
        }
        expect(shared.free).toBe(4096 - held.reduce((sum, { length }) => sum + length, 0));
      }
      for (const piece of held) shared.release(piece);
      expect(shared.allocate(4096)).toEqual({ offset: 128, length: 4096 });
    }),
  );
});
