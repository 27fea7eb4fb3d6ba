import { assert } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import type { PoolPiece } from '@remio/virtio-driver';
import type { Share } from './fair-pool.js';

/** Bytes of a chunk: what one read of a socket may bring. */
export const CHUNK_SIZE = 128 * 1024;
/** A chunk with less room than this is not read into again. */
const ROOM_MIN = 16 * 1024;

/** Shared memory that socket reads fill, from the start. */
interface Chunk {
  readonly piece: PoolPiece;
  /** Bytes that arrived. */
  filled: number;
  /** Payloads in it that are in use. */
  users: number;
}

/** Where a payload lies. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** What a write brings; it may still be arriving. */
export interface Payload {
  readonly segments: readonly Segment[];
  /** Bytes that are still to come. */
  readonly missing: number;
  /** Gives its memory back. */
  release(): void;
}

/**
 * What arrives on a connection, read straight into memory that the device can read: a payload is written to the disk
 * from where it arrived. Requests and payloads follow each other in chunks; what does not fit into its chunk goes on in
 * memory of its own.
 */
export class Inbox {
  readonly #memory: GuestMemory;
  readonly #chunks: Share;
  readonly #data: Share;
  #chunk: Chunk | undefined;
  /** Where the next header, or payload, starts in the chunk; beyond `filled` while a payload in the chunk is arriving. */
  #next = 0;
  /** Memory of its own for the rest of a payload, and how much of it is there. */
  #rest: { readonly piece: PoolPiece; readonly length: number; filled: number } | undefined;
  /** Bytes that arrived and that nobody wants. */
  #discard = 0;

  /**
   * @param chunks gives memory for chunks
   * @param data gives memory for what does not fit into them
   */
  constructor(memory: GuestMemory, chunks: Share, data: Share) {
    this.#memory = memory;
    this.#chunks = chunks;
    this.#data = data;
  }

  /** Where the next bytes go; empty if there is no room: {@link prepare} first. */
  room(): Uint8Array {
    const memory = this.#memory;
    const rest = this.#rest;
    if (rest !== undefined) return memory.bytes(rest.piece.offset + rest.filled, rest.length - rest.filled);
    const chunk = this.#chunk;
    if (chunk === undefined) return NOTHING;
    return memory.bytes(chunk.piece.offset + chunk.filled, chunk.piece.length - chunk.filled);
  }

