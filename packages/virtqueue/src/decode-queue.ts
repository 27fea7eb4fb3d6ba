import { hex } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  DESC_FLAGS,
  DESC_LEN,
  DESC_NEXT,
  DESC_SIZE,
  USED_ELEMENT_SIZE,
  USED_FLAGS,
  USED_IDX,
  USED_RING,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import { type DecodedPackedQueue, decodePackedQueue } from './decode-packed-queue.js';
import { distance, locateSplitAreas } from './split-layout.js';
import type { QueueConfig } from './types.js';

/** A descriptor as it stands in memory. */
export interface DecodedDescriptor {
  readonly index: number;
  readonly address: string;
  readonly length: number;
  readonly flags: readonly string[];
  readonly next: number;
}

/** A virtqueue as it stands in memory, for people. */
export type DecodedQueue = DecodedSplitQueue | DecodedPackedQueue;

export interface DecodedSplitQueue {
  readonly layout: 'split';
  readonly size: number;
  readonly avail: { readonly flags: number; readonly idx: number; readonly usedEvent: number };
  readonly used: { readonly flags: number; readonly idx: number; readonly availEvent: number };
  /** Chains made available and not used yet, oldest first, as far as the indices can be believed. */
  readonly inFlight: readonly { readonly head: number; readonly chain: readonly DecodedDescriptor[] }[];
  /** The newest used elements, newest first. */
  readonly recentlyUsed: readonly { readonly id: number; readonly length: number }[];
}

/** Used elements shown. */
const RECENT = 8;

/**
 * Decodes a virtqueue in local memory. It reads what is there, however wrong: indices are masked, chains end after as
 * many steps as the ring has entries.
 * @param packed whether the queue has the packed layout
 * @returns undefined if the areas are not in the memory
 */
export const decodeQueue = (memory: GuestMemory, config: QueueConfig, packed: boolean): DecodedQueue | undefined =>
  packed ? decodePackedQueue(memory, config) : decodeSplitQueue(memory, config);

function decodeSplitQueue(memory: GuestMemory, config: QueueConfig): DecodedSplitQueue | undefined {
  const areas = locateSplitAreas(memory, config);
  if (!areas.ok) return undefined;
  const { descriptors, avail, used } = areas.value;
  const { size } = config;
  const descriptor = (index: number): DecodedDescriptor => {
    const at = descriptors + DESC_SIZE * index;
    const flags = memory.readU16(at + DESC_FLAGS);
    return {
      index,
      address: hex(memory.readU64(at)),
      length: memory.readU32(at + DESC_LEN),
      flags: [
        ...((flags & VIRTQ_DESC_F_NEXT) !== 0 ? ['NEXT'] : []),
        ...((flags & VIRTQ_DESC_F_WRITE) !== 0 ? ['WRITE'] : []),
        ...((flags & VIRTQ_DESC_F_INDIRECT) !== 0 ? ['INDIRECT'] : []),
      ],
      next: memory.readU16(at + DESC_NEXT),
    };
  };
  const availIdx = memory.loadU16(avail + AVAIL_IDX);
  const usedIdx = memory.loadU16(used + USED_IDX);
  const waiting = Math.min(distance(availIdx, usedIdx), size);
  const usedHeads = new Map<number, number>();
  const inFlight = new Map<number, number>();
  // A device may use chains out of order: what is in flight is what was made available more often than used.
  for (let n = Math.min(size, availIdx); n > 0; n -= 1) {
    const head = memory.loadU16(avail + AVAIL_RING + 2 * ((availIdx - n) & (size - 1)));
    inFlight.set(head, (inFlight.get(head) ?? 0) + 1);
  }
  for (let n = 1; n <= Math.min(size - waiting, usedIdx); n += 1) {
    const id = memory.readU32(used + USED_RING + USED_ELEMENT_SIZE * ((usedIdx - n) & (size - 1)));
    usedHeads.set(id, (usedHeads.get(id) ?? 0) + 1);
  }
  const heads = [...inFlight]
    .filter(([head, count]) => head < size && count > (usedHeads.get(head) ?? 0))
    .map(([head]) => head);
  return {
    layout: 'split',
    size,
    avail: {
      flags: memory.readU16(avail + AVAIL_FLAGS),
      idx: availIdx,
      usedEvent: memory.readU16(avail + AVAIL_RING + 2 * size),
    },
    used: {
      flags: memory.readU16(used + USED_FLAGS),
      idx: usedIdx,
      availEvent: memory.readU16(used + USED_RING + USED_ELEMENT_SIZE * size),
    },
    inFlight: heads.map((head) => {
      const chain: DecodedDescriptor[] = [];
      for (let index = head; chain.length < size; ) {
        const entry = descriptor(index);
        chain.push(entry);
        if (!entry.flags.includes('NEXT') || entry.next >= size) break;
        index = entry.next;
      }
      return { head, chain };
    }),
    recentlyUsed: Array.from({ length: Math.min(RECENT, size, usedIdx) }, (_, n) => {
      const at = used + USED_RING + USED_ELEMENT_SIZE * ((usedIdx - 1 - n) & (size - 1));
      return { id: memory.readU32(at), length: memory.readU32(at + 4) };
    }),
  };
}
