import { close, closeSync, constants, fdatasync, fstat, fstatSync, openSync, readv, statSync, writev } from 'node:fs';
import { err, ok, type Result } from '@remio/base';
import type { BlockStorage, Done } from '@remio/virtio-device';
import { SECTOR_SIZE } from '@remio/virtio-spec';

/** What a host's files can do beyond what Node offers; what is absent, it cannot. */
export interface FileHost {
  /** Takes the exclusive lock of a descriptor for as long as it is open; false if somebody else has it. */
  lock?(fd: number): boolean;
  /** Whether {@link punchHole} works on this file, which has `size` bytes. */
  canPunchHoles?(fd: number, size: number): boolean;
  /**
   * Reads what is in memory already, without waiting: bytes read, `absent` if there are none, `unsupported` if this file
   * never has any.
   */
  readCached?(fd: number, position: number, buffers: readonly Uint8Array[]): number | 'absent' | 'unsupported';
  /** Gives the room of a range back; it reads as zeros then. */
  punchHole?(fd: number, position: number, length: number, done: Done): void;
  /** Makes a range read as zeros and keeps room for it, without writing it; `done(false)`: not in this file system. */
  zeroRange?(fd: number, position: number, length: number, done: Done): void;
}

/** Most buffers of one readv or writev (IOV_MAX of Linux). */
const BUFFERS_MAX = 1024;
/** Zeros that are written at once where a file system cannot make a range zero by itself. */
const ZEROS = new Uint8Array(1 << 20);
/** Longest read that is tried from memory at once, and how much of that in one turn of the host: others want theirs. */
const CACHED_READ_MAX = 64 * 1024;
const CACHED_TURN_MAX = 1 << 20;
/** Reads for which it is not tried after one was not in memory. */
const ABSENT_PAUSE = 32;
/** Milliseconds between looks at the size of an image. */
const RESIZE_LOOK_MS = 1000;

/**
 * A disk image in a file, raw; it may be sparse. Buffers are handed to the system as they are: no copy in between.
 * A range that is discarded becomes a hole, where the file system has holes.
 */
export class FileStorage implements BlockStorage {
  readonly readOnly: boolean;
  onResize: () => void = () => {};
  readonly discard?: (position: number, length: number, done: Done) => void;
  readonly #fd: number;
  readonly #host: FileHost;
  readonly #watch: NodeJS.Timeout;
  #capacity: number;
  /** Images that were closed to be opened again by this process: nobody else gets them meanwhile. */
  static readonly #held = new Map<string, number>();
  readonly #key: string;
  /** Bytes that may still be read from memory in this turn. */
  #cachedLeft = CACHED_TURN_MAX;
  #cachedPause = 0;

  private constructor(fd: number, key: string, capacity: number, readOnly: boolean, host: FileHost) {
    this.#fd = fd;
    this.#key = key;
    this.#capacity = capacity;
    this.readOnly = readOnly;
    this.#host = host;
    const { punchHole } = host;
    if (!readOnly && punchHole !== undefined && host.canPunchHoles?.(fd, capacity) === true) {
      this.discard = (position, length, done) => punchHole(fd, position, length, done);
    }
    this.#watch = setInterval(() => this.refresh(), RESIZE_LOOK_MS).unref();
  }

