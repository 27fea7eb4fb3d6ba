import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import {
  ALL_RING_FEATURES,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  MMIO,
  STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_BLK_S_OK,
  VIRTIO_F_RING_PACKED,
} from '@remio/virtio-spec';
import { KeptState, keptStateBytes, layoutSplitQueue, SplitDriverQueue } from '@remio/virtqueue';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockDevice, type BlockStorage, MemoryStorage, MmioRegisters, type VirtioDevice } from './index.js';

const BASE = guestAddress(0x8000_0000n);
const HEADER = 0x8000;
const STATUS = 0x8800;
const DATA = 0x9000;
const SIZE = 8;
const { config } = layoutSplitQueue(BASE, SIZE);

/** A disk that answers when the test says so. */
class SlowStorage implements BlockStorage {
  readonly capacity = 4096;
  readonly readOnly = false;
  readonly open: (() => void)[] = [];
  read(_position: number, _buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.open.push(() => done(true));
  }
  write = this.read;
  flush(done: (ok: boolean) => void): void {
    this.open.push(() => done(true));
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A disk behind its registers. */
class Bench {
  interrupts = 0;
  readonly registers: MmioRegisters;
  readonly deferred: (() => void)[] = [];

  constructor(
    readonly memory: LocalMemory = allocateMemory(BASE, 0x1_0000),
    device: VirtioDevice = new BlockDevice(new MemoryStorage(Uint8Array.from({ length: 4096 }, (_, n) => n % 251))),
    kept?: KeptState,
  ) {
    const host = {
      interrupt: () => {
        this.interrupts += 1;
      },
      defer: (work: () => void) => this.deferred.push(work),
    };
    this.registers = new MmioRegisters(device, memory, host, ALL_RING_FEATURES, kept);
  }

  settle(): void {
    for (let work = this.deferred.shift(); work !== undefined; work = this.deferred.shift()) work();
  }

  write(offset: number, value: number): void {
    this.registers.write(offset, 4, BigInt(value));
  }

  read(offset: number): number {
    return Number(this.registers.read(offset, 4));
  }

  /** 3.1.1 as far as asked for: 1 to 3 are status bits, 4 the queue, 5 DRIVER_OK. */
  up(steps = 5): this {
    if (steps >= 1) this.write(MMIO.Status, 1);
    if (steps >= 2) this.write(MMIO.Status, 3);
    if (steps >= 3) {
      this.write(MMIO.DriverFeaturesSel, 1);
      this.write(MMIO.DriverFeatures, 3);
      this.write(MMIO.Status, 11);
    }
    if (steps >= 4) {
      this.write(MMIO.QueueSize, SIZE);
      this.write(MMIO.QueueDescLow, Number(config.descriptorArea));
      this.write(MMIO.QueueDriverLow, Number(config.driverArea));
      this.write(MMIO.QueueDeviceLow, Number(config.deviceArea));
      this.write(MMIO.QueueReady, 1);
    }
    if (steps >= 5) this.write(MMIO.Status, 15);
    return this;
  }

  /** Every register that can be read. */
  view(): readonly number[] {
    return Array.from({ length: 0x140 / 4 }, (_, n) => this.read(4 * n));
  }
}

const saved = (bench: Bench): unknown => JSON.parse(JSON.stringify(bench.registers.save()));

/** A driver that asks for sectors 0, 1, … with one request each. */
class Driver {
  readonly queue: SplitDriverQueue<number>;
  #next = 0;
  constructor(readonly memory: LocalMemory) {
    const queue = SplitDriverQueue.create<number>(memory, config, 0n);
    if (!queue.ok) throw new Error(queue.error.detail);
    this.queue = queue.value;
  }
  ask(): number {
    const n = this.#next;
    this.#next += 1;
    this.memory.writeU64(HEADER + 16 * (n % 8) + 8, BigInt(n % 8));
    this.memory.writeU8(STATUS + (n % 8), 0xee);
    this.queue.add(
      [{ address: BASE + BigInt(HEADER + 16 * (n % 8)), length: 16 }],
      [
        { address: BASE + BigInt(DATA + 512 * (n % 8)), length: 512 },
        { address: BASE + BigInt(STATUS + (n % 8)), length: 1 },
      ],
      n,
    );
    this.queue.publish();
    return n;
  }
  reap(): number[] {
    const tokens: number[] = [];
    for (let used = this.queue.popUsed(); used.kind === 'used'; used = this.queue.popUsed()) {
      expect(this.memory.readU8(STATUS + (used.token % 8))).toBe(VIRTIO_BLK_S_OK);
      tokens.push(used.token);
    }
    return tokens;
  }
}

describe('a device that was saved and restored', () => {
  it.each([0, 1, 2, 3, 4, 5])('shows the same registers after step %i of 3.1.1, and comes up by the rest', (steps) => {
    const before = new Bench().up(steps);
    const after = new Bench(before.memory);
    expect(after.registers.restore(saved(before))).toMatchObject({ ok: true });
    expect(after.view()).toEqual(before.view());
    expect(saved(after)).toEqual(saved(before));
    after.up();
    const driver = new Driver(after.memory);
    driver.ask();
    after.write(MMIO.QueueNotify, 0);
    after.settle();
    expect(driver.reap()).toEqual([0]);
  });

  it('serves anew what was in flight, and tells the driver', () => {
    const slow = new SlowStorage();
    const before = new Bench(undefined, new BlockDevice(slow)).up();
    const driver = new Driver(before.memory);
    for (let n = 0; n < 2; n += 1) driver.ask();
    before.write(MMIO.QueueNotify, 0);
    // One request has ended, but its answer is not in the ring yet; the other is with the storage.
    slow.open[0]?.();
    expect(slow.open).toHaveLength(2);
    const after = new Bench(before.memory);
    expect(after.registers.restore(saved(before))).toMatchObject({ ok: true });
    expect(after.interrupts).toBe(0);
    after.settle();
    expect(driver.reap()).toEqual([0, 1]);
    expect(after.read(MMIO.InterruptStatus)).toBe(INTERRUPT_USED_BUFFER);
    expect(after.interrupts).toBe(1);
    expect([...after.memory.bytes(DATA + 512, 3)]).toEqual([512 % 251, 513 % 251, 514 % 251]);
  });

  it('2.4: has ended a reset that waited for what was in flight', () => {
    const before = new Bench(undefined, new BlockDevice(new SlowStorage())).up();
    new Driver(before.memory).ask();
    before.write(MMIO.QueueNotify, 0);
    before.write(MMIO.Status, 0);
    expect(before.read(MMIO.Status)).not.toBe(0);
    const after = new Bench(before.memory);
    expect(after.registers.restore(saved(before))).toMatchObject({ ok: true });
    expect(after.read(MMIO.Status)).toBe(0);
  });

  it('interrupts again for what the driver has not acknowledged', () => {
    const before = new Bench().up();
    new Driver(before.memory).ask();
    before.write(MMIO.QueueNotify, 0);
    before.settle();
    const after = new Bench(before.memory);
    after.registers.restore(saved(before));
    expect(after.interrupts).toBe(1);
  });

  it('2.1.2: still needs its reset when a ring was broken', () => {
    const before = new Bench().up();
    before.memory.writeU16(Number(config.driverArea - BASE) + 2, 100);
    before.write(MMIO.QueueNotify, 0);
    const after = new Bench(before.memory);
    expect(after.registers.restore(saved(before))).toMatchObject({ ok: true });
    // The ring looks well again, but it was latched.
    after.memory.writeU16(Number(config.driverArea - BASE) + 2, 0);
    new Driver(after.memory).ask();
    after.write(MMIO.QueueNotify, 0);
    after.settle();
    expect(after.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    expect(after.memory.readU16(Number(config.deviceArea - BASE) + 2)).toBe(0);
  });

  it('goes on as the device that it was would have, wherever it was saved', () => {
    const command = fc.constantFrom('ask', 'notify', 'settle', 'reap', 'acknowledge', 'reset', 'up' as const);
    const run = (bench: Bench, commands: readonly string[]): Bench => {
      const driver = { current: undefined as Driver | undefined };
      for (const name of commands) {
        if (name === 'up' && bench.read(MMIO.Status) === 0) {
          bench.up();
          driver.current = new Driver(bench.memory);
        }
        if (name === 'ask' && (driver.current?.queue.free ?? 0) >= 3) driver.current?.ask();
        if (name === 'notify') bench.write(MMIO.QueueNotify, 0);
        if (name === 'settle') bench.settle();
        if (name === 'reap') driver.current?.reap();
        if (name === 'acknowledge') bench.write(MMIO.InterruptACK, bench.read(MMIO.InterruptStatus));
        if (name === 'reset') bench.write(MMIO.Status, 0);
      }
      return bench;
    };
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const before = run(new Bench(), commands);
        const twin = allocateMemory(BASE, 0x1_0000);
        twin.bytes(0, twin.size).set(before.memory.bytes(0, before.memory.size));
        const after = new Bench(twin);
        expect(after.registers.restore(saved(before))).toMatchObject({ ok: true });
        expect(after.view()).toEqual(before.view());
        for (const bench of [before, after]) {
          bench.write(MMIO.QueueNotify, 0);
          bench.settle();
        }
        expect(after.view()).toEqual(before.view());
        const [mine, theirs] = [after, before].map(({ memory }) => Buffer.from(memory.bytes(0, memory.size)));
        expect(mine?.equals(theirs ?? Buffer.alloc(0))).toBe(true);
      }),
    );
  });
});

