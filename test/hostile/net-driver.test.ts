import {
  ALL_OFFLOADS,
  type FramePort,
  LearningSwitch,
  type Mac,
  macBytes,
  NO_OFFLOADS,
  type Offloads,
  putBe16,
} from '@remio/ethernet';
import { type DeviceIo, NetDevice, type VirtioDevice } from '@remio/virtio-device';
import { type NetDriverOptions, VirtioNetDriver } from '@remio/virtio-driver';
import {
  DEVICE_ID_NETWORK,
  featureSet,
  RING_FEATURES,
  VIRTIO_NET_CTRL_RX,
  VIRTIO_NET_CTRL_RX_PROMISC,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
} from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PairProgram, pair, pairs } from '../support/pair.js';

const A: Mac = 0x5254_0000_000a;
const B: Mac = 0x5254_0000_000b;

const frame = (to: Mac, from: Mac, length: number, fill = 0): Uint8Array => {
  const bytes = new Uint8Array(length).fill(fill);
  bytes.set(macBytes(to), 0);
  bytes.set(macBytes(from), 6);
  putBe16(bytes, 12, 0x88b5);
  return bytes;
};

/** What a program does with a driver that is up. */
type Work<T> = (driver: VirtioNetDriver, wait: () => Promise<void>, flush: () => Promise<void>) => Promise<T>;

/** Probes; gives what the work gives, or why there is no driver. */
const driving =
  <T>(options: NetDriverOptions, work: Work<T>): PairProgram<T | string> =>
  async (cpu, end) => {
    const probed = await VirtioNetDriver.probe(cpu, end, options);
    if (!probed.ok) return `${probed.error.code} ${probed.error.clause}`;
    const driver = probed.value;
    const flush = async (): Promise<void> => {
      if (driver.publish()) await driver.kick(cpu);
    };
    const wait = async (): Promise<void> => {
      await flush();
      if (!driver.setInterrupts(true)) await cpu.waitForInterrupt();
    };
    return work(driver, wait, flush);
  };

/** Sends frames on a lane, as many as there are buffers for. */
function send(driver: VirtioNetDriver, bytes: Uint8Array, lane = 0): boolean {
  const transmit = driver.lanes[lane]?.transmit;
  const buffer = transmit?.take();
  if (transmit === undefined || buffer === undefined) return false;
  buffer.bytes.fill(0, 0, 12);
  buffer.bytes.set(bytes, 12);
  transmit.send(buffer, 12 + bytes.length);
  return true;
}

const received = (driver: VirtioNetDriver, lane = 0): Uint8Array[] => {
  const receive = driver.lanes[lane]?.receive;
  const all: Uint8Array[] = [];
  for (let got = receive?.receive(); got !== undefined; got = receive?.receive()) {
    all.push(Uint8Array.from(got.frame.flatMap((part) => [...part])));
    receive?.recycle(got);
  }
  return all;
};

/** Lets programs go on when all of them got here: a frame for a driver that is not up yet is lost. */
class Barrier {
  readonly #open: (() => void)[] = [];
  constructor(private readonly parties: number) {}

