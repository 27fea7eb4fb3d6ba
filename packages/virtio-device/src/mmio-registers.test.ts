import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import {
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  MMIO,
  MMIO_CONFIG,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
} from '@remio/virtio-spec';
import { layoutSplitQueue, SplitDriverQueue } from '@remio/virtqueue';
import { describe, expect, it } from 'vitest';
import { BlockDevice, type BlockStorage, MemoryStorage, MmioRegisters } from './index.js';

const BASE = guestAddress(0x8000_0000n);
const HEADER = BASE + 0x8000n;
const DATA = BASE + 0x9000n;
const STATUS = BASE + 0x8800n;

/** A block device behind its registers, and the driver's side of its queue. */
class Bench {
  readonly memory: LocalMemory = allocateMemory(BASE, 0x1_0000);
  readonly disk = Uint8Array.from({ length: 8 * 512 }, (_, n) => n % 251);
  interrupts = 0;
  readonly deferred: (() => void)[] = [];
  readonly registers: MmioRegisters;
  readonly config = layoutSplitQueue(BASE, 8).config;
  driver: SplitDriverQueue<number> | undefined;

  constructor(storage?: BlockStorage) {
    this.registers = new MmioRegisters(new BlockDevice(storage ?? new MemoryStorage(this.disk)), this.memory, {
      interrupt: () => {
        this.interrupts += 1;
      },
      defer: (work) => this.deferred.push(work),
    });
  }

  read(offset: number): number {
    return Number(this.registers.read(offset, 4));
  }

  write(offset: number, value: number): void {
    this.registers.write(offset, 4, BigInt(value));
  }

  settle(): void {
    for (let work = this.deferred.shift(); work !== undefined; work = this.deferred.shift()) work();
  }

  /** Steps 1 to 6 of 3.1.1, with exactly VERSION_1 and ACCESS_PLATFORM. */
  negotiate(high = 3): void {
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    this.write(MMIO.DriverFeaturesSel, 1);
    this.write(MMIO.DriverFeatures, high);
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
  }

  setQueue(size = 8): void {
    this.write(MMIO.QueueSel, 0);
    this.write(MMIO.QueueSize, size);
    this.write(MMIO.QueueDescLow, Number(this.config.descriptorArea));
    this.write(MMIO.QueueDriverLow, Number(this.config.driverArea));
    this.write(MMIO.QueueDeviceLow, Number(this.config.deviceArea));
    this.write(MMIO.QueueReady, 1);
  }

  up(): this {
    this.write(MMIO.Status, 0);
    this.negotiate();
    const driver = SplitDriverQueue.create<number>(this.memory, this.config, 0n);
    if (driver.ok) this.driver = driver.value;
    this.setQueue();
    this.write(MMIO.Status, this.read(MMIO.Status) | STATUS_DRIVER_OK);
    return this;
  }

  /** One request; returns its status byte, or undefined if it was not used. */
  request(type: number, sector: bigint, out: number, room: number, header = 16, statusRoom = 1): number | undefined {
    const at = Number(HEADER - BASE);
    this.memory.writeU32(at, type);
    this.memory.writeU64(at + 8, sector);
    this.memory.writeU8(Number(STATUS - BASE), 0xee);
    const readable = [{ address: HEADER, length: header }, ...(out > 0 ? [{ address: DATA, length: out }] : [])];
    const writable = [
      ...(room > 0 ? [{ address: DATA, length: room }] : []),
      ...(statusRoom > 0 ? [{ address: STATUS, length: statusRoom }] : []),
    ];
    this.driver?.add(readable, writable, 1);
    this.driver?.publish();
    this.write(MMIO.QueueNotify, 0);
    this.settle();
    return this.driver?.popUsed().kind === 'used' ? this.memory.readU8(Number(STATUS - BASE)) : undefined;
  }
}

