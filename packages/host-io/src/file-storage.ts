import { close, constants, fdatasync, fstatSync, openSync, readv, writev } from 'node:fs';
import { err, ok, type Result } from '@remio/base';
import type { BlockStorage } from '@remio/virtio-device';
import { SECTOR_SIZE } from '@remio/virtio-spec';

/** A disk image in a file, raw. Buffers are handed to the system as they are: no copy in between. */
export class FileStorage implements BlockStorage {
  readonly capacity: number;
  readonly readOnly: boolean;
  readonly #fd: number;

  private constructor(fd: number, capacity: number, readOnly: boolean) {
    this.#fd = fd;
    this.capacity = capacity;
    this.readOnly = readOnly;
  }

  /**
   * Opens an image.
   * @param lock takes the exclusive lock of a descriptor for as long as it is open; false if somebody else has it
   * @returns what is wrong with it and what would be right
   */
  static open(
    path: string,
    readOnly: boolean,
    lock: (fd: number) => boolean = () => true,
  ): Result<FileStorage, string> {
    try {
      const fd = openSync(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
      const stat = fstatSync(fd);
      if (!stat.isFile()) return err(`image ${path} is not a regular file`);
      if (stat.size === 0 || stat.size % SECTOR_SIZE !== 0) {
        return err(`image ${path} has ${stat.size} bytes; a disk is a positive multiple of ${SECTOR_SIZE}`);
      }
      if (!readOnly && !lock(fd)) {
        return err(`image ${path} is in use by another device; give each writable disk an image of its own`);
      }
      return ok(new FileStorage(fd, stat.size, readOnly));
    } catch (error) {
      return err(`image ${path} cannot be opened: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  read(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.#move(readv, position, buffers, done);
  }

  write(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.#move(writev, position, buffers, done);
  }

  flush(done: (ok: boolean) => void): void {
    fdatasync(this.#fd, (error) => done(error === null));
  }

  close(): Promise<void> {
    return new Promise((resolve) => close(this.#fd, () => resolve()));
  }

  /** A transfer that ends early has failed: an image does not grow, and holes in it read as zeros. */
  #move(
    operation: typeof readv | typeof writev,
    position: number,
    buffers: readonly Uint8Array[],
    done: (ok: boolean) => void,
  ): void {
    const length = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    operation(this.#fd, buffers, position, (error, moved) => done(error === null && moved === length));
  }
}
