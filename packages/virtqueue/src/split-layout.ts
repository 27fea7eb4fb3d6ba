import { err, ok, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  AVAIL_ALIGN,
  DESC_ALIGN,
  descriptorAreaSize,
  deviceAreaSize,
  driverAreaSize,
  QUEUE_SIZE_MAX,
  USED_ALIGN,
} from '@remio/virtio-spec';
import { layoutAreas, locateAreas, type QueueShape } from './areas.js';
import type { QueueConfig, QueueError } from './types.js';

const shape = (size: number): QueueShape => [
  { name: 'Descriptor Area', bytes: descriptorAreaSize(size), align: DESC_ALIGN },
  { name: 'Driver Area', bytes: driverAreaSize(size), align: AVAIL_ALIGN },
  { name: 'Device Area', bytes: deviceAreaSize(size), align: USED_ALIGN },
];

/** Where the three areas of a split queue lie when they follow each other from `base`, and how many bytes they take. */
export const layoutSplitQueue = (
  base: bigint,
  size: number,
): { readonly config: QueueConfig; readonly bytes: number } => layoutAreas(base, size, shape(size));

/** Checked offsets of a split queue's areas. */
export interface SplitAreas {
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
}

/** Checks what a driver programmed before a queue runs (2.7: size, alignment; areas inside the memory and apart). */
export function locateSplitAreas(memory: GuestMemory, config: QueueConfig): Result<SplitAreas, QueueError> {
  const { size } = config;
  if (!Number.isInteger(size) || size < 1 || size > QUEUE_SIZE_MAX || (size & (size - 1)) !== 0) {
    const detail = `${size} is not a power of two from 1 to ${QUEUE_SIZE_MAX}`;
    return err({ code: 'queue-size', clause: '2.7', detail });
  }
  const located = locateAreas(memory, config, shape(size), '2.7');
  if (!located.ok) return located;
  const [descriptors, avail, used] = located.value;
  return ok({ descriptors, avail, used });
}

/** Free-running 16-bit indices: the distance from `from` to `to`. */
export const distance = (to: number, from: number): number => (to - from) & 0xffff;

/**
 * Whether an event index lies in what was done between `before` and `now` (2.7.7.2, 2.7.10.2), as `vring_need_event`:
 * exact also when the indices wrap.
 */
export const needsEvent = (event: number, now: number, before: number): boolean =>
  distance(now - 1, event) < distance(now, before);
