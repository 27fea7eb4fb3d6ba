import {
  type ByteStream,
  type ByteStreamHandler,
  IGNORE,
  type StreamSource,
  type StreamSourceHandler,
} from '@remio/base';

/** A connection whose other side is a test. */
export class MemoryStream implements ByteStream {
  handler: ByteStreamHandler = IGNORE;
  closed = false;
  /** Whether the end was said from our side. */
  endSaid = false;
  destroyed = false;
  gaveWay = false;
  /** What was taken of what was written. */
  readonly taken: number[] = [];
  #incoming: number[] = [];
  #finished = false;
  #room: number;

  /** @param room bytes that are taken before {@link allow} allows more */
  constructor(room = Number.POSITIVE_INFINITY) {
    this.#room = room;
  }

  get available(): number {
    return this.#incoming.length;
  }

  get ended(): boolean {
    return this.#finished && this.#incoming.length === 0;
  }

  get writable(): boolean {
    return !this.closed && !this.endSaid;
  }

  read(room: Uint8Array): number {
    const part = this.#incoming.splice(0, room.length);
    room.set(part);
    return part.length;
  }

  write(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.#room);
    for (const byte of bytes.subarray(0, count)) this.taken.push(byte);
    this.#room -= count;
    return count;
  }

  end(): void {
    this.endSaid = true;
  }

  giveWay(): void {
    this.gaveWay = true;
  }

  close(): void {
    this.endSaid = true;
    this.closed = true;
  }

  destroy(): void {
    this.destroyed = true;
    this.closed = true;
  }

  /** The other side sends. */
  arrive(bytes: Iterable<number>): void {
    this.#incoming.push(...bytes);
    this.handler.readable();
  }

  /** The other side has sent everything. */
  finish(): void {
    this.#finished = true;
    this.handler.readable();
  }

  /** The other side takes nothing more. */
  block(): void {
    this.#room = 0;
  }

  /** The other side takes more. */
  allow(bytes: number): void {
    this.#room += bytes;
    this.handler.writable();
  }

  /** The connection breaks, or both sides have said the end. */
  drop(): void {
    this.closed = true;
    this.#finished = true;
    this.handler.closed();
  }
}

/** A source whose connections are made by a test. */
export class MemorySource implements StreamSource {
  #handler: StreamSourceHandler | undefined;
  closed = false;

  open(handler: StreamSourceHandler): void {
    this.#handler = handler;
  }

  connect(stream = new MemoryStream()): MemoryStream {
    this.#handler?.connected(stream);
    return stream;
  }

  resize(cols: number, rows: number): void {
    this.#handler?.resized(cols, rows);
  }

  go(): void {
    this.#handler?.gone();
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}
