import { guestAddress } from '@remio/base';
import { allocateMemory, DelayedMemory, type GuestMemory } from '@remio/guest-memory';
import {
  featureSet,
  hasFeature,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  activateDeviceQueue,
  createDriverQueue,
  type DeviceQueue,
  type DriverQueue,
  layoutQueue,
  needsEvent,
  type Popped,
} from './index.js';

const BASE = guestAddress(0x8000_0000n);
const SIZE = 0x1_0000;
const BUFFERS = 0x8000_f000n;

const PACKED = featureSet(VIRTIO_F_RING_PACKED);
const EVENT_IDX = featureSet(VIRTIO_F_EVENT_IDX);
const INDIRECT = featureSet(VIRTIO_F_INDIRECT_DESC);
const IN_ORDER = featureSet(VIRTIO_F_IN_ORDER);

interface Pair {
  readonly near: GuestMemory;
  readonly far: GuestMemory;
  readonly driver: DriverQueue<number>;
  readonly device: DeviceQueue;
}

const must = <T>(
  result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown },
): T => {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
};

function pair(size: number, features: bigint, delayed: boolean): Pair {
  const near = allocateMemory(BASE, SIZE);
  const far = delayed ? new DelayedMemory(near) : near;
  const { config, tables } = layoutQueue(BASE, size, features);
  const driver = must(createDriverQueue<number>(near, config, features, tables));
  const device = must(activateDeviceQueue(far, config, features));
  return { near, far, driver, device };
}

/** The two layouts, with a name for each. */
const LAYOUTS = [
  ['split', 0n],
  ['packed', PACKED],
] as const;

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

const interrupts = ({ far, device }: Pair): boolean | 'wait' =>
  settle(
    far,
    () => device.shouldInterrupt(),
    (wanted) => wanted === 'wait',
  );
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

describe('2.7, 2.8: a queue behaves as a queue', () => {
  const command = fc.oneof(
    fc.record({ do: fc.constant('add' as const), readable: fc.nat(3), writable: fc.nat(3) }),
    fc.record({ do: fc.constant('publish' as const) }),
    fc.record({ do: fc.constant('pop' as const) }),
    fc.record({ do: fc.constant('push' as const), pick: fc.nat(255) }),
    fc.record({ do: fc.constant('reap' as const) }),
  );

  it.each(
    LAYOUTS.flatMap(([name, layout]) =>
      [0n, EVENT_IDX].flatMap((features) =>
        [false, true].map(
          (delayed) => [name, features === 0n ? 'flags' : 'EVENT_IDX', delayed, features | layout] as const,
        ),
      ),
    ),
  )('%s, %s, far away: %s', (_, __, delayed, features) => {
    const packed = hasFeature(features, VIRTIO_F_RING_PACKED);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 6 }), fc.array(command, { maxLength: 200 }), (exponent, commands) => {
        const size = packed ? 1 + 9 * exponent : 2 ** exponent;
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
              Array.from({ length: n }, (___, i) => ({ address: BUFFERS + BigInt(16 * (from + i)), length: i + 1 }));
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

  it.each(LAYOUTS)('%s: goes on when the indices wrap', (_, layout) => {
    const queue = pair(4, EVENT_IDX | layout, false);
    for (let n = 0; n < 70_000; n += 1) {
      queue.driver.add([{ address: BUFFERS, length: 4 }], [], n);
      const notified = queue.driver.publish();
      const popped = queue.device.pop();
      if (popped.kind === 'chain') queue.device.push(popped.chain.head, 0);
      const interrupted = queue.device.shouldInterrupt();
      const element = queue.driver.popUsed();
      queue.driver.setInterrupts(true);
      if (!notified || !interrupted || element.kind !== 'used' || element.token !== n) {
        expect.fail(`after ${n}: ${notified} ${popped.kind} ${interrupted} ${element.kind}`);
      }
    }
  });

  it.each(LAYOUTS)('%s: 2.8.9: chains that are returned together are seen together', (_, layout) => {
    const queue = pair(8, layout, true);
    for (let n = 0; n < 3; n += 1) queue.driver.add([], [{ address: BUFFERS, length: 9 }], n);
    queue.driver.publish();
    const heads = [0, 1, 2].map(() => {
      const popped = pop(queue);
      return popped.kind === 'chain' ? popped.chain.head : -1;
    });
    const used = heads.map((head, n) => ({ head, written: n + 1 }));
    // Not local yet: the driver sees none of them.
    expect(queue.device.pushAll(used)).toBe(false);
    expect(queue.driver.popUsed()).toEqual({ kind: 'empty' });
    settle(
      queue.far,
      () => queue.device.pushAll(used),
      (done) => !done,
    );
    for (let n = 0; n < 3; n += 1) expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: n, written: n + 1 });
    expect(queue.device.inFlight).toBe(0);
  });

  it('2.8: a packed queue may have any size, a split one a power of two', () => {
    const memory = allocateMemory(BASE, 32_768 * 16 + 64);
    for (const size of [1, 3, 100, 32_767, 32_768]) {
      const { config } = layoutQueue(BASE, size, PACKED);
      expect(activateDeviceQueue(memory, config, PACKED).ok).toBe(true);
    }
    for (const size of [0, 32_769]) {
      const { config } = layoutQueue(BASE, size, PACKED);
      expect(activateDeviceQueue(memory, config, PACKED).ok).toBe(false);
    }
    expect(activateDeviceQueue(memory, layoutQueue(BASE, 3, 0n).config, 0n).ok).toBe(false);
  });
});

