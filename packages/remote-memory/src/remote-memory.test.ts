import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { MESSAGE_BYTES_MAX, MemoryServer, RemoteMemory } from './index.js';
import { RemoteLink } from './testing/index.js';

const BASE = guestAddress(0x4000_0000n);
const SIZE = 0x4_0000;

let near: LocalMemory;
let link: RemoteLink;

beforeEach(() => {
  near = allocateMemory(BASE, SIZE);
  link = new RemoteLink(near);
});

const settle = (): void => {
  while (link.move());
};

describe('memory of another host', () => {
  it('fetches all that a step lacks in one exchange, and calls when it is local', () => {
    near.writeU32(8, 7);
    near.writeU32(0x8000, 9);
    const { memory } = link;
    const seen: number[] = [];
    const step = (): void => {
      const a = memory.need(8, 4, 'read');
      const b = memory.need(0x8000, 4, 'read');
      if (a && b) seen.push(memory.readU32(8), memory.readU32(0x8000));
    };
    memory.onLocal = step;
    step();
    settle();
    expect(seen).toEqual([7, 9]);
    expect(memory.counters).toMatchObject({ fetches: 1, writes: 0, bytesFetched: 8 });
  });

  it('forgets after the step what it fetched, but for what is held', () => {
    const { memory } = link;
    memory.need(0, 8, 'read');
    settle();
    let local: readonly boolean[] = [];
    memory.onLocal = () => {
      memory.hold(0, 4);
      local = [memory.need(0, 8, 'read'), memory.need(4, 4, 'read')];
    };
    memory.need(0, 8, 'read');
    settle();
    expect(local).toEqual([true, true]);
    expect([memory.need(0, 4, 'read'), memory.need(4, 4, 'read')]).toEqual([true, false]);
    memory.release(0, 4);
    expect(memory.need(0, 4, 'read')).toBe(false);
    expect(() => memory.release(0, 4)).toThrow('as often as it was held');
  });

  it('asks once more for everything that a step used, so that the step sees one moment of the memory', () => {
    const { memory } = link;
    const seen: number[][] = [];
    let first = true;
    memory.onLocal = () => {
      if (!memory.need(0, 4, 'read')) return;
      // The driver changes both words between the two exchanges.
      if (first) near.writeU32(0, 1);
      first = false;
      if (memory.need(64, 4, 'read')) seen.push([memory.readU32(0), memory.readU32(64)]);
    };
    memory.need(0, 4, 'read');
    near.writeU32(64, 1);
    settle();
    expect(seen).toEqual([[1, 1]]);
  });

  it('sends what was written in order, with the store that tells of it, in one message', () => {
    const { memory } = link;
    memory.writeU32(100, 0x1234);
    memory.written(100, 4);
    expect(link.endStep()).toBe(false);
    memory.storeU16(2, 1);
    memory.written(2, 2);
    // What is written there later must not be seen with what came before.
    memory.writeU32(100, 0x5678);
    link.endStep();
    expect(link.requests).toBe(1);
    settle();
    expect([near.readU32(100), near.loadU16(2)]).toEqual([0x1234, 1]);
    expect(memory.counters).toMatchObject({ fetches: 0, writes: 1, bytesWritten: 6 });
  });

  it('fetches behind what was written: a store, and then a fresh look, travel together', () => {
    const { memory } = link;
    let seen = -1;
    memory.onLocal = () => {
      if (memory.need(0, 2, 'read')) seen = memory.loadU16(0);
    };
    memory.storeU16(0, 5);
    memory.written(0, 2);
    memory.afresh(0, 2);
    memory.need(0, 2, 'read');
    link.endStep();
    expect(link.requests).toBe(1);
    settle();
    expect(seen).toBe(5);
  });

  it('believes no fetch that was under way when the range was asked for afresh, or written', () => {
    const { memory } = link;
    const local: boolean[] = [];
    memory.need(0, 8, 'read');
    link.endStep();
    link.moveOut();
    near.writeU16(0, 1);
    memory.afresh(0, 2);
    memory.writeU16(4, 77);
    memory.written(4, 2);
    memory.onLocal = () => {
      local.push(memory.need(0, 2, 'read'), memory.need(4, 2, 'read'), memory.need(2, 2, 'read'));
    };
    link.moveBack();
    expect(local).toEqual([false, false, true]);
    expect(memory.readU16(4)).toBe(77);
    settle();
    expect(local.slice(3)).toEqual([true, true, true]);
    expect([memory.readU16(0), memory.readU16(4)]).toEqual([1, 77]);
  });

  it('cuts what is larger than a message, and puts it together again', () => {
    const bytes = Uint8Array.from({ length: 3 * MESSAGE_BYTES_MAX + 5 }, (_, n) => (n * 7) & 0xff);
    const { memory } = link;
    memory.bytes(16, bytes.length).set(bytes);
    memory.written(16, bytes.length);
    memory.storeU16(0, 1);
    memory.written(0, 2);
    settle();
    expect(near.bytes(16, bytes.length)).toEqual(bytes);
    const back = new RemoteLink(near);
    let seen: Uint8Array | undefined;
    back.memory.onLocal = () => {
      if (back.memory.need(16, bytes.length, 'read')) seen = back.memory.bytes(16, bytes.length).slice();
    };
    back.memory.need(16, bytes.length, 'read');
    while (back.move());
    expect(seen).toEqual(bytes);
    expect(back.memory.counters.fetches).toBe(1);
  });

  it('writes nowhere and fetches nothing while nobody has the memory, and starts afresh when somebody has', () => {
    const { memory } = link;
    memory.need(0, 4, 'read');
    link.endStep();
    memory.close();
    memory.storeU16(0, 9);
    memory.written(0, 2);
    expect(memory.need(0, 4, 'read')).toBe(false);
    link.endStep();
    expect(link.requests).toBe(1);
    memory.open();
    memory.need(0, 4, 'read');
    link.endStep();
    expect(link.requests).toBe(2);
    expect(near.loadU16(0)).toBe(0);
  });
});

