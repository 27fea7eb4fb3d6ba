import { featureSet, MMIO, VIRTIO_F_RING_RESET } from '@remio/virtio-spec';
import type { QueueConfig } from '@remio/virtqueue';
import type { Outcome } from '../catalogue.js';
import type { HostileDriver } from '../hostile-driver.js';
import { RawPacked } from '../raw-packed.js';
import { RawSplit } from '../raw-split.js';
import { type CaseHead, type DeviceCase, deviceCase, failed, INDIRECT } from './device-case.js';

const RING_RESET = featureSet(VIRTIO_F_RING_RESET);

/** Programs the queue for requests wrongly, and sets DRIVER_OK. */
const wrongQueue = (
  head: Pick<CaseHead, 'title' | 'clause' | 'layouts'> & Pick<CaseHead, 'id'>,
  change: (config: QueueConfig, driver: HostileDriver) => Partial<QueueConfig>,
): DeviceCase =>
  deviceCase({ ...head, expected: ['L'], from: 'set-up' }, async (driver) => {
    const [queue] = driver.requestQueues();
    await driver.write(MMIO.QueueSel, queue.index);
    await driver.write(MMIO.QueueReady, 0);
    await driver.programQueue(queue.index, { ...queue.config, ...change(queue.config, driver) });
    await driver.write(MMIO.QueueReady, 1);
    const before = driver.target.interrupts();
    await driver.goLive();
    if (!(await driver.target.until(() => driver.isBroken()))) return { seen: 'C', detail: 'the queue runs' };
    return driver.latched(before);
  });

/** A picture of the memory that the device may write. */
const picture = ({ memory }: HostileDriver): string => {
  let sum = 0;
  const bytes = memory.bytes(memory.base, Math.min(memory.size, 0x1_0000));
  for (let n = 0; n < bytes.length; n += 1) sum = (Math.imul(sum, 31) + (bytes[n] ?? 0)) | 0;
  return sum.toString(16);
};

async function quietAfterReset(driver: HostileDriver): Promise<Outcome> {
  const before = picture(driver);
  const interrupts = driver.target.interrupts();
  for (let n = 0; n < 8; n += 1) await driver.target.pause();
  if (picture(driver) !== before) return failed('memory was written after a reset had ended');
  return driver.target.interrupts() === interrupts ? { seen: 'C' } : failed('an interrupt after a reset had ended');
}

/** Puts as many requests into the queue as it has room for. */
async function fill(driver: HostileDriver): Promise<void> {
  const [queue] = driver.requestQueues();
  for (let n = 0; n < queue.config.size; n += 1) {
    queue.put([queue.table(driver.allocate(256), driver.place().pieces)]);
  }
  await driver.notify(queue);
}