describe('2.7.5.3, 2.8.7: indirect descriptors', () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ address: BUFFERS + BigInt(n), length: n + 1 }));

  it.each(LAYOUTS)('%s: a request with many buffers takes one descriptor of the ring', (_, layout) => {
    const queue = pair(4, INDIRECT | layout, true);
    expect(queue.driver.add(many(1), many(3), 7)).toBe(true);
    expect(queue.driver.free).toBe(3);
    queue.driver.publish();
    const popped = pop(queue);
    expect(popped).toMatchObject({ kind: 'chain', chain: { readableLength: 1, writableLength: 6 } });
    if (popped.kind === 'chain') push(queue, popped.chain.head, 6);
    expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: 7, written: 6 });
    expect(queue.driver.free).toBe(4);
  });

  it.each(LAYOUTS)('%s: 2.7.5.3.1: no list is longer than the queue, in a table or in the ring', (_, layout) => {
    const queue = pair(4, INDIRECT | layout, false);
    expect(queue.driver.add(many(5), [], 0)).toBe(false);
    expect(queue.driver.add(many(4), [], 0)).toBe(true);
  });

  it.each(LAYOUTS)('%s: a ring takes as many requests as it has descriptors, over and over', (_, layout) => {
    const queue = pair(64, INDIRECT | layout, false);
    for (let round = 0; round < 5; round += 1) {
      for (let n = 0; n < 64; n += 1) expect(queue.driver.add(many(2), many(2), n)).toBe(true);
      expect(queue.driver.add(many(1), [], 0)).toBe(false);
      queue.driver.publish();
      for (let n = 0; n < 64; n += 1) {
        const popped = queue.device.pop();
        if (popped.kind === 'chain') queue.device.push(popped.chain.head, 0);
      }
      for (let n = 0; n < 64; n += 1) expect(queue.driver.popUsed()).toMatchObject({ kind: 'used', token: n });
    }
  });
});

describe('2.7.9, 2.8.8: in order', () => {
  const start = (layout: bigint) => {
    const queue = pair(8, IN_ORDER | layout, true);
    for (let n = 0; n < 4; n += 1) queue.driver.add([], [{ address: BUFFERS, length: 10 }], n);
    queue.driver.publish();
    const heads = [0, 1, 2, 3].map(() => {
      const popped = pop(queue);
      return popped.kind === 'chain' ? popped.chain.head : -1;
    });
    return { ...queue, heads };
  };

  it.each(LAYOUTS)('%s: a chain that ends early waits for those before it', (_, layout) => {
    const queue = start(layout);
    push(queue, queue.heads[2] ?? 0, 10);
    push(queue, queue.heads[1] ?? 0, 10);
    expect(interrupts(queue)).toBe(false);
    expect(queue.driver.popUsed()).toEqual({ kind: 'empty' });
    expect(queue.device.inFlight).toBe(2);
    push(queue, queue.heads[0] ?? 0, 10);
    expect(interrupts(queue)).toBe(true);
    for (let n = 0; n < 3; n += 1) expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: n, written: 10 });
    expect(queue.driver.popUsed()).toEqual({ kind: 'empty' });
  });

  it.each(LAYOUTS)(
    '%s: one used element stands for several, but for none that was not written completely',
    (_, layout) => {
      const queue = start(layout);
      const { config } = layoutQueue(BASE, 8, layout);
      const elements = (): readonly number[] => {
        const at = Number((layout === 0n ? config.deviceArea + 4n : config.descriptorArea + 8n) - BASE);
        return [0, 1, 2, 3].map((n) => queue.near.readU32(at + (layout === 0n ? 8 * n + 4 : 16 * n)));
      };
      const before = elements();
      for (const [n, written] of [
        [3, 5],
        [2, 10],
        [1, 4],
        [0, 10],
      ] as const) {
        push(queue, queue.heads[n] ?? 0, written);
      }
      // Elements 1 and 3 of the ring were never written.
      expect(elements()).toEqual([4, before[1], 5, before[3]]);
      for (const [n, written] of [10, 4, 10, 5].entries()) {
        expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: n, written });
      }
      expect(queue.driver.free).toBe(8);
    },
  );

  it.each(LAYOUTS)('%s: what was rejected is never skipped: nothing was written to it', (_, layout) => {
    const queue = pair(8, IN_ORDER | layout, false);
    queue.driver.add([], [{ address: 0n, length: 10 }], 0);
    queue.driver.add([], [{ address: BUFFERS, length: 10 }], 1);
    queue.driver.publish();
    const [bad, good] = [queue.device.pop(), queue.device.pop()];
    if (bad.kind !== 'rejected' || good.kind !== 'chain') throw new Error(`${bad.kind}, ${good.kind}`);
    queue.device.push(good.chain.head, 10);
    queue.device.push(bad.head, 0);
    expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: 0, written: 0 });
    expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: 1, written: 10 });
  });
});