describe('a peer that is broken or hostile', () => {
  const handle = (server: MemoryServer, bytes: Uint8Array): string | undefined => {
    let sent = 0;
    const wrong = server.handle(bytes, (message) => {
      expect(message.length).toBeLessThanOrEqual(MESSAGE_BYTES_MAX);
      sent += message.length;
    });
    // A range has a head of 8 bytes, a message one of 5.
    expect(sent).toBeLessThan(16 * SIZE + MESSAGE_BYTES_MAX);
    return wrong;
  };

  it.each([
    ['a write beyond the end', [1, ...u32(SIZE - 2), ...u32(4), 1, 2, 3, 4]],
    ['a write whose end wraps 2^32', [1, ...u32(0xffff_fffc), ...u32(8), 1, 2, 3, 4, 5, 6, 7, 8]],
    ['a write of more bytes than come', [1, ...u32(0), ...u32(9), 1]],
    ['a store beyond the end', [2, ...u32(SIZE), 1, 0]],
    ['a store that is not aligned', [3, ...u32(2), 1, 0, 0, 0]],
    ['a fetch beyond the end', [4, ...u32(1), ...u32(1), ...u32(SIZE - 1), ...u32(2), 0]],
    ['a fetch of more ranges than come', [4, ...u32(1), ...u32(0xffff_ffff), 0]],
    ['a ring of no layout', [4, ...u32(1), ...u32(0), 1, 9, ...u32(1), ...u32(0), ...u32(0), 0, 0]],
    ['an operation that there is not', [99]],
    ['half a message', [1, 2, 3]],
  ])('%s: nothing is touched, and nothing more is heeded', (_, bytes) => {
    const before = near.bytes(0, SIZE).slice();
    const server = new MemoryServer(near);
    expect(handle(server, Uint8Array.from(bytes))).toEqual(expect.any(String));
    expect(handle(server, Uint8Array.from([2, ...u32(0), 1, 0]))).toBeUndefined();
    expect(near.bytes(0, SIZE)).toEqual(before);
    server.restart();
    expect(handle(server, Uint8Array.from([2, ...u32(0), 1, 0]))).toBeUndefined();
    expect(near.loadU16(0)).toBe(1);
  });

  it('a ring that leads everywhere, or in circles, is followed within bounds', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 2048, maxLength: 2048 }),
        fc.record({ size: fc.nat(0x1_0000), descriptors: fc.nat(SIZE + 32), driver: fc.nat(SIZE + 32) }),
        fc.constantFrom(0, 1),
        fc.nat(0xffff),
        (noise, { size, descriptors, driver }, layout, next) => {
          for (let at = 0; at < SIZE; at += noise.length) near.bytes(at, noise.length).set(noise);
          const ring = [layout, ...u32(size), ...u32(descriptors & ~15), ...u32(driver & ~3), next & 0xff, next >>> 8];
          expect(
            handle(new MemoryServer(near), Uint8Array.from([4, ...u32(1), ...u32(0), 1, ...ring])),
          ).toBeUndefined();
        },
      ),
      { numRuns: 200 },
    );
  });

  it('whatever a request says, the service survives it', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(5), fc.nat(255)), { maxLength: 64 }), (bytes) => {
        handle(new MemoryServer(near), Uint8Array.from(bytes));
      }),
      { numRuns: 1000 },
    );
  });

  it('whatever an answer says, the device survives it, and takes nothing more from there', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(2), fc.nat(255)), { maxLength: 40 }), (rest) => {
        const memory = new RemoteMemory(BASE, 0x1000, { due: () => {}, send: () => {} });
        memory.open();
        memory.need(0, 4, 'read');
        memory.flush();
        memory.receive(Uint8Array.from([...u32(1), ...rest]));
      }),
      { numRuns: 1000 },
    );
    const memory = new RemoteMemory(BASE, 0x1000, { due: () => {}, send: () => {} });
    memory.open();
    memory.need(0, 4, 'read');
    memory.flush();
    expect(memory.receive(Uint8Array.from([...u32(1), 1, ...u32(0xffe), ...u32(4), 1, 2, 3, 4]))).toContain('outside');
    expect(memory.receive(Uint8Array.from([...u32(1), 1, ...u32(0), ...u32(1), 1]))).toBeUndefined();
    expect(memory.need(0, 1, 'read')).toBe(false);
  });
});

function u32(value: number): readonly number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}
