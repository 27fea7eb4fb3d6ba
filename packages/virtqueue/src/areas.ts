import { err, ok, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import type { QueueConfig, QueueError } from './types.js';

/** What an area of a queue must be like. */
export interface AreaShape {
  readonly name: string;
  readonly bytes: number;
  /** A power of two. */
  readonly align: number;
}

/** The Descriptor Area, the Driver Area and the Device Area. */
export type QueueShape = readonly [AreaShape, AreaShape, AreaShape];

/** Offsets of the three areas in the memory. */
export type AreaOffsets = readonly [descriptors: number, driver: number, device: number];

/** The next address from `value` on that is a multiple of `to`. */
export const roundUp = (value: bigint, to: number): bigint => ((value + BigInt(to) - 1n) / BigInt(to)) * BigInt(to);

/** Where the three areas lie when they follow each other from `base`, and how many bytes they take. */
export function layoutAreas(
  base: bigint,
  size: number,
  shape: QueueShape,
): { readonly config: QueueConfig; readonly bytes: number } {
  const [descriptors, driver, device] = shape;
  const descriptorArea = roundUp(base, descriptors.align);
  const driverArea = roundUp(descriptorArea + BigInt(descriptors.bytes), driver.align);
  const deviceArea = roundUp(driverArea + BigInt(driver.bytes), device.align);
  const end = deviceArea + BigInt(device.bytes);
  return { config: { size, descriptorArea, driverArea, deviceArea }, bytes: Number(end - base) };
}

/**
 * Checks the areas that a driver programmed: aligned, inside the memory, apart.
 * @param clause the section that asks for it
 */
export function locateAreas(
  memory: GuestMemory,
  config: QueueConfig,
  shape: QueueShape,
  clause: string,
): Result<AreaOffsets, QueueError> {
  const refuse = (code: string, detail: string): Result<never, QueueError> => err({ code, clause, detail });
  const addresses = [config.descriptorArea, config.driverArea, config.deviceArea];
  const placed: { readonly name: string; readonly offset: number; readonly end: number }[] = [];
  for (const [n, { name, bytes, align }] of shape.entries()) {
    const address = addresses[n] ?? 0n;
    const offset = memory.locate(address, bytes);
    if (offset < 0) return refuse('queue-address', `the ${name} at 0x${address.toString(16)} is outside the memory`);
    if (address % BigInt(align) !== 0n || offset % align !== 0) {
      return refuse('queue-alignment', `the ${name} at 0x${address.toString(16)} is not aligned to ${align}`);
    }
    for (const other of placed) {
      if (offset < other.end && other.offset < offset + bytes) {
        return refuse('queue-overlap', `the ${other.name} and the ${name} overlap`);
      }
    }
    placed.push({ name, offset, end: offset + bytes });
  }
  const [descriptors, driver, device] = placed;
  return ok([descriptors?.offset ?? 0, driver?.offset ?? 0, device?.offset ?? 0]);
}
