import { assert } from '@remio/base';
import {
  featureSet,
  MMIO,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import type { CaseId, HostileCase, Layout, Outcome, Verdict } from '../catalogue.js';
import type { HostileDriver, PlacedRequest, RawQueueOf } from '../hostile-driver.js';
import { RawPacked } from '../raw-packed.js';
import type { Piece } from '../raw-queue.js';
import { RawSplit } from '../raw-split.js';

/** Something that a driver may try on a device (catalogue A). */
export interface DeviceCase extends HostileCase {
  readonly layouts: readonly Layout[];
  /** Ring features that are accepted for it; it is not tried on a device that does not offer them. */
  readonly ring: bigint;
  /** Starts before DRIVER_OK, or before anything; absent: with a live device. */
  readonly from?: 'reset' | 'set-up';
  /** See `BringUp`. */
  readonly size?: number;
  run(driver: HostileDriver): Promise<Outcome>;
}

export const INDIRECT = featureSet(VIRTIO_F_INDIRECT_DESC);

const BOTH: readonly Layout[] = ['split', 'packed'];

/** What is known of a case before what it does. */
export interface CaseHead {
  readonly id: CaseId;
  readonly title: string;
  readonly clause: string;
  readonly expected: readonly Verdict[];
  readonly layouts?: readonly Layout[];
  readonly ring?: bigint;
  readonly from?: 'reset' | 'set-up';
  readonly size?: number;
}

export const deviceCase = (head: CaseHead, run: (driver: HostileDriver) => Promise<Outcome>): DeviceCase => ({
  layouts: BOTH,
  ring: INDIRECT,
  ...head,
  run,
});

/** Puts a hostile request into the queue that requests go to; what it returns is what the device may return. */
export type Act<Q> = (queue: Q, placed: PlacedRequest, driver: HostileDriver) => number | undefined;

/** A request that is hostile by itself: put into the ring, notified, and its end is the verdict. */
export const requestCase = (head: CaseHead, act: Act<RawQueueOf>): DeviceCase =>
  deviceCase(head, async (driver) => {
    const [queue] = driver.requestQueues();
    const placed = driver.place();
    return driver.verdict(queue, placed, act(queue, placed, driver));
  });

export const splitOf = (queue: RawQueueOf): RawSplit => {
  assert(queue instanceof RawSplit, 'the case is one of split queues');
  return queue;
};

export const packedOf = (queue: RawQueueOf): RawPacked => {
  assert(queue instanceof RawPacked, 'the case is one of packed queues');
  return queue;
};

export const splitCase = (head: CaseHead, act: Act<RawSplit>): DeviceCase =>
  requestCase({ ...head, layouts: ['split'] }, (queue, placed, driver) => act(splitOf(queue), placed, driver));

export const packedCase = (head: CaseHead, act: Act<RawPacked>): DeviceCase =>
  requestCase({ ...head, layouts: ['packed'] }, (queue, placed, driver) => act(packedOf(queue), placed, driver));

export const failed = (detail: string): Outcome => ({ seen: 'F', detail });

/** Makes buffers of a request: of bytes that the device reads, or of room that it writes. */
export interface PieceMaker {
  bytes(bytes: Uint8Array): Piece;
  room(length: number): Piece;
}

const pieceMaker = (driver: HostileDriver): PieceMaker => ({
  bytes: (bytes) => {
    const address = driver.allocate(Math.max(1, bytes.length));
    driver.memory.bytes(address, bytes.length).set(bytes);
    return { address, length: bytes.length, flags: 0 };
  },
  room: (length) => ({ address: driver.allocate(length), length, flags: VIRTQ_DESC_F_WRITE }),
});

/** A request of these buffers, which the device gives back as one that it did not carry out. */
export const refusedRequest = (
  head: Pick<CaseHead, 'id' | 'title' | 'clause'> & Partial<CaseHead>,
  pieces: (make: PieceMaker) => readonly Piece[],
): DeviceCase =>
  deviceCase({ expected: ['R'], ...head }, async (driver) => {
    const [queue] = driver.requestQueues();
    const own = pieces(pieceMaker(driver));
    const isRoom = ({ flags }: Piece): boolean => (flags & VIRTQ_DESC_F_WRITE) !== 0;
    const placed: PlacedRequest = {
      request: driver.family.request(),
      readable: own.filter((piece) => !isRoom(piece)),
      writable: own.filter(isRoom),
      pieces: own,
    };
    return driver.verdict(queue, placed, queue.put(own));
  });

/**
 * A request of these buffers on a queue that others do not go to; the device goes on, and gives it back if that is given.
 * @param index number of the queue; the case does not come about where there is none
 * @param comesBack whether the device gives it back, and then what must be in its last buffer
 */
export const requestOn = (
  index: number,
  head: Pick<CaseHead, 'id' | 'title' | 'clause'> & Partial<CaseHead>,
  pieces: (make: PieceMaker) => readonly Piece[],
  comesBack: 'never' | 'as it likes' | ((last: Uint8Array) => boolean),
): DeviceCase =>
  deviceCase({ expected: ['R', 'I'], ...head }, async (driver) => {
    const queue = driver.queues[index];
    if (queue === undefined) return { seen: '-', detail: `the device has no queue ${index}` };
    const before = driver.target.interrupts();
    const placed = pieces(pieceMaker(driver));
    const chain = queue.put(placed);
    await driver.notify(queue);
    if (typeof comesBack === 'function') {
      const used = await driver.answered(queue);
      if (used === 'broken') return driver.latched(before);
      const last = placed.at(-1);
      if (!used.some(({ id }) => id === chain) || last === undefined) return failed('the request does not come back');
      if (!comesBack(driver.memory.bytes(last.address, last.length)))
        return failed('the answer is not that of a refusal');
    } else {
      await driver.target.pause();
      if (comesBack === 'never' && queue.used().length > 0) return failed('the buffers were used');
    }
    return driver.stillWell(driver.requestQueues()[0], comesBack === 'never' ? 'I' : 'R', before);
  });

/** A33: a feature that was offered, without one that it needs: FEATURES_OK is not kept (2.2.1, 3.1.1). */
export const featureWithout = (title: string, clause: string, accepted: bigint, offered: bigint): DeviceCase =>
  deviceCase(
    { id: 'A33', title, clause, expected: ['R'], from: 'reset', ring: offered, layouts: ['split'] },
    async (driver) => {
      await driver.write(MMIO.Status, STATUS_ACKNOWLEDGE);
      await driver.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
      await driver.setFeatures(accepted | featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM));
      await driver.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
      return { seen: ((await driver.status()) & STATUS_FEATURES_OK) === 0 ? 'R' : 'C' };
    },
  );
