import type { GuestAddress } from '@remio/base';

/** What a range is needed for. */
export type Intent = 'read' | 'write';

/**
 * Where the device side of a virtqueue goes on, as offsets that are known to lie inside the memory: whoever has the memory
 * can follow the ring from here, and send all that the queue will need at once.
 */
export interface RingAhead {
  readonly layout: 'split' | 'packed';
  /** Descriptors of the ring. */
  readonly size: number;
  /** Offsets of the Descriptor Area and of the Driver Area. */
  readonly descriptors: number;
  readonly driver: number;
  /** The next available index of a split ring (16 bits); of a packed one, offset and wrap counter as in 2.9. */
  readonly next: number;
}

/**
 * A guest's memory as a device model, a driver or a ring sees it.
 *
 * Memory may be far away, and Node cannot block. So code that uses it is a step function: it {@link locate}s a range,
 * asks {@link need} whether the range is local, and when it is not, returns "wait" having changed nothing of its own
 * state; the engine runs it again once {@link onLocal} was called. A mapping answers `true` at once, always.
 *
 * An offset is a checked position: `locate` is the only way to get one, and arithmetic on it must stay inside the
 * located range. Accessors are little-endian. Those of 16 and 32 bits named `load…`/`store…` order memory between
 * processes (Atomics); the plain ones do not.
 */
export interface GuestMemory {
  /** Guest-physical address of the first byte. */
  readonly base: GuestAddress;
  /**
   * Whether every look costs an exchange with another host: code that polls should not, and what is written and then
   * looked at should be asked for in this order within a step, so that both travel together.
   */
  readonly far: boolean;
  /** Bytes. */
  readonly size: number;

  /**
   * The offset of a guest-physical range, or -1 if any byte of it lies outside. Nothing wraps.
   * @param length bytes, 0 or more (an empty range just past the end is inside)
   */
  locate(address: bigint, length: number): number;

  /** Whether the range can be used now. If not, it is being fetched, and {@link onLocal} follows. */
  need(offset: number, length: number, intent: Intent): boolean;

  /**
   * What was fetched of a range counts no more: from now on its bytes are those after every store made so far, and
   * {@link need} fetches them. Memory that is here is always so.
   */
  afresh(offset: number, length: number): void;

  /** After a `need` was refused: the ring that it was for. Only a hint, which saves exchanges. */
  ahead(ring: RingAhead): void;

  /** Called when ranges that `need` refused became local. Set by whoever runs the step functions. */
  onLocal: () => void;

  /** The bytes themselves: no copy. Valid until the step function returns, unless {@link hold} keeps them. */
  bytes(offset: number, length: number): Uint8Array;

  /** Says that the bytes of a `write` range obtained from {@link bytes} were filled and may travel. */
  written(offset: number, length: number): void;

  /** Keeps a range local across steps (for file I/O in flight); each hold is {@link release}d once. */
  hold(offset: number, length: number): void;
  release(offset: number, length: number): void;

  readU8(offset: number): number;
  readU16(offset: number): number;
  readU32(offset: number): number;
  readU64(offset: number): bigint;
  writeU8(offset: number, value: number): void;
  writeU16(offset: number, value: number): void;
  writeU32(offset: number, value: number): void;
  writeU64(offset: number, value: bigint): void;

  /** Sequentially consistent accesses; `offset` aligned to their size relative to {@link base}. */
  loadU16(offset: number): number;
  storeU16(offset: number, value: number): void;
  loadU32(offset: number): number;
  storeU32(offset: number, value: number): void;
}
