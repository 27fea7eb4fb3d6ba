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
import type { QueueConfig, QueueError } from './types.js';

const roundUp = (value: bigint, to: number): bigint => ((value + BigInt(to) - 1n) / BigInt(to)) * BigInt(to);

/** Where the three areas of a split queue lie when they follow each other from `base`, and how many bytes they take. */
export function layoutSplitQueue(base: bigint, size: number): { readonly config: QueueConfig; readonly bytes: number } {
  const descriptorArea = roundUp(base, DESC_ALIGN);
  const driverArea = roundUp(descriptorArea + BigInt(descriptorAreaSize(size)), AVAIL_ALIGN);
  const deviceArea = roundUp(driverArea + BigInt(driverAreaSize(size)), USED_ALIGN);
  const end = deviceArea + BigInt(deviceAreaSize(size));
  return { config: { size, descriptorArea, driverArea, deviceArea }, bytes: Number(end - base) };
}

/** Checked offsets of a split queue's areas. */
export interface SplitAreas {
  readonly descriptors: number;
  readonly avail: number;
  readonly used: number;
}

const refuse = (code: string, detail: string): Result<never, QueueError> => err({ code, clause: '2.7', detail });

/** Checks what a driver programmed before a queue runs (2.7: size, alignment; areas inside the memory and apart). */
export function locateSplitAreas(memory: GuestMemory, config: QueueConfig): Result<SplitAreas, QueueError> {
  const { size } = config;
  if (!Number.isInteger(size) || size < 1 || size > QUEUE_SIZE_MAX || (size & (size - 1)) !== 0) {
    return refuse('queue-size', `${size} is not a power of two from 1 to ${QUEUE_SIZE_MAX}`);
  }
  const areas = [
    ['Descriptor Area', config.descriptorArea, descriptorAreaSize(size), DESC_ALIGN],
    ['Driver Area', config.driverArea, driverAreaSize(size), AVAIL_ALIGN],
    ['Device Area', config.deviceArea, deviceAreaSize(size), USED_ALIGN],
  ] as const;
  const offsets: number[] = [];
  for (const [name, address, bytes, align] of areas) {
    const offset = memory.locate(address, bytes);
    if (offset < 0) return refuse('queue-address', `the ${name} at 0x${address.toString(16)} is outside the memory`);
    if (address % BigInt(align) !== 0n || offset % align !== 0) {
      return refuse('queue-alignment', `the ${name} at 0x${address.toString(16)} is not aligned to ${align}`);
    }
    offsets.push(offset);
  }
  for (let a = 0; a < 3; a += 1) {
    for (let b = a + 1; b < 3; b += 1) {
      const [startA = 0, startB = 0] = [offsets[a], offsets[b]];
      if (startA < startB + (areas[b]?.[2] ?? 0) && startB < startA + (areas[a]?.[2] ?? 0)) {
        return refuse('queue-overlap', `the ${areas[a]?.[0]} and the ${areas[b]?.[0]} overlap`);
      }
    }
  }
  const [descriptors = 0, avail = 0, used = 0] = offsets;
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
