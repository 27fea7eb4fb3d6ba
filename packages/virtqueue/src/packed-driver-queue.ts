import { ok, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  EVENT_FLAGS_SHIFT,
  hasFeature,
  PDESC_ADDR,
  PDESC_FLAGS,
  PDESC_ID,
  PDESC_LEN,
  PDESC_SIZE,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import { IndirectTables } from './indirect-tables.js';
import { type EndedRequest, Outstanding } from './outstanding.js';
import { eventWish, locatePackedAreas, type PackedAreas, RingPositions } from './packed-layout.js';
import type { DriverQueue, GuestBuffer, QueueConfig, QueueError, UsedElement } from './types.js';

/**
 * The driver side of a packed virtqueue (2.8). The device is not trusted: of the ring, only the flags, id and length of
 * the next used descriptor are read; everything else is kept here.
 */
export class PackedDriverQueue<Token> implements DriverQueue<Token> {
  readonly size: number;
  onPublish: () => void = () => {};
  readonly #memory: GuestMemory;
  readonly #areas: PackedAreas;
  readonly #ring: RingPositions;
  readonly #eventIdx: boolean;
  readonly #inOrder: boolean;
  /** Offset of the indirect tables, if there are any. */
  readonly #tablesAt: number | undefined;
  #tables: IndirectTables | undefined;
  readonly #requests = new Outstanding<Token>();
  /** Buffer ids that are free. */
  readonly #ids: number[] = [];
  /** Ended by a descriptor that stood for several requests, and not fetched yet. */
  readonly #ended: EndedRequest<Token>[] = [];
  #free = 0;
  /** Where the next chain goes. */
  #avail = 0;
  /** Where the device was told last that chains go. */
  #published = 0;
  /** Flags of the descriptor at {@link #published}: until they are written, the device sees nothing of what follows. */
  #firstFlags: number | undefined;
  /** Where the device writes its next used descriptor. */
  #used = 0;
  #error: QueueError | undefined;
  #returned = 0;

  private constructor(
    memory: GuestMemory,
    config: QueueConfig,
    areas: PackedAreas,
    features: bigint,
    tablesAt: number | undefined,
  ) {
    this.size = config.size;
    this.#memory = memory;
    this.#areas = areas;
    this.#ring = new RingPositions(config.size);
    this.#eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
    this.#inOrder = hasFeature(features, VIRTIO_F_IN_ORDER);
    this.#tablesAt = tablesAt;
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
  ): Result<PackedDriverQueue<Token>, QueueError> {
    const areas = locatePackedAreas(memory, config);
    return areas.ok ? ok(new PackedDriverQueue<Token>(memory, config, areas.value, features, tablesAt)) : areas;
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

  /** How often the device claimed to have written more than it was given room for (2.8.4). */
  get clamped(): number {
    return this.#requests.clamped;
  }

  get notificationData(): number {
    return this.#ring.word(this.#published);
  }

  add(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[], token: Token): boolean {
    const count = readable.length + writable.length;
    const id = this.#ids.at(-1);
    if (count === 0 || id === undefined || this.#error !== undefined) return false;
    const room = writable.reduce((sum, { length }) => sum + length, 0);
    const filled = this.#tables?.fill(readable, writable, this.#free);
    if (filled === undefined && count > this.#free) return false;
    this.#ids.pop();
    if (filled !== undefined) {
      this.#describe(filled.buffer, id, VIRTQ_DESC_F_INDIRECT);
      this.#requests.add(id, { token, room, descriptors: 1, table: filled.table });
      return true;
    }
    let left = count;
    for (const [buffers, flag] of [
      [readable, 0],
      [writable, VIRTQ_DESC_F_WRITE],
    ] as const) {
      for (const buffer of buffers) {
        left -= 1;
        this.#describe(buffer, id, flag | (left > 0 ? VIRTQ_DESC_F_NEXT : 0));
      }
    }
    this.#requests.add(id, { token, room, descriptors: count, table: undefined });
    return true;
  }

  publish(): boolean {
    const before = this.#published;
    const first = this.#firstFlags;
    if (first === undefined) return false;
    const memory = this.#memory;
    this.#requests.publish();
    this.onPublish();
    // 2.8.21.1: all descriptors are visible before the flags of the first, and those before the device's wish is read.
    memory.storeU16(this.#descriptorAt(before) + PDESC_FLAGS, first);
    this.#firstFlags = undefined;
    this.#published = this.#avail;
    const wish = eventWish(memory.loadU32(this.#areas.deviceEvent), this.#ring, this.#eventIdx);
    // A place that the ring does not have: the device does not know what it wants, and a notification harms nobody.
    if (wish.kind !== 'at') return wish.kind !== 'never';
    return this.#ring.crossed(wish.position, before, this.#ring.distance(this.#avail, before));
  }

  popUsed(): UsedElement<Token> {
    if (this.#error !== undefined) return { kind: 'broken', error: this.#error };
    const earlier = this.#ended.shift();
    if (earlier !== undefined) {
      this.#returned += 1;
      return { kind: 'used', token: earlier.token, written: earlier.written };
    }
    const at = this.#descriptorAt(this.#used);
    const flags = this.#memory.loadU16(at + PDESC_FLAGS);
    if (this.#ring.owner(this.#used, flags) !== 'used') return { kind: 'empty' };
    const id = this.#memory.readU16(at + PDESC_ID);
    // 2.8.4: without WRITE the length means nothing.
    const claimed = (flags & VIRTQ_DESC_F_WRITE) !== 0 ? this.#memory.readU32(at + PDESC_LEN) : 0;
    const ended = this.#requests.end(id, claimed, this.size, this.#inOrder ? this.#requests.published : undefined);
    if (!ended.ok) return this.#break(ended.error.code, '2.8.22', ended.error.detail);
    for (const { id: each, descriptors, table } of ended.value) {
      this.#ids.push(each);
      this.#free += descriptors;
      this.#used = this.#ring.plus(this.#used, descriptors);
      if (table !== undefined) this.#tables?.give(table);
    }
    this.#ended.push(...ended.value);
    return this.popUsed();
  }

  setInterrupts(wanted: boolean, after = 1): boolean {
    const ring = this.#ring;
    const memory = this.#memory;
    const word = !wanted
      ? RING_EVENT_FLAGS_DISABLE << EVENT_FLAGS_SHIFT
      : this.#eventIdx
        ? (RING_EVENT_FLAGS_DESC << EVENT_FLAGS_SHIFT) | ring.word(this.#eventAfter(after))
        : RING_EVENT_FLAGS_ENABLE << EVENT_FLAGS_SHIFT;
    memory.storeU32(this.#areas.driverEvent, word);
    if (this.#ended.length > 0) return true;
    return ring.owner(this.#used, memory.loadU16(this.#descriptorAt(this.#used) + PDESC_FLAGS)) === 'used';
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
    const { descriptors, driverEvent, deviceEvent } = this.#areas;
    this.#ids.length = 0;
    for (let id = size - 1; id >= 0; id -= 1) this.#ids.push(id);
    this.#free = size;
    this.#avail = 0;
    this.#published = 0;
    this.#firstFlags = undefined;
    this.#used = 0;
    this.#error = undefined;
    this.#tables = this.#tablesAt === undefined ? undefined : new IndirectTables(memory, this.#tablesAt, size, true);
    // 2.8.13: the descriptor ring is zero-initialized.
    memory.bytes(descriptors, PDESC_SIZE * size).fill(0);
    memory.written(descriptors, PDESC_SIZE * size);
    memory.storeU32(driverEvent, 0);
    memory.storeU32(deviceEvent, 0);
  }

  #descriptorAt(position: number): number {
    return this.#areas.descriptors + PDESC_SIZE * this.#ring.offset(position);
  }

  /** Writes the next descriptor; the flags of the first that is not published are kept back. */
  #describe({ address, length }: GuestBuffer, id: number, flags: number): void {
    const memory = this.#memory;
    const at = this.#descriptorAt(this.#avail);
    const all = flags | this.#ring.availableFlags(this.#avail);
    memory.writeU64(at + PDESC_ADDR, address);
    memory.writeU32(at + PDESC_LEN, length);
    memory.writeU16(at + PDESC_ID, id);
    if (this.#firstFlags === undefined) this.#firstFlags = all;
    else memory.storeU16(at + PDESC_FLAGS, all);
    this.#avail = this.#ring.plus(this.#avail, 1);
    this.#free -= 1;
  }

  /** The descriptor whose use says that about `after` requests in flight have ended; all of them, at the latest. */
  #eventAfter(after: number): number {
    const { published } = this.#requests;
    const descriptors = this.#ring.distance(this.#published, this.#used);
    if (published === 0) return this.#used;
    const share = Math.max(0, Math.min(after, published) - 1) / published;
    return this.#ring.plus(this.#used, Math.floor(descriptors * share));
  }

  #break(code: string, clause: string, detail: string): { readonly kind: 'broken'; readonly error: QueueError } {
    this.#error = { code, clause, detail };
    return { kind: 'broken', error: this.#error };
  }
}
