import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import {
  ALL_RING_FEATURES,
  featureSet,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  MMIO,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import { createDriverQueue, type DriverQueue, layoutQueue, type QueueConfig } from '@remio/virtqueue';
import { describe, expect, it } from 'vitest';
import { type DeviceIo, MmioRegisters, type VirtioDevice } from './index.js';

const BASE = guestAddress(0x8000_0000n);
const BUFFER = BASE + 0xf000n;

/** A device with two queues that keeps what it is given until it is told. */
class Keeper implements VirtioDevice {
  readonly deviceId = 42;
  readonly features = featureSet(0, VIRTIO_F_EVENT_IDX);
  readonly queueCount = 2;
  readonly queueSizeMax = 100;
  readonly config = new Uint8Array(4);
  readonly withheldRingFeatures: bigint;
  io: DeviceIo | undefined;
  readonly kept: number[][] = [[], []];
  readonly notified: number[] = [];
  readonly resets: number[] = [];
  resume?: () => void;

  constructor(withheld = 0n) {
    this.withheldRingFeatures = withheld;
  }
  activate(io: DeviceIo): void {
    this.io = io;
  }
  notify(queue: number): void {
    this.notified.push(queue);
    for (;;) {
      const popped = this.io?.queues[queue]?.pop();
      if (popped?.kind === 'broken') this.io?.broken(queue, popped.error);
      if (popped?.kind !== 'chain') return;
      this.kept[queue]?.push(popped.chain.head);
    }
  }
  /** Returns the oldest chain of a queue. */
  finish(queue: number): void {
    const head = this.kept[queue]?.shift();
    if (head === undefined) return;
    this.io?.queues[queue]?.push(head, 0);
    this.io?.used(queue);
  }
  resetQueue(queue: number): void {
    this.resets.push(queue);
  }
  reset(done: () => void): void {
    done();
  }
}

class Bench {
  readonly memory: LocalMemory = allocateMemory(BASE, 0x1_0000);
  interrupts = 0;
  readonly registers: MmioRegisters;
  readonly device: Keeper;
  readonly features: bigint;

  constructor(features = 0n, offered = ALL_RING_FEATURES, withheld = 0n) {
    this.features = features | featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);
    this.device = new Keeper(withheld);
    const host = {
      interrupt: () => {
        this.interrupts += 1;
      },
      defer: (work: () => void) => work(),
    };
    this.registers = new MmioRegisters(this.device, this.memory, host, offered);
  }

  read(offset: number): number {
    return Number(this.registers.read(offset, 4));
  }

  write(offset: number, value: number): void {
    this.registers.write(offset, 4, BigInt(value));
  }

  offered(): bigint {
    this.write(MMIO.DeviceFeaturesSel, 0);
    const low = BigInt(this.read(MMIO.DeviceFeatures));
    this.write(MMIO.DeviceFeaturesSel, 1);
    return (BigInt(this.read(MMIO.DeviceFeatures)) << 32n) | low;
  }

  negotiate(): this {
    this.write(MMIO.Status, 1);
    this.write(MMIO.Status, 3);
    for (const half of [0, 1]) {
      this.write(MMIO.DriverFeaturesSel, half);
      this.write(MMIO.DriverFeatures, Number((this.features >> BigInt(32 * half)) & 0xffff_ffffn));
    }
    this.write(MMIO.Status, 11);
    return this;
  }

  /** Makes a queue ready; its memory is apart from that of the other. */
  queue(index: number, size: number): DriverQueue<number> {
    const { config, tables } = layoutQueue(BASE + BigInt(0x4000 * index), size, this.features);
    const driver = createDriverQueue<number>(this.memory, config, this.features, tables);
    if (!driver.ok) throw new Error(driver.error.detail);
    this.setQueue(index, config);
    return driver.value;
  }

  setQueue(index: number, config: QueueConfig): void {
    this.write(MMIO.QueueSel, index);
    this.write(MMIO.QueueSize, config.size);
    this.write(MMIO.QueueDescLow, Number(config.descriptorArea));
    this.write(MMIO.QueueDriverLow, Number(config.driverArea));
    this.write(MMIO.QueueDeviceLow, Number(config.deviceArea));
    this.write(MMIO.QueueReady, 1);
  }

  live(): this {
    this.write(MMIO.Status, 15);
    return this;
  }
}

