import { assert } from '@remio/base';
import { featureSet, VIRTIO_F_INDIRECT_DESC } from '@remio/virtio-spec';
import type { CaseId, HostileCase, Layout, Outcome, Verdict } from '../catalogue.js';
import type { HostileDriver, PlacedRequest, RawQueueOf } from '../hostile-driver.js';
import { RawPacked } from '../raw-packed.js';
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
