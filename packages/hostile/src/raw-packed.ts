import {
  EVENT_FLAGS_SHIFT,
  EVENT_WRAP_SHIFT,
  PDESC_FLAGS,
  PDESC_ID,
  PDESC_LEN,
  PDESC_SIZE,
  RING_EVENT_FLAGS_DESC,
  RING_EVENT_FLAGS_DISABLE,
  RING_EVENT_FLAGS_ENABLE,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
} from '@remio/virtio-spec';
import type { QueueConfig } from '@remio/virtqueue';
import type { Piece, RawMemory, RawQueue, UsedPiece } from './raw-queue.js';

/** A packed queue (2.8) whose driver keeps to nothing. */
export class RawPacked implements RawQueue {
  readonly layout = 'packed';
  readonly index: number;
  readonly config: QueueConfig;
  readonly eventIdx: boolean;
  readonly memory: RawMemory;
  /** Where the next descriptor goes, and the wrap counter there. */
  next = 0;
  wrap = 1;
  #used = 0;
  #usedWrap = 1;
  #id = 0;
  /** By buffer id: descriptors of its chain. */
  readonly #lengths = new Map<number, number>();

  constructor(memory: RawMemory, index: number, config: QueueConfig, eventIdx: boolean) {
    this.memory = memory;
    this.index = index;
    this.config = config;
    this.eventIdx = eventIdx;
  }

  put(pieces: readonly Piece[], id?: number): number {
    const own = id ?? this.#freeId();
    this.#lengths.set(own, pieces.length);
    const first = this.next;
    let firstFlags = 0;
    pieces.forEach((piece, n) => {
      const linked = piece.next !== undefined || n + 1 < pieces.length;
      const flags = piece.flags | (linked ? VIRTQ_DESC_F_NEXT : 0) | this.availableFlags;
      if (n === 0) firstFlags = flags;
      this.describe(this.next, piece, own, n === 0 ? undefined : flags);
      this.advance();
    });
    this.setFlags(first, firstFlags);
    return own;
  }

  /** Flags of a descriptor that is made available now. */
  get availableFlags(): number {
    return this.wrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
  }

  /** Goes on to the next descriptor. */
  advance(): void {
    this.next += 1;
    if (this.next < this.config.size) return;
    this.next = 0;
    this.wrap ^= 1;
  }

  /** Writes a descriptor of the ring; its flags last, if they are given. */
  describe(index: number, { address, length }: Piece, id: number, flags: number | undefined): void {
    const at = this.descriptorAddress(index);
    this.memory.write64(at, address);
    this.memory.write32(at + BigInt(PDESC_LEN), length);
    this.memory.write16(at + BigInt(PDESC_ID), id);
    if (flags !== undefined) this.setFlags(index, flags);
  }

  descriptorAddress(index: number): bigint {
    return this.config.descriptorArea + BigInt(PDESC_SIZE * index);
  }

  setFlags(index: number, flags: number): void {
    this.memory.write16(this.descriptorAddress(index) + BigInt(PDESC_FLAGS), flags);
  }

  table(at: bigint, pieces: readonly Piece[]): Piece {
    pieces.forEach(({ address, length, flags }, n) => {
      const entry = at + BigInt(PDESC_SIZE * n);
      this.memory.write64(entry, address);
      this.memory.write32(entry + BigInt(PDESC_LEN), length);
      this.memory.write16(entry + BigInt(PDESC_ID), 0);
      this.memory.write16(entry + BigInt(PDESC_FLAGS), flags);
    });
    return { address: at, length: PDESC_SIZE * pieces.length, flags: VIRTQ_DESC_F_INDIRECT };
  }

  used(): readonly UsedPiece[] {
    const all: UsedPiece[] = [];
    while (all.length < this.config.size) {
      const at = this.descriptorAddress(this.#used);
      const flags = this.memory.read16(at + BigInt(PDESC_FLAGS));
      const avail = (flags & VIRTQ_DESC_F_AVAIL) !== 0 ? 1 : 0;
      const used = (flags & VIRTQ_DESC_F_USED) !== 0 ? 1 : 0;
      if (avail !== this.#usedWrap || used !== this.#usedWrap) break;
      const id = this.memory.read16(at + BigInt(PDESC_ID));
      const length = this.#lengths.get(id);
      if (length === undefined) break;
      all.push({ id, written: this.memory.read32(at + BigInt(PDESC_LEN)) });
      this.#used += length;
      if (this.#used >= this.config.size) {
        this.#used -= this.config.size;
        this.#usedWrap ^= 1;
      }
    }
    return all;
  }

  setInterrupts(wanted: boolean): void {
    const flags = !wanted ? RING_EVENT_FLAGS_DISABLE : this.eventIdx ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE;
    this.setEvent((flags << EVENT_FLAGS_SHIFT) | (this.#usedWrap << EVENT_WRAP_SHIFT) | this.#used);
  }

  /** Writes the Driver Event Suppression structure. */
  setEvent(word: number): void {
    this.memory.write32(this.config.driverArea, word);
  }

  #freeId(): number {
    this.#id = (this.#id + 1) % this.config.size;
    return this.#id;
  }
}
