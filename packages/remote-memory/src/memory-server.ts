import type { GuestMemory, RingAhead } from '@remio/guest-memory';
import {
  MalformedMessage,
  MESSAGE_BYTES_MAX,
  MessageReader,
  MessageWriter,
  OPERATION,
  RANGE_HEAD,
  REPLY_HEAD,
} from './messages.js';
import { RangeSet } from './range-set.js';
import { walkRing } from './ring-walk.js';

/** Most rings that one fetch follows. */
const RINGS_MAX = 64;

/** What a server did. */
export interface ServerCounters {
  requests: number;
  fetches: number;
  bytesWritten: number;
  bytesRead: number;
}

/**
 * Stands for memory where the memory is: in the process of the driver. Carries out requests of the device's process one
 * after another, each at once, so that the driver sees all of a request or nothing, and never a part out of order.
 *
 * Whatever a request says, only bytes of this memory are read or written, and the work is bounded by its length and by
 * the memory's size. A request that makes no sense is the last one that is heeded.
 */
export class MemoryServer {
  readonly counters: ServerCounters = { requests: 0, fetches: 0, bytesWritten: 0, bytesRead: 0 };
  readonly #memory: GuestMemory;
  readonly #writer = new MessageWriter();
  #broken = false;

  /** @param memory the device's region, in this process */
  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** Another process has the device now: it starts afresh. */
  restart(): void {
    this.#broken = false;
  }

  /**
   * Carries a request out.
   * @param reply sends a message back
   * @returns what is wrong with it, once: nothing more of this process is heeded
   */
  handle(request: Uint8Array, reply: (message: Uint8Array) => void): string | undefined {
    if (this.#broken) return undefined;
    this.counters.requests += 1;
    try {
      const reader = new MessageReader(request);
      while (!reader.done) this.#carryOut(reader, reply);
      return undefined;
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      this.#broken = true;
      return error.message;
    }
  }

  #carryOut(reader: MessageReader, reply: (message: Uint8Array) => void): void {
    const memory = this.#memory;
    const operation = reader.u8();
    switch (operation) {
      case OPERATION.WRITE: {
        const offset = reader.u32();
        const length = reader.u32();
        this.#check(offset, length, 1);
        memory.bytes(offset, length).set(reader.bytes(length));
        this.counters.bytesWritten += length;
        return;
      }
      case OPERATION.STORE16: {
        const offset = reader.u32();
        this.#check(offset, 2, 2);
        memory.storeU16(offset, reader.u16());
        this.counters.bytesWritten += 2;
        return;
      }
      case OPERATION.STORE32: {
        const offset = reader.u32();
        this.#check(offset, 4, 4);
        memory.storeU32(offset, reader.u32());
        this.counters.bytesWritten += 4;
        return;
      }
      case OPERATION.FETCH:
        this.#fetch(reader, reply);
        return;
      default:
        throw new MalformedMessage(`operation ${operation}, which there is not`);
    }
  }

  #fetch(reader: MessageReader, reply: (message: Uint8Array) => void): void {
    const id = reader.u32();
    const count = reader.u32();
    if (count * RANGE_HEAD > reader.left) throw new MalformedMessage(`${count} ranges in ${reader.left} bytes`);
    const ranges = new RangeSet();
    for (let n = 0; n < count; n += 1) {
      const offset = reader.u32();
      const length = reader.u32();
      this.#check(offset, length, 1);
      ranges.add(offset, offset + length);
    }
    const rings: RingAhead[] = [];
    for (let left = reader.u8(); left > 0; left -= 1) rings.push(reader.ring());
    if (rings.length > RINGS_MAX) throw new MalformedMessage(`${rings.length} rings at once`);
    for (const ring of rings) walkRing(this.#memory, ring, ranges);
    this.counters.fetches += 1;
    this.#answer(id, ranges, reply);
  }

  /** Sends the bytes of the ranges, in as many messages as it takes. */
  #answer(id: number, ranges: RangeSet, reply: (message: Uint8Array) => void): void {
    const writer = this.#writer;
    const begin = (last: boolean): void => {
      writer.u32(id);
      writer.u8(last ? 1 : 0);
    };
    // Whether a message is the last is known only when the next begins: its mark is set then.
    let waiting: Uint8Array | undefined;
    const close = (): void => {
      if (waiting !== undefined) reply(waiting);
      waiting = writer.take();
    };
    begin(false);
    for (const [from, to] of ranges) {
      for (let at = from; at < to; ) {
        if (writer.length + RANGE_HEAD + 1 > MESSAGE_BYTES_MAX) {
          close();
          begin(false);
        }
        const part = Math.min(to - at, MESSAGE_BYTES_MAX - writer.length - RANGE_HEAD);
        writer.u32(at);
        writer.u32(part);
        writer.bytes(this.#memory.bytes(at, part));
        this.counters.bytesRead += part;
        at += part;
      }
    }
    close();
    if (waiting === undefined) return;
    waiting[REPLY_HEAD - 1] = 1;
    reply(waiting);
  }

  #check(offset: number, length: number, align: number): void {
    const { size } = this.#memory;
    if (offset > size || length > size - offset || offset % align !== 0) {
      throw new MalformedMessage(`${length} bytes at offset ${offset} of ${size}`);
    }
  }
}
