import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE, libc } from './libc.js';

/** Bytes of the hole that is tried to learn whether a file can have holes. */
const TRIAL = 4096;

/** Whether room of an open, writable file can be given back: tried beyond its end, where nothing is. */
export function canPunchHoles(fd: number, size: number): boolean {
  if (process.platform !== 'linux') return false;
  return libc().fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, size, TRIAL) === 0;
}

/** Gives the room of a range back to the file system; it reads as zeros then. `done(false)`: it cannot. */
export const punchHole = (fd: number, position: number, length: number, done: (ok: boolean) => void): void =>
  allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, position, length, done);

/** Makes a range read as zeros and keeps room for it, without writing it. `done(false)`: the file system cannot. */
export const zeroRange = (fd: number, position: number, length: number, done: (ok: boolean) => void): void =>
  allocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, position, length, done);

function allocate(fd: number, mode: number, position: number, length: number, done: (ok: boolean) => void): void {
  libc().fallocate.async(fd, mode, position, length, (error: unknown, result: number) =>
    done(error === null && result === 0),
  );
}
