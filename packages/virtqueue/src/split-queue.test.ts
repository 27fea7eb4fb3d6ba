import { guestAddress } from '@remio/base';
import { allocateMemory, DelayedMemory, type GuestMemory } from '@remio/guest-memory';
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layoutSplitQueue, needsEvent, type Popped, SplitDeviceQueue, SplitDriverQueue } from './index.js';

const BASE = guestAddress(0x8000_0000n);
const SIZE = 0x8000;
const BUFFERS = 0x8000_4000n;

interface Pair {
  readonly near: GuestMemory;
  readonly far: GuestMemory;
  readonly driver: SplitDriverQueue<number>;
  readonly device: SplitDeviceQueue;
}

function pair(size: number, features: bigint, delayed: boolean): Pair {
  const near = allocateMemory(BASE, SIZE);
  const far = delayed ? new DelayedMemory(near) : near;
  const { config } = layoutSplitQueue(BASE, size);
  const driver = SplitDriverQueue.create<number>(near, config, features);
  const device = SplitDeviceQueue.activate(far, config, features);
  if (!driver.ok || !device.ok) throw new Error('the queue is well formed');
  return { near, far, driver: driver.value, device: device.value };
}

/** Runs a step function until its memory is local. */
function settle<T>(memory: GuestMemory, step: () => T, waits: (result: T) => boolean): T {
  for (;;) {
    const result = step();
    if (!waits(result)) {
      if (memory instanceof DelayedMemory) memory.forget();
      return result;
    }
    expect(memory).toBeInstanceOf(DelayedMemory);
    expect((memory as DelayedMemory).deliver()).toBe(true);
  }
}

const pop = ({ far, device }: Pair): Popped =>
  settle(
    far,
    () => device.pop(),
    (popped) => popped.kind === 'wait',
  );
const push = ({ far, device }: Pair, head: number, written: number): boolean =>
  settle(
    far,
    () => device.push(head, written),
    (done) => !done,
  );

describe('2.7: a split queue behaves as a queue', () => {
  const command = fc.oneof(
    fc.record({ do: fc.constant('add' as const), readable: fc.nat(3), writable: fc.nat(3) }),
    fc.record({ do: fc.constant('publish' as const) }),
    fc.record({ do: fc.constant('pop' as const) }),
    fc.record({ do: fc.constant('push' as const), pick: fc.nat(255) }),
    fc.record({ do: fc.constant('reap' as const) }),
  );

  it.each([
    ['local', 0n, false],
    ['local, EVENT_IDX', featureSet(VIRTIO_F_EVENT_IDX), false],
    ['far away', 0n, true],
    ['far away, EVENT_IDX', featureSet(VIRTIO_F_EVENT_IDX), true],
  ] as const)('%s', (_, features, delayed) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.array(command, { maxLength: 200 }), (exponent, commands) => {
        const size = 2 ** exponent;
        const queue = pair(size, features, delayed);
        const added: number[] = [];
        const published: number[] = [];
        const taken = new Map<number, { head: number; room: number }>();
        const used: { token: number; written: number }[] = [];
        const needs = new Map<number, number>();
        let token = 0;
        let free = size;
        for (const action of commands) {
          if (action.do === 'add') {
            const count = action.readable + action.writable;
            const buffers = (n: number, from: number) =>
              Array.from({ length: n }, (__, i) => ({ address: BUFFERS + BigInt(16 * (from + i)), length: i + 1 }));
            const accepted = queue.driver.add(buffers(action.readable, 0), buffers(action.writable, 8), token);
            expect(accepted).toBe(count > 0 && count <= free);
            if (accepted) {
              added.push(token);
              needs.set(token, count);
              free -= count;
              token += 1;
            }
          } else if (action.do === 'publish') {
            queue.driver.publish();
            published.push(...added.splice(0));
          } else if (action.do === 'pop') {
            const popped = pop(queue);
            const expected = published.shift();
            if (expected === undefined) expect(popped.kind).toBe('empty');
            else if (popped.kind !== 'chain') expect.fail(`expected chain ${expected}, got ${popped.kind}`);
            else {
              expect(popped.chain.readable.length + popped.chain.writable.length).toBe(needs.get(expected));
              taken.set(expected, { head: popped.chain.head, room: popped.chain.writableLength });
            }
          } else if (action.do === 'push') {
            const choice = [...taken.keys()][action.pick % Math.max(1, taken.size)];
            const chain = choice === undefined ? undefined : taken.get(choice);
            if (choice === undefined || chain === undefined) continue;
            taken.delete(choice);
            push(queue, chain.head, chain.room);
            used.push({ token: choice, written: chain.room });
          } else {
            const element = queue.driver.popUsed();
            const expected = used.shift();
            if (expected === undefined) expect(element).toEqual({ kind: 'empty' });
            else {
              expect(element).toEqual({ kind: 'used', ...expected });
              free += needs.get(expected.token) ?? 0;
            }
          }
        }
        expect(queue.driver.free).toBe(free);
        expect(queue.device.inFlight).toBe(taken.size);
      }),
      { numRuns: 150 },
    );
  });

  it('2.7.6: goes on when the 16-bit indices wrap', () => {
    const queue = pair(4, featureSet(VIRTIO_F_EVENT_IDX), false);
    for (let n = 0; n < 70_000; n += 1) {
      queue.driver.add([{ address: BUFFERS, length: 4 }], [], n);
      expect(queue.driver.publish()).toBe(true);
      const popped = queue.device.pop();
      if (popped.kind !== 'chain') throw new Error(`${popped.kind} after ${n}`);
      queue.device.push(popped.chain.head, 0);
      expect(queue.device.shouldInterrupt()).toBe(true);
      expect(queue.driver.popUsed()).toMatchObject({ kind: 'used', token: n });
      queue.driver.setInterrupts(true);
    }
  });
});

