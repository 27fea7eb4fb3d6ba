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
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '@remio/virtio-spec';
import { distance, locateSplitAreas, needsEvent, type SplitAreas } from './split-layout.js';
import type { DriverQueue, GuestBuffer, QueueConfig, QueueError, UsedElement } from './types.js';

/** End of the free list. */
const NONE = 0xffff;

/**
 * The driver side of a split virtqueue (2.7). The device is not trusted: which descriptors a chain has, whose it is and
 * how much may be written is kept here and never read back from shared memory.
 */
export class SplitDriverQueue<Token> implements DriverQueue<Token> {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #areas: SplitAreas;
  readonly #eventIdx: boolean;
  /** Private copy of `next`: the free list, and the links of chains in flight. */
  readonly #next: Uint16Array;
  /** By head: descriptors of the chain; 0 for a head that is not in flight. */
  readonly #length: Uint16Array;
  readonly #writable: Float64Array;
  readonly #tokens: (Token | undefined)[];
  #firstFree = 0;
  #free: number;
  #inFlight = 0;
  #availIdx = 0;
  /** Available index that the device was told last. */
  #published = 0;
  #lastUsed = 0;
  #clamped = 0;
  #error: QueueError | undefined;

  private constructor(memory: GuestMemory, config: QueueConfig, areas: SplitAreas, features: bigint) {
    const { size } = config;
    this.size = size;
    this.#memory = memory;
    this.#areas = areas;
    this.#eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
    this.#next = Uint16Array.from({ length: size }, (_, n) => (n + 1 < size ? n + 1 : NONE));
    this.#length = new Uint16Array(size);
    this.#writable = new Float64Array(size);
    this.#tokens = Array.from({ length: size }, () => undefined);
    this.#free = size;
    memory.storeU16(areas.avail + AVAIL_FLAGS, 0);
    memory.storeU16(areas.avail + AVAIL_IDX, 0);
    memory.storeU16(areas.used + USED_FLAGS, 0);
    memory.storeU16(areas.used + USED_IDX, 0);
    memory.storeU16(areas.avail + AVAIL_RING + 2 * size, 0);
    memory.storeU16(areas.used + USED_RING + USED_ELEMENT_SIZE * size, 0);
  }

  /** Prepares a queue in memory; the device does not know it yet. */
  static create<Token>(
    memory: GuestMemory,
    config: QueueConfig,
    features: bigint,
  ): Result<SplitDriverQueue<Token>, QueueError> {
    const areas = locateSplitAreas(memory, config);
    return areas.ok ? ok(new SplitDriverQueue<Token>(memory, config, areas.value, features)) : areas;
  }

  get free(): number {
    return this.#free;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get error(): QueueError | undefined {
    return this.#error;
  }

  /** How often the device claimed to have written more than it was given room for (2.7.8.2). */
  get clamped(): number {
    return this.#clamped;
  }

  add(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[], token: Token): boolean {
    const count = readable.length + writable.length;
    if (count === 0 || count > this.#free || this.#error !== undefined) return false;
    const head = this.#firstFree;
    let index = head;
    let room = 0;
    let left = count;
    const { descriptors, avail } = this.#areas;
    for (const [buffers, flag] of [
      [readable, 0],
      [writable, VIRTQ_DESC_F_WRITE],
    ] as const) {
      for (const { address, length } of buffers) {
        left -= 1;
        const at = descriptors + DESC_SIZE * index;
        const next = this.#next[index] ?? NONE;
        this.#memory.writeU64(at + DESC_ADDR, address);
        this.#memory.writeU32(at + DESC_LEN, length);
        this.#memory.writeU16(at + DESC_FLAGS, flag | (left > 0 ? VIRTQ_DESC_F_NEXT : 0));
        this.#memory.writeU16(at + DESC_NEXT, left > 0 ? next : 0);
        if (flag !== 0) room += length;
        index = next;
      }
    }
    this.#firstFree = index;
    this.#free -= count;
    this.#inFlight += 1;
    this.#length[head] = count;
    this.#writable[head] = room;
    this.#tokens[head] = token;
    this.#memory.storeU16(avail + AVAIL_RING + 2 * (this.#availIdx & (this.size - 1)), head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
    return true;
  }

  publish(): boolean {
    const before = this.#published;
    if (before === this.#availIdx) return false;
    const { avail, used } = this.#areas;
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
    const { used } = this.#areas;
    const ready = distance(this.#memory.loadU16(used + USED_IDX), this.#lastUsed);
    if (ready === 0) return { kind: 'empty' };
    if (ready > this.#inFlight) return this.#break('used-idx', `${ready} used elements, ${this.#inFlight} in flight`);
    const element = used + USED_RING + USED_ELEMENT_SIZE * (this.#lastUsed & (this.size - 1));
    const head = this.#memory.loadU32(element);
    const claimed = this.#memory.loadU32(element + 4);
    if (head >= this.size) return this.#break('used-id', `used id ${head} in a ring of ${this.size}`);
    const count = this.#length[head] ?? 0;
    if (count === 0) return this.#break('used-twice', `used id ${head} is not in flight`);
    const room = this.#writable[head] ?? 0;
    if (claimed > room) this.#clamped += 1;
    const token = this.#tokens[head];
    this.#recycle(head, count);
    this.#lastUsed = (this.#lastUsed + 1) & 0xffff;
    // `count` was not 0, so a token was stored; its type may include undefined, which is then what it was.
    return { kind: 'used', token: token as Token, written: Math.min(claimed, room) };
  }

  setInterrupts(wanted: boolean): boolean {
    const { avail, used } = this.#areas;
    if (this.#eventIdx) {
      // An event index just behind what was seen is crossed only after 2^16 more elements: never, in flight.
      const event = wanted ? this.#lastUsed : (this.#lastUsed - 1) & 0xffff;
      this.#memory.storeU16(avail + AVAIL_RING + 2 * this.size, event);
    } else {
      this.#memory.storeU16(avail + AVAIL_FLAGS, wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    return this.#memory.loadU16(used + USED_IDX) !== this.#lastUsed;
  }

  #recycle(head: number, count: number): void {
    let last = head;
    for (let n = 1; n < count; n += 1) last = this.#next[last] ?? NONE;
    this.#next[last] = this.#firstFree;
    this.#firstFree = head;
    this.#free += count;
    this.#inFlight -= 1;
    this.#length[head] = 0;
    this.#tokens[head] = undefined;
  }

  #break(code: string, detail: string): { readonly kind: 'broken'; readonly error: QueueError } {
    this.#error = { code, clause: '2.7.8', detail };
    return { kind: 'broken', error: this.#error };
  }
}