describe('starting over', () => {
  it.each(LAYOUTS)('%s: gives back what was in flight, oldest first, and runs again', (_, layout) => {
    const queue = pair(8, INDIRECT | layout, false);
    for (let n = 0; n < 5; n += 1) queue.driver.add([{ address: BUFFERS, length: 1 }], [], n);
    queue.driver.publish();
    const popped = queue.device.pop();
    if (popped.kind === 'chain') queue.device.push(popped.chain.head, 0);
    expect(queue.driver.popUsed()).toMatchObject({ token: 0 });
    expect(queue.driver.restart()).toEqual([1, 2, 3, 4]);
    const { config } = layoutQueue(BASE, 8, INDIRECT | layout);
    const device = must(activateDeviceQueue(queue.near, config, INDIRECT | layout));
    for (let n = 0; n < 8; n += 1) expect(queue.driver.add([{ address: BUFFERS, length: 1 }], [], n)).toBe(true);
    expect(queue.driver.publish()).toBe(true);
    for (let n = 0; n < 8; n += 1) expect(device.pop().kind).toBe('chain');
  });
});

describe('2.7.7, 2.7.10, 2.8.10: suppression', () => {
  const SUPPRESSION = [
    ['split, flags', 0n],
    ['split, EVENT_IDX', EVENT_IDX],
    ['packed, flags', PACKED],
    ['packed, EVENT_IDX', PACKED | EVENT_IDX],
  ] as const;

  it.each([
    ['split', EVENT_IDX],
    ['packed', EVENT_IDX | PACKED],
  ] as const)('%s: with EVENT_IDX, the driver hears once of many', (_, features) => {
    const queue = pair(16, features, false);
    const rounds = 20;
    let interrupts = 0;
    for (let n = 0; n < 16; n += 1) queue.driver.add([{ address: BUFFERS, length: 1 }], [], n);
    queue.driver.publish();
    queue.driver.setInterrupts(true, 12);
    for (let n = 0; n < rounds * 12; n += 1) {
      const popped = queue.device.pop();
      if (popped.kind !== 'chain') throw new Error(popped.kind);
      queue.device.push(popped.chain.head, 0);
      if (!queue.device.shouldInterrupt()) continue;
      interrupts += 1;
      while (queue.driver.popUsed().kind === 'used') queue.driver.add([{ address: BUFFERS, length: 1 }], [], n);
      queue.driver.publish();
      queue.driver.setInterrupts(true, 12);
    }
    expect(interrupts).toBe(rounds);
  });

  it.each(SUPPRESSION)('%s: a wish for notifications that memory was too far away for is not lost', (_, features) => {
    const queue = pair(4, features, true);
    const add = () => queue.driver.add([{ address: BUFFERS, length: 1 }], [], 0);
    queue.device.setNotifications(false);
    expect(pop(queue)).toEqual({ kind: 'empty' });
    // Now it lies in memory that no notification is wanted, and nothing is local.
    queue.device.setNotifications(true);
    expect(pop(queue)).toEqual({ kind: 'empty' });
    add();
    expect(queue.driver.publish()).toBe(true);
  });

  it('2.7.7.2: an event is needed exactly when the index crosses it, also over the wrap', () => {
    expect(needsEvent(5, 6, 5)).toBe(true);
    expect(needsEvent(6, 6, 5)).toBe(false);
    expect(needsEvent(0xffff, 2, 0xfffe)).toBe(true);
    expect(needsEvent(2, 2, 0xfffe)).toBe(false);
  });

  it.each(SUPPRESSION)(
    '%s: the device is not notified when it asked for silence, and is again afterwards',
    (_, features) => {
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
    },
  );

  it.each(SUPPRESSION)(
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
  const again = (features: bigint, queue: Pair): DeviceQueue => {
    const copy = must(activateDeviceQueue(queue.near, layoutQueue(BASE, 4, features).config, features));
    must(copy.restore(JSON.parse(JSON.stringify(queue.device.save()))));
    return copy;
  };

  it.each(LAYOUTS)('%s: continues where it was, with chains in flight', (_, features) => {
    const queue = pair(4, features, false);
    for (let n = 0; n < 3; n += 1) queue.driver.add([{ address: BUFFERS, length: 1 }], [], n);
    queue.driver.publish();
    const first = queue.device.pop();
    queue.device.pop();
    const copy = again(features, queue);
    expect(copy.heads()).toEqual(queue.device.heads());
    if (first.kind === 'chain') copy.push(first.chain.head, 0);
    expect(queue.driver.popUsed()).toMatchObject({ kind: 'used', token: 0 });
    expect(copy.pop()).toMatchObject({ kind: 'chain' });
    expect(copy.pop()).toEqual({ kind: 'empty' });
  });

  it.each(LAYOUTS)(
    '%s: has chains in flight as they were popped, whatever became of their descriptors',
    (_, features) => {
      const queue = pair(4, features, false);
      queue.driver.add([{ address: BUFFERS, length: 5 }], [{ address: BUFFERS + 64n, length: 7 }], 0);
      queue.driver.add([{ address: 1n, length: 1 }], [], 1);
      queue.driver.publish();
      const popped = [queue.device.pop(), queue.device.pop()];
      queue.near.bytes(0, 64).fill(0xff);
      const copy = again(features, queue);
      expect(copy.heads().map((head) => copy.recall(head))).toEqual(popped);
    },
  );

  it.each(LAYOUTS)('%s: in order, remembers what waits for an earlier chain', (_, layout) => {
    const features = IN_ORDER | layout;
    const queue = pair(4, features, false);
    for (let n = 0; n < 2; n += 1) queue.driver.add([], [{ address: BUFFERS, length: 8 }], n);
    queue.driver.publish();
    const [first, second] = [queue.device.pop(), queue.device.pop()];
    if (second.kind === 'chain') queue.device.push(second.chain.head, 3);
    const copy = again(features, queue);
    expect(copy.inFlight).toBe(1);
    if (first.kind === 'chain') copy.push(first.chain.head, 8);
    expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: 0, written: 8 });
    expect(queue.driver.popUsed()).toEqual({ kind: 'used', token: 1, written: 3 });
  });

  it.each(LAYOUTS)('%s: a ring that is latched as broken stays so', (_, features) => {
    const queue = pair(4, features, false);
    queue.driver.add([{ address: BUFFERS, length: 1 }], [], 0);
    queue.driver.publish();
    // INDIRECT was not negotiated.
    queue.near.writeU16(features === 0n ? 12 : 14, features === 0n ? 4 : 0x84);
    expect(queue.device.pop()).toMatchObject({ kind: 'broken', error: { code: 'indirect-feature' } });
    expect(again(features, queue).pop()).toMatchObject({ kind: 'broken', error: { code: 'indirect-feature' } });
  });

  it.each(LAYOUTS)('%s: A48: refuses what no queue can be', (_, layout) => {
    const features = layout | IN_ORDER;
    const queue = pair(4, features, false);
    for (let n = 0; n < 2; n += 1) queue.driver.add([], [{ address: BUFFERS, length: 8 }], n);
    queue.driver.publish();
    const [first] = [queue.device.pop(), queue.device.pop()];
    expect(first.kind).toBe('chain');
    const state = queue.device.save() as { readonly inFlight: readonly Record<string, unknown>[] };
    const [one, two] = state.inFlight;
    const refused = (change: object): unknown => queue.device.restore({ ...state, ...change });
    expect(refused({})).toMatchObject({ ok: true });
    const position = layout === 0n ? 'lastAvail' : 'avail';
    for (const wrong of [
      { [position]: 3 },
      { [position]: 0x1_0000 },
      { layout: layout === 0n ? 'packed' : 'split' },
      { inFlight: [one] },
      { inFlight: [one, one] },
      { inFlight: [one, { ...two, head: 0x1_0000 }] },
      { inFlight: [one, { ...two, descriptors: 5 }] },
      { inFlight: [one, { ...two, writable: [[SIZE - 4, 8]] }] },
      { inFlight: [one, { ...two, written: 9 }] },
      { inFlight: [{ ...one, written: 1 }, two] },
      { inFlight: undefined },
      { error: 'broken' },
    ]) {
      expect(refused(wrong), JSON.stringify(wrong)).toMatchObject({ ok: false });
    }
  });
});
