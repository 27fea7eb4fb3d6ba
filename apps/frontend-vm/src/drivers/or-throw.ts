import type { Result } from '@remio/base';
import { ProgramError } from '@remio/guest';
import type { DriverError } from '@remio/virtio-driver';

/**
 * The value of a driver's result.
 * @throws Error that says why there is none, for the program `drivers` to report
 */
export function orThrow<T>(result: Result<T, DriverError>): T {
  if (result.ok) return result.value;
  const { code, clause, detail } = result.error;
  throw new ProgramError(`${code} (VirtIO ${clause}): ${detail}`);
}
