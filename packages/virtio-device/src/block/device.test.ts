import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import {
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_MAX_DISCARD_SECTORS,
  BLK_CONFIG_MAX_DISCARD_SEG,
  BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_SIZE_MAX,
  BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  BLK_CONFIG_WRITEBACK,
  featureSet,
  INTERRUPT_CONFIG_CHANGE,
  MMIO,
  MMIO_CONFIG,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import { createDriverQueue, type DriverQueue, layoutQueue } from '@remio/virtqueue';
import { describe, expect, it } from 'vitest';
import {
  BlockDevice,
  type BlockOptions,
  type BlockStorage,
  type Done,
  MemoryStorage,
  MmioRegisters,
} from '../index.js';

const BASE = guestAddress(0x8000_0000n);
const MEMORY = 0x4_0000;
const QUEUE_SIZE = 64;
const AREA = 0x1000;
const DATA = 0x1_0000;
const SECTORS = 64;
const TRANSPORT = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);

/** A storage whose operations end when the test says so, in the order in which they were begun. */
class SlowStorage implements BlockStorage {
  capacity = SECTORS * 512;
  readonly readOnly: boolean = false;
  onResize: () => void = () => {};
  readonly open: { readonly what: string; readonly done: Done }[] = [];
  /** Everything that was asked of it. */
  readonly log: string[] = [];