describe('2.7.7, 2.7.10: suppression', () => {
  it('2.7.7.2: an event is needed exactly when the index crosses it, also over the wrap', () => {
    expect(needsEvent(5, 6, 5)).toBe(true);
    expect(needsEvent(6, 6, 5)).toBe(false);
    expect(needsEvent(0xffff, 2, 0xfffe)).toBe(true);
    expect(needsEvent(2, 2, 0xfffe)).toBe(false);
  });

  it.each([
    ['flags', 0n],
    ['EVENT_IDX', featureSet(VIRTIO_F_EVENT_IDX)],
  ] as const)('%s: the device is not notified when it asked for silence, and is again afterwards', (_, features) => {
    const queue = pair(8, features, false);
    const add = () => queue.driver.add([{ address: BUFFERS, length: 1 }], [], 0);
    add();
    expect(queue.driver.publish()).toBe(true);
    queue.device.setNotifications(false);
    queue.device.pop();
    add();
    expect(queue.driver.publish()).toBe(false);
    queue.device.pop();
    queue.device.setNotifications(true);
    add();
    expect(queue.driver.publish()).toBe(true);
  });

  it.each([
    ['flags', 0n],
    ['EVENT_IDX', featureSet(VIRTIO_F_EVENT_IDX)],
  ] as const)(
    '%s: the driver is not interrupted when it asked for silence, and hears of what came meanwhile',
    (_, features) => {
      const queue = pair(8, features, false);
      const serve = () => {
        queue.driver.add([{ address: BUFFERS, length: 1 }], [], 0);
        queue.driver.publish();
        const popped = queue.device.pop();
        if (popped.kind === 'chain') queue.device.push(popped.chain.head, 0);
        return queue.device.shouldInterrupt();
      };
      expect(serve()).toBe(true);
      queue.driver.popUsed();
      queue.driver.setInterrupts(false);
      expect(serve()).toBe(false);
      expect(queue.driver.setInterrupts(true)).toBe(true);
      queue.driver.popUsed();
      expect(queue.driver.setInterrupts(true)).toBe(false);
      expect(serve()).toBe(true);
    },
  );
});