  /**
   * Opens an image.
   * @returns what is wrong with it and what would be right
   */
  static open(path: string, readOnly: boolean, host: FileHost = {}): Result<FileStorage, string> {
    try {
      const key = `${readOnly ? 'r' : 'w'} ${path}`;
      const held = FileStorage.#takeHeld(key, path);
      const fd = held ?? openSync(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
      const stat = fstatSync(fd);
      if (!stat.isFile()) return err(`image ${path} is not a regular file`);
      if (stat.size === 0 || stat.size % SECTOR_SIZE !== 0) {
        return err(`image ${path} has ${stat.size} bytes; a disk is a positive multiple of ${SECTOR_SIZE}`);
      }
      if (!readOnly && held === undefined && host.lock?.(fd) === false) {
        return err(`image ${path} is in use by another device; give each writable disk an image of its own`);
      }
      return ok(new FileStorage(fd, key, stat.size, readOnly, host));
    } catch (error) {
      return err(`image ${path} cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Looks whether the file has become longer or shorter; the disk has as many whole sectors as it. */
  refresh(looked: () => void = () => {}): void {
    fstat(this.#fd, (error, stat) => {
      if (error === null) this.#resized(stat.size - (stat.size % SECTOR_SIZE));
      looked();
    });
  }

  read(position: number, buffers: readonly Uint8Array[], done: Done): void {
    const left = this.#readCached(position, buffers);
    if (left.length === 0) done(true);
    else this.#move(readv, position + bytesOf(buffers) - bytesOf(left), left, done);
  }

  write(position: number, buffers: readonly Uint8Array[], done: Done): void {
    this.#move(writev, position, buffers, done);
  }

  flush(done: Done): void {
    fdatasync(this.#fd, (error) => done(error === null));
  }

  writeZeroes(position: number, length: number, unmap: boolean, done: Done): void {
    const write = (): void => this.#writeZeros(position, length, done);
    const instead: Done = (ok) => (ok ? done(true) : write());
    if (unmap && this.discard !== undefined) this.discard(position, length, instead);
    else if (this.#host.zeroRange !== undefined) this.#host.zeroRange(this.#fd, position, length, instead);
    else write();
  }

  close(again = false): Promise<void> {
    clearInterval(this.#watch);
    if (again) {
      FileStorage.#held.set(this.#key, this.#fd);
      return Promise.resolve();
    }
    return new Promise((resolve) => close(this.#fd, () => resolve()));
  }

  /** The descriptor that was kept of an image, if the path still leads to it. */
  static #takeHeld(key: string, path: string): number | undefined {
    const fd = FileStorage.#held.get(key);
    if (fd === undefined) return undefined;
    FileStorage.#held.delete(key);
    const [kept, now] = [fstatSync(fd), statSync(path)];
    if (kept.ino === now.ino && kept.dev === now.dev) return fd;
    closeSync(fd);
    return undefined;
  }

  #resized(capacity: number): void {
    if (capacity === this.#capacity) return;
    this.#capacity = capacity;
    this.onResize();
  }

  /** Reads what is in memory already, if that is worth trying; returns what is left to read. */
  #readCached(position: number, buffers: readonly Uint8Array[]): readonly Uint8Array[] {
    const { readCached } = this.#host;
    const length = bytesOf(buffers);
    if (readCached === undefined || length > CACHED_READ_MAX || length > this.#cachedLeft) return buffers;
    if (this.#cachedPause > 0) {
      this.#cachedPause -= 1;
      return buffers;
    }
    const read = readCached(this.#fd, position, buffers);
    if (typeof read === 'string') {
      this.#cachedPause = read === 'absent' ? ABSENT_PAUSE : Number.POSITIVE_INFINITY;
      return buffers;
    }
    if (this.#cachedLeft === CACHED_TURN_MAX) {
      setImmediate(() => {
        this.#cachedLeft = CACHED_TURN_MAX;
      });
    }
    this.#cachedLeft -= read;
    return read === length ? NONE : after(buffers, read);
  }

  /** A transfer that ends early goes on; one that gets no further has failed: an image does not grow. */
  #move(operation: typeof readv | typeof writev, position: number, buffers: readonly Uint8Array[], done: Done): void {
    const now = buffers.length <= BUFFERS_MAX ? buffers : buffers.slice(0, BUFFERS_MAX);
    operation(this.#fd, now, position, (error, moved) => {
      if (error !== null || moved === 0) return done(false);
      const left = after(buffers, moved);
      if (left.length === 0) done(true);
      else this.#move(operation, position + moved, left, done);
    });
  }

  #writeZeros(position: number, length: number, done: Done): void {
    const part = Math.min(length, ZEROS.length);
    this.#move(writev, position, [ZEROS.subarray(0, part)], (ok) => {
      if (!ok || part === length) done(ok);
      else this.#writeZeros(position + part, length - part, done);
    });
  }
}

const NONE: readonly Uint8Array[] = [];

const bytesOf = (buffers: readonly Uint8Array[]): number => buffers.reduce((sum, { length }) => sum + length, 0);

/** What is left of buffers whose first `moved` bytes are done with. */
function after(buffers: readonly Uint8Array[], moved: number): readonly Uint8Array[] {
  let skip = moved;
  for (const [n, buffer] of buffers.entries()) {
    if (skip < buffer.length) return [buffer.subarray(skip), ...buffers.slice(n + 1)];
    skip -= buffer.length;
  }
  return [];
}
