/** Bytes that came in chunks and are taken in other pieces. */
export class ChunkQueue {
  readonly #chunks: Uint8Array[] = [];
  /** Bytes of the oldest chunk that were taken. */
  #at = 0;
  #length = 0;

  /** Bytes that are there. */
  get length(): number {
    return this.#length;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  /** Takes as many bytes as there are and have room. */
  read(room: Uint8Array): number {
    let filled = 0;
    while (filled < room.length) {
      const [chunk] = this.#chunks;
      if (chunk === undefined) break;
      const count = Math.min(room.length - filled, chunk.length - this.#at);
      room.set(chunk.subarray(this.#at, this.#at + count), filled);
      filled += count;
      this.#at += count;
      if (this.#at < chunk.length) break;
      this.#chunks.shift();
      this.#at = 0;
    }
    this.#length -= filled;
    return filled;
  }
}
