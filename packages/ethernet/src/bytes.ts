/** Bytes of all parts together. */
export const lengthOf = (parts: readonly Uint8Array[]): number => {
  let length = 0;
  for (const part of parts) length += part.length;
  return length;
};

/** Bytes `from` to `to` of a list of parts, without a copy. */
export function part(parts: readonly Uint8Array[], from: number, to: number): readonly Uint8Array[] {
  const found: Uint8Array[] = [];
  let start = 0;
  for (const bytes of parts) {
    const end = start + bytes.length;
    if (end > from && start < to)
      found.push(bytes.subarray(Math.max(0, from - start), Math.min(bytes.length, to - start)));
    if (end >= to) break;
    start = end;
  }
  return found;
}

/** A position in a list of parts, which moves on as bytes are copied. */
export class Cursor {
  readonly #parts: readonly Uint8Array[];
  #part = 0;
  #at = 0;

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
  }

  /**
   * Copies from `source` to where the cursor stands.
   * @returns bytes copied; fewer than given where the parts end
   */
  put(source: Uint8Array): number {
    let copied = 0;
    for (let room = this.#room(); room !== undefined && copied < source.length; room = this.#room()) {
      const take = Math.min(room.length - this.#at, source.length - copied);
      room.set(copied === 0 && take === source.length ? source : source.subarray(copied, copied + take), this.#at);
      this.#at += take;
      copied += take;
    }
    return copied;
  }

  /**
   * Copies from where the cursor stands to `target`.
   * @returns bytes copied
   */
  get(target: Uint8Array): number {
    let copied = 0;
    for (let part = this.#room(); part !== undefined && copied < target.length; part = this.#room()) {
      const take = Math.min(part.length - this.#at, target.length - copied);
      target.set(part.subarray(this.#at, this.#at + take), copied);
      this.#at += take;
      copied += take;
    }
    return copied;
  }

  /** The part that the cursor stands in, if bytes of it are left. */
  #room(): Uint8Array | undefined {
    for (;;) {
      const part = this.#parts[this.#part];
      if (part === undefined || this.#at < part.length) return part;
      this.#part += 1;
      this.#at = 0;
    }
  }
}

/** The first bytes of `parts`, at most as many as `target` has; returns how many. */
export const peek = (parts: readonly Uint8Array[], target: Uint8Array): number => new Cursor(parts).get(target);

/** Big-endian numbers, as networks have them; bytes that are not there read as 0. */
export const be16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
export const be32 = (bytes: Uint8Array, at: number): number => be16(bytes, at) * 0x1_0000 + be16(bytes, at + 2);

export const putBe16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = (value >>> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
};

export const putBe32 = (bytes: Uint8Array, at: number, value: number): void => {
  putBe16(bytes, at, Math.floor(value / 0x1_0000) & 0xffff);
  putBe16(bytes, at + 2, value & 0xffff);
};