describe('the register model', () => {
  it('4.2.2: shows what the device is', () => {
    const bench = new Bench();
    expect(bench.read(MMIO.MagicValue)).toBe(0x74726976);
    expect(bench.read(MMIO.Version)).toBe(2);
    expect(bench.read(MMIO.DeviceID)).toBe(2);
    expect(bench.read(MMIO.QueueSizeMax)).toBe(256);
    expect(bench.registers.read(MMIO_CONFIG, 8)).toBe(8n);
    bench.write(MMIO.DeviceFeaturesSel, 1);
    expect(bench.read(MMIO.DeviceFeatures) & 3).toBe(3);
  });

  it('A32 (2.1.1, 3.1.1): status bits come in order, and none goes but by a reset', () => {
    const bench = new Bench();
    bench.write(MMIO.Status, STATUS_DRIVER);
    expect(bench.read(MMIO.Status)).toBe(0);
    bench.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER_OK);
    expect(bench.read(MMIO.Status)).toBe(STATUS_ACKNOWLEDGE);
    bench.up();
    const live = bench.read(MMIO.Status);
    bench.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    expect(bench.read(MMIO.Status)).toBe(live);
    bench.write(MMIO.Status, 0);
    expect(bench.read(MMIO.Status)).toBe(0);
  });

  it.each([
    ['features that were not offered', 0x8000_0003],
    ['no VERSION_1', 2],
  ])('A33 (2.2.2): FEATURES_OK is not kept with %s', (_, high) => {
    const bench = new Bench();
    bench.negotiate(high);
    expect(bench.read(MMIO.Status) & STATUS_FEATURES_OK).toBe(0);
  });

  it('A34 (2.2): features are fixed after FEATURES_OK, and a third word reads 0', () => {
    const bench = new Bench();
    bench.negotiate();
    bench.write(MMIO.DriverFeatures, 0);
    bench.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    expect(bench.read(MMIO.Status) & STATUS_DRIVER_OK).not.toBe(0);
    bench.write(MMIO.DeviceFeaturesSel, 2);
    expect(bench.read(MMIO.DeviceFeatures)).toBe(0);
  });

  it('A31 (4.2.2.2): a queue that is ready, or of a live device, cannot be changed', () => {
    const bench = new Bench().up();
    bench.write(MMIO.QueueSize, 4);
    bench.write(MMIO.QueueReady, 0);
    expect(bench.read(MMIO.QueueReady)).toBe(1);
    expect(bench.registers.queueConfig(0)?.size).toBe(8);
  });

  it.each([1, 2, 8])('A37 (4.2.2.2): a %i-byte access to a control register is ignored and reads 0', (width) => {
    const bench = new Bench();
    expect(bench.registers.read(MMIO.MagicValue, width)).toBe(0n);
    bench.registers.write(MMIO.Status, width, 1n);
    expect(bench.read(MMIO.Status)).toBe(0);
  });

  it('A38 (4.2.2.2): read-only, write-only and missing registers read 0 and take nothing', () => {
    const bench = new Bench();
    for (const offset of [0x018, 0x03c, MMIO.QueueNotify, MMIO.DriverFeatures, 0x0f8])
      expect(bench.read(offset)).toBe(0);
    bench.write(MMIO.MagicValue, 5);
    bench.write(0x018, 5);
    expect(bench.read(MMIO.MagicValue)).toBe(0x74726976);
    expect(bench.read(MMIO.SHMLenLow)).toBe(0xffff_ffff);
  });

  it('A39 (2.5): configuration that is read-only stays, and reads past its end give 0', () => {
    const bench = new Bench().up();
    bench.registers.write(MMIO_CONFIG, 8, 1n);
    expect(bench.registers.read(MMIO_CONFIG, 8)).toBe(8n);
    expect(bench.registers.read(MMIO_CONFIG + 0xfc, 4)).toBe(0n);
  });

  it('A26 (4.2.3.3): a notification before DRIVER_OK, of no queue, or after a reset does nothing', () => {
    const bench = new Bench();
    bench.write(MMIO.QueueNotify, 0);
    bench.up();
    bench.write(MMIO.QueueNotify, 7);
    bench.write(MMIO.QueueNotify, 0xffff_ffff);
    bench.write(MMIO.Status, 0);
    bench.write(MMIO.QueueNotify, 0);
    expect(bench.interrupts).toBe(0);
  });

  it('A40 (4.2.2.1): acknowledging what did not interrupt changes nothing else', () => {
    const bench = new Bench().up();
    bench.request(0, 0n, 0, 512);
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_USED_BUFFER);
    bench.write(MMIO.InterruptACK, INTERRUPT_CONFIG_CHANGE);
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_USED_BUFFER);
    bench.write(MMIO.InterruptACK, INTERRUPT_USED_BUFFER);
    expect(bench.read(MMIO.InterruptStatus)).toBe(0);
  });

  it('2.1.2: a broken ring sets DEVICE_NEEDS_RESET with a configuration interrupt, and a reset recovers', () => {
    const bench = new Bench().up();
    bench.memory.writeU16(Number(bench.config.driverArea - BASE) + 2, 100);
    bench.write(MMIO.QueueNotify, 0);
    expect(bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_CONFIG_CHANGE);
    bench.up();
    expect(bench.request(0, 0n, 0, 512)).toBe(VIRTIO_BLK_S_OK);
  });

  it('2.1.2: a device in the place of one that is gone asks its driver to start over, who then does', () => {
    const bench = new Bench();
    bench.registers.demandReset();
    expect(bench.interrupts).toBe(1);
    expect(bench.read(MMIO.Status)).toBe(STATUS_DEVICE_NEEDS_RESET);
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_CONFIG_CHANGE);
    bench.up();
    expect(bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
    expect(bench.request(0, 0n, 0, 512)).toBe(VIRTIO_BLK_S_OK);
  });

  it('A28 (4.2.2.2): a queue larger than QueueSizeMax does not start', () => {
    const bench = new Bench();
    bench.negotiate();
    bench.setQueue(512);
    bench.write(MMIO.Status, bench.read(MMIO.Status) | STATUS_DRIVER_OK);
    expect(bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).not.toBe(0);
  });

  it('A35 (2.4): Status reads 0 only when what was in flight has ended, and nothing is said of it afterwards', () => {
    const open: ((ok: boolean) => void)[] = [];
    const slow: BlockStorage = {
      capacity: 4096,
      readOnly: false,
      read: (_, __, done) => void open.push(done),
      write: (_, __, done) => void open.push(done),
      flush: (done) => void open.push(done),
      close: () => Promise.resolve(),
    };
    const bench = new Bench(slow).up();
    bench.request(0, 0n, 0, 512);
    bench.write(MMIO.Status, 0);
    expect(bench.read(MMIO.Status)).not.toBe(0);
    for (const done of open) done(true);
    bench.settle();
    expect(bench.read(MMIO.Status)).toBe(0);
    expect(bench.interrupts).toBe(0);
    expect(bench.memory.readU8(Number(STATUS - BASE))).toBe(0xee);
  });
});

