import { err, ok, type Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';

/**
 * Offsets in the area of one direction. What each side writes lies in a cache line of its own; counters go up for ever,
 * modulo 2^32.
 */
const WRITTEN = 0x00;
const SENDER_WAITS = 0x04;
const READ = 0x40;
const RECEIVER_WAITS = 0x44;
const SLOTS = 0x80;
/** Bytes of a message's length before it. */
const LENGTH = 4;

/** What the other partition did to the ring that it must not: only counters and lengths are believed, and only so far. */
export type RingProblem = string;

/**
 * One direction of a channel between two partitions: a ring of slots in memory that both have, with one sender and one
 * receiver. Whoever waits says so in a flag, so that the other one rings its doorbell then and no other time.
 *
 * The memory is that of one host: it is local, always.
 */
class Direction {
  readonly capacity: number;
  readonly #memory: GuestMemory;
  readonly #area: number;
  readonly #slotBytes: number;
  readonly #messageMax: number;

  /**
   * @param area offset of the direction's part of the memory, a multiple of 64
   * @param bytes size of that part
   * @param messageMax bytes of the longest message
   */
  constructor(memory: GuestMemory, area: number, bytes: number, messageMax: number) {
    this.#memory = memory;
    this.#area = area;
    this.#messageMax = messageMax;
    this.#slotBytes = (LENGTH + messageMax + 3) & ~3;
    const fit = Math.floor((bytes - SLOTS) / this.#slotBytes);
    // A power of two: the slot of a counter is the same before and after the counter wraps.
    this.capacity = fit < 1 ? 0 : 2 ** Math.floor(Math.log2(fit));
  }

  load(field: number): number {
    return this.#memory.loadU32(this.#area + field);
  }

  store(field: number, value: number): void {
    this.#memory.storeU32(this.#area + field, value);
  }

  /** Messages that were sent and not received yet; more than there are slots is a lie. */
  filled(): Result<number, RingProblem> {
    const filled = (this.load(WRITTEN) - this.load(READ)) >>> 0;
    if (filled <= this.capacity) return ok(filled);
    return err(`the other partition's counter is off: ${filled} messages in ${this.capacity} slots`);
  }

  #slot(counter: number): number {
    return this.#area + SLOTS + (counter & (this.capacity - 1)) * this.#slotBytes;
  }

  put(message: Uint8Array): void {
    const written = this.load(WRITTEN);
    const slot = this.#slot(written);
    this.#memory.writeU32(slot, message.length);
    this.#memory.bytes(slot + LENGTH, message.length).set(message);
    this.#memory.written(slot, LENGTH + message.length);
    this.store(WRITTEN, (written + 1) >>> 0);
  }

  /** Takes the oldest message out, copied: its sender may still change the slot. */
  take(): Result<Uint8Array, RingProblem> {
    const read = this.load(READ);
    const slot = this.#slot(read);
    const length = this.#memory.readU32(slot);
    if (length > this.#messageMax) {
      return err(`the other partition sent a message of ${length} bytes; at most ${this.#messageMax} are allowed`);
    }
    const message = this.#memory.bytes(slot + LENGTH, length).slice();
    this.store(READ, (read + 1) >>> 0);
    return ok(message);
  }
}

/** Both directions of a channel, as the partition of one side sees them. */
export class MessageRing {
  readonly #out: Direction;
  readonly #in: Direction;

  private constructor(out: Direction, incoming: Direction) {
    this.#out = out;
    this.#in = incoming;
    this.setWaiting(false, false);
  }

  /**
   * Opens a side of the channel. Memory of zeros is a channel with nothing in it; a partition that comes back goes on
   * where it stopped.
   * @param side 0 and 1: the two partitions have different ones
   * @param messageMax bytes of the longest message, the same at both sides
   */
  static open(memory: GuestMemory, side: 0 | 1, messageMax: number): Result<MessageRing, string> {
    const half = Math.floor(memory.size / 2) & ~63;
    const directions = [0, 1].map((n) => new Direction(memory, n * half, half, messageMax));
    const [first, second] = directions;
    if (first === undefined || second === undefined || first.capacity === 0) {
      return err(`${memory.size} bytes of shared memory are too few for messages of ${messageMax} bytes`);
    }
    return ok(side === 0 ? new MessageRing(first, second) : new MessageRing(second, first));
  }

  /** Messages sent through this channel so far, by all that ever had this side. */
  get sent(): number {
    return this.#out.load(WRITTEN);
  }

  /** Messages received through this channel so far, by all that ever had this side. */
  get received(): number {
    return this.#in.load(READ);
  }

  /** Sends a message; false if there is no room. */
  send(message: Uint8Array): Result<boolean, RingProblem> {
    const filled = this.#out.filled();
    if (!filled.ok) return filled;
    if (filled.value === this.#out.capacity) return ok(false);
    this.#out.put(message);
    return ok(true);
  }

  /** Receives the oldest message; undefined if there is none. */
  receive(): Result<Uint8Array | undefined, RingProblem> {
    const filled = this.#in.filled();
    if (!filled.ok) return filled;
    return filled.value === 0 ? ok(undefined) : this.#in.take();
  }

  /**
   * Says what this side waits for: a message, room for one. Look once more after saying so, then sleep: whoever makes it
   * happen after that look sees the flag and rings.
   */
  setWaiting(message: boolean, room: boolean): void {
    this.#in.store(RECEIVER_WAITS, message ? 1 : 0);
    this.#out.store(SENDER_WAITS, room ? 1 : 0);
  }

  /**
   * Whether the other side sleeps until a message comes, and one is there. Ring then: it is told once. The flag is taken
   * down before the doorbell rings, so a flag that is set again meanwhile is heard as well.
   */
  takeMessageWanted(): boolean {
    const filled = this.#out.filled();
    if (this.#out.load(RECEIVER_WAITS) === 0 || (filled.ok && filled.value === 0)) return false;
    this.#out.store(RECEIVER_WAITS, 0);
    return true;
  }

  /** Whether the other side sleeps until there is room, and there is; told once. */
  takeRoomWanted(): boolean {
    const filled = this.#in.filled();
    if (this.#in.load(SENDER_WAITS) === 0 || (filled.ok && filled.value === this.#in.capacity)) return false;
    this.#in.store(SENDER_WAITS, 0);
    return true;
  }
}
