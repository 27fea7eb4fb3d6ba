/** What a block device keeps its sectors in. Positions and lengths are bytes, multiples of 512. */
export interface BlockStorage {
  /** Bytes. */
  readonly capacity: number;
  readonly readOnly: boolean;
  /** Fills the buffers, in order, from `position`; `done(false)` if not every byte could be had. */
  read(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void;
  write(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void;
  /** Makes every write that was done before durable. */
  flush(done: (ok: boolean) => void): void;
  close(): Promise<void>;
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

  read(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    let at = position;
    for (const buffer of buffers) {
      buffer.set(this.bytes.subarray(at, at + buffer.length));
      at += buffer.length;
    }
    done(true);
  }

  write(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    let at = position;
    for (const buffer of buffers) {
      this.bytes.set(buffer, at);
      at += buffer.length;
    }
    done(true);
  }

  flush(done: (ok: boolean) => void): void {
    done(true);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
