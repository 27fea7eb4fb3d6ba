import { hex } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  EVENT_FLAGS_MASK,
  EVENT_FLAGS_SHIFT,
  EVENT_OFFSET_MASK,
  EVENT_WRAP_SHIFT,
  PDESC_ADDR,
  PDESC_FLAGS,
  PDESC_ID,
  PDESC_LEN,
  PDESC_SIZE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import { locatePackedAreas, RingPositions } from './packed-layout.js';
import type { QueueConfig } from './types.js';

/** A descriptor of a packed ring as it stands in memory. */
export interface DecodedPackedDescriptor {
  readonly index: number;
  readonly address: string;
  readonly length: number;
  readonly id: number;
  readonly flags: readonly string[];
}

/** An event suppression structure (2.8.14). */
export interface DecodedEvent {
  readonly flags: 'ENABLE' | 'DISABLE' | 'DESC' | 'reserved';
  readonly offset: number;
  readonly wrap: number;
}

/** A packed virtqueue as it stands in memory, for people. */
export interface DecodedPackedQueue {
  readonly layout: 'packed';
  readonly size: number;
  /** What the driver wants to hear of, and what the device does. */
  readonly driverEvent: DecodedEvent;
  readonly deviceEvent: DecodedEvent;
  /** Where the driver makes its next chain available. */
  readonly next: { readonly offset: number; readonly wrap: number };
  /**
   * Chains made available and not used, oldest first. Memory does not say how long a used chain was: descriptors that the
   * newest one skipped look like a chain that is in flight.
   */
  readonly inFlight: readonly { readonly id: number; readonly chain: readonly DecodedPackedDescriptor[] }[];
  /** The newest used descriptors, newest first. */
  readonly recentlyUsed: readonly { readonly id: number; readonly length: number }[];
}

/** Used descriptors shown. */
const RECENT = 8;

const EVENT_FLAGS = ['ENABLE', 'DISABLE', 'DESC', 'reserved'] as const;

/**
 * Decodes a packed virtqueue in local memory, whatever is there.
 * @returns undefined if the areas are not in the memory
 */
export function decodePackedQueue(memory: GuestMemory, config: QueueConfig): DecodedPackedQueue | undefined {
  const areas = locatePackedAreas(memory, config);
  if (!areas.ok) return undefined;
  const { size } = config;
  const ring = new RingPositions(size);
  const at = (index: number): number => areas.value.descriptors + PDESC_SIZE * index;
  const flagsAt = (index: number): number => memory.loadU16(at(index) + PDESC_FLAGS);
  const next = nextPosition(ring, flagsAt);

  const available: number[] = [];
  const used: number[] = [];
  // Backwards from where the driver is: what is in flight, then what was used.
  for (let back = 1; back <= size; back += 1) {
    const position = ring.plus(next, 2 * size - back);
    const index = ring.offset(position);
    const owner = ring.owner(position, flagsAt(index));
    // 2.8.13: a ring begins with zeros, which look like descriptors that were used.
    const untouched = flagsAt(index) === 0 && memory.readU64(at(index) + PDESC_ADDR) === 0n;
    if (untouched) break;
    if (owner === 'available' && used.length === 0) available.unshift(index);
    else if (owner === 'used' && used.length < RECENT) used.push(index);
  }
  const descriptor = (index: number): DecodedPackedDescriptor => ({
    index,
    address: hex(memory.readU64(at(index) + PDESC_ADDR)),
    length: memory.readU32(at(index) + PDESC_LEN),
    id: memory.readU16(at(index) + PDESC_ID),
    flags: flagNames(flagsAt(index)),
  });
  return {
    layout: 'packed',
    size,
    driverEvent: eventAt(memory, areas.value.driverEvent),
    deviceEvent: eventAt(memory, areas.value.deviceEvent),
    next: { offset: ring.offset(next), wrap: ring.wrap(next) },
    inFlight: chainsOf(available.map(descriptor)),
    recentlyUsed: used.map((index) => ({ id: descriptor(index).id, length: descriptor(index).length })),
  };
}

/** Where the driver goes on: AVAIL of a descriptor is the wrap counter with which it was there last. */
function nextPosition(ring: RingPositions, flagsAt: (index: number) => number): number {
  const isSet = (index: number): boolean => (flagsAt(index) & VIRTQ_DESC_F_AVAIL) !== 0;
  const first = isSet(0);
  for (let index = 1; index < ring.size; index += 1) {
    if (isSet(index) !== first) return ring.at(index, first ? 1 : 0);
  }
  // Everywhere the same: a round has ended, or none has begun.
  return ring.at(0, first ? 0 : 1);
}

/** Cuts descriptors into chains: each ends where NEXT is not set, and has its buffer id there (2.8.6). */
function chainsOf(descriptors: readonly DecodedPackedDescriptor[]): DecodedPackedQueue['inFlight'] {
  const chains: { id: number; chain: DecodedPackedDescriptor[] }[] = [];
  let open: DecodedPackedDescriptor[] = [];
  for (const entry of descriptors) {
    open.push(entry);
    if (entry.flags.includes('NEXT')) continue;
    chains.push({ id: entry.id, chain: open });
    open = [];
  }
  const last = open.at(-1);
  if (last !== undefined) chains.push({ id: last.id, chain: open });
  return chains;
}

function eventAt(memory: GuestMemory, offset: number): DecodedEvent {
  const word = memory.loadU32(offset);
  return {
    flags: EVENT_FLAGS[(word >>> EVENT_FLAGS_SHIFT) & EVENT_FLAGS_MASK] ?? 'reserved',
    offset: word & EVENT_OFFSET_MASK,
    wrap: (word >>> EVENT_WRAP_SHIFT) & 1,
  };
}

const flagNames = (flags: number): readonly string[] => [
  ...((flags & VIRTQ_DESC_F_NEXT) !== 0 ? ['NEXT'] : []),
  ...((flags & VIRTQ_DESC_F_WRITE) !== 0 ? ['WRITE'] : []),
  ...((flags & VIRTQ_DESC_F_INDIRECT) !== 0 ? ['INDIRECT'] : []),
  ...((flags & VIRTQ_DESC_F_AVAIL) !== 0 ? ['AVAIL'] : []),
  ...((flags & VIRTQ_DESC_F_USED) !== 0 ? ['USED'] : []),
];
