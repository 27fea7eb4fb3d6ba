import { describe, expect, it } from 'vitest';
import { err, ok, restoring, type SavedValue } from './index.js';

describe('a saved state', () => {
  it('is read by its fields', () => {
    const state = { size: 3, on: true, name: 'a', at: '0xffffffffffffffff', list: [1, 2], none: null };
    expect(
      restoring(state, (saved) => [
        saved.field('size').integer(0, 3),
        saved.field('on').boolean(),
        saved.field('name').oneOf('a', 'b'),
        saved.field('at').u64(),
        saved.field('list').list(2).length,
        saved.field('none').isNull,
      ]),
    ).toEqual(ok([3, true, 'a', 0xffff_ffff_ffff_ffffn, 2, true]));
  });

  it.each<[string, unknown, (saved: SavedValue) => unknown]>([
    ['a: expected an integer from 0 to 3', { a: 4 }, (saved) => saved.field('a').integer(0, 3)],
    ['a: expected an integer from 0 to 3', { a: 1.5 }, (saved) => saved.field('a').integer(0, 3)],
    ['a: expected an integer from 0 to 3', {}, (saved) => saved.field('a').integer(0, 3)],
    ['a: expected a boolean', { a: 0 }, (saved) => saved.field('a').boolean()],
    ['a: expected x, y', { a: 'z' }, (saved) => saved.field('a').oneOf('x', 'y')],
    ['a: expected a text', { a: 1 }, (saved) => saved.field('a').text()],
    ['a: expected a 64-bit 0x number', { a: '0x10000000000000000' }, (saved) => saved.field('a').u64()],
    ['a: expected a 64-bit 0x number', { a: '7' }, (saved) => saved.field('a').u64()],
    ['a: expected at most 0xff', { a: '0x100' }, (saved) => saved.field('a').u64(0xffn)],
    ['a: expected 2 entries', { a: [1] }, (saved) => saved.field('a').list(2)],
    ['a: expected a list', { a: { length: 2 } }, (saved) => saved.field('a').list()],
    [
      'a.b[1].c: expected an object',
      { a: { b: [0, { c: 1 }] } },
      (s) => s.field('a').field('b').list()[1]?.field('c').field('d'),
    ],
    ['state: expected an object', [], (saved) => saved.field('a')],
    ['constructor: expected a text', {}, (saved) => saved.field('constructor').text()],
    ['a: b: too big', { a: 1 }, (saved) => saved.field('a').give(() => err('b: too big'))],
  ])('is refused with the place: %s', (reason, state, read) => {
    expect(restoring(state, read)).toEqual(err(reason));
  });

  it('lets a mistake of ours through', () => {
    expect(() =>
      restoring({}, () => {
        throw new Error('ours');
      }),
    ).toThrow('ours');
  });
});