describe('the block device', () => {
  it('5.2.6: reads and writes sectors', () => {
    const bench = new Bench().up();
    expect(bench.request(0, 2n, 0, 1024)).toBe(VIRTIO_BLK_S_OK);
    expect(bench.memory.bytes(0x9000, 1024)).toEqual(bench.disk.slice(1024, 2048));
    bench.memory.bytes(0x9000, 512).fill(0x5a);
    expect(bench.request(1, 7n, 512, 0)).toBe(VIRTIO_BLK_S_OK);
    expect(bench.disk.slice(7 * 512)).toEqual(new Uint8Array(512).fill(0x5a));
    expect(bench.request(4, 0n, 0, 0)).toBe(VIRTIO_BLK_S_OK);
  });

  it('5.2.6: GET_ID gives the identification string', () => {
    const bench = new Bench().up();
    expect(bench.request(8, 0n, 0, 20)).toBe(VIRTIO_BLK_S_OK);
    expect(new TextDecoder().decode(bench.memory.bytes(0x9000, 5))).toBe('remio');
  });

  it.each([
    ['a sector beyond the end', 0, 8n, 0, 512, VIRTIO_BLK_S_IOERR],
    ['across the end', 0, 7n, 0, 1024, VIRTIO_BLK_S_IOERR],
    ['a sector that wraps 2^64', 0, (1n << 64n) - 1n, 0, 512, VIRTIO_BLK_S_IOERR],
    ['a length that is no multiple of 512', 0, 0n, 0, 100, VIRTIO_BLK_S_IOERR],
    ['an unknown type', 77, 0n, 0, 512, VIRTIO_BLK_S_UNSUPP],
    ['GET_ID without room', 8, 0n, 0, 10, VIRTIO_BLK_S_IOERR],
  ] as const)('A42: %s', (_, type, sector, out, room, status) => {
    const bench = new Bench().up();
    expect(bench.request(type, sector, out, room)).toBe(status);
    expect(bench.request(0, 0n, 0, 512)).toBe(VIRTIO_BLK_S_OK);
  });

  it.each([
    ['a short header', 15, 1],
    ['no status byte', 16, 0],
  ] as const)('A42: %s: the head comes back, and the queue lives', (_, header, statusRoom) => {
    const bench = new Bench().up();
    expect(bench.request(0, 0n, 0, 0, header, statusRoom)).toBe(0xee);
    expect(bench.request(0, 0n, 0, 512)).toBe(VIRTIO_BLK_S_OK);
  });

  it('A42: a write to a read-only disk fails', () => {
    const bench = new Bench(new MemoryStorage(new Uint8Array(4096), true)).up();
    expect(bench.request(1, 0n, 512, 0)).toBe(VIRTIO_BLK_S_IOERR);
  });

  it('answers VIRTIO_BLK_S_IOERR when the storage fails', () => {
    const broken: BlockStorage = {
      capacity: 4096,
      readOnly: false,
      read: (_, __, done) => done(false),
      write: (_, __, done) => done(false),
      flush: (done) => done(false),
      close: () => Promise.resolve(),
    };
    const bench = new Bench(broken).up();
    expect(bench.request(0, 0n, 0, 512)).toBe(VIRTIO_BLK_S_IOERR);
    expect(bench.request(4, 0n, 0, 0)).toBe(VIRTIO_BLK_S_IOERR);
  });
});
