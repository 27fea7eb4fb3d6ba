import type { GuestAddress } from '@remio/base';

/** What a range is needed for. */
export type Intent = 'read' | 'write';

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
  /** Bytes. */
  readonly size: number;

  /**
   * The offset of a guest-physical range, or -1 if any byte of it lies outside. Nothing wraps.
   * @param length bytes, 0 or more (an empty range just past the end is inside)
   */
  locate(address: bigint, length: number): number;

  /** Whether the range can be used now. If not, it is being fetched, and {@link onLocal} follows. */
  need(offset: number, length: number, intent: Intent): boolean;

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
