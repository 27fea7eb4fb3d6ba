/** Something that happens at a time. */
export interface WorldEvent {
  /** Nanoseconds of virtual time, a whole number. */
  readonly time: number;
  /** Order of events of one time: that in which they were asked for. */
  readonly order: number;
  readonly happen: () => void;
}

const before = (a: WorldEvent, b: WorldEvent): boolean => a.time < b.time || (a.time === b.time && a.order < b.order);

/** Events by time, and by the order in which they were asked for: a binary heap. */
export class EventQueue {
  readonly #heap: WorldEvent[] = [];
  #next = 0;

  add(time: number, happen: () => void): void {
    const event: WorldEvent = { time, order: this.#next, happen };
    this.#next += 1;
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const other = heap[parent];
      if (other === undefined || before(other, event)) break;
      heap[at] = other;
      at = parent;
    }
    heap[at] = event;
  }

  /** Takes the earliest event. */
  take(): WorldEvent | undefined {
    const heap = this.#heap;
    const [first] = heap;
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let lower = heap[child];
      if (lower === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, lower)) {
        child += 1;
        lower = right;
      }
      if (before(last, lower)) break;
      heap[at] = lower;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
