/** What is wrong with a frame. */
export class MalformedFrame extends Error {
  override readonly name = 'MalformedFrame';
}

/** Bytes that a frame may have: more is neither sent nor decoded. */
export const FRAME_BYTES_MAX = 1 << 20;

/** Bytes of the longest frame that {@link FrameWriter.transient} does not copy. */
export const TRANSIENT_BYTES_MAX = 128;

/**
 * The one buffer that frames of records are written to and read from: a view onto each frame would cost more than the
 * frame's own fields.
 */
const scratch = Buffer.alloc(FRAME_BYTES_MAX);
/** The same bytes without Buffer's prototype, whose methods are looked up anew at each call. */
const plain = new Uint8Array(scratch.buffer, scratch.byteOffset, scratch.length);
const view = new DataView(scratch.buffer, scratch.byteOffset, scratch.length);

/** The first bytes of the buffer as frames of every short length: making a view costs more than writing the frame. */
const heads: readonly Buffer[] = Array.from({ length: TRANSIENT_BYTES_MAX + 1 }, (_, length) =>
  scratch.subarray(0, length),
);

const WORD = 2 ** 32;

/** Where a 64-bit value is put together and taken apart: a DataView does so in a call into the engine. */
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);

/** Values that registers have most of the time, made once. */
const SMALL: readonly bigint[] = Array.from({ length: 256 }, (_, value) => BigInt(value));

/** Writes one frame, little-endian. */
export class FrameWriter {
  #at = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#at;
  }

  u8(value: number): void {
    view.setUint8(this.#at, value);
    this.#at += 1;
  }

  u32(value: number): void {
    view.setUint32(this.#at, value, true);
    this.#at += 4;
  }

  u64(value: bigint): void {
    whole[0] = value;
    this.u32(halves[0] ?? 0);
    this.u32(halves[1] ?? 0);
  }

  /** A counter or a time: an integer from 0 to 2^53-1, in 8 bytes. */
  count(value: number): void {
    this.u32(value % WORD);
    this.u32(Math.floor(value / WORD));
  }

  /** A text: its length in bytes as 32 bits, then UTF-8. */
  text(value: string): void {
    const bytes = Buffer.from(value);
    this.u32(bytes.length);
    plain.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Bytes: their number as 32 bits, then they. */
  blob(bytes: Uint8Array): void {
    this.u32(bytes.length);
    plain.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** The frame, in memory of its own; the writer begins anew. */
  take(): Buffer {
    const frame = Buffer.from(scratch.subarray(0, this.#at));
    this.#at = 0;
    return frame;
  }

  /** The frame; a short one is overwritten by whatever is written or read next. */
  transient(): Buffer {
    const short = heads[this.#at];
    if (short === undefined) return this.take();
    this.#at = 0;
    return short;
  }
}

/** Reads one frame. Every read is checked against the frame's end. */
export class FrameReader {
  #at = 0;
  #end = 0;

  /** @throws MalformedFrame if it is too long */
  open(bytes: Uint8Array): void {
    const { length } = bytes;
    if (length > FRAME_BYTES_MAX) throw new MalformedFrame(`a frame of ${length} bytes`);
    // For few bytes, a call of the engine costs more than they do.
    if (length > TRANSIENT_BYTES_MAX) plain.set(bytes);
    else for (let n = 0; n < length; n += 1) plain[n] = bytes[n] ?? 0;
    this.#at = 0;
    this.#end = length;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  u8(): number {
    return view.getUint8(this.#skip(1));
  }

  u32(): number {
    return view.getUint32(this.#skip(4), true);
  }

  u64(): bigint {
    const start = this.#skip(8);
    const low = view.getUint32(start, true);
    const high = view.getUint32(start + 4, true);
    if (high === 0 && low < SMALL.length) return SMALL[low] ?? 0n;
    halves[0] = low;
    halves[1] = high;
    return whole[0] ?? 0n;
  }

  count(): number {
    const low = this.u32();
    const high = this.u32();
    if (high >= 1 << 21) throw new MalformedFrame('a counter above 2^53-1');
    return high * WORD + low;
  }

  text(lengthMax: number): string {
    const length = this.u32();
    if (length > lengthMax) throw new MalformedFrame(`a text of ${length} bytes`);
    const start = this.#skip(length);
    return scratch.toString('utf8', start, start + length);
  }

  /** Bytes, in memory of their own. */
  blob(lengthMax: number): Uint8Array {
    const length = this.u32();
    if (length > lengthMax) throw new MalformedFrame(`${length} bytes, where ${lengthMax} is the most`);
    const start = this.#skip(length);
    return plain.slice(start, start + length);
  }

  #skip(bytes: number): number {
    const start = this.#at;
    this.#at = start + bytes;
    if (this.#at > this.#end) throw new MalformedFrame('the frame ends within a field');
    return start;
  }
}
