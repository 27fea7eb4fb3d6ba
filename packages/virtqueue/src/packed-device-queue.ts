import { ok, type Result, restoring, type SavedValue } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  EVENT_FLAGS_SHIFT,
  EVENT_SUPPRESS_SIZE,
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
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import { ChainBuilder } from './chain-builder.js';
import { FarLook } from './far-look.js';
import { eventWish, locatePackedAreas, type PackedAreas, RingPositions } from './packed-layout.js';
import { readError, type SavedChain, TakenChains, type TakenKind } from './taken-chains.js';
import type { DeviceQueue, Popped, QueueConfig, QueueError, Recalled, Used } from './types.js';

/** A packed queue's state as plain data. Positions are those of {@link RingPositions}. */
export interface SavedPackedQueue {
  readonly layout: 'packed';
  readonly avail: number;
  readonly used: number;
  /** Descriptors used since the driver was last considered for an interrupt. */
  readonly unsignalled: number;
  readonly notifications: boolean;
  /** Chains taken whose use the driver has not seen, oldest first. */
  readonly inFlight: readonly SavedChain[];
  /** Why the ring is latched as broken, if it is. */
  readonly error: QueueError | null;
}

const WAIT = { kind: 'wait' } as const;

const CLAUSES = { address: '2.8.4', order: '2.8.17', length: '2.8.4' } as const;

/** Buffer ids have 16 bits, and mean nothing to a device (2.8.13). */
const BUFFER_ID_MAX = 0xffff;

/** A chain copied out of the ring, and how many of its descriptors it takes. */
type Walked =
  | { readonly kind: 'walked'; readonly id: number; readonly taken: TakenKind; readonly descriptors: number }
  | Extract<Popped, { kind: 'wait' | 'broken' }>;

/**
 * The device side of a packed virtqueue (2.8). Every descriptor that decides something is read once, its flags first;
 * all bookkeeping is private: a used descriptor may overwrite one of a chain that is still being served.
 */
export class PackedDeviceQueue implements DeviceQueue {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #areas: PackedAreas;
  readonly #ring: RingPositions;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  readonly #inOrder: boolean;
  #taken: TakenChains;
  /** Where the next chain is made available. */
  #avail = 0;
  /** Where the next used descriptor is written. */
  #used = 0;
  /** Descriptors used since the driver was last considered for an interrupt. */
  #unsignalled = 0;
  #notifications = true;
  /** What the driver shall know of {@link #notifications} is not in memory yet. */
  #unsaid = false;
  readonly #far: FarLook;
  /** The Driver Event Suppression structure when it was last read; undefined: never. */
  #wish: number | undefined;
  #error: QueueError | undefined;

  private constructor(memory: GuestMemory, config: QueueConfig, areas: PackedAreas, features: bigint) {
    this.size = config.size;
    this.#memory = memory;
    this.#areas = areas;
    this.#ring = new RingPositions(config.size);
    this.#eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
    this.#indirect = hasFeature(features, VIRTIO_F_INDIRECT_DESC);
    this.#inOrder = hasFeature(features, VIRTIO_F_IN_ORDER);
    this.#taken = new TakenChains(this.#inOrder);
    this.#far = new FarLook(memory, areas.deviceEvent, EVENT_SUPPRESS_SIZE);
  }

  /** Makes a queue run that the driver has programmed. */
  static activate(memory: GuestMemory, config: QueueConfig, features: bigint): Result<PackedDeviceQueue, QueueError> {
    const areas = locatePackedAreas(memory, config);
    return areas.ok ? ok(new PackedDeviceQueue(memory, config, areas.value, features)) : areas;
  }

  get inFlight(): number {
    return this.#taken.inFlight;
  }

  get error(): QueueError | undefined {
    return this.#error;
  }

  notified(): void {
    this.#far.notified();
  }