describe('A48: a saved state that no device can be in', () => {
  const running = (change: (queue: Record<string, unknown>) => void): unknown => {
    const bench = new Bench().up();
    new Driver(bench.memory).ask();
    bench.write(MMIO.QueueNotify, 0);
    const state = saved(bench) as { queues: [{ running: Record<string, unknown> }] };
    change(state.queues[0].running);
    return state;
  };
  const fields = (change: Record<string, unknown>, steps = 5): unknown => ({
    ...(saved(new Bench().up(steps)) as object),
    ...change,
  });
  const idle = { size: 8, halves: [0, 0, 0, 0, 0, 0], ready: true, running: null, reset: false };

  it.each([
    ['more chains taken than the ring holds', running((q) => Object.assign(q, { lastAvail: 20 })), 'running: inFlight'],
    ['a head in flight that the ring lacks', running((q) => Object.assign(q, { inFlight: [8] })), 'inFlight[0]'],
    ['an index of 17 bits', running((q) => Object.assign(q, { usedIdx: 0x1_0000 })), 'usedIdx'],
    ['another format', fields({ format: 'virtio-mmio/2' }), 'format'],
    ['another device', fields({ deviceId: 1 }), 'deviceId'],
    ['DRIVER_OK without FEATURES_OK', fields({ status: 7 }), 'status'],
    ['a status bit that does not exist', fields({ status: 0x1f }), 'status'],
    ['DEVICE_NEEDS_RESET of a device that does not run', fields({ status: 0x43 }, 2), 'status'],
    ['features that were not offered', fields({ driverFeatures: '0x8000000300000000' }), 'driverFeatures'],
    ['an interrupt cause that does not exist', fields({ interruptStatus: 4 }), 'interruptStatus'],
    ['a reset of a device that does not run', fields({ resetting: true }, 4), 'resetting'],
    ['a configuration of another disk', fields({ config: new Array(60).fill(1) }), 'config'],
    ['no queue', fields({ queues: [] }), 'queues'],
    ['a queue that is ready too early', fields({ queues: [idle] }, 2), 'queues[0].ready'],
    ['a queue that is ready and does not run', fields({ queues: [idle] }), 'queues[0].running'],
    ['a queue that runs before DRIVER_OK', fields({ queues: [{ ...idle, running: {} }] }, 4), 'queues[0].running'],
    ['a queue that runs where no memory is', fields({ queues: [{ ...idle, running: {} }] }), 'outside the memory'],
    [
      'a queue that was reset without RING_RESET',
      fields({ queues: [{ ...idle, ready: false, reset: true }] }),
      'reset',
    ],
    ['a queue above QueueSizeMax', fields({ queues: [{ ...idle, size: 512, running: {} }] }), 'QueueSizeMax'],
    ['nothing', null, 'state'],
  ])('%s', (_, state, place) => {
    const bench = new Bench();
    const refused = bench.registers.restore(state);
    expect(refused).toEqual({ ok: false, error: expect.stringContaining(place) });
    // The device is as after a reset.
    expect(bench.view()).toEqual(new Bench().view());
  });

  it('chains in flight of a model that cannot serve them anew', () => {
    const before = new Bench(undefined, new BlockDevice(new SlowStorage())).up();
    new Driver(before.memory).ask();
    before.write(MMIO.QueueNotify, 0);
    const block = new BlockDevice(new SlowStorage());
    const forgetful: VirtioDevice = {
      deviceId: block.deviceId,
      features: block.features,
      queueCount: block.queueCount,
      queueSizeMax: block.queueSizeMax,
      config: block.config,
      activate: () => {},
      notify: () => {},
      reset: (done) => done(),
    };
    const after = new Bench(before.memory, forgetful);
    expect(after.registers.restore(saved(before))).toEqual({ ok: false, error: expect.stringContaining('in flight') });
  });

  it('whatever is changed in it, is refused with a reason or harms nobody', () => {
    const state = running(() => {}) as { readonly queues: readonly [Record<string, unknown>] };
    const paths: readonly (readonly (string | number)[])[] = [
      ...Object.keys(state).map((name) => [name]),
      ...Object.keys(state.queues[0]).map((name) => ['queues', 0, name]),
      ...Object.keys(state.queues[0]['running'] as object).map((name) => ['queues', 0, 'running', name]),
    ];
    const value = fc.oneof(
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.string(),
      fc.array(fc.nat(9)),
      fc.object(),
    );
    fc.assert(
      fc.property(fc.constantFrom(...paths), value, (path, replacement) => {
        const copy = structuredClone(state) as unknown as Record<string | number, unknown>;
        let at = copy;
        for (const step of path.slice(0, -1)) at = at[step] as Record<string | number, unknown>;
        at[path.at(-1) ?? ''] = replacement;
        const bench = new Bench();
        const taken = bench.registers.restore(copy);
        if (!taken.ok) expect(taken.error).not.toBe('');
        bench.settle();
        bench.write(MMIO.Status, 0);
        bench.settle();
        bench.up();
        const driver = new Driver(bench.memory);
        driver.ask();
        bench.write(MMIO.QueueNotify, 0);
        bench.settle();
        expect(driver.reap()).toEqual([0]);
      }),
    );
  });
});

