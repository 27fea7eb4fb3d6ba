import {
  AVAIL_FLAGS,
  AVAIL_IDX,
  AVAIL_RING,
  DESC_FLAGS,
  DESC_LEN,
  DESC_NEXT,
  DESC_SIZE,
  USED_ELEMENT_SIZE,
  USED_IDX,
  USED_RING,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
} from '@remio/virtio-spec';
import type { QueueConfig } from '@remio/virtqueue';
import type { Piece, RawMemory, RawQueue, UsedPiece } from './raw-queue.js';

/** A split queue (2.7) whose driver keeps to nothing. */
export class RawSplit implements RawQueue {
  readonly layout = 'split';
  readonly index: number;
  readonly config: QueueConfig;
  readonly eventIdx: boolean;
  readonly memory: RawMemory;
  /** Available index as it was written last. */
  avail = 0;
  #seen = 0;
  #next = 0;

  constructor(memory: RawMemory, index: number, config: QueueConfig, eventIdx: boolean) {
    this.memory = memory;
    this.index = index;
    this.config = config;
    this.eventIdx = eventIdx;
  }

  /** The descriptor that the next chain begins with. */
  get nextDescriptor(): number {
    return this.#next;
  }

  put(pieces: readonly Piece[]): number {
    const head = this.#next;
    pieces.forEach((piece, n) => {
      const at = this.#next;
      this.#next = (at + 1) % this.config.size;
      const link = piece.next ?? (n + 1 < pieces.length ? this.#next : undefined);
      this.describe(this.config.descriptorArea, at, piece, link);
    });
    this.offer(head);
    return head;
  }

  /** Writes one descriptor of a table. */
  describe(table: bigint, index: number, { address, length, flags }: Piece, link: number | undefined): void {
    const at = table + BigInt(DESC_SIZE * index);
    this.memory.write64(at, address);
    this.memory.write32(at + BigInt(DESC_LEN), length);
    this.memory.write16(at + BigInt(DESC_FLAGS), flags | (link === undefined ? 0 : VIRTQ_DESC_F_NEXT));
    this.memory.write16(at + BigInt(DESC_NEXT), link ?? 0);
  }

  /** Makes a head available. */
  offer(head: number): void {
    this.memory.write16(this.entryAddress(this.avail), head);
    this.setAvail(this.avail + 1);
  }

  entryAddress(index: number): bigint {
    return this.config.driverArea + BigInt(AVAIL_RING + 2 * (index & (this.config.size - 1)));
  }

  /** Writes the available index. */
  setAvail(index: number): void {
    this.avail = index & 0xffff;
    this.memory.write16(this.config.driverArea + BigInt(AVAIL_IDX), this.avail);
  }

  table(at: bigint, pieces: readonly Piece[]): Piece {
    pieces.forEach((piece, n) => {
      this.describe(at, n, piece, piece.next ?? (n + 1 < pieces.length ? n + 1 : undefined));
    });
    return { address: at, length: DESC_SIZE * pieces.length, flags: VIRTQ_DESC_F_INDIRECT };
  }

  used(): readonly UsedPiece[] {
    const all: UsedPiece[] = [];
    const index = this.memory.read16(this.config.deviceArea + BigInt(USED_IDX));
    for (; this.#seen !== index && all.length < this.config.size; this.#seen = (this.#seen + 1) & 0xffff) {
      const at = this.config.deviceArea + BigInt(USED_RING + USED_ELEMENT_SIZE * (this.#seen & (this.config.size - 1)));
      all.push({ id: this.memory.read32(at), written: this.memory.read32(at + 4n) });
    }
    return all;
  }

  setInterrupts(wanted: boolean): void {
    if (this.eventIdx) this.setUsedEvent(wanted ? this.#seen : this.#seen - 1);
    else this.memory.write16(this.config.driverArea + BigInt(AVAIL_FLAGS), wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT);
  }

  setUsedEvent(index: number): void {
    this.memory.write16(this.config.driverArea + BigInt(AVAIL_RING + 2 * this.config.size), index);
  }
}
