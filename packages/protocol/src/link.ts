import { assert } from '@remio/base';
import { type Credit, RECORDS_PER_FRAME_MAX } from './frame.js';
import { RECORD_BYTES_MAX } from './record-codec.js';

/** The credit that the hypervisor gives and takes. */
export const CREDIT: Credit = { frames: 1024, bytes: 1 << 20 };

/**
 * One side of a session, whatever connection carries it: records in order, exactly once. What was sent is kept until it
 * is acknowledged, and goes again when a lost connection is resumed; what is on its way is bounded by credit. No frame is
 * ever out of order on one connection, so one that is ends the session.
 */
export class Link<R> {
  readonly #credit: Credit;
  readonly #mask: number;
  /** Bytes of a record that takes many; 0 for all others. */
  readonly #bulkOf: (record: R) => number;
  /** Records that no frame carries yet, and the bytes of those that take many. */
  #queue: R[] = [];
  #bulk = 0;
  /** Records and bytes of the frames that are not acknowledged, by sequence number modulo their count. */
  readonly #frames: (readonly R[] | undefined)[];
  readonly #sizes: Float64Array;
  /** Last frame sent, and last that the other side acknowledged. */
  #sent = 0;
  #acked = 0;
  #bytesOut = 0;
  /** Last frame received, and last that the other side was told of. */
  #received = 0;
  #told = 0;
  #bytesUntold = 0;

  constructor(credit: Credit, bulkOf: (record: R) => number = () => 0) {
    assert(credit.frames >= 1 && credit.bytes >= 1, 'without credit nothing moves');
    this.#credit = credit;
    this.#bulkOf = bulkOf;
    const slots = 2 ** Math.ceil(Math.log2(credit.frames));
    this.#mask = slots - 1;
    this.#frames = new Array(slots).fill(undefined);
    this.#sizes = new Float64Array(slots);
  }

  /** Number of the last frame sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Number of the last frame received. */
  get received(): number {
    return this.#received;
  }

  /** Records that wait for a frame. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Whether records wait because the other side does not acknowledge. */
  get stalled(): boolean {
    return this.#queue.length > 0 && !this.#maySend();
  }

  /** Whether the other side is to be told soon what arrived, lest it stalls. */
  get owesAck(): boolean {
    const { frames, bytes } = this.#credit;
    return (this.#received - this.#told) * 2 >= frames || this.#bytesUntold * 2 >= bytes;
  }

  push(record: R): void {
    this.#queue.push(record);
    this.#bulk += this.#bulkOf(record);
  }

  /** The records of the next frame, whose number is then {@link sent}; undefined: none wait, or credit is used up. */
  take(): readonly R[] | undefined {
    if (this.#queue.length === 0 || !this.#maySend()) return undefined;
    const all = this.#queue;
    const fits = this.#bulk === 0 ? RECORDS_PER_FRAME_MAX : this.#fitting(all);
    const records = all.length <= fits ? all : all.slice(0, fits);
    this.#queue = all === records ? [] : all.slice(fits);
    this.#sent += 1;
    this.#frames[this.#sent & this.#mask] = records;
    return records;
  }

  /** How many records fit a frame, where some are large. */
  #fitting(records: readonly R[]): number {
    let left = RECORDS_PER_FRAME_MAX;
    let count = 0;
    for (const record of records) {
      const bulk = this.#bulkOf(record);
      // A large record takes the place of so many others.
      const places = 1 + Math.ceil(bulk / RECORD_BYTES_MAX);
      if (places > left) break;
      left -= places;
      count += 1;
      this.#bulk -= bulk;
    }
    return count;
  }

  /** How long the frame that {@link take} gave came to be. */
  weigh(bytes: number): void {
    this.#sizes[this.#sent & this.#mask] = bytes;
    this.#bytesOut += bytes;
  }

  /** What to acknowledge in a frame or heartbeat that leaves now. */
  tell(): number {
    this.#told = this.#received;
    this.#bytesUntold = 0;
    return this.#received;
  }

  /**
   * A frame arrived.
   * @returns what is wrong with it: the session ends
   */
  receive(seq: number, ack: number, bytes: number): string | undefined {
    if (seq !== this.#received + 1) return `frame ${seq} follows frame ${this.#received}`;
    if (this.#received - this.#told >= this.#credit.frames || this.#bytesUntold >= this.#credit.bytes) {
      return `frame ${seq} exceeds the credit: frame ${this.#told} was the last acknowledged`;
    }
    this.#received = seq;
    this.#bytesUntold += bytes;
    return this.acknowledged(ack);
  }

  /**
   * The other side has everything up to this frame. An older acknowledgement says nothing new.
   * @returns what is wrong with it: the session ends
   */
  acknowledged(ack: number): string | undefined {
    if (ack > this.#sent) return `frame ${ack} is acknowledged; frame ${this.#sent} was the last sent`;
    while (this.#acked < ack) {
      this.#acked += 1;
      const slot = this.#acked & this.#mask;
      this.#frames[slot] = undefined;
      this.#bytesOut -= this.#sizes[slot] ?? 0;
    }
    return undefined;
  }

  /**
   * The connection was lost, and on a new one the other side says what it had got.
   * @returns why the session cannot go on
   */
  resumed(received: number): string | undefined {
    if (received < this.#acked)
      return `frame ${received + 1} is asked for again; frame ${this.#acked} was acknowledged`;
    return this.acknowledged(received);
  }

  /** Frames that were sent and not acknowledged, in order: they go again on a new connection. */
  *unacknowledged(): Generator<{ readonly seq: number; readonly records: readonly R[] }> {
    for (let seq = this.#acked + 1; seq <= this.#sent; seq += 1) {
      const records = this.#frames[seq & this.#mask];
      assert(records !== undefined, 'a frame is kept until it is acknowledged');
      yield { seq, records };
    }
  }

  #maySend(): boolean {
    return this.#sent - this.#acked < this.#credit.frames && this.#bytesOut < this.#credit.bytes;
  }
}
