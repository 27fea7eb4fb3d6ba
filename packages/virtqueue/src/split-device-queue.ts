import { err, ok, type Result, restoring, type SavedValue } from '@remio/base';
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
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '@remio/virtio-spec';
import { ChainBuilder } from './chain-builder.js';
import { FarLook } from './far-look.js';
import type { InFlightTable } from './in-flight-table.js';
import { distance, locateSplitAreas, needsEvent, type SplitAreas } from './split-layout.js';
import { readError, type SavedChain, TakenChains, type TakenKind } from './taken-chains.js';
import type { DeviceQueue, Popped, QueueConfig, QueueError, Recalled, Used } from './types.js';

/** A split queue's state as plain data. */
export interface SavedSplitQueue {
  readonly layout: 'split';
  readonly lastAvail: number;
  readonly usedIdx: number;
  readonly signalled: number;
  readonly notifications: boolean;
  /** Chains taken whose use the driver has not seen, oldest first. */
  readonly inFlight: readonly SavedChain[];
  /** Why the ring is latched as broken, if it is. */
  readonly error: QueueError | null;
}

const WAIT = { kind: 'wait' } as const;

const CLAUSES = { address: '2.7.5', order: '2.7.4.2', length: '2.7.5.2' } as const;

/**
 * The device side of a split virtqueue (2.7). Every descriptor, index and flag that decides something is read once; all
 * bookkeeping is private, so a driver that scribbles over the rings harms nobody but itself.
 */
export class SplitDeviceQueue implements DeviceQueue {
  readonly size: number;
  readonly #memory: GuestMemory;
  readonly #areas: SplitAreas;
  readonly #eventIdx: boolean;
  readonly #indirect: boolean;
  readonly #inOrder: boolean;
  #taken: TakenChains;
  #lastAvail = 0;
  #usedIdx = 0;
  /** Used index when the driver was last considered for an interrupt. */
  #signalled = 0;
  #notifications = true;
  /** What the driver shall know of {@link #notifications} is not in memory yet. */
  #unsaid = false;
  readonly #far: FarLook;
  /** The driver's event index or flags when it was last read; undefined: never. */
  #wish: number | undefined;
  #error: QueueError | undefined;
  /** Account of what is in flight, for the process that takes this one's place; undefined: none is kept. */
  readonly #table: InFlightTable | undefined;

  private constructor(
    memory: GuestMemory,
    config: QueueConfig,
    areas: SplitAreas,
    features: bigint,
    table: InFlightTable | undefined,
  ) {
    this.#table = table;
    this.size = config.size;
    this.#memory = memory;
    this.#areas = areas;
    this.#eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
    this.#indirect = hasFeature(features, VIRTIO_F_INDIRECT_DESC);
    this.#inOrder = hasFeature(features, VIRTIO_F_IN_ORDER);
    this.#taken = new TakenChains(this.#inOrder);
    this.#far = new FarLook(memory, this.#toldAt, 2);
  }

