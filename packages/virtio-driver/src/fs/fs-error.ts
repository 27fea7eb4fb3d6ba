import { err, type Result } from '@remio/base';
import { ERRNO } from '@remio/virtio-spec';

/** Why a file operation failed: the device's answer, or what is wrong with the device (EPROTO, EIO). */
export interface FsError {
  /** Positive. */
  readonly errno: number;
  /** Its name, such as `ENOENT`; `errno 133` if it is none of the common ones. */
  readonly code: string;
  readonly detail: string;
}

export type FsOutcome<T> = Promise<Result<T, FsError>>;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(ERRNO).map(([name, value]) => [value, name]));

export const fsError = (errno: number, detail: string): Result<never, FsError> =>
  err({ errno, code: NAMES.get(errno) ?? `errno ${errno}`, detail });
