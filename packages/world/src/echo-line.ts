import { type ByteStream, IGNORE, type StreamSource, type StreamSourceHandler } from '@remio/base';
import { type Link, Returning } from './link.js';

/** Bytes on their way, at most: whoever sends more waits. */
const BYTES_MAX = 64 * 1024;

/** Where a console's line leads in virtual time: whoever is at the other end sends back what comes. */
export class EchoLine implements StreamSource, ByteStream {
  handler = IGNORE;
  readonly ended = false;
  readonly closed = false;
  readonly writable = true;
  readonly #link: Link;
  readonly #pieces: Returning<Uint8Array>;
  /** Bytes on their way. */
  #bytes = 0;
  /** Read of the piece that came first. */
  #read = 0;
  /** Somebody waits to write. */
  #full = false;

  constructor(link: Link) {
    this.#link = link;
    this.#pieces = new Returning(link, () => this.handler.readable());
  }

  open(handler: StreamSourceHandler): void {
    handler.connected(this);
  }

  get available(): number {
    return this.#pieces.next === undefined ? 0 : this.#pieces.next.length - this.#read;
  }

  read(room: Uint8Array): number {
    const piece = this.#pieces.next;
    if (piece === undefined) {
      this.#pieces.listen();
      return 0;
    }
    const taken = Math.min(room.length, piece.length - this.#read);
    room.set(piece.subarray(this.#read, this.#read + taken));
    this.#link.handled(taken);
    this.#read += taken;
    this.#bytes -= taken;
    if (this.#read === piece.length) {
      this.#pieces.shift();
      this.#read = 0;
    }
    if (this.#full && taken > 0) {
      this.#full = false;
      this.#link.interruptAt(this.#link.now, () => this.handler.writable());
    }
    return taken;
  }

  write(bytes: Uint8Array): number {
    const taken = Math.min(bytes.length, BYTES_MAX - this.#bytes);
    if (taken < bytes.length) this.#full = true;
    if (taken === 0) return 0;
    this.#link.handled(taken);
    this.#bytes += taken;
    this.#pieces.add(this.#link.send(taken), bytes.slice(0, taken));
    return taken;
  }

  end(): void {
    // A line has no end.
  }

  giveWay(): void {
    // Nobody else waits for it.
  }

  destroy(): void {
    this.#pieces.clear();
    this.#bytes = this.#read = 0;
  }

  close(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }
}
