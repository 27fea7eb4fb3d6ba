/** Told how an operation of a storage ended. */
export type Done = (ok: boolean) => void;

/** What a block device keeps its sectors in. Positions and lengths are bytes, multiples of 512. */
export interface BlockStorage {
  /** Bytes. May change while the storage is in use; {@link onResize} follows. */
  readonly capacity: number;
  readonly readOnly: boolean;
  /** Fills the buffers, in order, from `position`; `done(false)` if not every byte could be had. */
  read(position: number, buffers: readonly Uint8Array[], done: Done): void;
  write(position: number, buffers: readonly Uint8Array[], done: Done): void;
  /** Makes everything durable that was done when it was called. */
  flush(done: Done): void;
  /** Gives the room of a range back; what is read there afterwards is whatever the storage likes. Absent: it cannot. */
  discard?(position: number, length: number, done: Done): void;
  /**
   * Makes a range read as zeros. Absent: it cannot.
   * @param unmap whether the room of the range may be given back
   */
  writeZeroes?(position: number, length: number, unmap: boolean, done: Done): void;
  /** Called after the capacity changed. Set by the device. */
  onResize?: () => void;
  /** @param again whether this process opens it anew: nobody else gets it meanwhile */
  close(again?: boolean): Promise<void>;
}

/** Sectors in an array: for tests, and for disks that need not last. Answers at once. */
export class MemoryStorage implements BlockStorage {
  readonly capacity: number;
  readonly readOnly: boolean;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array, readOnly = false) {
    this.bytes = bytes;
    this.capacity = bytes.length;
    this.readOnly = readOnly;
  }

  read(position: number, buffers: readonly Uint8Array[], done: Done): void {
    let at = position;
    for (const buffer of buffers) {
      buffer.set(this.bytes.subarray(at, at + buffer.length));
      at += buffer.length;
    }
    done(true);
  }

  write(position: number, buffers: readonly Uint8Array[], done: Done): void {
    let at = position;
    for (const buffer of buffers) {
      this.bytes.set(buffer, at);
      at += buffer.length;
    }
    done(true);
  }

  flush(done: Done): void {
    done(true);
  }

  discard(position: number, length: number, done: Done): void {
    this.writeZeroes(position, length, true, done);
  }

  writeZeroes(position: number, length: number, _unmap: boolean, done: Done): void {
    this.bytes.fill(0, position, position + length);
    done(true);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
