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

  /**
   * Gives bytes to a sink, in order, until it takes no more.
   * @param sink takes as many of the bytes as it can
   */
  drain(sink: (bytes: Uint8Array) => number): void {
    for (;;) {
      const [chunk] = this.#chunks;
      if (chunk === undefined) return;
      const count = sink(chunk.subarray(this.#at));
      this.#at += count;
      this.#length -= count;
      if (this.#at < chunk.length) return;
      this.#chunks.shift();
      this.#at = 0;
    }
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
