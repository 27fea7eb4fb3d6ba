import {
  featureSet,
  INTERRUPT_CONFIG_CHANGE,
  MMIO,
  MMIO_CONFIG,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import type { Outcome } from '../catalogue.js';
import type { Width } from '../device-target.js';
import type { HostileDriver } from '../hostile-driver.js';
import { type DeviceCase, deviceCase, failed } from './device-case.js';

/** SUSPEND (2.1), which needs a feature of its own. */
const STATUS_SUSPEND = 16;

/** Registers whose content is the device's, and what the driver programmed of queue 0, as far as it can be read. */
const VIEW = [
  MMIO.MagicValue,
  MMIO.Version,
  MMIO.DeviceID,
  MMIO.VendorID,
  MMIO.QueueReady,
  MMIO.Status,
  MMIO.ConfigGeneration,
] as const;

async function view(driver: HostileDriver): Promise<string> {
  await driver.write(MMIO.QueueSel, 0);
  const values: number[] = [];
  for (const offset of VIEW) values.push(await driver.read(offset));
  for (let offset = 0; offset < 16; offset += 4) values.push(await driver.config(offset));
  return values.join(' ');
}

/** Does something that means nothing to a live device, and sees that nothing changes. */
async function ignored(driver: HostileDriver, act: () => Promise<void>): Promise<Outcome> {
  const before = await view(driver);
  const interrupts = driver.target.interrupts();
  await act();
  await driver.target.pause();
  const after = await view(driver);
  if (after !== before) return failed(`registers read ${after} instead of ${before}`);
  if (driver.target.interrupts() !== interrupts) return failed('an interrupt');
  return driver.stillWell(driver.requestQueues()[0], 'I');
}

/** A write, or several, that a live device ignores. */
const ignoredWrites = (
  head: Pick<DeviceCase, 'id' | 'title' | 'clause'>,
  writes: readonly (readonly [offset: number, value: number, width?: Width])[],
): DeviceCase =>
  deviceCase({ ...head, expected: ['I'] }, (driver) =>
    ignored(driver, async () => {
      await driver.write(MMIO.QueueSel, 0);
      for (const [offset, value, width] of writes) await driver.write(offset, value, width);
    }),
  );

/** Status bits of a device that is not live yet, from a reset on. */
async function statusAfter(driver: HostileDriver, ...writes: readonly number[]): Promise<number> {
  for (const value of writes) await driver.write(MMIO.Status, value);
  return driver.status();
}

const negotiated =
  (features: bigint): ((driver: HostileDriver) => Promise<Outcome>) =>
  async (driver) => {
    await driver.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    await driver.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    await driver.setFeatures(features);
    const status = await statusAfter(driver, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return (status & STATUS_FEATURES_OK) === 0 ? { seen: 'R' } : { seen: 'C' };
  };

/** Bytes of a configuration that are read, and how often until it holds still. */
const CONFIG_BYTES = 32;
const CONFIG_READS = 16;

/** Reads the configuration in bytes, halves and words; what is read is one, or the generation moves. */
async function wholeConfiguration(driver: HostileDriver): Promise<Outcome> {
  for (let n = 0; n < CONFIG_READS; n += 1) {
    const before = await driver.read(MMIO.ConfigGeneration);
    const pictures: string[] = [];
    for (const width of [4, 2, 1] as const) {
      const bytes: number[] = [];
      for (let at = 0; at < CONFIG_BYTES; at += width) {
        const value = await driver.read(MMIO_CONFIG + at, width);
        for (let byte = 0; byte < width; byte += 1) bytes.push(Math.floor(value / 2 ** (8 * byte)) & 0xff);
      }
      pictures.push(bytes.join(' '));
    }
    if ((await driver.read(MMIO.ConfigGeneration)) !== before) continue;
    if (new Set(pictures).size > 1) return failed(`a torn configuration: ${pictures.join(' / ')}`);
    return driver.stillWell(driver.requestQueues()[0], 'C');
  }
  return { seen: 'W', detail: 'the generation never holds still' };
}

const BASE_FEATURES = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);

/** A26, A27, A31 to A34, A37 to A40, A46, A47: registers (2.1, 2.2, 4.2.2, 4.2.3). */
export const REGISTER_CASES: readonly DeviceCase[] = [
  deviceCase(
    { id: 'A26', title: 'a notification before DRIVER_OK', clause: '2.1.2', expected: ['I'], from: 'set-up' },
    async (driver) => {
      const [queue] = driver.requestQueues();
      queue.put(driver.place().pieces);
      await driver.notify(queue);
      await driver.target.pause();
      if (queue.used().length > 0) return failed('a buffer was used before DRIVER_OK');
      await driver.goLive();
      return driver.stillWell(queue, 'I');
    },
  ),
  deviceCase({ id: 'A26', title: 'a notification after a reset', clause: '2.4.1', expected: ['I'] }, async (driver) => {
    const [queue] = driver.requestQueues();
    if (!(await driver.reset())) return { seen: 'W', detail: 'the reset never ends' };
    const interrupts = driver.target.interrupts();
    queue.put(driver.place().pieces);
    await driver.notify(queue);
    await driver.target.pause();
    const used = queue.used().length > 0 || driver.target.interrupts() !== interrupts;
    return used ? failed('a queue was used after a reset') : { seen: 'I' };
  }),
  ...(
    [
      ['of a queue that is not there', 77],
      ['of queue 65535', 0xffff],
      ['of queue -1', 0xffff_ffff],
      ['of a number above 16 bits', 0x8000_0000],
    ] as const
  ).map(([what, value]) =>
    ignoredWrites({ id: 'A26', title: `a notification ${what}`, clause: '4.2.3.3' }, [[MMIO.QueueNotify, value]]),
  ),
  deviceCase(
    { id: 'A27', title: 'a storm of notifications without requests', clause: '2.7.10.2', expected: ['C'] },
    async (driver) => {
      const [queue] = driver.requestQueues();
      for (let n = 0; n < 1000; n += 1) await driver.notify(queue);
      return driver.stillWell(queue, 'C');
    },
  ),
  ignoredWrites({ id: 'A31', title: 'registers of a queue that runs', clause: '4.2.2.2' }, [
    [MMIO.QueueSize, 2],
    [MMIO.QueueDescLow, 0],
    [MMIO.QueueDescHigh, 0xffff],
    [MMIO.QueueDriverLow, 0],
    [MMIO.QueueDeviceLow, 0],
    [MMIO.QueueReady, 0],
  ]),
  deviceCase(
    { id: 'A32', title: 'status bits out of order', clause: '2.1.1, 3.1.1', expected: ['I'], from: 'reset' },
    async (driver) => {
      const early = await statusAfter(driver, STATUS_DRIVER_OK, STATUS_FEATURES_OK, STATUS_DRIVER);
      return early === 0 ? { seen: 'I' } : failed(`status 0x${early.toString(16)}`);
    },
  ),
  deviceCase(
    { id: 'A32', title: 'DRIVER_OK without FEATURES_OK', clause: '3.1.1', expected: ['I'], from: 'reset' },
    async (driver) => {
      const ready = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
      const status = await statusAfter(driver, STATUS_ACKNOWLEDGE, ready, ready | STATUS_DRIVER_OK);
      return status === ready ? { seen: 'I' } : failed(`status 0x${status.toString(16)}`);
    },
  ),
  ignoredWrites({ id: 'A32', title: 'status bits cleared', clause: '2.1.1' }, [
    [MMIO.Status, STATUS_ACKNOWLEDGE],
    [MMIO.Status, STATUS_DRIVER_OK],
  ]),
  ignoredWrites({ id: 'A32', title: 'status bits that are reserved', clause: '2.1' }, [[MMIO.Status, 0x20]]),
  deviceCase(
    { id: 'A32', title: 'all status bits at once', clause: '3.1.1', expected: ['I'], from: 'reset' },
    async (driver) => {
      const status = await statusAfter(driver, 0x7f);
      return (status & STATUS_DRIVER_OK) === 0 ? { seen: 'I' } : failed(`status 0x${status.toString(16)}`);
    },
  ),
  deviceCase(
    {
      id: 'A33',
      title: 'FEATURES_OK with features that were not offered',
      clause: '2.2.2',
      expected: ['R'],
      from: 'reset',
    },
    negotiated(BASE_FEATURES | (1n << 63n)),
  ),
  deviceCase(
    { id: 'A33', title: 'FEATURES_OK without VERSION_1', clause: '6.1', expected: ['R'], from: 'reset' },
    negotiated(featureSet(VIRTIO_F_ACCESS_PLATFORM)),
  ),
  deviceCase(
    { id: 'A34', title: 'features after FEATURES_OK', clause: '2.2', expected: ['I'], from: 'set-up' },
    async (driver) => {
      await driver.setFeatures(0n);
      await driver.goLive();
      return driver.stillWell(driver.requestQueues()[0], 'I');
    },
  ),
  deviceCase({ id: 'A34', title: 'a third word of features', clause: '4.2.2', expected: ['I'] }, (driver) =>
    ignored(driver, async () => {
      await driver.write(MMIO.DeviceFeaturesSel, 0xffff_ffff);
      await driver.write(MMIO.DriverFeaturesSel, 0xffff_ffff);
      await driver.write(MMIO.DriverFeatures, 0xffff_ffff);
    }),
  ),
  ...([1, 2, 8] as const).map((width) =>
    deviceCase(
      { id: 'A37', title: `accesses of ${8 * width} bits to control registers`, clause: '4.2.2.2', expected: ['I'] },
      (driver) =>
        ignored(driver, async () => {
          for (const offset of [MMIO.MagicValue, MMIO.Status, MMIO.InterruptStatus]) await driver.read(offset, width);
          for (const offset of [MMIO.Status, MMIO.QueueReady, MMIO.QueueNotify]) await driver.write(offset, 0, width);
        }),
    ),
  ),
  ignoredWrites({ id: 'A37', title: 'accesses in the middle of control registers', clause: '4.2.2.2' }, [
    [MMIO.Status + 2, 0, 2],
    [MMIO.QueueReady + 1, 0, 1],
  ]),
  ignoredWrites(
    { id: 'A38', title: 'writes to registers that are read-only or do not exist', clause: '4.2.2.2' },
    [
      MMIO.MagicValue,
      MMIO.Version,
      MMIO.DeviceID,
      MMIO.InterruptStatus,
      MMIO.ConfigGeneration,
      0x018,
      0x03c,
      0x0f8,
    ].map((offset) => [offset, 0xffff_ffff] as const),
  ),
  deviceCase(
    { id: 'A38', title: 'reads of registers that are write-only or do not exist', clause: '4.2.2.2', expected: ['I'] },
    (driver) =>
      ignored(driver, async () => {
        for (const offset of [MMIO.QueueNotify, MMIO.QueueSize, MMIO.InterruptACK, 0x018, 0x03c, 0x0f8]) {
          await driver.read(offset);
        }
      }),
  ),
  deviceCase(
    {
      id: 'A39',
      title: 'a configuration read in pieces of every width, while its generation holds still',
      clause: '2.5.1, 4.2.2.2',
      expected: ['C'],
    },
    wholeConfiguration,
  ),
  ignoredWrites({ id: 'A39', title: 'a write to a field of the configuration that is read-only', clause: '2.5' }, [
    [0x100, 0],
    [0x104, 0xffff_ffff],
  ]),
  deviceCase({ id: 'A39', title: 'the last word of the window', clause: '4.2.2.1', expected: ['I'] }, (driver) =>
    ignored(driver, async () => {
      await driver.read(0x1fc);
      await driver.write(0x1fc, 0xffff_ffff);
    }),
  ),
  ignoredWrites({ id: 'A40', title: 'InterruptACK of what did not happen', clause: '4.2.2.1' }, [
    [MMIO.InterruptACK, INTERRUPT_CONFIG_CHANGE],
    [MMIO.InterruptACK, 0xffff_ffff],
  ]),
  ignoredWrites({ id: 'A46', title: 'SUSPEND, which was not negotiated', clause: '2.1, 3.4' }, [
    [MMIO.Status, STATUS_SUSPEND],
    [MMIO.Status, STATUS_SUSPEND | 0xf],
  ]),
  deviceCase(
    { id: 'A46', title: 'SUSPEND before DRIVER_OK', clause: '3.4.2', expected: ['I'], from: 'reset' },
    async (driver) => {
      const status = await statusAfter(driver, STATUS_ACKNOWLEDGE, STATUS_ACKNOWLEDGE | STATUS_SUSPEND);
      return status === STATUS_ACKNOWLEDGE ? { seen: 'I' } : failed(`status 0x${status.toString(16)}`);
    },
  ),
  deviceCase(
    { id: 'A47', title: 'two notifications of one queue at once', clause: '2.9', expected: ['C'] },
    async (driver) => {
      const [queue] = driver.requestQueues();
      const placed = driver.place();
      const head = queue.put(placed.pieces);
      const value = BigInt(driver.notification(queue));
      await Promise.all([
        driver.notify(queue),
        driver.target.elsewhere?.((target) => target.write(MMIO.QueueNotify, 4, value)) ?? driver.notify(queue),
      ]);
      const used = await driver.answered(queue);
      if (used === 'broken' || used.length !== 1) return failed('a request that was notified twice did not end once');
      return driver.stillWell(queue, driver.isGood(placed, head, used) ? 'C' : 'R');
    },
  ),
];