describe('a device whose process is lost, and that kept its state', () => {
  const memory = (): LocalMemory => allocateMemory(BASE, 0x1_0000);
  const room = (): ArrayBuffer => new ArrayBuffer(keptStateBytes(1, 256));
  const storage = (): MemoryStorage => new MemoryStorage(Uint8Array.from({ length: 4096 }, (_, n) => n % 251));
  const bench = (at: LocalMemory, kept: ArrayBuffer, on: BlockStorage = storage()): Bench =>
    new Bench(at, new BlockDevice(on), new KeptState(kept, 1, 256));

  it('goes on at whichever step of the bring-up, with every register as it was', () => {
    for (let steps = 0; steps <= 4; steps += 1) {
      const [at, kept] = [memory(), room()];
      const first = bench(at, kept);
      first.registers.keep();
      first.up(steps);
      const second = bench(at, kept);
      expect(second.registers.resume()).toEqual({ ok: true, value: undefined });
      expect(second.view()).toEqual(first.view());
      expect(second.interrupts).toBe(0);
    }
  });

  it('serves anew what it had in flight, and interrupts for what the driver may not have heard of', () => {
    const [at, kept] = [memory(), room()];
    const slow = new SlowStorage();
    const first = bench(at, kept, slow).up();
    const driver = new Driver(at);
    for (let n = 0; n < 2; n += 1) driver.ask();
    first.write(MMIO.QueueNotify, 0);
    first.settle();
    expect(slow.open).toHaveLength(2);
    const another = new SlowStorage();
    const second = bench(at, kept, another);
    expect(second.registers.resume().ok).toBe(true);
    expect(second.registers.inFlight(0)).toBe(2);
    expect(second.read(MMIO.InterruptStatus)).toBe(INTERRUPT_USED_BUFFER);
    expect(second.interrupts).toBe(1);
    second.settle();
    for (const end of another.open) end();
    second.settle();
    expect(second.registers.inFlight(0)).toBe(0);
    expect(driver.reap()).toEqual([0, 1]);
    second.write(MMIO.InterruptACK, INTERRUPT_USED_BUFFER);
    expect(second.read(MMIO.Status)).toBe(15);
  });

  it('5.2.6: tells the driver of a capacity that is another one since', () => {
    const [at, kept] = [memory(), room()];
    const first = bench(at, kept).up();
    const second = bench(at, kept, new MemoryStorage(new Uint8Array(8192)));
    expect(second.registers.resume().ok).toBe(true);
    expect(second.read(MMIO.InterruptStatus)).toBe(INTERRUPT_USED_BUFFER | INTERRUPT_CONFIG_CHANGE);
    expect(second.read(MMIO.ConfigGeneration)).toBe(first.read(MMIO.ConfigGeneration) + 1);
    expect(second.read(0x100)).toBe(16);
  });

  it('2.4: has been reset if a reset was under way, and has nothing of what was before', () => {
    const [at, kept] = [memory(), room()];
    const slow = new SlowStorage();
    const first = bench(at, kept, slow).up();
    new Driver(at).ask();
    first.write(MMIO.QueueNotify, 0);
    first.write(MMIO.Status, 0);
    expect(first.read(MMIO.Status)).toBe(15);
    const second = bench(at, kept);
    expect(second.registers.resume().ok).toBe(true);
    expect(second.read(MMIO.Status)).toBe(0);
    second.up();
    expect(second.registers.inFlight(0)).toBe(0);
    const third = bench(at, kept);
    expect(third.registers.resume().ok).toBe(true);
    third.settle();
    expect([third.read(MMIO.Status), third.registers.inFlight(0)]).toEqual([15, 0]);
  });

  it('starts over where it kept nothing, where that cannot be its own, and where it was broken', () => {
    const at = memory();
    expect(new Bench(at).registers.resume()).toMatchObject({ ok: false });
    expect(bench(at, room()).registers.resume()).toMatchObject({ ok: false });
    const other = room();
    new KeptState(other, 1, 256).write({ format: 'virtio-mmio/1', status: 15 });
    const refused = bench(at, other);
    expect(refused.registers.resume()).toMatchObject({ ok: false });
    expect(refused.read(MMIO.Status)).toBe(0);
    const kept = room();
    const first = bench(at, kept).up();
    new Driver(at).ask();
    // 2.7.6: an index that is further than the ring is long.
    at.storeU16(Number(config.driverArea - BASE) + 2, 100);
    first.write(MMIO.QueueNotify, 0);
    first.settle();
    expect(first.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    expect(bench(at, kept).registers.resume()).toEqual({ ok: false, error: 'it was broken' });
  });

  it('offers no packed rings', () => {
    const offered = (kept?: ArrayBuffer): boolean => {
      const one = kept === undefined ? new Bench() : bench(memory(), kept);
      one.write(MMIO.DeviceFeaturesSel, 1);
      return hasFeature(BigInt(one.read(MMIO.DeviceFeatures)) << 32n, VIRTIO_F_RING_PACKED);
    };
    expect([offered(), offered(room())]).toEqual([true, false]);
  });
});