const add = (queue: DriverQueue<number>, token: number): void => {
  queue.add([{ address: BUFFER, length: 4 }], [], token);
  queue.publish();
};

describe('ring features', () => {
  it('6: every device offers them, but those that the topology switches off or the model cannot have', () => {
    expect(new Bench().offered() & ALL_RING_FEATURES).toBe(ALL_RING_FEATURES);
    const some = ALL_RING_FEATURES & ~featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX);
    const bench = new Bench(0n, some, featureSet(VIRTIO_F_IN_ORDER));
    expect(bench.offered() & ALL_RING_FEATURES).toBe(some & ~featureSet(VIRTIO_F_IN_ORDER));
    expect(hasFeature(bench.offered(), 0)).toBe(true);
  });

  it('2.2.2: a driver that accepts what was switched off does not get FEATURES_OK', () => {
    const bench = new Bench(featureSet(VIRTIO_F_RING_PACKED), 0n).negotiate();
    expect(bench.read(MMIO.Status) & STATUS_FEATURES_OK).toBe(0);
  });

  it.each([
    [0n, 64, false],
    [featureSet(VIRTIO_F_RING_PACKED), 100, true],
  ])('2.7, 2.8: QueueSizeMax is a power of two unless packed rings were negotiated', (features, max, runs) => {
    const bench = new Bench(features).negotiate();
    expect(bench.read(MMIO.QueueSizeMax)).toBe(max);
    bench.setQueue(0, layoutQueue(BASE, 100, featureSet(VIRTIO_F_RING_PACKED)).config);
    bench.live();
    expect((bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET) === 0).toBe(runs);
  });

  it('4.2.3.3: with NOTIFICATION_DATA a notification names its queue in 16 bits', () => {
    const bench = new Bench(featureSet(VIRTIO_F_NOTIFICATION_DATA)).negotiate();
    const queue = bench.queue(1, 8);
    bench.live();
    add(queue, 0);
    bench.write(MMIO.QueueNotify, 1 | (queue.notificationData << 16));
    expect(bench.device.kept[1]).toHaveLength(1);
    // Whatever is said of the ring, the ring itself counts.
    bench.write(MMIO.QueueNotify, 0xffff_0001 | 0);
    bench.write(MMIO.QueueNotify, 7);
    expect(bench.device.notified).toEqual([1, 1]);
  });

  it('4.2.3.3: without NOTIFICATION_DATA a value above 16 bits names no queue', () => {
    const bench = new Bench().negotiate();
    bench.queue(1, 8);
    bench.live();
    bench.write(MMIO.QueueNotify, 0x8001_0001 | 0);
    expect(bench.device.notified).toEqual([]);
  });

  it('2.8.14: an event offset beyond the ring breaks the queue, once, and no other', () => {
    const bench = new Bench(featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX)).negotiate();
    const [queue, other] = [bench.queue(0, 8), bench.queue(1, 8)];
    bench.live();
    const { config } = layoutQueue(BASE, 8, bench.features);
    bench.memory.writeU32(Number(config.driverArea - BASE), 0x0002_8008);
    add(queue, 0);
    bench.write(MMIO.QueueNotify, 0);
    bench.device.finish(0);
    expect(bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    const { interrupts } = bench;
    for (let n = 0; n < 3; n += 1) bench.write(MMIO.QueueNotify, 0);
    expect(bench.interrupts).toBe(interrupts);
    add(other, 1);
    bench.write(MMIO.QueueNotify, 1);
    bench.device.finish(1);
    expect(other.popUsed()).toMatchObject({ kind: 'used', token: 1 });
  });
});

