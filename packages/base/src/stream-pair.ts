import { type ByteStream, type ByteStreamHandler, IGNORE } from './byte-stream.js';
import { ChunkQueue } from './chunk-queue.js';

/** Bytes that are on their way in one direction, at most. */
const ROOM = 64 * 1024;

/** Two ends of a connection within this process: what is written at one is read at the other. */
export function streamPair(): readonly [ByteStream, ByteStream] {
  const a = new PairEnd();
  const b = new PairEnd();
  a.join(b);
  b.join(a);
  return [a, b];
}

class PairEnd implements ByteStream {
  handler: ByteStreamHandler = IGNORE;
  readonly #incoming = new ChunkQueue();
  #peer: PairEnd | undefined;
  /** The other end says nothing more. */
  #endHeard = false;
  #endSaid = false;
  #closed = false;
  /** This end was told that there is no room for all that it has. */
  #waiting = false;

  join(peer: PairEnd): void {
    this.#peer = peer;
  }

  get available(): number {
    return this.#incoming.length;
  }

  get ended(): boolean {
    return this.#endHeard && this.#incoming.length === 0;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get writable(): boolean {
    return !this.#endSaid && !this.#closed;
  }

  read(room: Uint8Array): number {
    const count = this.#incoming.read(room);
    if (count === 0) return 0;
    this.#peer?.roomMade();
    if (this.ended) this.#tell('readable');
    return count;
  }

  write(bytes: Uint8Array): number {
    const peer = this.#peer;
    if (!this.writable || peer === undefined) return 0;
    const count = Math.min(bytes.length, ROOM - peer.#incoming.length);
    if (count < bytes.length) this.#waiting = true;
    if (count === 0) return 0;
    peer.#incoming.push(bytes.slice(0, count));
    peer.#tell('readable');
    return count;
  }

  end(): void {
    if (this.#endSaid || this.#closed) return;
    this.#endSaid = true;
    this.#peer?.heardEnd();
  }

  giveWay(): void {}

  close(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#peer?.gone();
  }

  roomMade(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#tell('writable');
  }

  heardEnd(): void {
    this.#endHeard = true;
    this.#tell('readable');
  }

  gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#endHeard = true;
    this.#tell('closed');
  }

  /** Whoever uses this end is never told from within a call of either end. */
  #tell(what: keyof ByteStreamHandler): void {
    queueMicrotask(() => this.handler[what]());
  }
}
