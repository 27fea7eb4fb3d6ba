import type { Result } from '@remio/base';
import { type GuestCpu, type GuestDeviceEnd, GuestFault } from '@remio/guest';
import { MMIO, STATUS_DEVICE_NEEDS_RESET } from '@remio/virtio-spec';
import { RESETS_MAX } from './bring-up.js';
import type { DriverError } from './driver-error.js';

/**
 * Brings a device up although its backend may die meanwhile: an attempt that failed, and whose device wants to be reset
 * (2.1.2), is made again from the start.
 * @returns what went wrong first, if it still does after {@link RESETS_MAX} attempts
 */
export async function despiteLoss<T>(
  cpu: GuestCpu,
  end: GuestDeviceEnd,
  attempt: () => Promise<Result<T, DriverError>>,
): Promise<Result<T, DriverError>> {
  const first = await attempt();
  let latest = first;
  for (let left = RESETS_MAX - 1; left > 0 && !latest.ok && (await needsReset(cpu, end)); left -= 1) {
    latest = await attempt();
  }
  return latest.ok ? latest : first;
}

async function needsReset(cpu: GuestCpu, end: GuestDeviceEnd): Promise<boolean> {
  try {
    const status = await cpu.load32(end.window.base + BigInt(MMIO.Status));
    return (status & STATUS_DEVICE_NEEDS_RESET) !== 0;
  } catch (error) {
    if (error instanceof GuestFault) return false;
    throw error;
  }
}