  async pass(): Promise<void> {
    const passed = new Promise<void>((resolve) => this.#open.push(resolve));
    if (this.#open.length === this.parties) for (const open of this.#open.splice(0)) open();
    await passed;
  }
}

const lengths = [60, 1514, 333, 14, 1000];

/** Sends frames of these lengths, and waits for as many. */
const exchange =
  (to: Mac, up: Barrier): Work<number[]> =>
  async (driver, wait, flush) => {
    await up.pass();
    const got: number[] = [];
    let sent = 0;
    while (got.length < lengths.length || sent < lengths.length) {
      while (sent < lengths.length && send(driver, frame(to, driver.mac, lengths[sent] ?? 60, sent))) sent += 1;
      for (const bytes of received(driver)) {
        expect(new Set(bytes.subarray(14))).toEqual(new Set(bytes.length > 14 ? [got.length] : []));
        got.push(bytes.length);
      }
      if (got.length < lengths.length) await wait();
    }
    await flush();
    await up.pass();
    return got;
  };

describe('two network drivers on a switch, through the whole path', () => {
  it.each<readonly [string, NetDriverOptions]>([
    ['as they come', {}],
    ['one buffer a frame', { mergeable: false }],
    ['small buffers', { receiveBytes: 64 }],
    ['all offloads', { offloads: ALL_OFFLOADS }],
    ['small rings', { queueSize: 4 }],
    ['filters', { filter: true }],
  ])('5.1.9: exchange frames of all lengths: %s', async (_, options) => {
    const lan = new LearningSwitch();
    const device = (name: string, mac: Mac): VirtioDevice => new NetDevice(lan.port(name), { mac });
    const up = new Barrier(2);
    const ends = [
      { device: device('a', A), program: driving(options, exchange(B, up)) },
      { device: device('b', B), program: driving(options, exchange(A, up)) },
    ];
    const results = await pairs(ends);
    expect(results).toEqual([lengths, lengths]);
  });
});

describe('the product of ring features, at each end its own', () => {
  const features = Object.values(RING_FEATURES);
  const subset = fc.nat(2 ** features.length - 1);
  const ring = (bits: number): bigint => featureSet(...features.filter((_, n) => (bits & (1 << n)) !== 0));

  it('2.7, 2.8: frames of all lengths get through, in buffers of any size', async () => {
    await fc.assert(
      fc.asyncProperty(subset, subset, fc.constantFrom(64, 200, 2048), fc.boolean(), async (a, b, bytes, offload) => {
        const lan = new LearningSwitch();
        const up = new Barrier(2);
        const program = (to: Mac, bits: number): PairProgram<number[] | string> => {
          const options = { receiveBytes: bytes, queueSize: 32, offloads: { ...NO_OFFLOADS, csum: offload } };
          return (cpu, end, vm) => driving(options, exchange(to, up))(cpu, { ...end, ring: ring(bits) }, vm);
        };
        const ends = [
          { device: new NetDevice(lan.port('a'), { mac: A }), program: program(B, a) },
          { device: new NetDevice(lan.port('b'), { mac: B }), program: program(A, b) },
        ];
        expect(await pairs(ends)).toEqual([lengths, lengths]);
      }),
      { numRuns: 24 },
    );
  });
});

/** A device that hands out one frame, with a header and lengths of its own. */
class Liar implements VirtioDevice {
  readonly deviceId = DEVICE_ID_NETWORK;
  readonly features = featureSet(
    VIRTIO_NET_F_MAC,
    VIRTIO_NET_F_MTU,
    VIRTIO_NET_F_STATUS,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_CTRL_VQ,
  );
  readonly queueCount = 3;
  readonly queueSizeMax = 8;
  readonly config = Uint8Array.of(2, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0xdc, 5);
  #io: DeviceIo | undefined;

  constructor(private readonly lies: readonly { readonly header: readonly number[]; readonly written: number }[]) {}

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(): void {
    const io = this.#io;
    const queue = io?.queues[0];
    if (io === undefined || queue === undefined) return;
    for (const { header, written } of this.lies) {
      const popped = queue.pop();
      if (popped.kind !== 'chain') return;
      const [room] = popped.chain.writable;
      if (room !== undefined) {
        const bytes = io.memory.bytes(room.offset, room.length).fill(0xab);
        bytes.set(header);
      }
      queue.push(popped.chain.head, written);
    }
    io.used(0);
  }

  reset(done: () => void): void {
    done();
  }
}

describe('a network driver whose device lies', () => {
  const GOOD = { header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], written: 72 };

  /** Frames that come of some answers, and how many were dropped. */
  const hears = (options: NetDriverOptions): PairProgram<unknown> =>
    driving(options, async (driver, wait) => {
      const all: number[] = [];
      for (let n = 0; n < 50 && !all.includes(60); n += 1) {
        for (const bytes of received(driver)) all.push(bytes.length);
        if (!all.includes(60)) await wait();
      }
      return { all, dropped: driver.lanes[0]?.receive.dropped };
    });

  it.each([
    ['V19 (5.1.9.4): no buffers', { header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], written: 72 }, {}],
    ['V19 (5.1.9.4): more buffers than there are', { header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0], written: 72 }, {}],
    ['V19: a checksum to complete past the end', { header: [1, 0, 0, 0, 0, 0, 60, 0, 16, 0, 1, 0], written: 72 }, {}],
    ['V19: a checksum to complete, not negotiated', { header: [1, 0, 0, 0, 0, 0, 14, 0, 2, 0, 1, 0], written: 72 }, {}],
    [
      'V19: a large frame, not negotiated',
      { header: [1, 1, 0, 0, 9, 0, 14, 0, 2, 0, 1, 0], written: 72 },
      ALL_OFFLOADS,
    ],
    ['V4 (2.7.8.3): less than a header', { header: GOOD.header, written: 11 }, {}],
  ])('%s: drops that frame, and takes the next', async (_, lie, offloads) => {
    const accepts: Offloads = { ...NO_OFFLOADS, ...offloads };
    const heard = await pair(new Liar([lie, GOOD]), hears({ offloads: accepts }));
    expect(heard).toEqual({ all: [60], dropped: 1 });
  });

