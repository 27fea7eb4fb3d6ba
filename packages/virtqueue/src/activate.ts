import { err, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  DESC_SIZE,
  hasFeature,
  QUEUE_SIZE_MAX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from '@remio/virtio-spec';
import { roundUp } from './areas.js';
import type { InFlightTable } from './in-flight-table.js';
import { indirectTablesSize } from './indirect-tables.js';
import { PackedDeviceQueue } from './packed-device-queue.js';
import { PackedDriverQueue } from './packed-driver-queue.js';
import { layoutPackedQueue } from './packed-layout.js';
import { SplitDeviceQueue } from './split-device-queue.js';
import { SplitDriverQueue } from './split-driver-queue.js';
import { layoutSplitQueue } from './split-layout.js';
import type { DeviceQueue, DriverQueue, QueueConfig, QueueError } from './types.js';

/**
 * Makes a queue run that the driver has programmed, in the layout that was negotiated: the device's side.
 * @param table keeps account of what is in flight, of a split queue; a packed one has none
 * @returns which clause the configuration violates
 */
export const activateDeviceQueue = (
  memory: GuestMemory,
  config: QueueConfig,
  features: bigint,
  table?: InFlightTable,
): Result<DeviceQueue, QueueError> =>
  hasFeature(features, VIRTIO_F_RING_PACKED)
    ? PackedDeviceQueue.activate(memory, config, features)
    : SplitDeviceQueue.activate(memory, config, features, table);

/**
 * Prepares a queue in memory, in the layout that was negotiated: the driver's side. The device does not know it yet.
 * @param tables guest-physical address of {@link QueueLayout.tables}; absent: requests use no indirect tables
 */
export function createDriverQueue<Token>(
  memory: GuestMemory,
  config: QueueConfig,
  features: bigint,
  tables?: bigint,
): Result<DriverQueue<Token>, QueueError> {
  let tablesAt: number | undefined;
  if (tables !== undefined && hasFeature(features, VIRTIO_F_INDIRECT_DESC)) {
    tablesAt = memory.locate(tables, indirectTablesSize(config.size));
    const wrong = tablesAt < 0 || tablesAt % DESC_SIZE !== 0;
    if (wrong) return err({ code: 'indirect-address', clause: '2.7.5.3', detail: 'the indirect tables have no place' });
  }
  return hasFeature(features, VIRTIO_F_RING_PACKED)
    ? PackedDriverQueue.create<Token>(memory, config, features, tablesAt)
    : SplitDriverQueue.create<Token>(memory, config, features, tablesAt);
}

/** Where the parts of a queue lie in memory. */
export interface QueueLayout {
  readonly config: QueueConfig;
  /** Memory for indirect tables, if they were negotiated: the driver's alone. */
  readonly tables?: bigint;
  /** Bytes of everything. */
  readonly bytes: number;
}

/** Where the areas of a queue lie when they follow each other from `base`, and how many bytes they take. */
export function layoutQueue(base: bigint, size: number, features: bigint): QueueLayout {
  const rings = hasFeature(features, VIRTIO_F_RING_PACKED)
    ? layoutPackedQueue(base, size)
    : layoutSplitQueue(base, size);
  if (!hasFeature(features, VIRTIO_F_INDIRECT_DESC)) return rings;
  const tables = roundUp(base + BigInt(rings.bytes), DESC_SIZE);
  return { config: rings.config, tables, bytes: Number(tables - base) + indirectTablesSize(size) };
}

/** The largest queue in the layout that was negotiated that has at most `max` descriptors (2.7, 2.8); 0 if there is none. */
export function queueSizeWithin(max: number, features: bigint): number {
  const limit = Math.min(Math.floor(max), QUEUE_SIZE_MAX);
  if (!(limit >= 1)) return 0;
  return hasFeature(features, VIRTIO_F_RING_PACKED) ? limit : 2 ** Math.floor(Math.log2(limit));
}
