import { guestAddress } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { allocateMemory, DelayedMemory } from './index.js';

const BASE = guestAddress(0x4000_0000n);

describe('a range of guest memory', () => {
  it.each([
    ['the first byte', BASE, 1, 0],
    ['all of it', BASE, 0x1000, 0],
    ['an empty range just past the end', BASE + 0x1000n, 0, 0x1000],
    ['below', BASE - 1n, 2, -1],
    ['across the end', BASE + 0xfffn, 2, -1],
    ['a length of 2^32-1', BASE, 0xffff_ffff, -1],
    ['an address that would wrap 2^64', 0xffff_ffff_ffff_fff0n, 0x20, -1],
  ])('%s', (_what, address, length, offset) => {
    expect(allocateMemory(BASE, 0x1000).locate(address, length)).toBe(offset);
  });

  it('is little-endian', () => {
    const memory = allocateMemory(BASE, 16);
    memory.writeU64(0, 0x0807_0605_0403_0201n);
    expect([...memory.bytes(0, 8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([memory.readU16(1), memory.readU32(1), memory.loadU32(4)]).toEqual([0x0302, 0x0504_0302, 0x0807_0605]);
  });
});

describe('memory that is far away', () => {
  it('is local once it arrived, and forgotten after the step', () => {
    const memory = new DelayedMemory(allocateMemory(BASE, 0x1000));
    let told = 0;
    memory.onLocal = () => {
      told += 1;
    };
    expect(memory.deliver()).toBe(false);
    expect(memory.need(60, 8, 'read')).toBe(false);
    expect([memory.wanted, memory.deliver(), told]).toEqual([2, true, 1]);
    expect(memory.need(60, 8, 'read')).toBe(true);
    memory.forget();
    expect(memory.need(60, 8, 'read')).toBe(false);
  });

  it('may not be used before it is local', () => {
    const memory = new DelayedMemory(allocateMemory(BASE, 0x1000));
    memory.need(0, 4, 'read');
    expect(() => memory.readU32(0)).toThrow('before it was local');
    memory.deliver();
    expect(memory.readU32(0)).toBe(0);
    expect(() => memory.readU64(60)).toThrow('before it was local');
  });

  it('stays local while it is held, as often as it was held', () => {
    const memory = new DelayedMemory(allocateMemory(BASE, 0x1000));
    memory.need(0, 4, 'write');
    memory.deliver();
    memory.hold(0, 4);
    memory.hold(0, 4);
    memory.release(0, 4);
    memory.forget();
    expect(memory.need(0, 4, 'write')).toBe(true);
    memory.release(0, 4);
    memory.forget();
    expect(memory.need(0, 4, 'write')).toBe(false);
    expect(() => memory.release(0, 4)).toThrow('as often as it was held');
  });
});