describe('save and restore', () => {
  it('continues where it was, with chains in flight', () => {
    const queue = pair(4, 0n, false);
    for (let n = 0; n < 3; n += 1) queue.driver.add([{ address: BUFFERS, length: 1 }], [], n);
    queue.driver.publish();
    const first = queue.device.pop();
    queue.device.pop();
    const saved = queue.device.save();
    const copy = SplitDeviceQueue.activate(queue.near, layoutSplitQueue(BASE, 4).config, 0n);
    if (!copy.ok) throw new Error(copy.error.detail);
    expect(copy.value.restore(JSON.parse(JSON.stringify(saved)))).toMatchObject({ ok: true });
    if (first.kind === 'chain') copy.value.push(first.chain.head, 0);
    expect(queue.driver.popUsed()).toMatchObject({ kind: 'used', token: 0 });
    expect(copy.value.pop()).toMatchObject({ kind: 'chain' });
    expect(copy.value.pop()).toEqual({ kind: 'empty' });
  });

  it('copies a chain in flight out of memory once more, and latches a ring that was broken meanwhile', () => {
    const queue = pair(4, 0n, true);
    queue.driver.add([{ address: BUFFERS, length: 5 }], [{ address: BUFFERS + 64n, length: 7 }], 0);
    queue.driver.publish();
    const popped = pop(queue);
    const recall = (): Popped =>
      settle(
        queue.far,
        () => queue.device.recall(0),
        (recalled) => recalled.kind === 'wait',
      );
    expect(recall()).toEqual(popped);
    // The descriptor's `next` leads out of the table.
    queue.near.writeU16(14, 9);
    expect(recall()).toMatchObject({ kind: 'broken', error: { code: 'next' } });
    expect(queue.device.restore(queue.device.save())).toMatchObject({ ok: true });
    expect(queue.device.pop()).toMatchObject({ kind: 'broken', error: { code: 'next' } });
  });

  it('A48: refuses indices that no queue can have', () => {
    const { device } = pair(4, 0n, false);
    const state = { lastAvail: 9, usedIdx: 0, signalled: 0, notifications: true, inFlight: [0, 1], error: null };
    expect(device.restore({ ...state, lastAvail: 2 })).toMatchObject({ ok: true });
    expect(device.restore(state)).toMatchObject({ ok: false });
    expect(device.restore({ ...state, lastAvail: 2, inFlight: [0, 4] })).toMatchObject({ ok: false });
    expect(device.restore({ ...state, lastAvail: 2, inFlight: [0, 0] })).toMatchObject({ ok: false });
    expect(device.restore({ ...state, lastAvail: 65_538 })).toMatchObject({ ok: false });
    expect(device.restore({ ...state, lastAvail: 2, inFlight: undefined })).toMatchObject({ ok: false });
  });

  it('2.7.5.3: walks an indirect table when it was negotiated', () => {
    const queue = pair(4, featureSet(VIRTIO_F_INDIRECT_DESC), true);
    const table = 0x2000;
    queue.near.writeU64(table, BUFFERS);
    queue.near.writeU32(table + 8, 16);
    queue.near.writeU16(table + 12, 1);
    queue.near.writeU16(table + 14, 1);
    queue.near.writeU64(table + 16, BUFFERS + 64n);
    queue.near.writeU32(table + 24, 32);
    queue.near.writeU16(table + 28, 2);
    queue.driver.add([{ address: BASE + BigInt(table), length: 32 }], [], 1);
    // The driver writes no indirect tables of its own yet: the flag is set by hand.
    queue.near.writeU16(12, 4);
    queue.driver.publish();
    expect(pop(queue)).toMatchObject({ kind: 'chain', chain: { readableLength: 16, writableLength: 32 } });
  });
});
