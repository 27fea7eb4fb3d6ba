import { assert, ok, type Result, restoring, type SavedValue } from '@remio/base';
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
  VIRTIO_F_INDIRECT_DESC,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from '@remio/virtio-spec';
import { distance, locateSplitAreas, needsEvent, type SplitAreas } from './split-layout.js';
import type { Chain, DeviceQueue, Popped, QueueConfig, QueueError, Segment } from './types.js';

/** A queue's state as plain data. */
export interface SavedDeviceQueue {
  readonly lastAvail: number;
  readonly usedIdx: number;
  readonly signalled: number;
  readonly notifications: boolean;
  /** Heads popped and not pushed, ascending. */
  readonly inFlight: readonly number[];
  /** Why the ring is latched as broken, if it is. */
  readonly error: QueueError | null;
}

const WAIT = 'wait' as const;

/** 2^32: the largest total length of a chain (2.7.5.2). */
const CHAIN_LENGTH_MAX = 0x1_0000_0000;

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
  readonly #busy: Uint8Array;
  #inFlight = 0;
  #lastAvail = 0;
  #usedIdx = 0;
  /** Used index when the driver was last considered for an interrupt. */
  #signalled = 0;
  #notifications = true;
  #error: QueueError | undefined;

  private constructor(memory: GuestMemory, config: QueueConfig, areas: SplitAreas, features: bigint) {
    this.size = config.size;
    this.#memory = memory;
    this.#areas = areas;
    this.#eventIdx = hasFeature(features, VIRTIO_F_EVENT_IDX);
    this.#indirect = hasFeature(features, VIRTIO_F_INDIRECT_DESC);
    this.#busy = new Uint8Array(config.size);
  }

  /** Makes a queue run that the driver has programmed. */
  static activate(memory: GuestMemory, config: QueueConfig, features: bigint): Result<SplitDeviceQueue, QueueError> {
    const areas = locateSplitAreas(memory, config);
    return areas.ok ? ok(new SplitDeviceQueue(memory, config, areas.value, features)) : areas;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get error(): QueueError | undefined {
    return this.#error;
  }

  pop(): Popped {
    if (this.#error !== undefined) return { kind: 'broken', error: this.#error };
    const memory = this.#memory;
    const { avail, used } = this.#areas;
    const entry = avail + AVAIL_RING + 2 * (this.#lastAvail & (this.size - 1));
    if (!memory.need(avail, AVAIL_RING, 'read')) return { kind: WAIT };
    const available = distance(memory.loadU16(avail + AVAIL_IDX), this.#lastAvail);
    if (available === 0) return { kind: 'empty' };
    if (available > this.size)
      return this.#break('avail-idx', '2.7.6', `${available} entries in a ring of ${this.size}`);
    if (!memory.need(entry, 2, 'read')) return { kind: WAIT };
    const head = memory.loadU16(entry);
    if (head >= this.size) return this.#break('avail-head', '2.7.6', `head ${head} in a ring of ${this.size}`);
    if (this.#busy[head] !== 0) return this.#break('avail-twice', '2.7.13', `head ${head} is in flight already`);
    const eventAt = used + USED_RING + USED_ELEMENT_SIZE * this.size;
    if (this.#eventIdx && !memory.need(eventAt, 2, 'write')) return { kind: WAIT };

    const walked = this.#walk(head);
    if (walked === WAIT) return { kind: WAIT };
    if (walked.kind === 'broken') return walked;
    this.#busy[head] = 1;
    this.#inFlight += 1;
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    if (this.#eventIdx && this.#notifications) {
      memory.storeU16(eventAt, this.#lastAvail);
      memory.written(eventAt, 2);
    }
    return walked;
  }

  push(head: number, written: number): boolean {
    assert(this.#busy[head] === 1, `head ${head} was popped and not pushed yet`);
    const memory = this.#memory;
    const { used } = this.#areas;
    const element = used + USED_RING + USED_ELEMENT_SIZE * (this.#usedIdx & (this.size - 1));
    if (!memory.need(element, USED_ELEMENT_SIZE, 'write') || !memory.need(used, USED_RING, 'write')) return false;
    memory.writeU32(element, head);
    memory.writeU32(element + 4, written);
    memory.written(element, USED_ELEMENT_SIZE);
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    // 2.7.8.2: the element is visible before the index that covers it.
    memory.storeU16(used + USED_IDX, this.#usedIdx);
    memory.written(used + USED_IDX, 2);
    this.#busy[head] = 0;
    this.#inFlight -= 1;
    return true;
  }

  shouldInterrupt(): boolean {
    const before = this.#signalled;
    if (before === this.#usedIdx) return false;
    this.#signalled = this.#usedIdx;
    const memory = this.#memory;
    const { avail } = this.#areas;
    const eventAt = avail + AVAIL_RING + 2 * this.size;
    const at = this.#eventIdx ? eventAt : avail + AVAIL_FLAGS;
    // Not knowing what the driver wants, interrupt: a spurious one is allowed (2.7.7.2), a lost one is not.
    if (!memory.need(at, 2, 'read')) return true;
    const word = memory.loadU16(at);
    return this.#eventIdx ? needsEvent(word, this.#usedIdx, before) : (word & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0;
  }

  setNotifications(wanted: boolean): void {
    this.#notifications = wanted;
    const memory = this.#memory;
    const { used } = this.#areas;
    const at = this.#eventIdx ? used + USED_RING + USED_ELEMENT_SIZE * this.size : used + USED_FLAGS;
    if (this.#eventIdx && !wanted) return;
    if (!memory.need(at, 2, 'write')) return;
    memory.storeU16(at, this.#eventIdx ? this.#lastAvail : wanted ? 0 : VIRTQ_USED_F_NO_NOTIFY);
    memory.written(at, 2);
  }

  heads(): readonly number[] {
    return [...this.#busy.keys()].filter((head) => this.#busy[head] === 1);
  }

  recall(head: number): Exclude<Popped, { kind: 'empty' }> {
    assert(this.#busy[head] === 1, `head ${head} was popped and not pushed yet`);
    if (this.#error !== undefined) return { kind: 'broken', error: this.#error };
    const walked = this.#walk(head);
    return walked === WAIT ? { kind: WAIT } : walked;
  }

  save(): SavedDeviceQueue {
    return {
      lastAvail: this.#lastAvail,
      usedIdx: this.#usedIdx,
      signalled: this.#signalled,
      notifications: this.#notifications,
      inFlight: this.heads(),
      error: this.#error ?? null,
    };
  }

  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => this.#takeOver(saved));
  }

  #takeOver(saved: SavedValue): void {
    const index = (name: string): number => saved.field(name).integer(0, 0xffff);
    const lastAvail = index('lastAvail');
    const usedIdx = index('usedIdx');
    const signalled = index('signalled');
    const notifications = saved.field('notifications').boolean();
    const inFlight = saved.field('inFlight');
    const heads = new Set<number>();
    for (const entry of inFlight.list()) {
      const head = entry.integer(0, this.size - 1);
      if (heads.has(head)) entry.refuse('each head once');
      heads.add(head);
    }
    const between = distance(lastAvail, usedIdx);
    if (between !== heads.size) inFlight.refuse(`the ${between} chains between usedIdx and lastAvail`);
    const error = saved.field('error');
    this.#error = error.isNull
      ? undefined
      : {
          code: error.field('code').text(),
          clause: error.field('clause').text(),
          detail: error.field('detail').text(),
        };
    this.#lastAvail = lastAvail;
    this.#usedIdx = usedIdx;
    this.#signalled = signalled;
    this.#notifications = notifications;
    this.#busy.fill(0);
    for (const head of heads) this.#busy[head] = 1;
    this.#inFlight = heads.size;
  }

  #break(code: string, clause: string, detail: string): { readonly kind: 'broken'; readonly error: QueueError } {
    this.#error = { code, clause, detail };
    return { kind: 'broken', error: this.#error };
  }

  /** Copies a chain out of memory, once. Changes nothing but, for a broken ring, the latch. */
  #walk(head: number): Exclude<Popped, { kind: 'empty' | 'wait' }> | typeof WAIT {
    const memory = this.#memory;
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let readableLength = 0;
    let writableLength = 0;
    let total = 0;
    let rejected: QueueError | undefined;
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

      const write = (flags & VIRTQ_DESC_F_WRITE) !== 0;
      const offset = memory.locate(address, length);
      if (offset < 0) {
        rejected ??= { code: 'buffer-address', clause: '2.7.5', detail: `buffer 0x${address.toString(16)}+${length}` };
      } else if (write) {
        writable.push({ offset, length });
        writableLength += length;
      } else {
        if (writable.length > 0) {
          rejected ??= { code: 'buffer-order', clause: '2.7.4.2', detail: 'a readable buffer follows a writable one' };
        }
        readable.push({ offset, length });
        readableLength += length;
      }
      total += length;
      if (total > CHAIN_LENGTH_MAX) {
        rejected = { code: 'chain-bytes', clause: '2.7.5.2', detail: 'the buffers exceed 2^32 bytes' };
      }
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) break;
      if (next >= entries) return this.#break('next', '2.7.5', `next ${next} in a table of ${entries}`);
      index = next;
    }
    if (rejected !== undefined) return { kind: 'rejected', head, error: rejected };
    const chain: Chain = { head, readable, writable, readableLength, writableLength };
    return { kind: 'chain', chain };
  }

  #wrongIndirect(flags: number, length: number, nested: boolean): readonly [string, string, string] | undefined {
    if (!this.#indirect) return ['indirect-feature', '2.7.5.3.1', 'INDIRECT_DESC was not negotiated'];
    if (nested) return ['indirect-nested', '2.7.5.3.1', 'an indirect table refers to another'];
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return ['indirect-next', '2.7.5.3.1', 'INDIRECT and NEXT together'];
    if (length === 0 || length % DESC_SIZE !== 0) return ['indirect-length', '2.7.5.3', `a table of ${length} bytes`];
    return undefined;
  }
}
