import { assert, type GuestAddress } from '@remio/base';
import { allocateMemory, type GuestMemory, type Intent, type LocalMemory, type RingAhead } from '@remio/guest-memory';
import {
  MalformedMessage,
  MESSAGE_BYTES_MAX,
  MessageReader,
  MessageWriter,
  OPERATION,
  RANGE_HEAD,
  WRITE_HEAD,
} from './messages.js';
import { RangeSet } from './range-set.js';

/** What a device needs of the way to its memory. */
export interface RemoteMemoryHost {
  /** Something waits to be sent, or memory that was local is to be forgotten: {@link RemoteMemory.flush} is due. */
  due(): void;
  /** Sends a message to the memory's process: in order, each once. */
  send(message: Uint8Array): void;
}

/** What a device cost in exchanges. */
export interface RemoteCounters {
  /** Exchanges: fetches that were sent and answered, each with all that a step lacked. */
  fetches: number;
  /** Times that something was written, however much of it together. */
  writes: number;
  bytesFetched: number;
  bytesWritten: number;
}

/** Bytes written that wait for the store that tells of them: more leave on their own, to be on their way meanwhile. */
const WAITING_BYTES_MAX = 256 * 1024;
/** Most ranges of a fetch. A chain of more pieces, none of which touch, is never served. */
const RANGES_MAX = (MESSAGE_BYTES_MAX >>> 1) / RANGE_HEAD;
const RINGS_MAX = 64;

/**
 * Memory of another host as a device sees it. What a step needs and is not here is fetched in one exchange, together with
 * all that the step used before, so that it sees one moment of the memory when it runs again; after the step it is
 * forgotten. What is written leaves in order; a fetch leaves behind it, and so sees it.
 *
 * One exchange is under way at a time. What other steps lack meanwhile joins the next.
 */
export class RemoteMemory implements GuestMemory {
  readonly base: GuestAddress;
  readonly size: number;
  readonly far = true;
  onLocal: () => void = () => {};
  readonly counters: RemoteCounters = { fetches: 0, writes: 0, bytesFetched: 0, bytesWritten: 0 };
  readonly #host: RemoteMemoryHost;
  /** As much of the memory as is here. */
  readonly #mirror: LocalMemory;
  /** What this step may use. */
  readonly #local = new RangeSet();
  /** What this step asked for, whether it was here or not: starts and ends. */
  readonly #asked: number[] = [];
  readonly #rings: RingAhead[] = [];
  /** Something that was asked for is not here. */
  #lacking = false;
  /** By offset: lengths of the ranges that are held there. */
  readonly #held = new Map<number, number[]>();
  /** Of the bytes that a fetch under way will bring, those that are older than what was written or asked for since. */
  readonly #outdated = new RangeSet();
  /** The fetch under way; 0: none. */
  #fetching = 0;
  #nextFetch = 1;
  /** Replies to it that have come. */
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  /** What was written and has not left, and whether it tells the driver of something. */
  #writer = new MessageWriter();
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #telling = false;
  #storing = false;
  #open = false;

  constructor(base: GuestAddress, size: number, host: RemoteMemoryHost) {
    this.base = base;
    this.size = size;
    this.#host = host;
    this.#mirror = allocateMemory(base, size);
  }

  /** The memory's process is there, perhaps another one than before: nothing that was on its way to or from one counts. */
  open(): void {
    this.close();
    this.#open = true;
  }

  /** The memory's process is gone: what is written goes nowhere, and what is lacking does not come. */
  close(): void {
    this.#open = false;
    this.#forget();
    this.#fetching = 0;
    this.#outdated.clear();
    this.#parts = [];
    this.#partBytes = 0;
    this.#drop();
  }