/** A28 to A30, A35, A36, A41: how queues begin and end (2.4, 2.6, 2.7, 2.8). */
export const LIFE_CASES: readonly DeviceCase[] = [
  wrongQueue({ id: 'A28', title: 'a queue of size 0', clause: '2.7, 2.8' }, () => ({ size: 0 })),
  wrongQueue({ id: 'A28', title: 'a split queue of size 3', clause: '2.7', layouts: ['split'] }, () => ({ size: 3 })),
  wrongQueue({ id: 'A28', title: 'a queue of size 65535', clause: '4.2.2.2' }, () => ({ size: 0xffff })),
  wrongQueue({ id: 'A28', title: 'a queue of size 2^31', clause: '4.2.2.2' }, () => ({ size: 0x8000_0000 })),
  wrongQueue(
    { id: 'A29', title: 'a Descriptor Area that is not aligned', clause: '2.7, 2.8.10.1' },
    ({ descriptorArea }) => ({
      descriptorArea: descriptorArea + 8n,
    }),
  ),
  wrongQueue({ id: 'A29', title: 'a Driver Area that is not aligned', clause: '2.7, 2.8.10.1' }, ({ driverArea }) => ({
    driverArea: driverArea + 1n,
  })),
  wrongQueue({ id: 'A29', title: 'a Device Area that is not aligned', clause: '2.7, 2.8.10.1' }, ({ deviceArea }) => ({
    deviceArea: deviceArea + 2n,
  })),
  wrongQueue({ id: 'A29', title: 'areas that overlap', clause: '2.7, 2.8.10.1' }, ({ descriptorArea }) => ({
    driverArea: descriptorArea + 16n,
  })),
  wrongQueue({ id: 'A29', title: 'an area outside the memory', clause: '2.7, 2.8.10.1' }, (_, { memory }) => ({
    deviceArea: memory.base + BigInt(memory.size),
  })),
  wrongQueue(
    { id: 'A29', title: 'an area across the end of the memory', clause: '2.7, 2.8.10.1' },
    (_, { memory }) => ({
      descriptorArea: memory.base + BigInt(memory.size) - 16n,
    }),
  ),
  wrongQueue({ id: 'A30', title: 'QueueReady without addresses', clause: '4.2.3.2' }, () => ({
    descriptorArea: 0n,
    driverArea: 0n,
    deviceArea: 0n,
  })),
  deviceCase(
    { id: 'A30', title: 'QueueReady twice', clause: '4.2.2', expected: ['I'], from: 'set-up' },
    async (driver) => {
      const [queue] = driver.requestQueues();
      await driver.write(MMIO.QueueSel, queue.index);
      await driver.write(MMIO.QueueReady, 1);
      await driver.goLive();
      return driver.stillWell(queue, 'I');
    },
  ),
  deviceCase(
    {
      id: 'A30',
      title: 'QueueReady with a value that is no boolean',
      clause: '4.2.2',
      expected: ['I'],
      from: 'set-up',
    },
    async (driver) => {
      const [queue] = driver.requestQueues();
      await driver.write(MMIO.QueueSel, queue.index);
      await driver.write(MMIO.QueueReady, 0);
      await driver.write(MMIO.QueueReady, 2);
      const ready = await driver.read(MMIO.QueueReady);
      await driver.write(MMIO.QueueReady, 1);
      await driver.goLive();
      return ready === 0 ? driver.stillWell(queue, 'I') : failed(`QueueReady reads ${ready}`);
    },
  ),
  deviceCase(
    { id: 'A35', title: 'a reset with requests in flight', clause: '2.4.1', expected: ['C'] },
    async (driver) => {
      await fill(driver);
      if (!(await driver.reset())) return { seen: 'W', detail: 'the reset never ends' };
      return quietAfterReset(driver);
    },
  ),
  deviceCase({ id: 'A35', title: 'a storm of resets', clause: '2.4.1', expected: ['C'] }, async (driver) => {
    await fill(driver);
    for (let n = 0; n < 200; n += 1) await driver.write(MMIO.Status, 0);
    if (!(await driver.reset())) return { seen: 'W', detail: 'the reset never ends' };
    return quietAfterReset(driver);
  }),
  deviceCase(
    { id: 'A35', title: 'a reset between two reads of the configuration', clause: '2.5.1', expected: ['C'] },
    async (driver) => {
      const low = await driver.config(0);
      if (!(await driver.reset())) return { seen: 'W', detail: 'the reset never ends' };
      const again = await driver.config(0);
      return again === low ? { seen: 'C' } : failed(`the configuration reads ${again} instead of ${low}`);
    },
  ),
  deviceCase(
    { id: 'A36', title: 'the reset of a queue without RING_RESET', clause: '2.6.1', expected: ['I'] },
    async (driver) => {
      const [queue] = driver.requestQueues();
      await driver.write(MMIO.QueueSel, queue.index);
      await driver.write(MMIO.QueueReset, 1);
      const ready = await driver.read(MMIO.QueueReady);
      return ready === 1 ? driver.stillWell(queue, 'I') : failed('the queue is not ready any more');
    },
  ),
  deviceCase(
    {
      id: 'A36',
      title: 'the reset of a queue, twice, with requests in flight',
      clause: '2.6.1',
      expected: ['C'],
      ring: INDIRECT | RING_RESET,
    },
    async (driver) => {
      const [queue, ...others] = driver.requestQueues();
      await fill(driver);
      await driver.write(MMIO.QueueSel, queue.index);
      for (let n = 0; n < 2; n += 1) await driver.write(MMIO.QueueReset, 1);
      const ended = await driver.target.until(async () => (await driver.read(MMIO.QueueReset)) === 0);
      if (!ended) return { seen: 'W', detail: 'the reset of the queue never ends' };
      if ((await driver.read(MMIO.QueueReady)) !== 0) return failed('QueueReady is not 0 after the reset');
      const quiet = await quietAfterReset(driver);
      if (quiet.seen !== 'C') return quiet;
      for (const other of others) {
        const ill = await driver.health(other);
        if (ill !== undefined) return failed(`another queue: ${ill}`);
      }
      driver.memory.bytes(queue.config.descriptorArea, 16 * queue.config.size).fill(0);
      driver.memory.bytes(queue.config.driverArea, 4).fill(0);
      driver.memory.bytes(queue.config.deviceArea, 4).fill(0);
      await driver.programQueue(queue.index, queue.config);
      await driver.write(MMIO.QueueReady, 1);
      const Fresh = queue instanceof RawSplit ? RawSplit : RawPacked;
      return driver.stillWell(new Fresh(driver.memory, queue.index, queue.config, queue.eventIdx), 'C');
    },
  ),
  deviceCase(
    { id: 'A41', title: 'a driver that never looks at what was used', clause: '2.7.8', expected: ['C'] },
    async (driver) => {
      const [queue] = driver.requestQueues();
      queue.setInterrupts(false);
      const { pieces } = driver.place();
      const table = queue.table(driver.allocate(256), pieces);
      for (let round = 0; round < 8; round += 1) {
        for (let n = 0; n < queue.config.size; n += 1) queue.put([table]);
        await driver.notify(queue);
        let used = 0;
        const ended = await driver.target.until(async () => {
          used += queue.used().length;
          return used >= queue.config.size || (await driver.isBroken());
        });
        if (!ended) return { seen: 'W', detail: `requests of round ${round} do not end` };
      }
      return driver.stillWell(queue, 'C');
    },
  ),
];