  #begin(what: string, done: Done): void {
    this.log.push(what);
    this.open.push({ what, done });
  }
  /** Ends the oldest operation of a kind. */
  end(what: string, ok = true): void {
    const at = this.open.findIndex((operation) => operation.what.startsWith(what));
    const [operation] = this.open.splice(at, 1);
    if (at < 0 || operation === undefined) throw new Error(`no ${what} is open`);
    operation.done(ok);
  }
  read(position: number, _: readonly Uint8Array[], done: Done): void {
    this.#begin(`read ${position}`, done);
  }
  write(position: number, _: readonly Uint8Array[], done: Done): void {
    this.#begin(`write ${position}`, done);
  }
  flush(done: Done): void {
    this.#begin('flush', done);
  }
  discard(position: number, length: number, done: Done): void {
    this.#begin(`discard ${position}+${length}`, done);
  }
  writeZeroes(position: number, length: number, unmap: boolean, done: Done): void {
    this.#begin(`zero ${position}+${length}${unmap ? ' unmap' : ''}`, done);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A range of a discard, write zeroes or secure erase. */
interface Range {
  readonly sector: bigint;
  readonly sectors: number;
  readonly flags?: number;
}

/** A block device behind its registers, and the driver's side of its queues. */
class Bench {
  readonly memory: LocalMemory = allocateMemory(BASE, MEMORY);
  readonly registers: MmioRegisters;
  readonly device: BlockDevice;
  readonly #deferred: (() => void)[] = [];
  readonly #drivers: DriverQueue<number>[] = [];
  /** Whether the device wanted a notification of the last request. */
  wanted = false;
  /** Offset of the next piece of memory for a request. */
  #next = DATA;
  /** Status byte's offset by request. */
  readonly #status: number[] = [];
  readonly #used = new Set<number>();

  constructor(
    readonly storage: BlockStorage = new MemoryStorage(Uint8Array.from({ length: SECTORS * 512 }, (_, n) => n % 251)),
    options: BlockOptions = {},
  ) {
    this.device = new BlockDevice(storage, { queueSize: QUEUE_SIZE, ...options });
    this.registers = new MmioRegisters(this.device, this.memory, {
      interrupt: () => {},
      defer: (work) => this.#deferred.push(work),
    });
  }

  write(offset: number, value: number): void {
    this.registers.write(offset, 4, BigInt(value));
  }
  read(offset: number): number {
    return Number(this.registers.read(offset, 4));
  }
  config(offset: number, width = 4): number {
    return Number(this.registers.read(MMIO_CONFIG + offset, width));
  }

  /** Runs what the device put off, one turn of the host. */
  turn(): void {
    for (const work of this.#deferred.splice(0)) work();
  }

  settle(): void {
    for (let work = this.#deferred.shift(); work !== undefined; work = this.#deferred.shift()) work();
  }

  /** Steps 1 to 6 of 3.1.1 with these features of the device; all of them if not said. */
  negotiate(features = this.device.features): this {
    const accepted = (features & this.device.features & 0xff_ffffn) | TRANSPORT;
    this.write(MMIO.Status, 0);
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    for (const [select, word] of [
      [0, accepted & 0xffff_ffffn],
      [1, accepted >> 32n],
    ] as const) {
      this.write(MMIO.DriverFeaturesSel, select);
      this.write(MMIO.DriverFeatures, Number(word));
    }
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return this;
  }

  /** Negotiates, sets the queues up and goes live. */
  up(features = this.device.features): this {
    this.negotiate(features);
    for (let queue = 0; queue < this.device.queueCount; queue += 1) {
      const { config } = layoutQueue(BASE + BigInt(queue * AREA), QUEUE_SIZE, TRANSPORT);
      const driver = createDriverQueue<number>(this.memory, config, TRANSPORT);
      if (!driver.ok) throw new Error(driver.error.detail);
      this.#drivers[queue] = driver.value;
      this.write(MMIO.QueueSel, queue);
      this.write(MMIO.QueueSize, QUEUE_SIZE);
      this.write(MMIO.QueueDescLow, Number(config.descriptorArea));
      this.write(MMIO.QueueDriverLow, Number(config.driverArea));
      this.write(MMIO.QueueDeviceLow, Number(config.deviceArea));
      this.write(MMIO.QueueReady, 1);
    }
    this.write(MMIO.Status, this.read(MMIO.Status) | STATUS_DRIVER_OK);
    return this;
  }

  #place(bytes: number): number {
    const at = this.#next;
    this.#next += Math.ceil(bytes / 16) * 16;
    if (this.#next > MEMORY) throw new Error('the test has no memory left');
    return at;
  }

  /**
   * Makes a request available.
   * @param out segments that the device reads, after the header
   * @param room bytes of each segment that it writes, before the status
   * @returns its number
   */
  submit(
    type: number,
    sector: bigint,
    out: readonly Uint8Array[] = [],
    room: readonly number[] = [],
    { queue = 0, header = 16, status = 1, notify = true } = {},
  ): number {
    const number = this.#status.length;
    const headerAt = this.#place(16);
    this.memory.writeU32(headerAt, type);
    this.memory.writeU64(headerAt + 8, sector);
    const at = (offset: number): bigint => BASE + BigInt(offset);
    const sources = out.map((bytes) => {
      const offset = this.#place(bytes.length);
      this.memory.bytes(offset, bytes.length).set(bytes);
      return { address: at(offset), length: bytes.length };
    });
    const rooms = room.map((length) => ({ address: at(this.#place(length)), length }));
    this.#room = rooms.map(({ address, length }) => [Number(address - BASE), length]);
    const statusAt = this.#place(1);
    this.#status.push(statusAt);
    this.memory.writeU8(statusAt, 0xee);
    const readable = [{ address: at(headerAt), length: header }, ...sources];
    const writable = status > 0 ? [...rooms, { address: at(statusAt), length: status }] : rooms;
    const driver = this.#drivers[queue];
    if (driver?.add(readable, writable, number) !== true) throw new Error('the queue is full');
    this.wanted = driver.publish();
    if (!notify) return number;
    this.write(MMIO.QueueNotify, queue);
    this.settle();
    return number;
  }
  #room: readonly (readonly [offset: number, length: number])[] = [];

  /** What lies in the room of the last request. */
  get data(): Uint8Array {
    return Uint8Array.from(this.#room.flatMap(([offset, length]) => [...this.memory.bytes(offset, length)]));
  }

  /** The status byte of a request that was used; undefined while it is in flight. */
  statusOf(number: number): number | undefined {
    this.settle();
    for (const driver of this.#drivers) {
      for (let element = driver.popUsed(); element.kind === 'used'; element = driver.popUsed()) {
        this.#used.add(element.token);
      }
    }
    return this.#used.has(number) ? this.memory.readU8(this.#status[number] ?? 0) : undefined;
  }

  request(...args: Parameters<Bench['submit']>): number | undefined {
    return this.statusOf(this.submit(...args));
  }

  /** A request over ranges. */
  ranges(type: number, ...ranges: readonly Range[]): number | undefined {
    return this.request(type, 0n, [rangeBytes(...ranges)]);
  }

  get disk(): Uint8Array {
    if (!(this.storage instanceof MemoryStorage)) throw new Error('this storage has no bytes');
    return this.storage.bytes;
  }
}

function rangeBytes(...ranges: readonly Range[]): Uint8Array {
  const bytes = new Uint8Array(16 * ranges.length);
  const view = new DataView(bytes.buffer);
  ranges.forEach(({ sector, sectors, flags = 0 }, n) => {
    view.setBigUint64(16 * n, sector, true);
    view.setUint32(16 * n + 8, sectors, true);
    view.setUint32(16 * n + 12, flags, true);
  });
  return bytes;
}

const sector = (value: number): Uint8Array => new Uint8Array(512).fill(value);
const zeros = (bytes: number): Uint8Array => new Uint8Array(bytes);

describe('what a block device offers', () => {
  it('5.2.5.2: FLUSH wherever CONFIG_WCE is offered; MQ with several queues only', () => {
    const { features } = new Bench().device;
    expect(features & featureSet(VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE)).toBe(
      featureSet(VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE),
    );
    expect(features & featureSet(VIRTIO_BLK_F_MQ)).toBe(0n);
    expect(new Bench(undefined, { queues: 2 }).device.features & featureSet(VIRTIO_BLK_F_MQ)).not.toBe(0n);
  });

  it('5.2.3: no command that the storage cannot carry out, or that would change a read-only disk', () => {
    const plain: BlockStorage = {
      capacity: 512,
      readOnly: false,
      read: (_, __, done) => done(true),
      write: (_, __, done) => done(true),
      flush: (done) => done(true),
      close: () => Promise.resolve(),
    };
    const changing = featureSet(VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES, VIRTIO_BLK_F_SECURE_ERASE);
    for (const storage of [plain, new MemoryStorage(zeros(512), true)]) {
      expect(new BlockDevice(storage, { secureErase: true }).features & changing).toBe(0n);
    }
    expect(new BlockDevice(new MemoryStorage(zeros(512)), { secureErase: true }).features & changing).toBe(changing);
  });

  it('5.2.6.2: LIFETIME only where the wear is known', () => {
    const lifetime = { preEolInfo: 2, typA: 3, typB: 11 };
    expect(new Bench().device.features & featureSet(VIRTIO_BLK_F_LIFETIME)).toBe(0n);
    expect(new Bench(undefined, { lifetime }).device.features & featureSet(VIRTIO_BLK_F_LIFETIME)).not.toBe(0n);
  });

  it('5.2.4: fields lie where they belong', () => {
    const bench = new Bench(undefined, {
      sizeMax: 0x2000,
      segMax: 5,
      blockSize: 4096,
      queues: 3,
      secureErase: true,
      geometry: { cylinders: 0x102, heads: 3, sectors: 4 },
      topology: { physicalBlockExp: 5, alignmentOffset: 6, minIoSize: 0x708, optIoSize: 0x90a },
    });
    expect([...bench.device.config.subarray(0, 36)]).toEqual([
      ...[SECTORS, 0, 0, 0, 0, 0, 0, 0],
      ...[0, 0x20, 0, 0, 5, 0, 0, 0],
      ...[2, 1, 3, 4, 0, 16, 0, 0],
      ...[5, 6, 8, 7, 0xa, 9, 0, 0],
      ...[0, 0, 3, 0],
    ]);
    expect(bench.config(BLK_CONFIG_MAX_DISCARD_SEG)).toBe(32);
    expect(bench.config(BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, 1)).toBe(1);
    expect(bench.config(BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT)).toBe(1);
    expect(bench.config(BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT + 4)).toBe(0);
  });
});

describe('discard, write zeroes and secure erase (5.2.6)', () => {
  it('write zeroes: every range reads as zeros, with unmap or without, and nothing else changes', () => {
    const bench = new Bench().up();
    const before = bench.disk.slice();
    const status = bench.ranges(
      VIRTIO_BLK_T_WRITE_ZEROES,
      { sector: 1n, sectors: 2 },
      { sector: 60n, sectors: 4, flags: 1 },
    );
    expect(status).toBe(VIRTIO_BLK_S_OK);
    expect(bench.disk.slice(512, 1536)).toEqual(zeros(1024));
    expect(bench.disk.slice(60 * 512)).toEqual(zeros(2048));
    expect(bench.disk.slice(1536, 60 * 512)).toEqual(before.slice(1536, 60 * 512));
  });

  it('passes unmap on to the storage for write zeroes only', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage, { secureErase: true }).up();
    bench.submit(VIRTIO_BLK_T_WRITE_ZEROES, 0n, [rangeBytes({ sector: 1n, sectors: 1, flags: 1 })]);
    bench.submit(VIRTIO_BLK_T_DISCARD, 0n, [rangeBytes({ sector: 2n, sectors: 1 })]);
    bench.submit(VIRTIO_BLK_T_SECURE_ERASE, 0n, [rangeBytes({ sector: 3n, sectors: 1 })]);
    expect(storage.log).toEqual(['zero 512+512 unmap', 'discard 1024+512', 'zero 1536+512']);
  });

  it('answers when every range is done, and IOERR if one of them failed', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage).up();
    const request = bench.submit(VIRTIO_BLK_T_DISCARD, 0n, [
      rangeBytes({ sector: 1n, sectors: 1 }, { sector: 5n, sectors: 0 }, { sector: 3n, sectors: 1 }),
    ]);
    storage.end('discard 512', false);
    expect(bench.statusOf(request)).toBeUndefined();
    storage.end('discard 1536');
    expect(bench.statusOf(request)).toBe(VIRTIO_BLK_S_IOERR);
    expect(storage.log).toHaveLength(2);
  });

  it('a secure erase is durable before it is answered', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage, { secureErase: true }).up();
    const request = bench.submit(VIRTIO_BLK_T_SECURE_ERASE, 0n, [rangeBytes({ sector: 0n, sectors: 1 })]);
    storage.end('zero');
    expect(bench.statusOf(request)).toBeUndefined();
    storage.end('flush');
    expect(bench.statusOf(request)).toBe(VIRTIO_BLK_S_OK);
  });

  it.each([
    ['an unknown flag of a write zeroes', VIRTIO_BLK_T_WRITE_ZEROES, [{ sector: 0n, sectors: 1, flags: 2 }], 2],
    ['unmap in a discard', VIRTIO_BLK_T_DISCARD, [{ sector: 0n, sectors: 1, flags: 1 }], 2],
    ['a flag in a secure erase', VIRTIO_BLK_T_SECURE_ERASE, [{ sector: 0n, sectors: 1, flags: 0x8000_0000 }], 2],
    [
      'a bad flag in the last range only',
      VIRTIO_BLK_T_DISCARD,
      [
        { sector: 0n, sectors: 1 },
        { sector: 1n, sectors: 1, flags: 4 },
      ],
      2,
    ],
    ['a range beyond the end', VIRTIO_BLK_T_DISCARD, [{ sector: BigInt(SECTORS), sectors: 1 }], 1],
    [
      'a range across the end',
      VIRTIO_BLK_T_WRITE_ZEROES,
      [
        { sector: 0n, sectors: 1 },
        { sector: BigInt(SECTORS - 1), sectors: 2 },
      ],
      1,
    ],
    ['a sector that wraps 2^64', VIRTIO_BLK_T_WRITE_ZEROES, [{ sector: (1n << 64n) - 1n, sectors: 2 }], 1],
    [
      'more ranges than max_discard_seg',
      VIRTIO_BLK_T_DISCARD,
      Array.from({ length: 33 }, () => ({ sector: 0n, sectors: 1 })),
      1,
    ],
  ] as const)('A42 (5.2.6.2): %s: refused, and nothing is touched', (_, type, ranges, status) => {
    const bench = new Bench(undefined, { secureErase: true }).up();
    const before = bench.disk.slice();
    expect(bench.ranges(type, ...ranges)).toBe(status);
    expect(bench.disk).toEqual(before);
    expect(bench.request(VIRTIO_BLK_T_IN, 0n, [], [512])).toBe(VIRTIO_BLK_S_OK);
  });

  it.each([0, 15, 17])('A42 (5.2.6.1): %i bytes of ranges are no whole number of them: IOERR', (bytes) => {
    const bench = new Bench(undefined, { secureErase: true }).up();
    for (const type of [VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SECURE_ERASE]) {
      expect(bench.request(type, 0n, bytes === 0 ? [] : [zeros(bytes)])).toBe(VIRTIO_BLK_S_IOERR);
    }
  });

  it('A42: more sectors than max_discard_sectors in a range: IOERR, also of a disk that has them', () => {
    const storage = new SlowStorage();
    storage.capacity = 2 ** 40;
    const bench = new Bench(storage).up();
    const max = bench.config(BLK_CONFIG_MAX_DISCARD_SECTORS);
    expect(bench.ranges(VIRTIO_BLK_T_DISCARD, { sector: 0n, sectors: max + 1 })).toBe(VIRTIO_BLK_S_IOERR);
    expect(bench.ranges(VIRTIO_BLK_T_DISCARD, { sector: 0n, sectors: max })).toBeUndefined();
    expect(storage.log).toEqual([`discard 0+${max * 512}`]);
  });

  it('2.7.4: ranges may be cut anywhere', () => {
    const bench = new Bench().up();
    const bytes = rangeBytes({ sector: 1n, sectors: 1 }, { sector: 2n, sectors: 1 });
    const cut = [bytes.subarray(0, 3), bytes.subarray(3, 20), bytes.subarray(20)];
    expect(bench.request(VIRTIO_BLK_T_WRITE_ZEROES, 0n, cut)).toBe(VIRTIO_BLK_S_OK);
    expect(bench.disk.slice(512, 1536)).toEqual(zeros(1024));
  });

  it.each([VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_SECURE_ERASE, VIRTIO_BLK_T_GET_LIFETIME])(
    '5.2.6: type %i without its feature is unsupported',
    (type) => {
      const lifetime = { preEolInfo: 1, typA: 1, typB: 1 };
      const bench = new Bench(undefined, { secureErase: true, lifetime }).up(0n);
      expect(bench.request(type, 0n, [rangeBytes({ sector: 0n, sectors: 1 })], [16])).toBe(VIRTIO_BLK_S_UNSUPP);
    },
  );

  it.each([15, 16, 18, 20, 22, 24, 26])('5.2.6.2: zone request %i is unsupported: no ZONED here', (type) => {
    expect(new Bench().up().request(type, 0n, [], [512])).toBe(VIRTIO_BLK_S_UNSUPP);
  });
});

describe('identity and lifetime (5.2.6)', () => {
  it('GET_ID goes into the room however it is cut', () => {
    const bench = new Bench(undefined, { id: 'twenty-bytes-exactly' }).up();
    expect(bench.request(VIRTIO_BLK_T_GET_ID, 0n, [], [3, 5, 12])).toBe(VIRTIO_BLK_S_OK);
    expect(new TextDecoder().decode(bench.data)).toBe('twenty-bytes-exactly');
  });

  it('GET_LIFETIME gives what is known of the wear', () => {
    const bench = new Bench(undefined, { lifetime: { preEolInfo: 2, typA: 3, typB: 11 } }).up();
    expect(bench.request(VIRTIO_BLK_T_GET_LIFETIME, 0n, [], [6])).toBe(VIRTIO_BLK_S_OK);
    expect([...bench.data]).toEqual([2, 0, 3, 0, 11, 0]);
    expect(bench.request(VIRTIO_BLK_T_GET_LIFETIME, 0n, [], [5])).toBe(VIRTIO_BLK_S_IOERR);
  });
});

describe('limits of a request (5.2.5)', () => {
  it('A42: more segments than seg_max, or a longer one than size_max: IOERR', () => {
    const bench = new Bench(undefined, { segMax: 2, sizeMax: 1024 }).up();
    expect([bench.config(BLK_CONFIG_SEG_MAX), bench.config(BLK_CONFIG_SIZE_MAX)]).toEqual([2, 1024]);
    expect(bench.request(VIRTIO_BLK_T_IN, 0n, [], [1024, 512])).toBe(VIRTIO_BLK_S_OK);
    expect(bench.request(VIRTIO_BLK_T_IN, 0n, [], [512, 512, 512])).toBe(VIRTIO_BLK_S_IOERR);
    expect(bench.request(VIRTIO_BLK_T_OUT, 0n, [zeros(1536)])).toBe(VIRTIO_BLK_S_IOERR);
  });

  it('A42: for every type, a chain without room for the header or the status comes back, and the queue lives', () => {
    const bench = new Bench(undefined, { secureErase: true }).up();
    for (const type of [0, 1, 4, 8, 10, 11, 13, 14, 99]) {
      expect(bench.request(type, 0n, [], [], { header: 15 })).toBe(0xee);
      expect(bench.request(type, 0n, [], [], { status: 0 })).toBe(0xee);
    }
    expect(bench.request(VIRTIO_BLK_T_IN, 0n, [], [512])).toBe(VIRTIO_BLK_S_OK);
  });

  it('2.9: each queue answers its own requests', () => {
    const bench = new Bench(undefined, { queues: 3 }).up();
    for (const queue of [2, 0, 1]) {
      expect(bench.request(VIRTIO_BLK_T_OUT, BigInt(queue), [sector(queue + 1)], [], { queue })).toBe(VIRTIO_BLK_S_OK);
      expect(bench.disk[queue * 512]).toBe(queue + 1);
    }
  });
});

describe('a ring that is empty (2.7.10)', () => {
  const read = [VIRTIO_BLK_T_IN, 0n, [], [512]] as const;
  const quiet = { notify: false };

  it('is looked at for a while after requests that came together, and wants no notification meanwhile', () => {
    const bench = new Bench().up();
    bench.submit(...read, quiet);
    bench.submit(...read, quiet);
    bench.write(MMIO.QueueNotify, 0);
    for (let turns = 0; turns < 10; turns += 1) bench.turn();
    const third = bench.submit(...read, quiet);
    expect(bench.wanted).toBe(false);
    bench.turn();
    expect(bench.statusOf(third)).toBe(VIRTIO_BLK_S_OK);
  });

  it('is left alone in the end, and wants a notification again', () => {
    const bench = new Bench().up();
    bench.submit(...read, quiet);
    bench.submit(...read, quiet);
    bench.write(MMIO.QueueNotify, 0);
    bench.settle();
    const third = bench.submit(...read, quiet);
    expect(bench.wanted).toBe(true);
    expect(bench.statusOf(third)).toBeUndefined();
    bench.write(MMIO.QueueNotify, 0);
    expect(bench.statusOf(third)).toBe(VIRTIO_BLK_S_OK);
  });

  it('of a driver that makes one request at a time is not looked at in vain', () => {
    const bench = new Bench().up();
    bench.submit(...read, quiet);
    bench.write(MMIO.QueueNotify, 0);
    bench.turn();
    bench.turn();
    bench.submit(...read, quiet);
    expect(bench.wanted).toBe(true);
  });
});

describe('what is durable (5.2.6.2)', () => {
  it('in writeback mode a write is answered without a flush', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage).up();
    const write = bench.submit(VIRTIO_BLK_T_OUT, 0n, [sector(1)]);
    storage.end('write');
    expect(bench.statusOf(write)).toBe(VIRTIO_BLK_S_OK);
    expect(storage.log).toEqual(['write 0']);
  });

  it('a flush that comes while one runs does not share it: writes may have ended meanwhile', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage, { queues: 2 }).up();
    const first = bench.submit(VIRTIO_BLK_T_FLUSH, 0n);
    const write = bench.submit(VIRTIO_BLK_T_OUT, 0n, [sector(1)]);
    storage.end('write');
    expect(bench.statusOf(write)).toBe(VIRTIO_BLK_S_OK);
    const second = bench.submit(VIRTIO_BLK_T_FLUSH, 0n, [], [], { queue: 1 });
    const third = bench.submit(VIRTIO_BLK_T_FLUSH, 0n);
    storage.end('flush');
    expect(bench.statusOf(first)).toBe(VIRTIO_BLK_S_OK);
    expect(bench.statusOf(second)).toBeUndefined();
    storage.end('flush');
    expect([second, third].map((flush) => bench.statusOf(flush))).toEqual([VIRTIO_BLK_S_OK, VIRTIO_BLK_S_OK]);
    expect(storage.log).toEqual(['flush', 'write 0', 'flush']);
  });

  it('a flush that fails is an IOERR for all who share it, and for them only', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage).up();
    const first = bench.submit(VIRTIO_BLK_T_FLUSH, 0n);
    const second = bench.submit(VIRTIO_BLK_T_FLUSH, 0n);
    storage.end('flush', false);
    storage.end('flush');
    expect([first, second].map((flush) => bench.statusOf(flush))).toEqual([VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK]);
  });

  it.each([
    ['neither FLUSH nor CONFIG_WCE was negotiated', 0n, false],
    ['CONFIG_WCE without FLUSH: writeback is 0', featureSet(VIRTIO_BLK_F_CONFIG_WCE), false],
    ['the driver set writeback to 0', featureSet(VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH), true],
  ])('%s: a write is durable before it is answered', (_, features, writes) => {
    const storage = new SlowStorage();
    const bench = new Bench(storage).up(features);
    if (writes) {
      expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(1);
      bench.registers.write(MMIO_CONFIG + BLK_CONFIG_WRITEBACK, 1, 0n);
    }
    expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(0);
    const write = bench.submit(VIRTIO_BLK_T_OUT, 0n, [sector(1)]);
    storage.end('write');
    expect(bench.statusOf(write)).toBeUndefined();
    storage.end('flush');
    expect(bench.statusOf(write)).toBe(VIRTIO_BLK_S_OK);
  });

  it('a write that failed is answered without a flush', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage).up(0n);
    const write = bench.submit(VIRTIO_BLK_T_OUT, 0n, [sector(1)]);
    storage.end('write', false);
    expect(bench.statusOf(write)).toBe(VIRTIO_BLK_S_IOERR);
    expect(storage.log).toEqual(['write 0']);
  });

  it('5.2.6.1: writeback takes 0 and 1 from a driver that negotiated CONFIG_WCE, as one byte; a reset restores it', () => {
    const wce = featureSet(VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_FLUSH);
    const bench = new Bench().up(wce);
    const at = MMIO_CONFIG + BLK_CONFIG_WRITEBACK;
    bench.registers.write(at, 1, 2n);
    bench.registers.write(at, 2, 0n);
    bench.registers.write(at - 1, 1, 0n);
    expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(1);
    bench.registers.write(at, 1, 0n);
    expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(0);
    bench.negotiate(wce);
    expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(1);
    bench.negotiate(featureSet(VIRTIO_BLK_F_FLUSH));
    bench.registers.write(at, 1, 0n);
    expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(1);
  });

  it('writeback: false makes writes durable until the driver says otherwise', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage, { writeback: false }).up();
    expect(bench.config(BLK_CONFIG_WRITEBACK, 1)).toBe(0);
    bench.registers.write(MMIO_CONFIG + BLK_CONFIG_WRITEBACK, 1, 1n);
    bench.submit(VIRTIO_BLK_T_OUT, 0n, [sector(1)]);
    storage.end('write');
    expect(storage.log).toEqual(['write 0']);
  });
});

describe('a storage that changes its size (5.2.6.2)', () => {
  it('tells the driver of the new capacity, and keeps requests within it', () => {
    const storage = new SlowStorage();
    const bench = new Bench(storage).up();
    const generation = bench.read(MMIO.ConfigGeneration);
    storage.capacity = 2 * 512;
    storage.onResize();
    expect(bench.config(BLK_CONFIG_CAPACITY)).toBe(2);
    expect(bench.read(MMIO.ConfigGeneration)).not.toBe(generation);
    expect(bench.read(MMIO.InterruptStatus) & INTERRUPT_CONFIG_CHANGE).not.toBe(0);
    expect(bench.request(VIRTIO_BLK_T_IN, 2n, [], [512])).toBe(VIRTIO_BLK_S_IOERR);
  });
});
