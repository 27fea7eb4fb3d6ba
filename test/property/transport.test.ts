import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import { type DeviceIo, EntropyDevice, type VirtioDevice } from '@remio/virtio-device';
import { DeviceBringUp, type DriverError } from '@remio/virtio-driver';
import {
  ALL_RING_FEATURES,
  DEVICE_ID_ENTROPY,
  featureSet,
  RING_FEATURES,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
} from '@remio/virtio-spec';
import type { DriverQueue } from '@remio/virtqueue';
import { describe, expect, it } from 'vitest';
import { pair } from '../support/pair.js';

/** A driver of one queue, brought up with these ring features. */
interface Driver {
  readonly device: DeviceBringUp;
  readonly ring: DriverQueue<number>;
  /** What ended, in order. */
  readonly ended: number[];
  lost: DriverError | undefined;
}

const bringUp = async (cpu: GuestCpu, end: GuestDeviceEnd, features: bigint, size = 12): Promise<Driver> => {
  const found = await DeviceBringUp.negotiate(cpu, { ...end, ring: features }, DEVICE_ID_ENTROPY, 0n);
  if (!found.ok) throw new Error(found.error.detail);
  const device = found.value;
  const ring = await device.setUpQueue<number>(cpu, 0, size, 1);
  if (!ring.ok) throw new Error(ring.error.detail);
  const driver: Driver = { device, ring: ring.value, ended: [], lost: undefined };
  const live = await device.goLive(cpu, {
    used: () => {
      do {
        for (let used = driver.ring.popUsed(); used.kind === 'used'; used = driver.ring.popUsed()) {
          driver.ended.push(used.token);
        }
      } while (driver.ring.error === undefined && driver.ring.setInterrupts(true));
    },
    configChanged: () => {},
    lost: (error) => {
      driver.lost = error;
    },
  });
  if (!live.ok) throw new Error(live.error.detail);
  return driver;
};

/** Makes a request of several buffers; returns where they lie. */
const ask = (driver: Driver, token: number, buffers: number): readonly bigint[] => {
  const addresses = Array.from({ length: buffers }, () => driver.device.allocator.allocate(64) ?? 0n);
  const room = addresses.map((address) => ({ address, length: 64 }));
  expect(driver.ring.add([], room, token)).toBe(true);
  return addresses;
};

const send = async (cpu: GuestCpu, driver: Driver): Promise<void> => {
  if (driver.ring.publish()) await driver.device.transport.notify(cpu, 0);
};

/** A device that answers when the test says so, and remembers what it was notified with. */
class Slow implements VirtioDevice {
  readonly deviceId = DEVICE_ID_ENTROPY;
  readonly features = 0n;
  readonly queueCount = 1;
  readonly queueSizeMax = 12;
  readonly config = new Uint8Array(0);
  io: DeviceIo | undefined;
  readonly heads: number[] = [];

  activate(io: DeviceIo): void {
    this.io = io;
  }
  notify(): void {
    const queue = this.io?.queues[0];
    for (let popped = queue?.pop(); popped?.kind === 'chain'; popped = queue?.pop()) this.heads.push(popped.chain.head);
  }
  finish(): void {
    for (const head of this.heads.splice(0)) this.io?.queues[0]?.push(head, 64);
    this.io?.used(0);
  }
  /** What was taken ends while the driver waits. */
  resetQueue(): void {
    setImmediate(() => this.finish());
  }
  reset(done: () => void): void {
    this.heads.length = 0;
    done();
  }
}

const subsets = Object.values(RING_FEATURES).reduce<readonly bigint[]>(
  (all, bit) => all.flatMap((set) => [set, set | featureSet(bit)]),
  [0n],
);

describe('a driver and a device, through traps and hypercalls', () => {
  it('6: work with every subset of the ring features', async () => {
    for (const features of subsets) {
      const ended = await pair(new EntropyDevice((bytes) => bytes.fill(7)), async (cpu, end) => {
        const driver = await bringUp(cpu, end, features);
        expect(driver.device.features & ALL_RING_FEATURES).toBe(features);
        expect(driver.ring.size).toBe((features & featureSet(VIRTIO_F_RING_PACKED)) !== 0n ? 12 : 8);
        const { memory } = driver.device.allocator;
        for (let token = 0; token < 10; token += 1) {
          const addresses = ask(driver, token, 1 + (token % 5));
          await send(cpu, driver);
          while (driver.ended.length <= token) await cpu.waitForInterrupt();
          for (const address of addresses) expect(memory.readU8(memory.locate(address, 1) + 63)).toBe(7);
        }
        return driver.ended;
      });
      expect(ended, features.toString(16)).toEqual(Array.from({ length: 10 }, (_, n) => n));
    }
  });

  it('2.6.1: a queue is reset and goes on, empty; requests in flight come back', async () => {
    for (const layout of [0n, featureSet(VIRTIO_F_RING_PACKED)]) {
      const slow = new Slow();
      await pair(slow, async (cpu, end) => {
        const driver = await bringUp(cpu, end, layout | featureSet(VIRTIO_F_RING_RESET, VIRTIO_F_NOTIFICATION_DATA));
        for (let token = 0; token < 3; token += 1) ask(driver, token, 1);
        await send(cpu, driver);
        let inFlight: readonly number[] = [];
        const reset = await driver.device.resetQueue(cpu, driver.ring, () => {
          inFlight = driver.ring.restart();
        });
        expect([reset.ok, inFlight]).toEqual([true, [0, 1, 2]]);
        expect(driver.ended).toEqual([]);
        ask(driver, 9, 2);
        await send(cpu, driver);
        await cpu.load32(end.window.base);
        slow.finish();
        while (driver.ended.length === 0) await cpu.waitForInterrupt();
        expect(driver.ended).toEqual([9]);
      });
    }
  });

  it('2.1.1: after DEVICE_NEEDS_RESET, a reset brings the device back', async () => {
    for (const layout of [0n, featureSet(VIRTIO_F_RING_PACKED)]) {
      const slow = new Slow();
      await pair(slow, async (cpu, end) => {
        const driver = await bringUp(cpu, end, layout);
        ask(driver, 0, 1);
        await send(cpu, driver);
        await cpu.load32(end.window.base);
        slow.io?.broken(0, { code: 'test', clause: '2.1.2', detail: 'the device has enough' });
        while (driver.lost === undefined) await cpu.waitForInterrupt();
        const again: (readonly number[])[] = [];
        const empty = () => void again.push(driver.ring.restart());
        expect(await driver.device.restart(cpu, empty, driver.lost)).toMatchObject({ ok: true });
        expect(again).toEqual([[0]]);
        ask(driver, 1, 1);
        await send(cpu, driver);
        await cpu.load32(end.window.base);
        slow.finish();
        while (driver.ended.length === 0) await cpu.waitForInterrupt();
        expect(driver.ended).toEqual([1]);
      });
    }
  });
});