  pop(): Popped {
    if (this.#error !== undefined) return { kind: 'broken', error: this.#error };
    const memory = this.#memory;
    const at = this.#descriptorAt(this.#avail);
    if (memory.far ? !this.#look(at) : !this.#say() || !memory.need(at, PDESC_SIZE, 'read')) return this.#wait();
    const flags = memory.loadU16(at + PDESC_FLAGS);
    const owner = this.#ring.owner(this.#avail, flags);
    if (owner === 'earlier') return { kind: 'empty' };
    // 2.8.1: only the device marks descriptors as used, and it has not been here in this round.
    if (owner === 'used')
      return this.#break('flags', '2.8.1', `descriptor ${this.#ring.offset(this.#avail)} is marked`);
    if (this.#eventIdx && !memory.need(this.#areas.deviceEvent, EVENT_SUPPRESS_SIZE, 'write')) return WAIT;

    const walked = this.#walk(flags);
    if (walked.kind === 'wait') return this.#wait();
    if (walked.kind === 'broken') return walked;
    const { id, taken, descriptors } = walked;
    if (this.#taken.has(id)) return this.#break('buffer-id', '2.8.21.1', `buffer id ${id} is in flight already`);
    this.#taken.take(id, taken, descriptors);
    this.#avail = this.#ring.plus(this.#avail, descriptors);
    // Far memory is told only now that none are wanted: while nothing is taken, the driver may as well notify.
    if (memory.far ? !this.#notifications : this.#eventIdx && this.#notifications) this.#writeWish();
    return taken;
  }

  push(head: number, written: number): boolean {
    return this.pushAll([{ head, written }]);
  }

  pushAll(ended: readonly Used[]): boolean {
    const memory = this.#memory;
    const batches = this.#taken.plan(ended);
    const positions: number[] = [];
    let position = this.#used;
    let local = true;
    for (const { descriptors } of batches) {
      if (!memory.need(this.#descriptorAt(position), PDESC_SIZE, 'write')) local = false;
      positions.push(position);
      position = this.#ring.plus(position, descriptors);
    }
    if (!local) {
      this.#taken.undo(ended);
      return false;
    }
    // Backwards: the driver looks at the first, and must not see it before the others (2.8.9).
    for (let n = batches.length - 1; n >= 0; n -= 1) {
      const batch = batches[n];
      const place = positions[n];
      if (batch === undefined || place === undefined) continue;
      const at = this.#descriptorAt(place);
      memory.writeU32(at + PDESC_LEN, batch.written);
      memory.writeU16(at + PDESC_ID, batch.head);
      // 2.8.3: WRITE says whether anything was written. The rest is visible before the flags that mark it as used.
      memory.storeU16(at + PDESC_FLAGS, this.#ring.usedFlags(place) | (batch.written > 0 ? VIRTQ_DESC_F_WRITE : 0));
      memory.written(at + PDESC_LEN, PDESC_SIZE - PDESC_LEN);
    }
    // What the driver wanted before it could see this says nothing.
    memory.afresh(this.#areas.driverEvent, EVENT_SUPPRESS_SIZE);
    this.#taken.end(ended, batches);
    this.#unsignalled += batches.reduce((sum, { descriptors }) => sum + descriptors, 0);
    this.#used = position;
    return true;
  }

  shouldInterrupt(): boolean | 'wait' {
    // Two rounds are all positions that there are.
    const count = Math.min(this.#unsignalled, 2 * this.size);
    if (count === 0) return false;
    const local = this.#readWish();
    const wanted = this.#wish !== undefined && this.#wants(this.#wish, count);
    // Whoever wanted an interrupt earlier may get it now: a spurious one is allowed, a lost one is not.
    if (!local && !wanted) return 'wait';
    this.#unsignalled = 0;
    return wanted;
  }

  /** Whether a driver with this wish wants an interrupt for the `count` descriptors that were used last. */
  #wants(word: number, count: number): boolean {
    const wish = eventWish(word, this.#ring, this.#eventIdx);
    switch (wish.kind) {
      case 'always':
        return true;
      case 'never':
        return false;
      case 'at':
        return this.#ring.crossed(wish.position, this.#ring.plus(this.#used, 2 * this.size - count), count);
      case 'beyond':
        this.#break('event-offset', '2.8.14', `event offset ${wish.offset} in a ring of ${this.size}`);
        return true;
    }
  }

  setNotifications(wanted: boolean): void {
    this.#notifications = wanted;
    // Far memory is told with the next look, which costs an exchange anyway.
    if (this.#memory.far) return;
    this.#unsaid = true;
    this.#say();
  }

  heads(): readonly number[] {
    return this.#taken.heads();
  }

  recall(head: number): Recalled {
    const { taken } = this.#taken.unfinished(head);
    return this.#error === undefined ? taken : { kind: 'broken', error: this.#error };
  }

  save(): SavedPackedQueue {
    return {
      layout: 'packed',
      avail: this.#avail,
      used: this.#used,
      unsignalled: this.#unsignalled,
      notifications: this.#notifications,
      inFlight: this.#taken.save(),
      error: this.#error ?? null,
    };
  }

  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => this.#takeOver(saved));
  }

  #takeOver(saved: SavedValue): void {
    saved.field('layout').oneOf('packed');
    const position = (name: string): number => saved.field(name).integer(0, 2 * this.size - 1);
    const avail = position('avail');
    const used = position('used');
    const unsignalled = saved.field('unsignalled').integer(0, Number.MAX_SAFE_INTEGER);
    const notifications = saved.field('notifications').boolean();
    const inFlight = saved.field('inFlight');
    const taken = new TakenChains(this.#inOrder);
    const descriptors = taken.restore(inFlight, this.#memory, this.size, BUFFER_ID_MAX);
    const between = this.#ring.distance(avail, used);
    if (between > this.size || between !== descriptors) {
      inFlight.refuse(`chains of the ${between} descriptors between used and avail, at most ${this.size}`);
    }
    const error = saved.field('error');
    this.#error = error.isNull ? undefined : readError(error);
    this.#avail = avail;
    this.#used = used;
    this.#unsignalled = unsignalled;
    this.#taken = taken;
    this.#far.forget();
    this.setNotifications(notifications);
  }

  #descriptorAt(position: number): number {
    return this.#areas.descriptors + PDESC_SIZE * this.#ring.offset(position);
  }

  /** Tells the driver whether notifications are wanted; false if memory is not local yet. */
  #say(): boolean {
    if (!this.#unsaid) return true;
    if (!this.#memory.need(this.#areas.deviceEvent, EVENT_SUPPRESS_SIZE, 'write')) return false;
    this.#unsaid = false;
    this.#writeWish();
    return true;
  }

  /** Something is not local yet. */
  #wait(): typeof WAIT {
    const { descriptors, driverEvent } = this.#areas;
    const next = this.#ring.word(this.#avail);
    this.#memory.ahead({ layout: 'packed', size: this.size, descriptors, driver: driverEvent, next });
    return WAIT;
  }

  /** Reads the Driver Event Suppression structure; false if it is not local yet. */
  #readWish(): boolean {
    const at = this.#areas.driverEvent;
    if (!this.#memory.need(at, EVENT_SUPPRESS_SIZE, 'read')) return false;
    this.#wish = this.#memory.loadU32(at);
    return true;
  }

  /** Looks at the next descriptor in far memory, and at what the driver wants; false if it is not local yet. */
  #look(at: number): boolean {
    const available = (): boolean => {
      this.#readWish();
      return this.#ring.owner(this.#avail, this.#memory.loadU16(at + PDESC_FLAGS)) !== 'earlier';
    };
    return this.#far.look(at, PDESC_SIZE, available, this.#notifications ? this.#wishWord() : undefined);
  }

  /** Writes the Device Event Suppression structure as one word, so that the driver never sees half of it. */
  #writeWish(): void {
    const memory = this.#memory;
    const word = this.#wishWord();
    if (memory.far) {
      this.#far.tell(word);
      return;
    }
    memory.storeU32(this.#areas.deviceEvent, word);
    memory.written(this.#areas.deviceEvent, EVENT_SUPPRESS_SIZE);
  }

  #wishWord(): number {
    if (!this.#notifications) return RING_EVENT_FLAGS_DISABLE << EVENT_FLAGS_SHIFT;
    return this.#eventIdx
      ? (RING_EVENT_FLAGS_DESC << EVENT_FLAGS_SHIFT) | this.#ring.word(this.#avail)
      : RING_EVENT_FLAGS_ENABLE << EVENT_FLAGS_SHIFT;
  }

  #break(code: string, clause: string, detail: string): { readonly kind: 'broken'; readonly error: QueueError } {
    this.#error = { code, clause, detail };
    return { kind: 'broken', error: this.#error };
  }

  /**
   * Copies the chain at the next available descriptor out of memory, once. Changes nothing but, for a broken ring, the
   * latch.
   * @param first flags of that descriptor, which made it available
   */
  #walk(first: number): Walked {
    const memory = this.#memory;
    const chain = new ChainBuilder(memory, CLAUSES);
    const free = this.size - this.#ring.distance(this.#avail, this.#used);
    let position = this.#avail;
    let flags = first;
    for (let count = 1; ; count += 1) {
      // 2.8.17: a list fits into what is free of the ring; what does not is a loop, or overwrites chains in flight.
      if (count > free) return this.#break('chain-length', '2.8.17', `a list longer than the ${free} free descriptors`);
      const at = this.#descriptorAt(position);
      const address = memory.readU64(at + PDESC_ADDR);
      const length = memory.readU32(at + PDESC_LEN);
      const id = memory.readU16(at + PDESC_ID);
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        if (count > 1 || (flags & VIRTQ_DESC_F_NEXT) !== 0) {
          return this.#break('indirect-next', '2.8.19', 'INDIRECT in a list that is linked by NEXT');
        }
        return this.#walkTable(chain, id, address, length);
      }
      chain.add(address, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      // 2.8.6: the buffer id is in the last descriptor of the list.
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return { kind: 'walked', id, taken: chain.finish(id), descriptors: count };
      position = this.#ring.plus(position, 1);
      const next = this.#descriptorAt(position);
      if (!memory.need(next, PDESC_SIZE, 'read')) return WAIT;
      flags = memory.loadU16(next + PDESC_FLAGS);
      if (count < free && this.#ring.owner(position, flags) !== 'available') {
        return this.#break('flags', '2.8.6', `descriptor ${this.#ring.offset(position)} of a list is not available`);
      }
    }
  }

  /** 2.8.7: every descriptor of the table, in order; WRITE is their only flag. */
  #walkTable(chain: ChainBuilder, id: number, address: bigint, length: number): Walked {
    const memory = this.#memory;
    if (!this.#indirect) return this.#break('indirect-feature', '2.8.19', 'INDIRECT_DESC was not negotiated');
    if (length === 0 || length % PDESC_SIZE !== 0) {
      return this.#break('indirect-length', '2.8.7', `a table of ${length} bytes`);
    }
    if (length / PDESC_SIZE > this.size) {
      return this.#break('chain-length', '2.8.17', `a table of ${length / PDESC_SIZE} descriptors`);
    }
    const table = memory.locate(address, length);
    if (table < 0) return this.#break('indirect-address', '2.8.7', 'the indirect table is outside the memory');
    if (!memory.need(table, length, 'read')) return WAIT;
    for (let at = table; at < table + length; at += PDESC_SIZE) {
      const flags = memory.readU16(at + PDESC_FLAGS);
      chain.add(memory.readU64(at + PDESC_ADDR), memory.readU32(at + PDESC_LEN), (flags & VIRTQ_DESC_F_WRITE) !== 0);
    }
    return { kind: 'walked', id, taken: chain.finish(id), descriptors: 1 };
  }
}
