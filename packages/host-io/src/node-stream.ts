import type { Readable, Writable } from 'node:stream';
import { type ByteStream, type ByteStreamHandler, ChunkQueue, IGNORE } from '@remio/base';

/** Bytes kept in each direction before the other side is asked to wait. */
const KEPT_MAX = 256 * 1024;

/** What a {@link NodeStream} reads from and writes to; a socket is both. */
export interface NodeEnds {
  readonly input?: Readable;
  readonly output?: Writable;
  /** Whether the output goes on after {@link ByteStream.end}: a file or terminal, which later writes still reach. */
  readonly endless?: boolean;
}

/** Told what whoever uses a connection does with it. */
export interface StreamOwner {
  /** It was given up. */
  released?(): void;
  /** One that waits may take its place. */
  gaveWay?(): void;
}

/** A connection on streams of Node: sockets, pipes, files. */
export class NodeStream implements ByteStream {
  handler: ByteStreamHandler = IGNORE;
  readonly #input: Readable | undefined;
  readonly #output: Writable | undefined;
  readonly #endless: boolean;
  readonly #owner: StreamOwner;
  readonly #received = new ChunkQueue();
  #finished = false;
  /** Bytes that the system has not taken yet. */
  #unsent = 0;
  /** A write was not taken whole. */
  #blocked = false;
  #endSaid = false;
  #destroyed = false;
  #open: number;

  constructor({ input, output, endless = false }: NodeEnds, owner: StreamOwner = {}) {
    this.#owner = owner;
    this.#input = input;
    this.#output = output;
    this.#endless = endless;
    const ends = new Set([input, output].filter((end) => end !== undefined));
    // What goes nowhere goes on as long as it is wanted.
    this.#open = ends.size + (endless && output === undefined ? 1 : 0);
    for (const end of ends) {
      // What an error means is that the end is closed, which is told in a moment.
      end.on('error', () => {});
      end.once('close', () => this.#endClosed());
    }
    if (input === undefined) this.#finished = true;
    input?.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      if (this.#received.length >= KEPT_MAX) input.pause();
      this.handler.readable();
    });
    input?.once('end', () => this.#inputFinished());
    input?.resume();
  }

  get available(): number {
    return this.#received.length;
  }

  get ended(): boolean {
    return this.#finished && this.#received.length === 0;
  }

  get closed(): boolean {
    return this.#open === 0;
  }

  get writable(): boolean {
    if (this.#output === undefined) return !this.closed;
    return this.#output.writable && !this.#endSaid;
  }

  read(room: Uint8Array): number {
    const count = this.#received.read(room);
    if (this.#received.length < KEPT_MAX / 2 && this.#input?.isPaused() === true) this.#input.resume();
    return count;
  }

  write(bytes: Uint8Array): number {
    if (!this.writable) return 0;
    // Where there is no output, nobody misses what would go there.
    if (this.#output === undefined) return bytes.length;
    const count = Math.min(bytes.length, KEPT_MAX - this.#unsent);
    if (count < bytes.length) this.#blocked = true;
    if (count === 0) return 0;
    this.#unsent += count;
    // The system may take the bytes later, when guest memory says something else.
    this.#output.write(Buffer.from(bytes.subarray(0, count)), () => {
      this.#unsent -= count;
      if (!this.#blocked || this.#unsent > KEPT_MAX / 2) return;
      this.#blocked = false;
      this.handler.writable();
    });
    return count;
  }

  end(): void {
    if (this.#endless) return;
    this.#endSaid = true;
    this.#output?.end();
  }

  giveWay(): void {
    this.#owner.gaveWay?.();
  }

  close(): void {
    if (this.#output === undefined || this.#output.destroyed) this.destroy();
    else this.#output.end(() => this.destroy());
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#input?.destroy();
    this.#output?.destroy();
    this.#owner.released?.();
  }

  #endClosed(): void {
    this.#open -= 1;
    if (this.#input?.destroyed === true) this.#inputFinished();
    if (this.#open === 0) this.handler.closed();
  }

  #inputFinished(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.handler.readable();
  }
}