  /**
   * Makes a queue run that the driver has programmed.
   * @param table keeps account of what is in flight, in memory that outlives the process; its memory is local
   */
  static activate(
    memory: GuestMemory,
    config: QueueConfig,
    features: bigint,
    table?: InFlightTable,
  ): Result<SplitDeviceQueue, QueueError> {
    const areas = locateSplitAreas(memory, config);
    return areas.ok ? ok(new SplitDeviceQueue(memory, config, areas.value, features, table)) : areas;
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
    const { avail } = this.#areas;
    const entry = avail + AVAIL_RING + 2 * (this.#lastAvail & (this.size - 1));
    if (memory.far ? !this.#look() : !this.#say() || !memory.need(avail, AVAIL_RING, 'read')) return this.#wait();
    const available = distance(memory.loadU16(avail + AVAIL_IDX), this.#lastAvail);
    if (available === 0) return { kind: 'empty' };
    // 2.7.13: an entry stays the device's until it was used, so those that it has count as well.
    if (available + this.#taken.count > this.size) {
      return this.#break('avail-idx', '2.7.6', `${available} entries in a ring of ${this.size}`);
    }
    if (!memory.need(entry, 2, 'read')) return this.#wait();
    const head = memory.loadU16(entry);
    if (head >= this.size) return this.#break('avail-head', '2.7.6', `head ${head} in a ring of ${this.size}`);
    if (this.#taken.has(head)) return this.#break('avail-twice', '2.7.13', `head ${head} is in flight already`);
    if (this.#eventIdx && !memory.need(this.#availEvent, 2, 'write')) return WAIT;

    const walked = this.#walk(head);
    if (walked.kind === 'wait') return this.#wait();
    if (walked.kind === 'broken') return walked;
    this.#table?.take(head);
    this.#taken.take(head, walked, 1);
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    if (memory.far) {
      // Only now: while nothing is taken, the driver may as well notify.
      if (!this.#notifications && !this.#eventIdx) this.#far.tell(VIRTQ_USED_F_NO_NOTIFY);
    } else if (this.#eventIdx && this.#notifications) {
      memory.storeU16(this.#availEvent, this.#lastAvail);
      memory.written(this.#availEvent, 2);
    }
    return walked;
  }

  push(head: number, written: number): boolean {
    return this.pushAll([{ head, written }]);
  }

  pushAll(ended: readonly Used[]): boolean {
    const memory = this.#memory;
    const { used } = this.#areas;
    const batches = this.#taken.plan(ended);
    const elementAt = (index: number): number => used + USED_RING + USED_ELEMENT_SIZE * (index & (this.size - 1));
    let index = this.#usedIdx;
    let local = memory.need(used, USED_RING, 'write');
    for (const { chains } of batches) {
      if (!memory.need(elementAt(index), USED_ELEMENT_SIZE, 'write')) local = false;
      index += chains;
    }
    if (!local) {
      this.#taken.undo(ended);
      return false;
    }
    index = this.#usedIdx;
    for (const { head, written, chains } of batches) {
      const element = elementAt(index);
      memory.writeU32(element, head);
      memory.writeU32(element + 4, written);
      memory.written(element, USED_ELEMENT_SIZE);
      index += chains;
    }
    if (batches.length > 0) this.#table?.ending(this.#taken.leaving(ended, batches), index & 0xffff);
    this.#taken.end(ended, batches);
    if (batches.length === 0) return true;
    this.#usedIdx = index & 0xffff;
    // 2.7.8.2: the elements are visible before the index that covers them.
    memory.storeU16(used + USED_IDX, this.#usedIdx);
    memory.written(used + USED_IDX, 2);
    this.#table?.ended();
    // What the driver wanted before it could see this index says nothing.
    memory.afresh(this.#wishAt, 2);
    return true;
  }

  shouldInterrupt(): boolean | 'wait' {
    if (this.#signalled === this.#usedIdx) return false;
    const memory = this.#memory;
    const local = memory.need(this.#wishAt, 2, 'read');
    if (local) this.#wish = memory.loadU16(this.#wishAt);
    const word = this.#wish;
    const wanted =
      word !== undefined &&
      (this.#eventIdx ? needsEvent(word, this.#usedIdx, this.#signalled) : (word & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0);
    // Whoever wanted an interrupt earlier may get it now: a spurious one is allowed (2.7.7.2), a lost one is not.
    if (!local && !wanted) return 'wait';
    this.#signalled = this.#usedIdx;
    return wanted;
  }

  setNotifications(wanted: boolean): void {
    this.#notifications = wanted;
    // Far memory is told with the next look, which costs an exchange anyway.
    if (this.#memory.far) return;
    // With EVENT_IDX an event index that is not moved on asks for nothing.
    this.#unsaid = wanted || !this.#eventIdx;
    this.#say();
  }

  heads(): readonly number[] {
    return this.#taken.heads();
  }

  recall(head: number): Recalled {
    const { taken } = this.#taken.unfinished(head);
    return this.#error === undefined ? taken : { kind: 'broken', error: this.#error };
  }

  save(): SavedSplitQueue {
    return {
      layout: 'split',
      lastAvail: this.#lastAvail,
      usedIdx: this.#usedIdx,
      signalled: this.#signalled,
      notifications: this.#notifications,
      inFlight: this.#taken.save(),
      error: this.#error ?? null,
    };
  }

  /**
   * Goes on where a process stopped that is lost, by the account that it kept. What it had taken is in flight again: whoever
   * {@link recall}s it serves it anew. A driver that has destroyed its ring meanwhile finds it latched.
   * @returns why nothing can go on: there is no account
   */
  resume(): Result<void, string> {
    const table = this.#table;
    const memory = this.#memory;
    const { used } = this.#areas;
    if (table === undefined) return err('no account of what is in flight was kept');
    if (memory.far || !memory.need(used, USED_RING, 'read')) return err('its memory is elsewhere');
    const { usedIdx, heads } = table.recover(memory.loadU16(used + USED_IDX));
    if (heads.some((head) => head >= this.size)) return err('a head in flight that the ring has not');
    for (const head of heads) {
      const walked = this.#walk(head);
      if (walked.kind === 'wait') return err('its memory is elsewhere');
      const taken = walked.kind === 'broken' ? ({ kind: 'rejected', head, error: walked.error } as const) : walked;
      this.#taken.take(head, taken, 1);
    }
    this.#usedIdx = usedIdx;
    this.#signalled = usedIdx;
    this.#lastAvail = (usedIdx + heads.length) & 0xffff;
    this.#far.forget();
    this.setNotifications(true);
    return ok(undefined);
  }

  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => this.#takeOver(saved));
  }

  #takeOver(saved: SavedValue): void {
    saved.field('layout').oneOf('split');
    const index = (name: string): number => saved.field(name).integer(0, 0xffff);
    const lastAvail = index('lastAvail');
    const usedIdx = index('usedIdx');
    const signalled = index('signalled');
    const notifications = saved.field('notifications').boolean();
    const inFlight = saved.field('inFlight');
    const taken = new TakenChains(this.#inOrder);
    taken.restore(inFlight, this.#memory, this.size, this.size - 1);
    const between = distance(lastAvail, usedIdx);
    if (between !== taken.count) inFlight.refuse(`the ${between} chains between usedIdx and lastAvail`);
    const error = saved.field('error');
    this.#error = error.isNull ? undefined : readError(error);
    this.#lastAvail = lastAvail;
    this.#usedIdx = usedIdx;
    this.#signalled = signalled;
    this.#taken = taken;
    this.#far.forget();
    this.setNotifications(notifications);
  }

  /** Where the device says up to which entry it wants no notification. */
  get #availEvent(): number {
    return this.#areas.used + USED_RING + USED_ELEMENT_SIZE * this.size;
  }

  /** Where the device says whether it wants notifications: the event index or the flags. */
  get #toldAt(): number {
    return this.#eventIdx ? this.#availEvent : this.#areas.used + USED_FLAGS;
  }

  /** Where the driver says whether it wants interrupts, or after which used element. */
  get #wishAt(): number {
    const { avail } = this.#areas;
    return this.#eventIdx ? avail + AVAIL_RING + 2 * this.size : avail + AVAIL_FLAGS;
  }

  /** Something is not local yet. */
  #wait(): typeof WAIT {
    const { descriptors, avail } = this.#areas;
    this.#memory.ahead({ layout: 'split', size: this.size, descriptors, driver: avail, next: this.#lastAvail });
    return WAIT;
  }

  /** Looks at the ring in far memory, and at what the driver wants; false if it is not local yet. */
  #look(): boolean {
    const memory = this.#memory;
    const { avail } = this.#areas;
    const available = (): boolean => {
      if (memory.need(this.#wishAt, 2, 'read')) this.#wish = memory.loadU16(this.#wishAt);
      return memory.loadU16(avail + AVAIL_IDX) !== this.#lastAvail;
    };
    const word = this.#eventIdx ? this.#lastAvail : 0;
    return this.#far.look(avail, AVAIL_RING, available, this.#notifications ? word : undefined);
  }

  /** Tells the driver whether notifications are wanted; false if memory is not local yet. */
  #say(): boolean {
    if (!this.#unsaid) return true;
    const memory = this.#memory;
    const at = this.#toldAt;
    if (!memory.need(at, 2, 'write')) return false;
    this.#unsaid = false;
    memory.storeU16(at, this.#eventIdx ? this.#lastAvail : this.#notifications ? 0 : VIRTQ_USED_F_NO_NOTIFY);
    memory.written(at, 2);
    return true;
  }

  #break(code: string, clause: string, detail: string): { readonly kind: 'broken'; readonly error: QueueError } {
    this.#error = { code, clause, detail };
    return { kind: 'broken', error: this.#error };
  }

  /** Copies a chain out of memory, once. Changes nothing but, for a broken ring, the latch. */
  #walk(head: number): TakenKind | Extract<Popped, { kind: 'wait' | 'broken' }> {
    const memory = this.#memory;
    const chain = new ChainBuilder(memory, CLAUSES);
    let table = this.#areas.descriptors;
    let entries = this.size;
    let indirect = false;
    let index = head;
    for (let steps = 0; ; steps += 1) {
      // 2.7.5.3.1: no chain is longer than the queue; a longer one is a loop.
      if (steps >= this.size) return this.#break('chain-length', '2.7.5.3.1', `the chain of ${head} does not end`);
      const at = table + DESC_SIZE * index;
      if (!memory.need(at, DESC_SIZE, 'read')) return WAIT;
      const address = memory.readU64(at + DESC_ADDR);
      const length = memory.readU32(at + DESC_LEN);
      const flags = memory.readU16(at + DESC_FLAGS);
      const next = memory.readU16(at + DESC_NEXT);

      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        const wrong = this.#wrongIndirect(flags, length, indirect);
        if (wrong !== undefined) return this.#break(wrong[0], wrong[1], wrong[2]);
        const offset = memory.locate(address, length);
        if (offset < 0) return this.#break('indirect-address', '2.7.5.3', 'the indirect table is outside the memory');
        table = offset;
        entries = length / DESC_SIZE;
        indirect = true;
        index = 0;
        // The table itself is no part of the chain.
        steps -= 1;
        continue;
      }

      chain.add(address, length, (flags & VIRTQ_DESC_F_WRITE) !== 0);
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) return chain.finish(head);
      if (next >= entries) return this.#break('next', '2.7.5', `next ${next} in a table of ${entries}`);
      index = next;
    }
  }

  #wrongIndirect(flags: number, length: number, nested: boolean): readonly [string, string, string] | undefined {
    if (!this.#indirect) return ['indirect-feature', '2.7.5.3.1', 'INDIRECT_DESC was not negotiated'];
    if (nested) return ['indirect-nested', '2.7.5.3.1', 'an indirect table refers to another'];
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return ['indirect-next', '2.7.5.3.1', 'INDIRECT and NEXT together'];
    if (length === 0 || length % DESC_SIZE !== 0) return ['indirect-length', '2.7.5.3', `a table of ${length} bytes`];
    return undefined;
  }
}