  /** The step is over: sends what it wrote and asked for, and forgets what it had. */
  flush(): void {
    const fetch = this.#lacking && this.#fetching === 0 && this.#open;
    if (fetch) this.#fetch();
    if (!this.#open) this.#drop();
    const due = fetch || this.#telling || this.#waitingBytes + this.#writer.length > WAITING_BYTES_MAX;
    const messages = this.#open && due ? this.#take(fetch) : [];
    this.#forget();
    // Last: an answer may come before this returns.
    for (const message of messages) this.#host.send(message);
  }

  /** Sends what was written, whether or not it tells of something: what follows on another way must not overtake it. */
  settle(): void {
    if (this.#waitingBytes + this.#writer.length === 0 && !this.#lacking) return;
    this.#telling ||= this.#waitingBytes + this.#writer.length > 0;
    this.flush();
  }

  /**
   * Takes a message of the memory's process.
   * @returns what is wrong with it
   */
  receive(message: Uint8Array): string | undefined {
    if (!this.#open) return undefined;
    try {
      const reader = new MessageReader(message);
      const id = reader.u32();
      const last = reader.u8() === 1;
      if (id !== this.#fetching) throw new MalformedMessage(`an answer to fetch ${id}, which is not under way`);
      this.#parts.push(message);
      this.#partBytes += message.length;
      // A message of a fetch has a head for each range: no more of them than of bytes.
      if (this.#partBytes > 16 * this.size + MESSAGE_BYTES_MAX) throw new MalformedMessage('an answer without end');
      if (!last) return undefined;
      this.#install();
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      this.close();
      return error.message;
    }
    this.onLocal();
    this.#host.due();
    return undefined;
  }

  locate(address: bigint, length: number): number {
    return this.#mirror.locate(address, length);
  }

  need(offset: number, length: number, intent: Intent): boolean {
    // What is only written need not be here.
    if (intent === 'write' || length === 0 || this.#holds(offset, length)) return true;
    this.#asked.push(offset, offset + length);
    if (this.#local.covers(offset, offset + length)) return true;
    this.#lacking = true;
    this.#host.due();
    return false;
  }

  afresh(offset: number, length: number): void {
    this.#local.delete(offset, offset + length);
    if (this.#fetching !== 0) this.#outdated.add(offset, offset + length);
  }

  ahead(ring: RingAhead): void {
    if (this.#rings.length < RINGS_MAX) this.#rings.push(ring);
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.#mirror.bytes(offset, length);
  }

  written(offset: number, length: number): void {
    if (length === 0) return;
    if (this.#fetching !== 0) this.#outdated.add(offset, offset + length);
    const telling = this.#storing;
    this.#storing = false;
    this.#write(offset, length, telling);
    if (telling) this.#telling = true;
    if (telling || this.#waitingBytes > WAITING_BYTES_MAX) this.#host.due();
  }

  hold(offset: number, length: number): void {
    const lengths = this.#held.get(offset);
    if (lengths === undefined) this.#held.set(offset, [length]);
    else lengths.push(length);
  }

  release(offset: number, length: number): void {
    const lengths = this.#held.get(offset);
    const at = lengths?.indexOf(length) ?? -1;
    assert(lengths !== undefined && at >= 0, 'a range is released as often as it was held');
    lengths.splice(at, 1);
    if (lengths.length === 0) this.#held.delete(offset);
  }

  readU8(offset: number): number {
    return this.#mirror.readU8(offset);
  }
  readU16(offset: number): number {
    return this.#mirror.readU16(offset);
  }
  readU32(offset: number): number {
    return this.#mirror.readU32(offset);
  }
  readU64(offset: number): bigint {
    return this.#mirror.readU64(offset);
  }
  writeU8(offset: number, value: number): void {
    this.#mirror.writeU8(offset, value);
  }
  writeU16(offset: number, value: number): void {
    this.#mirror.writeU16(offset, value);
  }
  writeU32(offset: number, value: number): void {
    this.#mirror.writeU32(offset, value);
  }
  writeU64(offset: number, value: bigint): void {
    this.#mirror.writeU64(offset, value);
  }
  loadU16(offset: number): number {
    return this.#mirror.loadU16(offset);
  }
  storeU16(offset: number, value: number): void {
    this.#storing = true;
    this.#mirror.storeU16(offset, value);
  }
  loadU32(offset: number): number {
    return this.#mirror.loadU32(offset);
  }
  storeU32(offset: number, value: number): void {
    this.#storing = true;
    this.#mirror.storeU32(offset, value);
  }

  /** Copies what was written: what is written there later must not be seen before what it follows. */
  #write(offset: number, length: number, store: boolean): void {
    this.counters.bytesWritten += length;
    if (store && (length === 2 || length === 4) && offset % length === 0) {
      this.#room(WRITE_HEAD);
      this.#writer.u8(length === 2 ? OPERATION.STORE16 : OPERATION.STORE32);
      this.#writer.u32(offset);
      if (length === 2) this.#writer.u16(this.#mirror.loadU16(offset));
      else this.#writer.u32(this.#mirror.loadU32(offset));
      return;
    }
    for (let at = offset; at < offset + length; ) {
      this.#room(WRITE_HEAD + 1);
      const part = Math.min(offset + length - at, MESSAGE_BYTES_MAX - this.#writer.length - WRITE_HEAD);
      this.#writer.u8(OPERATION.WRITE);
      this.#writer.u32(at);
      this.#writer.u32(part);
      this.#writer.bytes(this.#mirror.bytes(at, part));
      at += part;
    }
  }

  /** Begins another message if this one has no room for so many bytes. */
  #room(bytes: number): void {
    if (this.#writer.length + bytes <= MESSAGE_BYTES_MAX) return;
    this.#waitingBytes += this.#writer.length;
    this.#waiting.push(this.#writer.take());
  }

  #fetch(): void {
    const ranges = new RangeSet();
    const asked = this.#asked;
    for (let n = 0; n < asked.length; n += 2) {
      const from = asked[n] ?? 0;
      const to = asked[n + 1] ?? 0;
      if (!this.#holds(from, to - from)) ranges.add(from, to);
    }
    const list = [...ranges].slice(0, RANGES_MAX);
    this.#fetching = this.#nextFetch;
    this.#nextFetch = (this.#nextFetch % 0xffff_ffff) + 1;
    this.#outdated.clear();
    this.#room(16 + RANGE_HEAD * list.length + 16 * this.#rings.length);
    const writer = this.#writer;
    writer.u8(OPERATION.FETCH);
    writer.u32(this.#fetching);
    writer.u32(list.length);
    for (const [from, to] of list) {
      writer.u32(from);
      writer.u32(to - from);
    }
    writer.u8(this.#rings.length);
    for (const ring of this.#rings) writer.ring(ring);
  }

  /** What is to be sent. */
  #take(fetch: boolean): readonly Uint8Array[] {
    if (fetch) this.counters.fetches += 1;
    if (this.#telling || this.#waiting.length > 0) this.counters.writes += 1;
    const messages = this.#waiting.splice(0);
    if (this.#writer.length > 0) messages.push(this.#writer.take());
    this.#waitingBytes = 0;
    this.#telling = false;
    return messages;
  }

  /** What was written goes nowhere. */
  #drop(): void {
    this.#writer.clear();
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.#telling = false;
  }

  /** Takes the bytes of a fetch, but for those that are outdated. */
  #install(): void {
    for (const part of this.#parts) {
      const reader = new MessageReader(part);
      reader.u32();
      reader.u8();
      while (!reader.done) {
        const offset = reader.u32();
        const length = reader.u32();
        if (offset > this.size || length > this.size - offset) throw new MalformedMessage('bytes outside the memory');
        const bytes = reader.bytes(length);
        this.counters.bytesFetched += length;
        for (const [from, to] of this.#outdated.outside(offset, offset + length)) {
          this.#mirror.bytes(from, to - from).set(bytes.subarray(from - offset, to - offset));
          this.#local.add(from, to);
        }
      }
    }
    this.#parts = [];
    this.#partBytes = 0;
    this.#fetching = 0;
    this.#outdated.clear();
  }

  #forget(): void {
    this.#local.clear();
    this.#asked.length = 0;
    this.#rings.length = 0;
    this.#lacking = false;
  }

  #holds(offset: number, length: number): boolean {
    return this.#held.get(offset)?.some((held) => held >= length) === true;
  }
}
