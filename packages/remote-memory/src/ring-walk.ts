import { guestAddress } from '@remio/base';
import type { GuestMemory, RingAhead } from '@remio/guest-memory';
import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  DESC_ADDR,
  DESC_FLAGS,
  DESC_LEN,
  DESC_NEXT,
  DESC_SIZE,
  driverAreaSize,
  EVENT_SUPPRESS_SIZE,
  EVENT_WRAP_SHIFT,
  PDESC_ADDR,
  PDESC_FLAGS,
  PDESC_LEN,
  PDESC_SIZE,
  QUEUE_SIZE_MAX,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import type { RangeSet } from './range-set.js';

/** Descriptors that are followed for one fetch: more are fetched when the device gets there. */
const DESCRIPTORS_MAX = 2048;
/** Bytes of buffers that are sent along unasked. */
const BUFFER_BYTES_MAX = 256 * 1024;

/** What a walk may still do. */
interface Budget {
  descriptors: number;
  bytes: number;
}

/**
 * Follows a ring as a device will, and adds what that device will read to `ranges`: the indices, what was made available,
 * the descriptors, indirect tables, and the buffers that it reads. Nothing is judged here: what makes no sense is left
 * out, and the device that asks for it will see for itself. The work is bounded whatever the ring says.
 */
export function walkRing(memory: GuestMemory, ring: RingAhead, ranges: RangeSet): void {
  const budget: Budget = { descriptors: DESCRIPTORS_MAX, bytes: BUFFER_BYTES_MAX };
  const { layout, size, descriptors, driver } = ring;
  const split = layout === 'split';
  const driverBytes = split ? driverAreaSize(size) : EVENT_SUPPRESS_SIZE;
  const inside =
    size >= 1 &&
    size <= QUEUE_SIZE_MAX &&
    descriptors % DESC_SIZE === 0 &&
    driver % (split ? 2 : EVENT_SUPPRESS_SIZE) === 0 &&
    descriptors + DESC_SIZE * size <= memory.size &&
    driver + driverBytes <= memory.size;
  if (!inside) return;
  if (split) walkSplit(memory, ring, ranges, budget);
  else walkPacked(memory, ring, ranges, budget);
}

function walkSplit(memory: GuestMemory, ring: RingAhead, ranges: RangeSet, budget: Budget): void {
  const { size, descriptors, driver, next } = ring;
  const eventAt = driver + AVAIL_RING + 2 * size;
  ranges.add(driver + AVAIL_FLAGS, driver + AVAIL_RING);
  ranges.add(eventAt, eventAt + 2);
  const available = (memory.loadU16(driver + AVAIL_IDX) - next) & 0xffff;
  if (available > size) return;
  for (let n = 0; n < available && budget.descriptors > 0; n += 1) {
    const entry = driver + AVAIL_RING + 2 * ((next + n) % size);
    ranges.add(entry, entry + 2);
    followSplit(memory, { table: descriptors, entries: size }, memory.loadU16(entry), ranges, budget, true);
  }
}

/** Follows a chain through a table of split descriptors. */
function followSplit(
  memory: GuestMemory,
  { table, entries }: { readonly table: number; readonly entries: number },
  head: number,
  ranges: RangeSet,
  budget: Budget,
  mayIndirect: boolean,
): void {
  let index = head;
  for (let n = 0; n < entries && index < entries && budget.descriptors > 0; n += 1) {
    budget.descriptors -= 1;
    const at = table + DESC_SIZE * index;
    ranges.add(at, at + DESC_SIZE);
    const flags = memory.readU16(at + DESC_FLAGS);
    const length = memory.readU32(at + DESC_LEN);
    const offset = memory.locate(guestAddress(memory.readU64(at + DESC_ADDR)), length);
    if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
      if (mayIndirect && offset >= 0) {
        followSplit(memory, { table: offset, entries: Math.floor(length / DESC_SIZE) }, 0, ranges, budget, false);
      }
      return;
    }
    if ((flags & VIRTQ_DESC_F_WRITE) === 0) addBuffer(ranges, offset, length, budget);
    if ((flags & VIRTQ_DESC_F_NEXT) === 0) return;
    index = memory.readU16(at + DESC_NEXT);
  }
}

function walkPacked(memory: GuestMemory, ring: RingAhead, ranges: RangeSet, budget: Budget): void {
  const { size, descriptors, driver, next } = ring;
  ranges.add(driver, driver + EVENT_SUPPRESS_SIZE);
  let index = next & ((1 << EVENT_WRAP_SHIFT) - 1);
  let wrap = next >>> EVENT_WRAP_SHIFT;
  for (let n = 0; n < size && index < size && budget.descriptors > 0; n += 1) {
    budget.descriptors -= 1;
    const at = descriptors + PDESC_SIZE * index;
    ranges.add(at, at + PDESC_SIZE);
    const flags = memory.loadU16(at + PDESC_FLAGS);
    const owner = flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED);
    if (owner !== (wrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED)) return;
    const length = memory.readU32(at + PDESC_LEN);
    const offset = memory.locate(guestAddress(memory.readU64(at + PDESC_ADDR)), length);
    if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
      if (offset >= 0) addPackedTable(memory, offset, length, ranges, budget);
    } else if ((flags & VIRTQ_DESC_F_WRITE) === 0) addBuffer(ranges, offset, length, budget);
    index += 1;
    if (index < size) continue;
    index = 0;
    wrap ^= 1;
  }
}

/** 2.8.7: a table of descriptors in order, whose only flag is WRITE. */
function addPackedTable(memory: GuestMemory, table: number, bytes: number, ranges: RangeSet, budget: Budget): void {
  for (let at = table; at + PDESC_SIZE <= table + bytes && budget.descriptors > 0; at += PDESC_SIZE) {
    budget.descriptors -= 1;
    ranges.add(at, at + PDESC_SIZE);
    if ((memory.readU16(at + PDESC_FLAGS) & VIRTQ_DESC_F_WRITE) !== 0) continue;
    const length = memory.readU32(at + PDESC_LEN);
    addBuffer(ranges, memory.locate(guestAddress(memory.readU64(at + PDESC_ADDR)), length), length, budget);
  }
}

/** A buffer that the device reads, as far as the budget goes: half a buffer is of no use, but its head may be. */
function addBuffer(ranges: RangeSet, offset: number, length: number, budget: Budget): void {
  if (offset < 0) return;
  const taken = Math.min(length, budget.bytes);
  budget.bytes -= taken;
  ranges.add(offset, offset + taken);
}
