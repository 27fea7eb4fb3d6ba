import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { assert, err, ok, type Result } from '@remio/base';
import {
  failed,
  LOCK_EX,
  LOCK_NB,
  libc,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ_WRITE,
  viewOf,
} from './libc.js';

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

/** Where the regions lie that were mapped; they never move. */
const pointers = new WeakMap<ArrayBuffer, unknown>();

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
 * @param over a region of this size that this one takes the place of: whoever has a view of it sees this file from now on.
 *   Nothing may be under way there, in the kernel neither.
 */
export function mapRegion(path: string, size: number, over?: ArrayBuffer): Result<ArrayBuffer, string> {
  if (size > MAPPING_MAX) return err(`shared memory ${path} is larger than ${MAPPING_MAX} bytes`);
  try {
    const fd = openSync(path, constants.O_RDWR);
    const actual = fstatSync(fd).size;
    if (actual !== size) {
      closeSync(fd);
      return err(`shared memory ${path} has ${actual} bytes instead of ${size}`);
    }
    const at = over === undefined ? null : placeOf(over, size);
    const pointer = libc().mmap(at, size, PROT_READ_WRITE, MAP_SHARED | (at === null ? 0 : MAP_FIXED), fd, 0);
    closeSync(fd);
    if (failed(pointer)) return err(`shared memory ${path} cannot be mapped`);
    if (over !== undefined) return ok(over);
    const buffer = viewOf(pointer, size);
    pointers.set(buffer, pointer);
    return ok(buffer);
  } catch (error) {
    return err(`shared memory ${path} cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Gives the memory of a region back: zeros of this process alone take its place, so that views of it do no harm. Nothing may
 * be under way there, in the kernel neither.
 */
export function leaveRegion(region: ArrayBuffer): void {
  const { byteLength } = region;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  const pointer = libc().mmap(placeOf(region, byteLength), byteLength, PROT_READ_WRITE, flags, -1, 0);
  assert(!failed(pointer), 'what is mapped can be mapped over');
}

function placeOf(region: ArrayBuffer, size: number): unknown {
  const pointer = pointers.get(region);
  assert(pointer !== undefined && region.byteLength === size, 'the region was mapped here, with this size');
  return pointer;
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
