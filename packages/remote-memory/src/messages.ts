import type { RingAhead } from '@remio/guest-memory';

/**
 * What a device's process and the process that has its memory say to each other (docs/wire-protocol.md): a request is a
 * row of operations, applied in order; a reply is what one fetch brought. Little-endian, without padding.
 */
export const OPERATION = {
  /** n offset, n length, the bytes. */
  WRITE: 1,
  /** n offset, 16 bits: one store, seen whole, after everything before it and before everything behind it. */
  STORE16: 2,
  /** n offset, 32 bits. */
  STORE32: 3,
  /** n id, n count of ranges, for each n offset and n length, b count of rings, for each a ring. */
  FETCH: 4,
} as const;

/** Rings by number: b layout, n size, n offset of the Descriptor Area, n of the Driver Area, 16 bits where to go on. */
export const LAYOUTS = ['split', 'packed'] as const;

/** Bytes of a message: what is longer travels as several. */
export const MESSAGE_BYTES_MAX = 64 * 1024;

/** Bytes of a reply's head: n id, b whether it is the last of its fetch. */
export const REPLY_HEAD = 5;
/** Bytes before those of a range in a reply: n offset, n length. */
export const RANGE_HEAD = 8;
/** Bytes before those of a write. */
export const WRITE_HEAD = 9;

/** A message that is none. */
export class MalformedMessage extends Error {
  override readonly name = 'MalformedMessage';
}

/** Fills messages. What does not fit begins another: {@link room} says how much does. */
export class MessageWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  u8(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  bytes(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  ring({ layout, size, descriptors, driver, next }: RingAhead): void {
    this.u8(LAYOUTS.indexOf(layout));
    this.u32(size);
    this.u32(descriptors);
    this.u32(driver);
    this.u16(next);
  }

  /** The message, in memory of its own; the writer begins anew. */
  take(): Uint8Array {
    const message = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    return message;
  }

  clear(): void {
    this.#at = 0;
  }

  #grow(count: number): number {
    const at = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Reads a message. Every read is checked against its end. */
export class MessageReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#skip(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  /** No copy. */
  bytes(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  ring(): RingAhead {
    const layout = LAYOUTS[this.u8()];
    if (layout === undefined) throw new MalformedMessage('a ring that is neither split nor packed');
    return { layout, size: this.u32(), descriptors: this.u32(), driver: this.u32(), next: this.u16() };
  }

  #skip(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw new MalformedMessage('the message ends within a field');
    this.#at = at + count;
    return at;
  }
}
