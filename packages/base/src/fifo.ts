/**
 * A first-in, first-out queue that keeps its memory. An array that is emptied by `shift` or `length = 0` gives its memory
 * back, so a queue that is mostly empty allocates with every `push`; the hot path has several of them.
 */
export class Fifo<T> implements Iterable<T> {
  readonly #items: (T | undefined)[] = [];
  #head = 0;
  #tail = 0;

  get length(): number {
    return this.#tail - this.#head;
  }

  /** The item that {@link shift} takes next; undefined if there is none. */
  get oldest(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items[this.#tail] = item;
    this.#tail += 1;
  }

  /** Takes the oldest item; undefined if there is none. */
  shift(): T | undefined {
    if (this.#head === this.#tail) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
    } else if (this.#head >= GAP_MAX && this.#head >= this.length) this.#close();
    return item;
  }

  includes(item: T): boolean {
    return this.#find(item) >= 0;
  }

  /**
   * Takes an item out, wherever it is.
   * @returns where it was, counted from the oldest; -1 if it is not there
   */
  remove(item: T): number {
    const at = this.#find(item);
    if (at < 0) return -1;
    const position = at - this.#head;
    if (position === 0) {
      this.shift();
      return 0;
    }
    const items = this.#items;
    this.#tail -= 1;
    // By hand: `copyWithin` of an array asks the engine for every item.
    for (let to = at; to < this.#tail; to += 1) items[to] = items[to + 1];
    items[this.#tail] = undefined;
    return position;
  }

  clear(): void {
    this.#items.fill(undefined, this.#head, this.#tail);
    this.#head = 0;
    this.#tail = 0;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let at = this.#head; at < this.#tail; at += 1) yield this.#items[at] as T;
  }

  #find(item: T): number {
    for (let at = this.#head; at < this.#tail; at += 1) if (this.#items[at] === item) return at;
    return -1;
  }

  /** Moves the items to the beginning: a queue that is never empty does not grow without end. */
  #close(): void {
    const items = this.#items;
    const { length } = this;
    for (let to = 0; to < length; to += 1) items[to] = items[this.#head + to];
    items.fill(undefined, length, this.#tail);
    this.#head = 0;
    this.#tail = length;
  }
}

/** Places before the oldest item that are not worth moving the others for. */
const GAP_MAX = 64;
