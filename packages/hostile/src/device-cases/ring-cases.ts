import {
  AVAIL_FLAGS,
  DESC_SIZE,
  EVENT_FLAGS_SHIFT,
  featureSet,
  RING_EVENT_FLAGS_DESC,
  USED_IDX,
  VIRTIO_F_EVENT_IDX,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from '@remio/virtio-spec';
import type { Outcome } from '../catalogue.js';
import type { HostileDriver, RawQueueOf } from '../hostile-driver.js';
import { RawSplit } from '../raw-split.js';
import {
  type DeviceCase,
  deviceCase,
  failed,
  INDIRECT,
  packedCase,
  packedOf,
  requestCase,
  splitCase,
  splitOf,
} from './device-case.js';

const EVENT_IDX = featureSet(VIRTIO_F_EVENT_IDX);

/** Changes something after the device has taken a request, and sees how it ends. */
async function meanwhile(driver: HostileDriver, change: (queue: RawQueueOf) => void): Promise<Outcome> {
  const [queue] = driver.requestQueues();
  const placed = driver.place();
  const before = driver.target.interrupts();
  const head = queue.put(placed.pieces);
  await driver.notify(queue);
  await driver.target.pause();
  change(queue);
  const used = await driver.answered(queue);
  if (used === 'broken') return driver.latched(before);
  return driver.stillWell(queue, driver.isGood(placed, head, used) ? 'C' : 'R');
}

/** Fills the ring with requests again and again, until its indices have wrapped. */
async function fillUp(driver: HostileDriver): Promise<Outcome> {
  const [queue] = driver.requestQueues();
  const { size } = queue.config;
  const rounds = queue instanceof RawSplit ? 0x1_0000 / size + 2 : 4;
  const table = queue.table(driver.allocate(256), driver.place().pieces);
  for (let round = 0; round < rounds; round += 1) {
    const heads = new Set(Array.from({ length: size }, () => queue.put([table])));
    await driver.notify(queue);
    const ended = await driver.target.until(async () => {
      for (const { id } of queue.used()) heads.delete(id);
      return heads.size === 0 || (await driver.isBroken());
    });
    if (!ended || heads.size > 0) return failed(`${heads.size} requests of round ${round} did not end`);
  }
  return driver.stillWell(queue, 'C');
}

/** A4 to A7, A20 to A25, A45: the rings themselves (2.7.6 to 2.7.8, 2.8). */
export const RING_CASES: readonly DeviceCase[] = [
  splitCase({ id: 'A4', title: 'a head beyond the ring', clause: '2.7.6', expected: ['L'] }, (queue) => {
    queue.offer(queue.config.size);
    return undefined;
  }),
  splitCase({ id: 'A4', title: 'head 65535', clause: '2.7.6', expected: ['L'] }, (queue) => {
    queue.offer(0xffff);
    return undefined;
  }),
  splitCase(
    { id: 'A5', title: 'an index more than the ring\u2019s size ahead', clause: '2.7.6', expected: ['L'] },
    (queue) => {
      queue.setAvail(queue.config.size + 1);
      return undefined;
    },
  ),
  splitCase({ id: 'A6', title: 'an index that goes back', clause: '2.7.6.1', expected: ['L'] }, (queue) => {
    queue.setAvail(-1);
    return undefined;
  }),
  splitCase(
    { id: 'A7', title: 'a head made available twice at once', clause: '2.7.13', expected: ['L', 'C'] },
    (queue, { pieces }) => {
      const head = queue.put(pieces);
      queue.offer(head);
      return head;
    },
  ),
  packedCase(
    { id: 'A7', title: 'a buffer id made available twice at once', clause: '2.8.21.1', expected: ['L', 'C'] },
    (queue, { pieces }) => {
      queue.put(pieces, 1);
      return queue.put(pieces, 1);
    },
  ),
  deviceCase(
    {
      id: 'A20',
      title: 'descriptors that change after the device took them',
      clause: '2.7.13, 2.8.16',
      expected: ['C'],
    },
    (driver) =>
      meanwhile(driver, (queue) => {
        // In a packed ring the device writes into them as well: only their addresses are the driver's alone.
        const bytes = queue instanceof RawSplit ? DESC_SIZE : 8;
        for (let n = 0; n < queue.config.size; n += 1) {
          driver.memory.bytes(queue.config.descriptorArea + BigInt(DESC_SIZE * n), bytes).fill(0xa5);
        }
      }),
  ),
  deviceCase(
    {
      id: 'A21',
      title: 'an available entry that changes after it was read',
      clause: '2.7.6',
      expected: ['C'],
      layouts: ['split'],
    },
    (driver) => meanwhile(driver, (queue) => driver.memory.write16(splitOf(queue).entryAddress(0), 0xffff)),
  ),
  deviceCase(
    {
      id: 'A22',
      title: 'the driver scribbles over the used ring',
      clause: '2.7.8',
      expected: ['C'],
      layouts: ['split'],
    },
    async (driver) => {
      const [queue] = driver.requestQueues();
      const placed = driver.place();
      const head = queue.put(placed.pieces);
      driver.memory.bytes(queue.config.deviceArea, 4 + 8 * queue.config.size).fill(0x77);
      await driver.notify(queue);
      // The device goes on from where it was, not from where the ring says.
      const indexAt = queue.config.deviceArea + BigInt(USED_IDX);
      if (!(await driver.target.until(() => Promise.resolve(driver.memory.read16(indexAt) === 1)))) {
        return { seen: 'W', detail: 'the used index is not the device\u2019s own' };
      }
      return driver.stillWell(queue, driver.isGood(placed, head, queue.used()) ? 'C' : 'R');
    },
  ),
  requestCase(
    {
      id: 'A22',
      title: 'the driver scribbles over the Device Area',
      clause: '2.8.10',
      expected: ['C'],
      layouts: ['packed'],
    },
    (queue, { pieces }, { memory }) => {
      memory.write32(queue.config.deviceArea, 0xffff_ffff);
      return queue.put(pieces);
    },
  ),
  requestCase(
    {
      id: 'A23',
      title: 'an event index far away',
      clause: '2.7.7.2, 2.8.10',
      expected: ['C'],
      ring: INDIRECT | EVENT_IDX,
    },
    (queue, { pieces }) => {
      if (queue instanceof RawSplit) queue.setUsedEvent(0x8000);
      else queue.setEvent((RING_EVENT_FLAGS_DESC << EVENT_FLAGS_SHIFT) | (queue.config.size - 1));
      return queue.put(pieces);
    },
  ),
  deviceCase(
    {
      id: 'A23',
      title: 'an event index that changes during a batch',
      clause: '2.7.7.2',
      expected: ['C'],
      ring: INDIRECT | EVENT_IDX,
    },
    (driver) =>
      meanwhile(driver, (queue) => {
        if (queue instanceof RawSplit) queue.setUsedEvent(0xffff);
        else queue.setEvent(RING_EVENT_FLAGS_DESC << EVENT_FLAGS_SHIFT);
      }),
  ),
  requestCase(
    { id: 'A24', title: 'reserved bits of flags', clause: '2.7.7.1, 2.8.14', expected: ['C'] },
    (queue, { pieces }, { memory }) => {
      const split = queue instanceof RawSplit;
      const reserved = split ? 0xfff8 : 0xfff8 & ~(VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
      if (split) memory.write16(queue.config.driverArea + BigInt(AVAIL_FLAGS), 0xfffe);
      else memory.write32(queue.config.driverArea, 0xfffc << EVENT_FLAGS_SHIFT);
      return queue.put(pieces.map((piece) => ({ ...piece, flags: piece.flags | reserved })));
    },
  ),
  deviceCase(
    // The larger the ring, the fewer notifications until 2^16 requests were made.
    { id: 'A25', title: 'indices that wrap, with a full ring', clause: '2.7.6, 2.8.1', expected: ['C'], size: 128 },
    fillUp,
  ),
  packedCase(
    { id: 'A45', title: 'an available descriptor marked as used', clause: '2.8.1', expected: ['L'] },
    (queue, { pieces: [piece] }) => {
      queue.describe(
        queue.next,
        piece ?? { address: 0n, length: 0, flags: 0 },
        1,
        VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED,
      );
      return undefined;
    },
  ),
  packedCase(
    { id: 'A45', title: 'a list whose second descriptor is not available', clause: '2.8.6', expected: ['L'] },
    (queue, { pieces: [piece] }) => {
      const own = piece ?? { address: 0n, length: 0, flags: 0 };
      const id = queue.put([own, own]);
      // Of the round before this one.
      queue.setFlags(1, 0);
      return id;
    },
  ),
  deviceCase(
    {
      id: 'A45',
      title: 'an event offset beyond the ring',
      clause: '2.8.14',
      expected: ['L'],
      layouts: ['packed'],
      ring: INDIRECT | EVENT_IDX,
    },
    async (driver) => {
      const queue = packedOf(driver.requestQueues()[0]);
      const before = driver.target.interrupts();
      queue.setEvent((RING_EVENT_FLAGS_DESC << EVENT_FLAGS_SHIFT) | queue.config.size);
      queue.put(driver.place().pieces);
      await driver.notify(queue);
      if (!(await driver.target.until(() => driver.isBroken()))) return driver.stillWell(queue, 'C');
      return driver.latched(before);
    },
  ),
];
