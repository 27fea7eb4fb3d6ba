import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import { featureSet, VIRTIO_F_INDIRECT_DESC } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { layoutSplitQueue, type QueueConfig, SplitDeviceQueue, SplitDriverQueue } from './index.js';

const BASE = guestAddress(0x4000_0000n);
const QUEUE = 8;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** A driver that writes whatever it likes. */
class Raw {
  readonly memory: LocalMemory = allocateMemory(BASE, 0x4000);
  readonly config: QueueConfig = layoutSplitQueue(BASE, QUEUE).config;
  readonly #avail = Number(this.config.driverArea - BASE);

  describe(index: number, address: bigint, length: number, flags: number, next = 0): this {
    this.entry(16 * index, address, length, flags, next);
    return this;
  }

  entry(at: number, address: bigint, length: number, flags: number, next: number): void {
    this.memory.writeU64(at, address);
    this.memory.writeU32(at + 8, length);
    this.memory.writeU16(at + 12, flags);
    this.memory.writeU16(at + 14, next);
  }

  offer(...heads: readonly number[]): this {
    heads.forEach((head, n) => this.memory.writeU16(this.#avail + 4 + 2 * n, head));
    return this.index(heads.length);
  }

  index(value: number): this {
    this.memory.writeU16(this.#avail + 2, value);
    return this;
  }

  /** The first buffer that is not a ring. */
  get buffer(): bigint {
    return BASE + 0x2000n;
  }
}

const T = BASE + 0x1000n;
const TABLE = 0x1000;

/** Catalogue A: what a driver may try, the clause that it violates, and what becomes of the queue. */
const CASES: readonly {
  readonly id: string;
  readonly clause: string;
  readonly verdict: 'broken' | 'rejected' | 'chain';
  readonly features?: bigint;
  readonly does: (raw: Raw) => unknown;
}[] = [
  {
    id: 'A1 a descriptor that is its own next',
    clause: '2.7.5.3.1',
    verdict: 'broken',
    does: (r) => r.describe(0, r.buffer, 4, NEXT, 0).offer(0),
  },
  {
    id: 'A1 a cycle of two',
    clause: '2.7.5.3.1',
    verdict: 'broken',
    does: (r) => r.describe(0, r.buffer, 4, NEXT, 1).describe(1, r.buffer, 4, NEXT, 0).offer(0),
  },
  {
    id: 'A3 next beyond the ring',
    clause: '2.7.5',
    verdict: 'broken',
    does: (r) => r.describe(0, r.buffer, 4, NEXT, QUEUE).offer(0),
  },
  { id: 'A4 head beyond the ring', clause: '2.7.6', verdict: 'broken', does: (r) => r.offer(QUEUE) },
  { id: 'A5 index more than a ring ahead', clause: '2.7.6', verdict: 'broken', does: (r) => r.index(QUEUE + 1) },
  { id: 'A6 index goes back', clause: '2.7.6', verdict: 'broken', does: (r) => r.index(0xffff) },
  {
    id: 'A8 more than 2^32 bytes',
    clause: '2.7.5.2',
    verdict: 'rejected',
    does: (r) => r.describe(0, r.buffer, 0xffff_ffff, NEXT, 1).describe(1, r.buffer, 0xffff_ffff, 0).offer(0),
  },
  { id: 'A9 length 0', clause: '2.7.5', verdict: 'chain', does: (r) => r.describe(0, r.buffer, 0, 0).offer(0) },
  {
    id: 'A9 length 2^32-1',
    clause: '2.7.5',
    verdict: 'rejected',
    does: (r) => r.describe(0, r.buffer, 0xffff_ffff, 0).offer(0),
  },
  {
    id: 'A9 address that wraps 2^64',
    clause: '2.7.5',
    verdict: 'rejected',
    does: (r) => r.describe(0, 0xffff_ffff_ffff_fff0n, 0x20, 0).offer(0),
  },
  {
    id: 'A10 address below the memory',
    clause: '2.7.5',
    verdict: 'rejected',
    does: (r) => r.describe(0, BASE - 1n, 2, 0).offer(0),
  },
  {
    id: 'A10 across the end',
    clause: '2.7.5',
    verdict: 'rejected',
    does: (r) => r.describe(0, BASE + 0x3fffn, 2, 0).offer(0),
  },
  {
    id: 'A11 a buffer on the rings',
    clause: '2.7.5',
    verdict: 'chain',
    does: (r) => r.describe(0, BASE, 64, WRITE).offer(0),
  },
  {
    id: 'A13 INDIRECT without the feature',
    clause: '2.7.5.3.1',
    verdict: 'broken',
    features: 0n,
    does: (r) => r.describe(0, T, 16, INDIRECT).offer(0),
  },
  {
    id: 'A14 nested INDIRECT',
    clause: '2.7.5.3.1',
    verdict: 'broken',
    does: (r) => {
      r.entry(TABLE, T, 16, INDIRECT, 0);
      r.describe(0, T, 16, INDIRECT).offer(0);
    },
  },
  {
    id: 'A15 INDIRECT and NEXT',
    clause: '2.7.5.3.1',
    verdict: 'broken',
    does: (r) => r.describe(0, T, 16, INDIRECT | NEXT, 1).offer(0),
  },
  {
    id: 'A16 table of length 0',
    clause: '2.7.5.3',
    verdict: 'broken',
    does: (r) => r.describe(0, T, 0, INDIRECT).offer(0),
  },
  {
    id: 'A16 table length no multiple of 16',
    clause: '2.7.5.3',
    verdict: 'broken',
    does: (r) => r.describe(0, T, 24, INDIRECT).offer(0),
  },
  {
    id: 'A16 table outside the memory',
    clause: '2.7.5.3',
    verdict: 'broken',
    does: (r) => r.describe(0, BASE + 0x3ff8n, 16, INDIRECT).offer(0),
  },
  {
    id: 'A16 next beyond the table',
    clause: '2.7.5',
    verdict: 'broken',
    does: (r) => {
      r.entry(TABLE, r.buffer, 4, NEXT, 1);
      r.describe(0, T, 16, INDIRECT).offer(0);
    },
  },
  {
    id: 'A16 a loop in the table',
    clause: '2.7.5.3.1',
    verdict: 'broken',
    does: (r) => {
      r.entry(TABLE, r.buffer, 4, NEXT, 0);
      r.describe(0, T, 16, INDIRECT).offer(0);
    },
  },
  {
    id: 'A17 descriptors, then an indirect table',
    clause: '2.7.5.3.2',
    verdict: 'chain',
    does: (r) => {
      r.entry(TABLE, r.buffer, 4, 0, 0);
      r.describe(0, r.buffer, 4, NEXT, 1).describe(1, T, 16, INDIRECT).offer(0);
    },
  },
  {
    id: 'A18 WRITE on the indirect entry',
    clause: '2.7.5.3.2',
    verdict: 'chain',
    does: (r) => {
      r.entry(TABLE, r.buffer, 4, 0, 0);
      r.describe(0, T, 16, INDIRECT | WRITE).offer(0);
    },
  },
  {
    id: 'A19 readable after writable',
    clause: '2.7.4.2',
    verdict: 'rejected',
    does: (r) =>
      r
        .describe(0, r.buffer, 4, WRITE | NEXT, 1)
        .describe(1, r.buffer, 4, 0)
        .offer(0),
  },
  {
    id: 'A24 reserved bits in flags',
    clause: '2.7.7.1',
    verdict: 'chain',
    does: (r) => {
      r.memory.writeU16(Number(r.config.driverArea - BASE), 0xfffe);
      r.describe(0, r.buffer, 4, 0xfff8).offer(0);
    },
  },
];

describe('catalogue A: a hostile driver', () => {
  it.each(CASES)('$id ($clause): $verdict', ({ clause, verdict, features, does }) => {
    const raw = new Raw();
    const queue = SplitDeviceQueue.activate(raw.memory, raw.config, features ?? featureSet(VIRTIO_F_INDIRECT_DESC));
    if (!queue.ok) throw new Error(queue.error.detail);
    does(raw);
    const popped = queue.value.pop();
    expect(popped.kind).toBe(verdict);
    if (popped.kind === 'broken' || popped.kind === 'rejected') expect(popped.error.clause).toBe(clause);
    if (popped.kind === 'broken') expect(queue.value.pop()).toEqual(popped);
    if (popped.kind === 'rejected') expect(queue.value.push(popped.head, 0)).toBe(true);
  });

  it('A7 (2.7.13): a head that is in flight is not taken again', () => {
    const raw = new Raw().describe(0, BASE + 0x2000n, 4, 0).offer(0, 0);
    const queue = SplitDeviceQueue.activate(raw.memory, raw.config, 0n);
    if (!queue.ok) throw new Error(queue.error.detail);
    expect(queue.value.pop().kind).toBe('chain');
    expect(queue.value.pop()).toMatchObject({ kind: 'broken', error: { clause: '2.7.13' } });
  });

  it('A20 (2.7.13): a descriptor changed after it was taken changes nothing', () => {
    const raw = new Raw().describe(0, BASE + 0x2000n, 4, 0).offer(0);
    const queue = SplitDeviceQueue.activate(raw.memory, raw.config, 0n);
    if (!queue.ok) throw new Error(queue.error.detail);
    const popped = queue.value.pop();
    raw.describe(0, 0n, 0xffff, NEXT, 77);
    expect(popped).toMatchObject({ kind: 'chain', chain: { readable: [{ offset: 0x2000, length: 4 }] } });
  });

  it('A22 (2.7.8): scribbling over the used ring does not confuse the device', () => {
    const raw = new Raw()
      .describe(0, BASE + 0x2000n, 4, WRITE)
      .describe(1, BASE + 0x2000n, 4, WRITE)
      .offer(0, 1);
    const queue = SplitDeviceQueue.activate(raw.memory, raw.config, 0n);
    if (!queue.ok) throw new Error(queue.error.detail);
    const used = Number(raw.config.deviceArea - BASE);
    queue.value.pop();
    queue.value.pop();
    queue.value.push(0, 4);
    raw.memory.writeU16(used + 2, 0x7777);
    queue.value.push(1, 4);
    expect(raw.memory.readU16(used + 2)).toBe(2);
  });

  it.each([
    ['A28 size 0', { size: 0 }],
    ['A28 size 6', { size: 6 }],
    ['A28 size 65536', { size: 65_536 }],
    ['A29 descriptors unaligned', { descriptorArea: BASE + 8n }],
    ['A29 driver area unaligned', { driverArea: BASE + 0x1001n }],
    ['A29 device area unaligned', { deviceArea: BASE + 0x1002n }],
    ['A29 areas overlap', { driverArea: BASE + 16n }],
    ['A29 outside the memory', { deviceArea: BASE + 0x4000n }],
    ['A30 no addresses', { descriptorArea: 0n, driverArea: 0n, deviceArea: 0n }],
  ] as const)('%s (2.7): the queue does not start', (_, wrong) => {
    const raw = new Raw();
    expect(SplitDeviceQueue.activate(raw.memory, { ...raw.config, ...wrong }, 0n)).toMatchObject({ ok: false });
  });
});

describe('catalogue B: a hostile device', () => {
  const start = () => {
    const memory = allocateMemory(BASE, 0x4000);
    const { config } = layoutSplitQueue(BASE, QUEUE);
    const driver = SplitDriverQueue.create<string>(memory, config, 0n);
    if (!driver.ok) throw new Error(driver.error.detail);
    driver.value.add([], [{ address: BASE + 0x2000n, length: 10 }], 'a');
    driver.value.add([], [{ address: BASE + 0x2000n, length: 10 }], 'b');
    driver.value.publish();
    const used = Number(config.deviceArea - BASE);
    const answer = (index: number, ...elements: readonly (readonly [number, number])[]) => {
      elements.forEach(([id, length], n) => {
        memory.writeU32(used + 4 + 8 * n, id);
        memory.writeU32(used + 8 + 8 * n, length);
      });
      memory.writeU16(used + 2, index);
    };
    return { driver: driver.value, answer, memory };
  };

  it('V1 (2.7.8): an id beyond the ring breaks the queue', () => {
    const { driver, answer } = start();
    answer(1, [QUEUE, 0]);
    expect(driver.popUsed()).toMatchObject({ kind: 'broken', error: { code: 'used-id' } });
    expect(driver.add([], [{ address: BASE, length: 1 }], 'c')).toBe(false);
  });

  it('V2 (2.7.8): an id that is not in flight, or returned twice, breaks the queue', () => {
    const { driver, answer } = start();
    answer(2, [0, 0], [0, 0]);
    expect(driver.popUsed()).toMatchObject({ kind: 'used', token: 'a' });
    expect(driver.popUsed()).toMatchObject({ kind: 'broken', error: { code: 'used-twice' } });
  });

  it('V2 (2.7.8): an id that the device was not shown yet breaks the queue', () => {
    const { driver, answer } = start();
    driver.add([], [{ address: BASE + 0x2000n, length: 10 }], 'unseen');
    answer(1, [2, 0]);
    expect(driver.popUsed()).toMatchObject({ kind: 'broken', error: { code: 'used-twice' } });
  });

  it('V3 (2.7.8.2): a length beyond the room is cut and counted', () => {
    const { driver, answer } = start();
    answer(1, [0, 11]);
    expect(driver.popUsed()).toEqual({ kind: 'used', token: 'a', written: 10 });
    expect(driver.clamped).toBe(1);
  });

  it('V5 (2.7.8): an index ahead of what is in flight, or gone back, breaks the queue', () => {
    const ahead = start();
    ahead.answer(3);
    expect(ahead.driver.popUsed()).toMatchObject({ kind: 'broken', error: { code: 'used-idx' } });
    const back = start();
    back.answer(0xffff);
    expect(back.driver.popUsed()).toMatchObject({ kind: 'broken' });
  });

  it('V7 (2.7.5.1): descriptors that the device rewrote are recycled from the private copy', () => {
    const { driver, answer, memory } = start();
    for (let at = 0; at < 16 * QUEUE; at += 2) memory.writeU16(at, 0xffff);
    answer(2, [1, 0], [0, 0]);
    driver.popUsed();
    driver.popUsed();
    expect(driver.free).toBe(QUEUE);
    for (let n = 0; n < QUEUE; n += 1) expect(driver.add([], [{ address: BASE, length: 1 }], 'x')).toBe(true);
  });
});
