import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { err, ok, type Result } from '@remio/base';
import { failed, LOCK_EX, LOCK_NB, libc, MAP_SHARED, PROT_READ_WRITE, viewOf } from './libc.js';

/** A view above this aborts the process. */
const MAPPING_MAX = 2 ** 31;

/**
 * Why a directory has no room for shared memories of so many bytes in all; undefined: it has. Their files take room only
 * when guests write to them, and a write that finds none ends the process: so it is looked for beforehand.
 */
export function roomProblem(directory: string, bytes: number): string | undefined {
  const { bavail, blocks, bsize } = statfsSync(directory);
  // A tmpfs without a limit has no blocks.
  if (blocks === 0 || bavail * bsize >= bytes) return undefined;
  const room = `${directory} has ${mib(bavail * bsize)} free, and the shared memories of the topology have ${mib(bytes)}`;
  return `${room}: remove something from its file system, make that larger (mount -o remount,size=…), or use a directory elsewhere`;
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Makes a file of zeros that processes can share; it must not exist. */
export function createRegion(path: string, size: number): Result<void, string> {
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    ftruncateSync(fd, size);
    closeSync(fd);
    return ok(undefined);
  } catch (error) {
    return err(`shared memory ${path} cannot be made: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Maps a file that processes share. A mapping is never undone while the process lives: a view on memory that is gone
 * would end it.
 * @param size bytes that the file must have
 */
export function mapRegion(path: string, size: number): Result<ArrayBuffer, string> {
  if (size > MAPPING_MAX) return err(`shared memory ${path} is larger than ${MAPPING_MAX} bytes`);
  try {
    const fd = openSync(path, constants.O_RDWR);
    const actual = fstatSync(fd).size;
    if (actual !== size) {
      closeSync(fd);
      return err(`shared memory ${path} has ${actual} bytes instead of ${size}`);
    }
    const pointer = libc().mmap(null, size, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    closeSync(fd);
    if (failed(pointer)) return err(`shared memory ${path} cannot be mapped`);
    return ok(viewOf(pointer, size));
  } catch (error) {
    return err(`shared memory ${path} cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Says which file a region is, on whatever host: who gets the same answer maps the same memory. Empty: not to be said. */
export function regionPlace(path: string): string {
  try {
    const { dev, ino } = statSync(path);
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${dev} ${ino}`;
  } catch {
    return '';
  }
}

/** Takes the exclusive lock of an open file; false if somebody else has it. It ends with the descriptor. */
export const lockFile = (fd: number): boolean => libc().flock(fd, LOCK_EX | LOCK_NB) === 0;