describe.each([
  ['split', 0n],
  ['packed', featureSet(VIRTIO_F_RING_PACKED)],
])('2.6.1: the reset of a queue, %s', (_, layout) => {
  const start = () => {
    const bench = new Bench(layout | featureSet(VIRTIO_F_RING_RESET)).negotiate();
    const queues = [bench.queue(0, 8), bench.queue(1, 8)] as const;
    bench.live();
    for (const [index, queue] of queues.entries()) {
      for (let n = 0; n < 2; n += 1) add(queue, n);
      bench.write(MMIO.QueueNotify, index);
    }
    bench.write(MMIO.QueueSel, 0);
    return { bench, queues };
  };

  it('ends when what the device had taken has ended, and says nothing of it', () => {
    const { bench, queues } = start();
    bench.write(MMIO.QueueReset, 1);
    expect(bench.device.resets).toEqual([0]);
    add(queues[0], 2);
    bench.write(MMIO.QueueNotify, 0);
    for (let n = 0; n < 2; n += 1) {
      expect(bench.read(MMIO.QueueReset)).toBe(1);
      bench.write(MMIO.QueueReady, 1);
      bench.device.finish(0);
    }
    expect([bench.read(MMIO.QueueReset), bench.read(MMIO.QueueReady)]).toEqual([0, 0]);
    expect(bench.interrupts).toBe(0);
    expect(queues[0].popUsed()).toEqual({ kind: 'empty' });
    expect(bench.registers.queueConfig(0)).toBeUndefined();
  });

  it('leaves the other queues alone', () => {
    const { bench, queues } = start();
    bench.write(MMIO.QueueReset, 1);
    bench.device.finish(1);
    expect(queues[1].popUsed()).toMatchObject({ kind: 'used', token: 0 });
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_USED_BUFFER);
  });

  it('2.6.1.2: the queue can be made ready again, elsewhere and of another size', () => {
    const { bench, queues } = start();
    bench.write(MMIO.QueueReset, 1);
    for (let n = 0; n < 2; n += 1) bench.device.finish(0);
    expect(queues[0].restart()).toEqual([0, 1]);
    const config = layoutQueue(BASE + 0x2000n, 4, bench.features).config;
    const again = createDriverQueue<number>(bench.memory, config, bench.features);
    if (!again.ok) throw new Error(again.error.detail);
    bench.setQueue(0, config);
    expect([bench.read(MMIO.QueueReset), bench.read(MMIO.QueueReady)]).toEqual([0, 1]);
    for (let round = 0; round < 9; round += 1) {
      add(again.value, round);
      bench.write(MMIO.QueueNotify, 0);
      bench.device.finish(0);
      expect(again.value.popUsed()).toMatchObject({ kind: 'used', token: round });
    }
  });

  it('2.1.2: a queue that cannot be made ready again is broken', () => {
    const { bench } = start();
    bench.write(MMIO.QueueReset, 1);
    for (let n = 0; n < 2; n += 1) bench.device.finish(0);
    bench.setQueue(0, { ...layoutQueue(BASE, 8, layout).config, descriptorArea: 0n });
    expect(bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_CONFIG_CHANGE);
  });

  it('A36: without RING_RESET, of no queue, with another value, or twice: nothing', () => {
    const plain = new Bench(layout).negotiate();
    plain.queue(0, 8);
    plain.live();
    plain.write(MMIO.QueueReset, 1);
    expect([plain.read(MMIO.QueueReset), plain.read(MMIO.QueueReady)]).toEqual([0, 1]);
    const { bench } = start();
    bench.write(MMIO.QueueReset, 2);
    expect(bench.read(MMIO.QueueReady)).toBe(1);
    bench.write(MMIO.QueueSel, 9);
    bench.write(MMIO.QueueReset, 1);
    expect(bench.read(MMIO.QueueReset)).toBe(0);
    bench.write(MMIO.QueueSel, 0);
    for (let n = 0; n < 2; n += 1) bench.write(MMIO.QueueReset, 1);
    expect(bench.device.resets).toEqual([0]);
  });

  it('2.4: a reset of the device ends it as well', () => {
    const { bench } = start();
    bench.write(MMIO.QueueReset, 1);
    bench.write(MMIO.Status, 0);
    bench.write(MMIO.QueueSel, 0);
    expect([bench.read(MMIO.Status), bench.read(MMIO.QueueReset)]).toEqual([0, 0]);
  });

  it('is restored as ended, and the queue can be made ready again', () => {
    const { bench } = start();
    bench.write(MMIO.QueueReset, 1);
    const after = new Bench(bench.features);
    after.device.resume = () => {};
    expect(after.registers.restore(JSON.parse(JSON.stringify(bench.registers.save())))).toMatchObject({ ok: true });
    after.write(MMIO.QueueSel, 0);
    expect([after.read(MMIO.QueueReset), after.read(MMIO.QueueReady)]).toEqual([0, 0]);
    const queue = after.queue(0, 8);
    add(queue, 5);
    after.write(MMIO.QueueNotify, 0);
    after.device.finish(0);
    expect(after.device.kept[0]).toEqual([]);
  });
});
