import { err, ok, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  EVENT_FLAGS_MASK,
  EVENT_FLAGS_SHIFT,
  EVENT_OFFSET_MASK,
  EVENT_SUPPRESS_ALIGN,
  EVENT_SUPPRESS_SIZE,
  EVENT_WRAP_SHIFT,
  PDESC_ALIGN,
  PDESC_SIZE,
  QUEUE_SIZE_MAX,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
} from '@remio/virtio-spec';
import { layoutAreas, locateAreas, type QueueShape } from './areas.js';
import type { QueueConfig, QueueError } from './types.js';

const shape = (size: number): QueueShape => [
  { name: 'Descriptor Ring', bytes: PDESC_SIZE * size, align: PDESC_ALIGN },
  { name: 'Driver Event Suppression', bytes: EVENT_SUPPRESS_SIZE, align: EVENT_SUPPRESS_ALIGN },
  { name: 'Device Event Suppression', bytes: EVENT_SUPPRESS_SIZE, align: EVENT_SUPPRESS_ALIGN },
];

/** Where the three areas of a packed queue lie when they follow each other from `base`, and how many bytes they take. */
export const layoutPackedQueue = (
  base: bigint,
  size: number,
): { readonly config: QueueConfig; readonly bytes: number } => layoutAreas(base, size, shape(size));

/** Checked offsets of a packed queue's areas. */
export interface PackedAreas {
  readonly descriptors: number;
  readonly driverEvent: number;
  readonly deviceEvent: number;
}

/** Checks what a driver programmed before a queue runs (2.8: size; 2.8.10.1: alignment; areas inside the memory, apart). */
export function locatePackedAreas(memory: GuestMemory, config: QueueConfig): Result<PackedAreas, QueueError> {
  const { size } = config;
  if (!Number.isInteger(size) || size < 1 || size > QUEUE_SIZE_MAX) {
    return err({ code: 'queue-size', clause: '2.8', detail: `${size} is not from 1 to ${QUEUE_SIZE_MAX}` });
  }
  const located = locateAreas(memory, config, shape(size), '2.8.10.1');
  if (!located.ok) return located;
  const [descriptors, driverEvent, deviceEvent] = located.value;
  return ok({ descriptors, driverEvent, deviceEvent });
}

/**
 * Places in a packed ring, each a number from 0 to twice the ring's size: offset and wrap counter (2.8.1) in one, the
 * first half being the round with wrap counter 1. At most a ring's size lies between two places of interest, so distances
 * are never ambiguous.
 */
export class RingPositions {
  readonly size: number;

  constructor(size: number) {
    this.size = size;
  }

  /** Index of the descriptor at a position. */
  offset(position: number): number {
    return position < this.size ? position : position - this.size;
  }

  wrap(position: number): 0 | 1 {
    return position < this.size ? 1 : 0;
  }

  at(offset: number, wrap: number): number {
    return wrap === 1 ? offset : offset + this.size;
  }

  /** `count` descriptors further on, at most two rounds. */
  plus(position: number, count: number): number {
    const sum = position + count;
    return sum < 2 * this.size ? sum : sum - 2 * this.size;
  }

  /** Descriptors from `from` on to `to`. */
  distance(to: number, from: number): number {
    return to >= from ? to - from : to - from + 2 * this.size;
  }

  /** Whose a descriptor with these flags is, as seen at this position. */
  owner(position: number, flags: number): 'available' | 'used' | 'earlier' {
    const owner = flags & OWNER_FLAGS;
    if (owner === this.availableFlags(position)) return 'available';
    return owner === this.usedFlags(position) ? 'used' : 'earlier';
  }

  /** Flags of a descriptor that is made available here: AVAIL as the wrap counter, USED its inverse. */
  availableFlags(position: number): number {
    return this.wrap(position) === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
  }

  /** Flags of a descriptor that is used here: both as the wrap counter. */
  usedFlags(position: number): number {
    return this.wrap(position) === 1 ? OWNER_FLAGS : 0;
  }

  /** Offset and wrap counter in 16 bits, as event suppression (2.8.14) and notifications (2.9) carry them. */
  word(position: number): number {
    return this.offset(position) | (this.wrap(position) << EVENT_WRAP_SHIFT);
  }

  /** Whether `event` is among the `count` descriptors from `before` on (2.8.10). */
  crossed(event: number, before: number, count: number): boolean {
    return this.distance(event, before) < count;
  }
}

/** The bits of a descriptor's flags that say whose it is. */
const OWNER_FLAGS = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED;

/** What an event suppression structure asks for. */
export type EventWish =
  | { readonly kind: 'always' }
  | { readonly kind: 'never' }
  /** When the descriptor at this position is made available or used. */
  | { readonly kind: 'at'; readonly position: number }
  /** A descriptor that the ring does not have. */
  | { readonly kind: 'beyond'; readonly offset: number };

/** Reads an event suppression word. Flags that mean nothing here ask for every event: a spurious one harms nobody. */
export function eventWish(word: number, ring: RingPositions, eventIdx: boolean): EventWish {
  const flags = (word >>> EVENT_FLAGS_SHIFT) & EVENT_FLAGS_MASK;
  if (flags === RING_EVENT_FLAGS_DISABLE) return { kind: 'never' };
  if (flags !== RING_EVENT_FLAGS_DESC || !eventIdx) return { kind: 'always' };
  const offset = word & EVENT_OFFSET_MASK;
  if (offset >= ring.size) return { kind: 'beyond', offset };
  return { kind: 'at', position: ring.at(offset, (word >>> EVENT_WRAP_SHIFT) & 1) };
}
