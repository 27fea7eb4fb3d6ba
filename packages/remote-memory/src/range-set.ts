/** A set of bytes, by offset, as ranges that neither overlap nor touch. */
export class RangeSet {
  /** Starts and ends, in order: of an even number of positions, every other one is a start. */
  readonly #edges: number[] = [];

  get empty(): boolean {
    return this.#edges.length === 0;
  }

  clear(): void {
    this.#edges.length = 0;
  }

  add(from: number, to: number): void {
    if (from >= to) return;
    const edges = this.#edges;
    // Ranges that touch become one.
    const first = this.#lower(from);
    const last = this.#upper(to);
    const start = first % 2 === 1 ? [] : [from];
    const end = last % 2 === 1 ? [] : [to];
    edges.splice(first, last - first, ...start, ...end);
  }

  delete(from: number, to: number): void {
    if (from >= to) return;
    const first = this.#lower(from);
    const last = this.#upper(to);
    const start = first % 2 === 1 ? [from] : [];
    const end = last % 2 === 1 ? [to] : [];
    this.#edges.splice(first, last - first, ...start, ...end);
  }

  /** Whether every byte of the range is in the set; an empty range is. */
  covers(from: number, to: number): boolean {
    if (from >= to) return true;
    const first = this.#upper(from);
    return first % 2 === 1 && (this.#edges[first] ?? 0) >= to;
  }

  /** The ranges, in order. */
  *[Symbol.iterator](): Generator<readonly [from: number, to: number]> {
    for (let n = 0; n + 1 < this.#edges.length; n += 2) yield [this.#edges[n] ?? 0, this.#edges[n + 1] ?? 0];
  }

  /** The parts of a range that are not in the set, in order. */
  *outside(from: number, to: number): Generator<readonly [from: number, to: number]> {
    let at = from;
    for (let n = this.#upper(from) & ~1; at < to && n + 1 < this.#edges.length; n += 2) {
      const start = this.#edges[n] ?? to;
      if (start >= to) break;
      if (start > at) yield [at, start];
      at = Math.max(at, this.#edges[n + 1] ?? to);
    }
    if (at < to) yield [at, to];
  }

  /** Index of the first edge that is not below `value`. */
  #lower(value: number): number {
    return this.#search((edge) => edge >= value);
  }

  /** Index of the first edge above `value`. */
  #upper(value: number): number {
    return this.#search((edge) => edge > value);
  }

  #search(found: (edge: number) => boolean): number {
    let low = 0;
    let high = this.#edges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (found(this.#edges[middle] ?? 0)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
