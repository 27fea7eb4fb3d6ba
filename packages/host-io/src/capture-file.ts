import { closeSync, openSync, writeSync } from 'node:fs';
import { err, ok, type Result } from '@remio/base';
import { enhancedPacket, interfaceDescription, sectionHeader } from '@remio/ethernet';

/** Bytes that are kept before they are written, though the turn has not ended. */
const KEEP_MAX = 1 << 20;

/**
 * A capture of frames (pcapng). Blocks are written whole, at the end of each turn of the event loop, so that the file can
 * be read at any time.
 */
export class CaptureFile {
  readonly #fd: number;
  readonly #interfaces = new Map<string, number>();
  #blocks: Uint8Array[] = [];
  #bytes = 0;
  #scheduled = false;
  #open = true;
  readonly #flush = (): void => this.#write();
  /** What the monotonic clock is behind the time of day, nanoseconds. */
  readonly #epoch = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

  private constructor(fd: number) {
    this.#fd = fd;
    process.once('exit', this.#flush);
  }

  /** Starts a capture; a file of that name is overwritten. */
  static open(path: string): Result<CaptureFile, string> {
    try {
      const capture = new CaptureFile(openSync(path, 'w', 0o600));
      capture.#put(sectionHeader('remio'));
      return ok(capture);
    } catch (error) {
      return err(`capture ${path} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /**
   * Captures a frame.
   * @param name interface where it was seen
   * @param direction CAPTURED_INBOUND or CAPTURED_OUTBOUND
   */
  frame(name: string, frame: readonly Uint8Array[], direction: number): void {
    if (!this.#open) return;
    let index = this.#interfaces.get(name);
    if (index === undefined) {
      index = this.#interfaces.size;
      this.#interfaces.set(name, index);
      this.#put(interfaceDescription(name));
    }
    this.#put(enhancedPacket(index, process.hrtime.bigint() + this.#epoch, frame, direction));
  }

  close(): void {
    if (!this.#open) return;
    this.#write();
    this.#open = false;
    process.removeListener('exit', this.#flush);
    closeSync(this.#fd);
  }

  #put(block: Uint8Array): void {
    this.#blocks.push(block);
    this.#bytes += block.length;
    if (this.#bytes >= KEEP_MAX) {
      this.#write();
      return;
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#write();
    });
  }

  #write(): void {
    if (!this.#open || this.#bytes === 0) return;
    const all = Buffer.concat(this.#blocks);
    this.#blocks = [];
    this.#bytes = 0;
    // A full disk ends the capture, not the network.
    try {
      for (let at = 0; at < all.length; ) at += writeSync(this.#fd, all, at);
    } catch {
      this.#open = false;
    }
  }
}
