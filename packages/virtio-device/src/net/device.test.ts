import {
  ALL_OFFLOADS,
  BROADCAST,
  type FramePort,
  LearningSwitch,
  type Mac,
  macBytes,
  NO_OFFLOADS,
  type Offloads,
  type PortUser,
  putBe16,
} from '@remio/ethernet';
import {
  featureSet,
  hasFeature,
  MMIO,
  MMIO_CONFIG,
  NET_CONFIG_MTU,
  NET_CONFIG_STATUS,
  NET_GSO_FRAME_MAX,
  NET_HEADER_SIZE,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_FEATURES_OK,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_RESET,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { DeviceBench, MEMORY_KINDS, type MemoryKind } from '../testing/device-bench.js';
import { NetDevice, type NetOptions } from './device.js';

const MAC: Mac = 0x5254_0000_0001;
const PEER: Mac = 0x5254_0000_0002;
const RX = 0;
const TX = 1;
const CTRL = 2;
const CONTROL = featureSet(
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_MAC,
);

/** The outside of a device: what it sent, and what it shall get. */
class TestPort implements FramePort {
  readonly lanesMax = 8;
  readonly polled = false;
  linkUp = true;
  accepts: Offloads = NO_OFFLOADS;
  lanes = 1;
  open_ = false;
  skipped = 0;
  readonly sent: { readonly lane: number; readonly header: Uint8Array; readonly frame: Uint8Array }[] = [];
  readonly #waiting: Uint8Array[][] = [];
  #user: PortUser | undefined;
  readonly #listening = new Set<number>();

  constructor(readonly offloads: Offloads = ALL_OFFLOADS) {}

  open(user: PortUser): void {
    this.#user = user;
    this.open_ = true;
  }
  configure(accepts: Offloads, lanes: number): void {
    this.accepts = accepts;
    this.lanes = lanes;
  }
  transmit(lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    this.sent.push({ lane, header: Uint8Array.from(header), frame: Uint8Array.from(Buffer.concat(frame)) });
    return true;
  }
  receive(lane: number, room: readonly Uint8Array[]): number {
    const [next] = this.#waiting[lane] ?? [];
    if (next === undefined) return 0;
    if (room.reduce((sum, { length }) => sum + length, 0) < next.length) return -next.length;
    let at = 0;
    for (const part of room) {
      part.set(next.subarray(at, at + part.length));
      at += part.length;
    }
    this.#waiting[lane]?.shift();
    return next.length;
  }
  skip(lane: number): void {
    this.skipped += 1;
    this.#waiting[lane]?.shift();
  }
  listen(lane: number): void {
    this.#listening.add(lane);
  }
  shut(): void {
    this.open_ = false;
    this.#user = undefined;
    this.#listening.clear();
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
  /** A frame comes in. */
  put(frame: Uint8Array, header: readonly number[] = [], lane = 0): void {
    const bytes = new Uint8Array(NET_HEADER_SIZE + frame.length);
    bytes.set(header);
    bytes.set(frame, NET_HEADER_SIZE);
    const queue = this.#waiting[lane] ?? [];
    this.#waiting[lane] = queue;
    queue.push(bytes);
    if (this.#listening.delete(lane)) this.#user?.readable(lane);
  }
  setLink(up: boolean): void {
    this.linkUp = up;
    this.#user?.linkChanged();
  }
}

const frame = (length: number, to: Mac = MAC, type = 0x88b5): Uint8Array => {
  const bytes = Uint8Array.from({ length }, (_, n) => n % 251);
  bytes.set(macBytes(to), 0);
  bytes.set(macBytes(PEER), 6);
  putBe16(bytes, 12, type);
  return bytes;
};

const withHeader = (bytes: Uint8Array, header: readonly number[] = []): Uint8Array => {
  const all = new Uint8Array(NET_HEADER_SIZE + bytes.length);
  all.set(header);
  all.set(bytes, NET_HEADER_SIZE);
  return all;
};

/** A network device, its driver, and the outside. */
class NetBench {
  readonly port: TestPort;
  readonly device: NetDevice;
  readonly bench: DeviceBench;

  constructor(
    readonly features: bigint,
    {
      queues = 3,
      ring = 16,
      memory = 'local',
      offloads = ALL_OFFLOADS,
      ...options
    }: Partial<NetOptions> & {
      queues?: number;
      ring?: number;
      memory?: MemoryKind;
      offloads?: Offloads;
    } = {},
  ) {
    this.port = new TestPort(offloads);
    this.device = new NetDevice(this.port, { mac: MAC, ...options });
    this.bench = new DeviceBench(this.device, { memory }).up(features, queues, ring);
  }

  post(...rooms: readonly number[]): this {
    for (const room of rooms) this.bench.offer(RX, [], [room]);
    return this;
  }

  /** A frame comes in, and is delivered as far as it can be. */
  put(bytes: Uint8Array, header?: readonly number[], lane?: number): this {
    this.port.put(bytes, header, lane);
    this.bench.settle();
    return this;
  }

  received(queue = RX): readonly Uint8Array[] {
    return this.bench.returned(queue).map(({ bytes }) => bytes);
  }

  command(...bytes: readonly number[]): number | undefined {
    this.bench.offer(CTRL, [Uint8Array.from(bytes)], [1]);
    const [answer] = this.bench.returned(CTRL);
    return answer?.bytes[0];
  }

  config16(offset: number): number {
    return Number(this.bench.registers.read(MMIO_CONFIG + offset, 2));
  }
}

describe.each(MEMORY_KINDS)('5.1.9.2 transmission (memory: %s)', (memory) => {
  it('sends the frame behind the header, however the driver cut its buffers', () => {
    const net = new NetBench(0n, { memory });
    const bytes = frame(300, PEER);
    const whole = withHeader(bytes);
    net.bench.offer(TX, [whole]);
    net.bench.offer(TX, [whole.subarray(0, 12), whole.subarray(12)]);
    net.bench.offer(TX, [whole.subarray(0, 5), whole.subarray(5, 20), whole.subarray(20)]);
    expect(net.port.sent.map((sent) => sent.frame)).toEqual([bytes, bytes, bytes]);
    expect(net.bench.returned(TX).map(({ written }) => written)).toEqual([0, 0, 0]);
    expect(net.device.counters).toMatchObject({ txFrames: 3, txBytes: 900, txInvalid: 0 });
  });

  it('5.1.9.2.2: ignores flags that it does not know, num_buffers, and csum fields that are not to be used', () => {
    const net = new NetBench(featureSet(VIRTIO_NET_F_CSUM), { memory });
    net.bench.offer(TX, [withHeader(frame(60, PEER), [0xfe, 0, 9, 0, 7, 7, 1, 2, 3, 4, 5, 6])]);
    net.bench.offer(TX, [withHeader(frame(60, PEER), [0xff, 0, 0xff, 0xff, 0, 0, 20, 0, 6, 0, 9, 9])]);
    expect(net.port.sent.map(({ header }) => [...header])).toEqual([
      [0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [1, 0, 60, 0, 0, 0, 20, 0, 6, 0, 0, 0],
    ]);
  });
});

describe('A43 (5.1.9): a driver that breaks the rules of transmission loses that frame, and gets its buffer back', () => {
  const csum = featureSet(VIRTIO_NET_F_CSUM);
  const tso = featureSet(VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4);
  const gso4 = [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0];
  it.each([
    ['no bytes of a header', 0n, new Uint8Array(0)],
    ['a header cut short', 0n, new Uint8Array(11)],
    ['a header and nothing', 0n, new Uint8Array(12)],
    ['less than an Ethernet header', 0n, new Uint8Array(12 + 13)],
    ['a frame longer than the MTU', csum, withHeader(frame(1515))],
    ['a tagged frame longer than the MTU', csum, withHeader(frame(1519, PEER, 0x8100))],
    ['a frame longer than any that there is', tso, withHeader(frame(NET_GSO_FRAME_MAX + 1), gso4)],
    ['a checksum to complete, not negotiated', 0n, withHeader(frame(60), [1, 0, 0, 0, 0, 0, 34, 0, 16, 0])],
    ['a checksum past the end', csum, withHeader(frame(60), [1, 0, 0, 0, 0, 0, 50, 0, 9, 0])],
    ['a large frame, not negotiated', csum, withHeader(frame(3000), gso4)],
    ['a large frame without a segment size', tso, withHeader(frame(3000), [1, 1, 54, 0, 0, 0, 34, 0, 16, 0])],
    ['a large frame whose checksum is not left', tso, withHeader(frame(3000), [0, ...gso4.slice(1)])],
    ['a large frame of a type that is not negotiated', tso, withHeader(frame(3000), [1, 4, ...gso4.slice(2)])],
    ['ECN, not negotiated', tso, withHeader(frame(3000), [1, 0x81, ...gso4.slice(2)])],
    ['a type that nobody knows', tso, withHeader(frame(3000), [1, 0x7f, ...gso4.slice(2)])],
  ])('%s', (_, features, bytes) => {
    const net = new NetBench(features);
    if (bytes.length > 0) net.bench.offer(TX, [bytes]);
    else net.bench.offer(TX, [], [64]);
    net.bench.offer(TX, [withHeader(frame(60, PEER))]);
    expect(net.bench.returned(TX).map(({ written }) => written)).toEqual([0, 0]);
    expect(net.port.sent.map((sent) => sent.frame.length)).toEqual([60]);
    expect(net.device.counters.txInvalid).toBe(1);
    expect(net.bench.registers.status & STATUS_DEVICE_NEEDS_RESET).toBe(0);
  });

  it('sends the largest frame, tagged or segmented, that the rules allow', () => {
    const net = new NetBench(tso);
    net.bench.offer(TX, [withHeader(frame(1514))]);
    net.bench.offer(TX, [withHeader(frame(1518, PEER, 0x8100))]);
    net.bench.offer(TX, [withHeader(frame(NET_GSO_FRAME_MAX), gso4)]);
    expect(net.port.sent.map((sent) => sent.frame.length)).toEqual([1514, 1518, NET_GSO_FRAME_MAX]);
  });

  it('A10 (2.7.5): a buffer outside the memory', () => {
    const net = new NetBench(0n);
    net.bench.offerBuffers(TX, [{ address: 0x1000n, length: 100 }], []);
    expect(net.bench.returned(TX)).toHaveLength(1);
    expect(net.device.counters.txInvalid).toBe(1);
  });
});

describe.each(MEMORY_KINDS)('5.1.9.4 reception (memory: %s)', (memory) => {
  it('fills the next buffer: header, then frame', () => {
    const net = new NetBench(0n, { memory }).post(1526, 1526);
    const bytes = frame(100);
    net.put(bytes).put(frame(1514));
    const [first, second] = net.received();
    expect(first).toEqual(withHeader(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]));
    expect(second?.length).toBe(1526);
    expect(net.device.counters).toMatchObject({ rxFrames: 2, rxBytes: 1614 });
  });

  it('A41 (2.7.8): takes nothing from the port without buffers, and goes on when there are some', () => {
    const net = new NetBench(0n, { memory });
    for (let n = 0; n < 5; n += 1) net.put(frame(60 + n));
    expect(net.received()).toEqual([]);
    net.post(1526, 1526, 1526);
    expect(net.received().map(({ length }) => length)).toEqual([72, 73, 74]);
    net.post(1526, 1526, 1526);
    net.put(frame(90));
    expect(net.received().map(({ length }) => length)).toEqual([75, 76, 102]);
  });

  it('5.1.9.4.1: MRG_RXBUF spreads a frame over buffers, all full but the last, and says how many', () => {
    const net = new NetBench(featureSet(VIRTIO_NET_F_MRG_RXBUF), { memory }).post(100, 12, 300, 1000, 1000);
    const bytes = frame(1000);
    net.put(bytes).put(frame(60));
    const parts = net.received();
    expect(parts.map(({ length }) => length)).toEqual([100, 12, 300, 600, 72]);
    const whole = Buffer.concat(parts.slice(0, 4));
    expect(whole.readUInt16LE(10)).toBe(4);
    expect(Uint8Array.from(whole.subarray(12))).toEqual(bytes);
    expect(parts[4]?.[10]).toBe(1);
  });

  it('waits for more buffers when those that are there are too few for the frame', () => {
    const net = new NetBench(featureSet(VIRTIO_NET_F_MRG_RXBUF), { memory }).post(500);
    net.put(frame(1000));
    expect(net.received()).toEqual([]);
    net.post(500);
    expect(net.received()).toEqual([]);
    net.post(500);
    expect(net.received().map(({ length }) => length)).toEqual([500, 500, 12]);
  });
});

describe('5.1.9.3: buffers that are of no use', () => {
  it('without MRG_RXBUF, a frame that is longer than the next buffer is lost', () => {
    const net = new NetBench(0n).post(100);
    net.put(frame(100)).put(frame(60));
    expect(net.received().map(({ length }) => length)).toEqual([72]);
    expect(net.device.counters.rxOversize).toBe(1);
  });

  it('with MRG_RXBUF, a frame that is longer than all buffers that can be posted is lost', () => {
    const net = new NetBench(featureSet(VIRTIO_NET_F_MRG_RXBUF), { ring: 4 }).post(50, 50, 50, 50);
    net.put(frame(1000)).put(frame(60));
    expect(net.received().map(({ length }) => length)).toEqual([50, 22]);
    expect(net.port.skipped).toBe(1);
  });

  it('A43: a buffer shorter than a header, or one that is to be read, comes back empty', () => {
    const net = new NetBench(0n).post(11, 1526);
    net.bench.offer(RX, [new Uint8Array(20)], [1526]);
    net.put(frame(60));
    expect(net.received().map(({ length }) => length)).toEqual([0, 72, 0]);
    net.post(1526);
    net.put(frame(60));
    expect(net.received().map(({ length }) => length)).toEqual([72]);
    expect(net.device.counters.rxInvalid).toBe(2);
  });
});

describe('5.1.4.1, 5.1.9.4.1: what a driver did not accept does not come', () => {
  it.each([
    ['a frame longer than the MTU', 0n, frame(1515), []],
    ['a checksum to complete', 0n, frame(60), [1, 0, 0, 0, 0, 0, 34, 0, 16, 0]],
    ['a large frame', featureSet(VIRTIO_NET_F_GUEST_CSUM), frame(1400), [1, 1, 54, 0, 100, 0, 34, 0, 16, 0]],
  ])('%s', (_, features, bytes, header) => {
    const net = new NetBench(features).post(2000);
    net.put(bytes, header).put(frame(64));
    expect(net.received().map(({ length }) => length)).toEqual([76]);
  });

  it('flags are 0 without GUEST_CSUM, and those of the port with it', () => {
    const without = new NetBench(0n).post(2000);
    without.put(frame(60), [2]);
    expect(without.received()[0]?.[0]).toBe(0);
    const net = new NetBench(featureSet(VIRTIO_NET_F_GUEST_CSUM)).post(2000, 2000);
    net.put(frame(60), [2]).put(frame(60), [0xf1, 0, 0, 0, 0, 0, 34, 0, 16, 0]);
    expect(net.received().map(([flags]) => flags)).toEqual([2, VIRTIO_NET_HDR_F_NEEDS_CSUM]);
  });
});

describe('5.1.3: features', () => {
  const negotiate = (features: bigint, offloads = ALL_OFFLOADS): boolean => {
    const bench = new DeviceBench(new NetDevice(new TestPort(offloads), { mac: MAC, queuePairs: 2 }));
    bench.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    bench.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    const all = features | (3n << 32n);
    for (const half of [0, 1]) {
      bench.write(MMIO.DriverFeaturesSel, half);
      bench.write(MMIO.DriverFeatures, Number((all >> BigInt(32 * half)) & 0xffff_ffffn));
    }
    bench.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return (bench.read(MMIO.Status) & STATUS_FEATURES_OK) !== 0;
  };

  it.each([
    ['GUEST_TSO4 without GUEST_CSUM', featureSet(VIRTIO_NET_F_GUEST_TSO4), false],
    ['GUEST_TSO4 with it', featureSet(VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM), true],
    ['GUEST_ECN without TSO', featureSet(VIRTIO_NET_F_GUEST_ECN, VIRTIO_NET_F_GUEST_CSUM), false],
    ['HOST_TSO4 without CSUM', featureSet(VIRTIO_NET_F_HOST_TSO4), false],
    ['MQ without CTRL_VQ', featureSet(VIRTIO_NET_F_MQ), false],
    ['CTRL_RX without CTRL_VQ', featureSet(VIRTIO_NET_F_CTRL_RX), false],
    ['MQ with CTRL_VQ', featureSet(VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ), true],
  ])('A33 (5.1.3.1): %s', (_, features, accepted) => {
    expect(negotiate(features)).toBe(accepted);
  });

  it('offers to take over what the port takes over, and no more', () => {
    const plain = new NetDevice(new TestPort(NO_OFFLOADS), { mac: MAC });
    const full = new NetDevice(new TestPort(ALL_OFFLOADS), { mac: MAC, queuePairs: 4 });
    for (const feature of [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_MQ]) {
      expect([hasFeature(plain.features, feature), hasFeature(full.features, feature)]).toEqual([false, true]);
    }
    expect(negotiate(featureSet(VIRTIO_NET_F_CSUM), NO_OFFLOADS)).toBe(false);
  });

  it('tells the port what the driver accepts, and CTRL_GUEST_OFFLOADS changes it', () => {
    const guest = featureSet(VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4);
    const net = new NetBench(guest | CONTROL | featureSet(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
    expect(net.port.accepts).toEqual({ csum: true, tso4: true, tso6: false, ecn: false });
    expect(net.command(5, 0, 0x02, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect(net.port.accepts).toEqual({ csum: true, tso4: false, tso6: false, ecn: false });
    for (const refused of [0x100, 0x80]) {
      expect(net.command(5, 0, refused & 0xff, refused >> 8, 0, 0, 0, 0, 0, 0)).toBe(1);
    }
    expect(net.port.accepts.csum).toBe(true);
  });
});

describe('5.1.9.5: the control queue', () => {
  const group = (n: number): Mac => 0x0100_5e00_0000 + n;
  const wants = (net: NetBench, to: Mac, tag?: number): boolean => {
    net.post(1526);
    const bytes = frame(64, to, tag === undefined ? 0x88b5 : 0x8100);
    if (tag !== undefined) putBe16(bytes, 14, 0xe000 | tag);
    const before = net.device.counters.rxFrames;
    net.put(bytes);
    net.received();
    return net.device.counters.rxFrames > before;
  };

  it('5.1.9.5.1: with CTRL_RX, only frames for the driver and for all come, until it asks for more', () => {
    const net = new NetBench(CONTROL);
    expect([MAC, BROADCAST, PEER, group(1)].map((to) => wants(net, to))).toEqual([true, true, false, false]);
    expect(net.command(0, 0, 1)).toBe(0);
    expect(wants(net, PEER)).toBe(true);
    expect(net.command(0, 0, 0)).toBe(0);
    expect(net.command(0, 1, 1)).toBe(0);
    expect([PEER, group(1)].map((to) => wants(net, to))).toEqual([false, true]);
    expect(net.command(0, 2, 1)).toBe(0);
    expect(wants(net, PEER)).toBe(true);
    for (const suppress of [3, 4, 5]) expect(net.command(0, suppress, 1)).toBe(0);
    expect([MAC, BROADCAST, PEER, group(1)].map((to) => wants(net, to))).toEqual([false, false, false, false]);
    expect(net.command(0, 0, 1)).toBe(0);
    expect(wants(net, group(1))).toBe(true);
  });

  it('without CTRL_RX every frame comes', () => {
    const net = new NetBench(0n);
    expect([MAC, BROADCAST, PEER, group(1)].map((to) => wants(net, to))).toEqual([true, true, true, true]);
  });

  it('5.1.9.5.2: takes tables of addresses, and an address of the driver\u2019s', () => {
    const net = new NetBench(CONTROL);
    expect(net.command(1, 0, 1, 0, 0, 0, ...macBytes(PEER), 1, 0, 0, 0, ...macBytes(group(7)))).toBe(0);
    expect([MAC, PEER, group(7), group(8)].map((to) => wants(net, to))).toEqual([true, true, true, false]);
    expect(net.command(1, 1, 2, 0, 0, 0, 0, 9)).toBe(0);
    expect([MAC, 0x0200_0000_0009].map((to) => wants(net, to))).toEqual([false, true]);
    expect(net.bench.registers.read(MMIO_CONFIG + 5, 1)).toBe(9n);
    expect(net.command(1, 0, 0, 0, 0, 0, 0, 0, 0, 0)).toBe(0);
    expect(wants(net, PEER)).toBe(false);
  });

  it('5.1.9.5.3: with CTRL_VLAN, tagged frames come of VLANs in the table only', () => {
    const net = new NetBench(CONTROL);
    expect([undefined, 5].map((tag) => wants(net, MAC, tag))).toEqual([true, false]);
    expect(net.command(2, 0, 5, 0)).toBe(0);
    expect([5, 6].map((tag) => wants(net, MAC, tag))).toEqual([true, false]);
    expect(net.command(2, 1, 5, 0)).toBe(0);
    expect(wants(net, MAC, 5)).toBe(false);
  });

  it('a reset empties the tables and gives the address back', () => {
    const net = new NetBench(CONTROL);
    net.command(0, 0, 1);
    net.command(1, 1, 2, 0, 0, 0, 0, 9);
    net.bench.up(CONTROL, 3);
    expect([MAC, 0x0200_0000_0009, PEER].map((to) => wants(net, to))).toEqual([true, false, false]);
  });

  it.each([
    ['nothing', []],
    ['no command', [0]],
    ['a class that is not known', [99, 0, 0]],
    ['a command that is not known', [0, 99, 0]],
    ['a mode without a value', [0, 0]],
    ['a mode that is neither on nor off', [0, 0, 2]],
    ['a table that ends early', [1, 0, 2, 0, 0, 0, 1, 2, 3, 4, 5, 6]],
    ['a table with more entries than bytes', [1, 0, 0xff, 0xff, 0xff, 0xff]],
    ['a table with something behind it', [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
    ['half an address', [1, 1, 1, 2, 3]],
    ['half a VLAN', [2, 0, 1]],
    ['pairs, which were not negotiated', [4, 0, 1, 0]],
    ['an acknowledgement that nobody asked for', [3, 0]],
    ['more bytes than any command has', Array.from({ length: 20_000 }, () => 0)],
  ])('A43 (5.1.9.5): refuses %s, and changes nothing', (_, bytes) => {
    const net = new NetBench(CONTROL);
    if (bytes.length === 0) net.bench.offer(CTRL, [], [1]);
    else net.bench.offer(CTRL, [Uint8Array.from(bytes)], [1]);
    expect(net.bench.returned(CTRL).map(({ bytes: answer }) => [...answer])).toEqual([[1]]);
    expect([MAC, PEER].map((to) => wants(net, to))).toEqual([true, false]);
  });

  it('gives back a command without room for an answer', () => {
    const net = new NetBench(CONTROL);
    net.bench.offer(CTRL, [Uint8Array.of(0, 0, 1)]);
    expect(net.bench.returned(CTRL)).toHaveLength(1);
    expect(wants(net, PEER)).toBe(false);
  });

  it('comes after the pairs that the driver knows of: at 2 without MQ, whatever the device could do (5.1.2)', () => {
    const net = new NetBench(CONTROL, { queuePairs: 4 });
    expect(net.command(0, 0, 1)).toBe(0);
    expect(wants(net, PEER)).toBe(true);
  });
});

describe('5.1.9.5.6: several queue pairs', () => {
  const MQ = featureSet(VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ);
  const pairs = (n: number): readonly Uint8Array[] => [Uint8Array.of(4, 0, n, 0)];

  it('uses only the first pair until the driver says how many', () => {
    const net = new NetBench(MQ, { queuePairs: 3, queues: 7 });
    net.bench.offer(3, [withHeader(frame(60))]);
    expect(net.port.sent).toEqual([]);
    net.bench.offer(6, pairs(2), [1]);
    expect(net.bench.returned(6)[0]?.bytes).toEqual(Uint8Array.of(0));
    expect(net.port.lanes).toBe(2);
    net.bench.write(MMIO.QueueNotify, 3);
    net.bench.settle();
    expect(net.port.sent.map(({ lane }) => lane)).toEqual([1]);
    net.bench.offer(2, [], [1526]);
    net.put(frame(60), [], 1);
    expect(net.received(2)).toHaveLength(1);
  });

  it.each([0, 4, 0xffff])('refuses %i pairs of 3', (n) => {
    const net = new NetBench(MQ, { queuePairs: 3, queues: 7 });
    net.bench.offer(6, [Uint8Array.of(4, 0, n & 0xff, n >> 8)], [1]);
    expect(net.bench.returned(6)[0]?.bytes).toEqual(Uint8Array.of(1));
    expect(net.port.lanes).toBe(1);
  });
});

describe('5.1.4: the configuration', () => {
  it('tells when the link goes and comes, and asks for an announcement then (5.1.9.5.4)', () => {
    const features = featureSet(VIRTIO_NET_F_STATUS, VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_CTRL_VQ);
    const net = new NetBench(features);
    expect(net.config16(NET_CONFIG_STATUS)).toBe(1);
    const generation = net.bench.read(MMIO.ConfigGeneration);
    net.port.setLink(false);
    expect(net.config16(NET_CONFIG_STATUS)).toBe(0);
    expect(net.bench.read(MMIO.InterruptStatus) & 2).toBe(2);
    expect(net.bench.read(MMIO.ConfigGeneration)).not.toBe(generation);
    net.port.setLink(true);
    expect(net.config16(NET_CONFIG_STATUS)).toBe(3);
    expect(net.command(3, 0)).toBe(0);
    expect(net.config16(NET_CONFIG_STATUS)).toBe(1);
  });

  it('shows the MTU, and lets the driver write nothing', () => {
    const net = new NetBench(featureSet(VIRTIO_NET_F_MTU), { mtu: 9000 });
    net.bench.registers.write(MMIO_CONFIG + NET_CONFIG_MTU, 2, 68n);
    expect(net.config16(NET_CONFIG_MTU)).toBe(9000);
    net.bench.offer(TX, [withHeader(frame(9014))]);
    expect(net.port.sent).toHaveLength(1);
  });
});

describe('notifications', () => {
  it('are not asked for while frames keep coming, and again when none came for a while (2.7.10)', () => {
    const net = new NetBench(featureSet(VIRTIO_F_EVENT_IDX));
    const ring = net.bench.queues[TX];
    if (ring === undefined) throw new Error('a transmit queue');
    let asked = 0;
    const whole = withHeader(frame(60));
    net.bench.offer(TX, [whole]);
    const place = net.bench.returned(TX)[0];
    expect(place).toBeDefined();
    for (let n = 0; n < 8; n += 1) {
      ring.add([{ address: 0x8010_0000n, length: 60 }], [], { writable: [] });
      if (ring.publish()) asked += 1;
    }
    // Nothing was notified since the device slept: the first of these had to.
    expect(asked).toBe(1);
  });
});

describe('reset', () => {
  it('A35 (2.4.1): ends at once, and nothing is written to the driver\u2019s memory any more', () => {
    const net = new NetBench(0n).post(1526);
    net.bench.write(MMIO.Status, 0);
    expect(net.bench.read(MMIO.Status)).toBe(0);
    expect(net.port.open_).toBe(false);
    net.put(frame(60));
    expect(net.device.counters.rxFrames).toBe(0);
    net.bench.up(0n, 3);
    net.post(1526);
    net.bench.settle();
    expect(net.received()).toHaveLength(1);
  });
});

describe('2.6.1: reset of a queue', () => {
  it.each(MEMORY_KINDS)('gives back the buffers of a receive queue; the others go on (memory: %s)', (memory) => {
    const net = new NetBench(featureSet(VIRTIO_F_RING_RESET), { memory }).post(1526, 1526);
    const config = net.bench.registers.queueConfig(RX);
    if (config === undefined) throw new Error('the queue runs');
    net.bench.write(MMIO.QueueSel, RX);
    net.bench.write(MMIO.QueueReset, 1);
    net.bench.settle();
    expect(net.bench.read(MMIO.QueueReset)).toBe(0);
    expect(net.bench.read(MMIO.QueueReady)).toBe(0);
    net.put(frame(60));
    expect(net.device.counters.rxFrames).toBe(0);
    net.bench.offer(TX, [withHeader(frame(60, PEER))]);
    expect(net.port.sent).toHaveLength(1);
    net.bench.queues[RX]?.restart();
    net.bench.write(MMIO.QueueSize, config.size);
    net.bench.write(MMIO.QueueDescLow, Number(config.descriptorArea));
    net.bench.write(MMIO.QueueDriverLow, Number(config.driverArea));
    net.bench.write(MMIO.QueueDeviceLow, Number(config.deviceArea));
    net.bench.write(MMIO.QueueReady, 1);
    net.post(1526);
    expect(net.received().map(({ length }) => length)).toEqual([72]);
  });
});

describe('save and restore', () => {
  it('takes over posted buffers and the driver\u2019s address', () => {
    const before = new NetBench(CONTROL).post(1526, 1526);
    before.command(1, 1, 2, 0, 0, 0, 0, 9);
    const port = new TestPort();
    const device = new NetDevice(port, { mac: MAC });
    const after = new DeviceBench(device);
    after.memory.bytes(0, after.memory.size).set(before.bench.memory.bytes(0, before.bench.memory.size));
    const state: unknown = JSON.parse(JSON.stringify(before.bench.registers.save()));
    expect(after.registers.restore(state)).toEqual({ ok: true, value: undefined });
    after.settle();
    port.put(frame(60, 0x0200_0000_0009));
    after.settle();
    expect(device.counters.rxFrames).toBe(1);
    expect(after.registers.read(MMIO_CONFIG + 5, 1)).toBe(9n);
  });
});

describe('two devices on a switch', () => {
  it('reach each other, with offloads done for the one that accepts none', () => {
    const lan = new LearningSwitch();
    const bench = (name: string, mac: Mac, features: bigint): DeviceBench =>
      new DeviceBench(new NetDevice(lan.port(name), { mac })).up(features, 3);
    const a = bench('a', MAC, featureSet(VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4));
    const b = bench('b', PEER, 0n);
    for (let n = 0; n < 4; n += 1) b.offer(RX, [], [1526]);
    const tcp = frame(14 + 40 + 2500, PEER, 0x0800);
    tcp.set(macBytes(MAC), 6);
    tcp.fill(0, 14, 54);
    tcp[14] = 0x45;
    tcp[23] = 6;
    tcp[46] = 0x50;
    a.offer(TX, [withHeader(tcp, [1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0])]);
    b.settle();
    expect(b.returned(RX).map(({ written }) => written)).toEqual([12 + 54 + 1000, 12 + 54 + 1000, 12 + 54 + 500]);
  });
});