  it('V3 (2.7.8.2): takes no more bytes than the buffer has, whatever the device claims', async () => {
    const lie = { header: GOOD.header, written: 0xffff_ffff };
    const heard = await pair(new Liar([lie, GOOD]), hears({}));
    expect(heard).toEqual({ all: [1518, 60], dropped: 0 });
  });

  it('5.1.9.4: ignores flags that it does not know', async () => {
    const lie = { header: [0xfc, ...GOOD.header.slice(1)], written: 73 };
    expect(await pair(new Liar([lie, GOOD]), hears({}))).toEqual({ all: [61, 60], dropped: 0 });
  });

  it('V19: waits for the buffers that a frame claims, and makes one frame of them', async () => {
    const lie = { header: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0], written: 72 };
    expect(await pair(new Liar([lie, GOOD, GOOD]), hears({}))).toEqual({ all: [132, 60], dropped: 0 });
  });

  it.each([
    ['mtu 67', 10, 67],
    ['mtu 0', 10, 0],
  ])('5.1.4.1: refuses %s', async (_, at, value) => {
    const device = new Liar([GOOD]);
    device.config[at] = value;
    device.config[at + 1] = 0;
    expect(await pair(device, hears({}))).toBe('config 5.1.4.1');
  });

  it('12 (4.2.2.2): refuses what is no network device', async () => {
    const device = Object.assign(new Liar([GOOD]), { deviceId: 2 });
    expect(await pair(device, hears({}))).toBe('wrong-device 4.2.2.2');
  });
});

describe('commands', () => {
  const port = (): FramePort => new LearningSwitch().port('a');

  it('5.1.9.5: are answered, and refused without the feature', async () => {
    const promiscuous: PairProgram<boolean | string> = async (cpu, end) => {
      const probed = await VirtioNetDriver.probe(cpu, end, { filter: end.name === 'd0' });
      if (!probed.ok) return probed.error.detail;
      return probed.value.command(cpu, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, Uint8Array.of(1));
    };
    const device = (): VirtioDevice => new NetDevice(port(), { mac: A });
    const results = await pairs([
      { device: device(), program: promiscuous },
      { device: device(), program: promiscuous },
    ]);
    expect(results).toEqual([true, false]);
  });

  it('5.1.9.5.6: several queue pairs are set up, and frames go on each', async () => {
    const lan = new LearningSwitch();
    const a = new NetDevice(lan.port('a'), { mac: A, queuePairs: 4 });
    const b = new NetDevice(lan.port('b'), { mac: B });
    const up = new Barrier(2);
    const results = await pairs<unknown>([
      {
        device: a,
        program: driving({ queuePairs: 3 }, async (driver, _wait, flush) => {
          await up.pass();
          for (let lane = 0; lane < 3; lane += 1) send(driver, frame(B, A, 100 + lane), lane);
          await flush();
          return driver.lanes.length;
        }),
      },
      {
        device: b,
        program: driving({ queuePairs: 3 }, async (driver, wait) => {
          await up.pass();
          const got: number[] = [];
          while (got.length < 3) {
            got.push(...received(driver).map(({ length }) => length));
            if (got.length < 3) await wait();
          }
          return [driver.lanes.length, got.sort()];
        }),
      },
    ]);
    expect(results).toEqual([3, [1, [100, 101, 102]]]);
  });
});