  /** Bytes were put at the start of the room. */
  landed(bytes: number): void {
    const rest = this.#rest;
    if (rest !== undefined) {
      rest.filled += bytes;
      assert(rest.filled <= rest.length, 'what lands has room');
      if (rest.filled === rest.length) this.#rest = undefined;
      return;
    }
    const chunk = this.#chunk;
    assert(chunk !== undefined && chunk.filled + bytes <= chunk.piece.length, 'what lands has room');
    chunk.filled += bytes;
    if (this.#discard > 0) this.#drop(chunk);
  }

  /** Offset of the next `size` bytes, which stay in one piece; undefined: they are not there yet. */
  peek(size: number): number | undefined {
    const chunk = this.#chunk;
    if (chunk === undefined || this.#discard > 0 || chunk.filled - this.#next < size) return undefined;
    return chunk.piece.offset + this.#next;
  }

  /** Goes on behind what was peeked at. */
  skip(size: number): void {
    this.#next += size;
  }

  /**
   * Takes the payload that comes `header` bytes further on; goes on behind it.
   * @param onePiece whether it must be one segment
   * @returns undefined if there is no memory for it now: nothing has changed
   */
  payload(header: number, length: number, onePiece: boolean): Payload | undefined {
    const chunk = this.#chunk;
    assert(chunk !== undefined && this.#rest === undefined, 'a payload follows its header');
    const start = this.#next + header;
    if (start + length <= chunk.piece.length) {
      this.#next = start + length;
      return this.#payloadOf(chunk, [{ offset: chunk.piece.offset + start, length }], undefined);
    }
    const there = chunk.filled - start;
    const piece = this.#data.allocate(onePiece ? length : length - there);
    if (piece === undefined) return undefined;
    const first = { offset: chunk.piece.offset + start, length: there };
    this.#next = chunk.filled;
    if (there === 0 || onePiece) {
      const memory = this.#memory;
      memory.bytes(piece.offset, there).set(memory.bytes(first.offset, there));
      this.#rest = { piece, length, filled: there };
      return this.#payloadOf(undefined, [{ offset: piece.offset, length }], piece);
    }
    this.#rest = { piece, length: length - there, filled: 0 };
    return this.#payloadOf(chunk, [first, { offset: piece.offset, length: length - there }], piece);
  }

  /** Drops the payload that comes `header` bytes further on, as it arrives. */
  discard(header: number, length: number): void {
    const chunk = this.#chunk;
    assert(chunk !== undefined, 'a payload follows its header');
    this.#next += header;
    this.#discard = length;
    this.#drop(chunk);
  }

  /**
   * Makes room for what comes next.
   * @returns false if there is none, and no memory for more
   */
  prepare(): boolean {
    if (this.#rest !== undefined) return true;
    const chunk = this.#chunk;
    if (chunk !== undefined) {
      // A payload that is arriving in the chunk has room there to its end.
      if (this.#next > chunk.filled) return true;
      const left = chunk.piece.length - chunk.filled;
      if (chunk.users === 0 && (left < ROOM_MIN || this.#next === chunk.filled)) this.#compact(chunk);
      if (chunk.piece.length - chunk.filled >= ROOM_MIN) return true;
    }
    const piece = this.#chunks.allocate(CHUNK_SIZE);
    if (piece === undefined) return chunk !== undefined && chunk.filled < chunk.piece.length;
    const fresh: Chunk = { piece, filled: 0, users: 0 };
    if (chunk !== undefined) {
      const unread = this.#unread(chunk);
      this.#memory.bytes(piece.offset, unread.length).set(unread);
      fresh.filled = unread.length;
    }
    this.#next = 0;
    this.#chunk = fresh;
    if (chunk?.users === 0) this.#chunks.release(chunk.piece);
    return true;
  }

  /** Nothing more arrives: gives back what no payload uses; the rest follows when payloads are released. */
  close(): void {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    this.#rest = undefined;
    if (chunk?.users === 0) this.#chunks.release(chunk.piece);
  }

  #payloadOf(chunk: Chunk | undefined, segments: readonly Segment[], own: PoolPiece | undefined): Payload {
    if (chunk !== undefined) chunk.users += 1;
    const inbox = this;
    const rest = this.#rest;
    const end = this.#next;
    return {
      segments,
      get missing() {
        if (rest !== undefined) return rest.length - rest.filled;
        return chunk === undefined ? 0 : Math.max(0, end - chunk.filled);
      },
      release() {
        if (own !== undefined) inbox.#data.release(own);
        if (chunk === undefined) return;
        chunk.users -= 1;
        if (chunk.users === 0 && inbox.#chunk !== chunk) inbox.#chunks.release(chunk.piece);
      },
    };
  }

  /** What arrived in a chunk and was not taken yet. */
  #unread(chunk: Chunk): Uint8Array {
    return this.#memory.bytes(chunk.piece.offset + this.#next, chunk.filled - this.#next);
  }

  /** Moves what was not taken yet to the start of a chunk that no payload uses. */
  #compact(chunk: Chunk): void {
    const unread = this.#unread(chunk);
    this.#memory.bytes(chunk.piece.offset, unread.length).set(unread);
    chunk.filled = unread.length;
    this.#next = 0;
  }

  #drop(chunk: Chunk): void {
    const dropped = Math.min(this.#discard, chunk.filled - this.#next);
    this.#discard -= dropped;
    this.#next += dropped;
  }
}

const NOTHING = new Uint8Array();
