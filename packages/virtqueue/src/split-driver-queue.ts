import { ok, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  DESC_ADDR,
  DESC_FLAGS,
  DESC_LEN,
  DESC_NEXT,
  DESC_SIZE,
  hasFeature,
  USED_ELEMENT_SIZE,
  USED_FLAGS,
  USED_IDX,
  USED_RING,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '@remio/virtio-spec';
import { IndirectTables } from './indirect-tables.js';
import { type EndedRequest, Outstanding } from './outstanding.js';
import { distance, locateSplitAreas, needsEvent, type SplitAreas } from './split-layout.js';
import type { DriverQueue, GuestBuffer, QueueConfig, QueueError, UsedElement } from './types.js';

/**
 * The driver side of a split virtqueue (2.7). The device is not trusted: which descriptors a chain has, whose it is and
 * how much may be written is kept here and never read back from shared memory.
 */
export class SplitDriverQueue<Token> implements DriverQueue<Token> {
  readonly size: number;
  onPublish: () => void = () => {};
  readonly #memory: GuestMemory;
  readonly #areas: SplitAreas;
  readonly #eventIdx: boolean;
  readonly #inOrder: boolean;
  /** Offset of the indirect tables, if there are any. */
  readonly #tablesAt: number | undefined;
  #tables: IndirectTables | undefined;
  readonly #requests = new Outstanding<Token>();
  /** Private copy of `next`: the free list, and the links of chains in flight. In order, it is never changed. */
  readonly #next: Uint16Array;
  /** Ended by an element that stood for several requests, and not fetched yet. */
  readonly #ended: EndedRequest<Token>[] = [];
  #firstFree = 0;
  #free = 0;
  #availIdx = 0;
  /** Available index that the device was told last. */
  #published = 0;
  #lastUsed = 0;
  #error: QueueError | undefined;
  #returned = 0;

  private constructor(
    memory: GuestMemory,
    config: QueueConfig,
    areas: SplitAreas,
    features: bigint,
    tablesAt: number | undefined,
  ) {
    this.size = config.size;
    this.#memory = memory;
    this.#areas = areas;
    this.#eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
    this.#inOrder = hasFeature(features, VIRTIO_F_IN_ORDER);
    this.#tablesAt = tablesAt;
    this.#next = new Uint16Array(config.size);
    this.#start();
  }

  /**
   * Prepares a queue in memory; the device does not know it yet.
   * @param tablesAt offset of the memory for indirect tables, if they were negotiated
   */
  static create<Token>(
    memory: GuestMemory,
    config: QueueConfig,
    features: bigint,
    tablesAt?: number,
  ): Result<SplitDriverQueue<Token>, QueueError> {
    const areas = locateSplitAreas(memory, config);
    return areas.ok ? ok(new SplitDriverQueue<Token>(memory, config, areas.value, features, tablesAt)) : areas;
  }

  get free(): number {
    return this.#free;
  }

  get inFlight(): number {
    return this.#requests.count;
  }

  get error(): QueueError | undefined {
    return this.#error;
  }

  get returned(): number {
    return this.#returned;
  }

  /** How often the device claimed to have written more than it was given room for (2.7.8.2). */
  get clamped(): number {
    return this.#requests.clamped;
  }

  get notificationData(): number {
    return this.#published;
  }

  add(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[], token: Token): boolean {
    if (readable.length + writable.length === 0 || this.#error !== undefined) return false;
    const room = writable.reduce((sum, { length }) => sum + length, 0);
    const head = this.#firstFree;
    const filled = this.#tables?.fill(readable, writable, this.#free);
    if (filled !== undefined) {
      const { buffer, table } = filled;
      this.#describe(head, buffer, VIRTQ_DESC_F_INDIRECT, 0);
      this.#firstFree = this.#next[head] ?? 0;
      this.#free -= 1;
      this.#requests.add(head, { token, room, descriptors: 1, table });
    } else {
      const descriptors = readable.length + writable.length;
      if (descriptors > this.#free) return false;
      this.#chain(readable, writable);
      this.#requests.add(head, { token, room, descriptors, table: undefined });
    }
    this.#memory.storeU16(this.#areas.avail + AVAIL_RING + 2 * (this.#availIdx & (this.size - 1)), head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    return true;
  }

  publish(): boolean {
    const before = this.#published;
    if (before === this.#availIdx) return false;
    const { avail, used } = this.#areas;
    this.#requests.publish();
    this.onPublish();
    // 2.7.13.3: the entries are visible before the index, and the index before the device's wish is read.
    this.#memory.storeU16(avail + AVAIL_IDX, this.#availIdx);
    this.#published = this.#availIdx;
    if (this.#eventIdx) {
      const event = this.#memory.loadU16(used + USED_RING + USED_ELEMENT_SIZE * this.size);
      return needsEvent(event, this.#availIdx, before);
    }
    return (this.#memory.loadU16(used + USED_FLAGS) & VIRTQ_USED_F_NO_NOTIFY) === 0;
  }

  popUsed(): UsedElement<Token> {
    if (this.#error !== undefined) return { kind: 'broken', error: this.#error };
    const earlier = this.#ended.shift();
    if (earlier !== undefined) {
      this.#returned += 1;
      return { kind: 'used', token: earlier.token, written: earlier.written };
    }
    const { used } = this.#areas;
    const ready = distance(this.#memory.loadU16(used + USED_IDX), this.#lastUsed);
    if (ready === 0) return { kind: 'empty' };
    const { published } = this.#requests;
    if (ready > published) return this.#break('used-idx', '2.7.8', `${ready} used elements, ${published} in flight`);
    const element = used + USED_RING + USED_ELEMENT_SIZE * (this.#lastUsed & (this.size - 1));
    const head = this.#memory.readU32(element);
    const claimed = this.#memory.readU32(element + 4);
    const ended = this.#requests.end(head, claimed, this.size, this.#inOrder ? ready : undefined);
    if (!ended.ok) {
      const { code, detail } = ended.error;
      return this.#break(code, code === 'used-order' ? '2.7.9' : '2.7.8', detail);
    }
    for (const { descriptors, table } of ended.value) {
      this.#recycle(head, descriptors);
      if (table !== undefined) this.#tables?.give(table);
    }
    this.#lastUsed = (this.#lastUsed + ended.value.length) & 0xffff;
    this.#ended.push(...ended.value);
    return this.popUsed();
  }

  setInterrupts(wanted: boolean, after = 1): boolean {
    const { avail, used } = this.#areas;
    if (this.#eventIdx) {
      // An event index just behind what was seen is crossed only after 2^16 more elements: never, in flight.
      const ahead = wanted ? Math.max(0, Math.min(after, this.#requests.published) - 1) : -1;
      this.#memory.storeU16(avail + AVAIL_RING + 2 * this.size, (this.#lastUsed + ahead) & 0xffff);
    } else {
      this.#memory.storeU16(avail + AVAIL_FLAGS, wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    return this.#ended.length > 0 || this.#memory.loadU16(used + USED_IDX) !== this.#lastUsed;
  }

  restart(): readonly Token[] {
    const tokens = [...this.#ended.splice(0).map(({ token }) => token), ...this.#requests.clear()];
    this.#start();
    return tokens;
  }

  /** The state of a queue that the device does not know yet, here and in memory. */
  #start(): void {
    const { size } = this;
    const memory = this.#memory;
    const { avail, used } = this.#areas;
    // 2.7.5: in order, descriptors are used round and round; otherwise the list has an end that is never reached.
    for (let n = 0; n < size; n += 1) this.#next[n] = (n + 1) & (size - 1);
    this.#firstFree = 0;
    this.#free = size;
    this.#availIdx = 0;
    this.#published = 0;
    this.#lastUsed = 0;
    this.#error = undefined;
    this.#tables = this.#tablesAt === undefined ? undefined : new IndirectTables(memory, this.#tablesAt, size, false);
    memory.storeU16(avail + AVAIL_FLAGS, 0);
    memory.storeU16(avail + AVAIL_IDX, 0);
    memory.storeU16(used + USED_FLAGS, 0);
    memory.storeU16(used + USED_IDX, 0);
    memory.storeU16(avail + AVAIL_RING + 2 * size, 0);
    memory.storeU16(used + USED_RING + USED_ELEMENT_SIZE * size, 0);
  }

  /** Writes a chain into free descriptors, in the order of the free list. */
  #chain(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[]): void {
    let left = readable.length + writable.length;
    let index = this.#firstFree;
    this.#free -= left;
    for (const [buffers, flag] of [
      [readable, 0],
      [writable, VIRTQ_DESC_F_WRITE],
    ] as const) {
      for (const buffer of buffers) {
        left -= 1;
        const next = this.#next[index] ?? 0;
        this.#describe(index, buffer, flag | (left > 0 ? VIRTQ_DESC_F_NEXT : 0), left > 0 ? next : 0);
        index = next;
      }
    }
    this.#firstFree = index;
  }

  #describe(index: number, { address, length }: GuestBuffer, flags: number, next: number): void {
    const at = this.#areas.descriptors + DESC_SIZE * index;
    this.#memory.writeU64(at + DESC_ADDR, address);
    this.#memory.writeU32(at + DESC_LEN, length);
    this.#memory.writeU16(at + DESC_FLAGS, flags);
    this.#memory.writeU16(at + DESC_NEXT, next);
  }

  #recycle(head: number, count: number): void {
    this.#free += count;
    // In order, the descriptors that are free follow those in flight, round and round.
    if (this.#inOrder) return;
    let last = head;
    for (let n = 1; n < count; n += 1) last = this.#next[last] ?? 0;
    this.#next[last] = this.#firstFree;
    this.#firstFree = head;
  }

  #break(code: string, clause: string, detail: string): { readonly kind: 'broken'; readonly error: QueueError } {
    this.#error = { code, clause, detail };
    return { kind: 'broken', error: this.#error };
  }
}
