import type { Result } from '@remio/base';

/** A queue as the driver programmed it, before it runs (4.2.2: QueueSize, QueueDesc, QueueDriver, QueueDevice). */
export interface QueueConfig {
  readonly size: number;
  /** Guest-physical addresses of the Descriptor Area, Driver Area and Device Area. */
  readonly descriptorArea: bigint;
  readonly driverArea: bigint;
  readonly deviceArea: bigint;
}

/** A checked piece of guest memory: offset into the `GuestMemory` (already located) and length in bytes. */
export interface Segment {
  readonly offset: number;
  readonly length: number;
}

/** A descriptor chain, copied once out of guest memory; nothing reads its descriptors again. */
export interface Chain {
  /**
   * What {@link DeviceQueue.push} returns to the driver: the index of the head descriptor of a split ring, the buffer id
   * of a packed one.
   */
  readonly head: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  readonly readableLength: number;
  readonly writableLength: number;
}

/** What is wrong with a ring, with the clause that the driver or device violated. */
export interface QueueError {
  readonly code: string;
  /** Section of VirtIO 1.4, such as `2.7.5.3.1`. */
  readonly clause: string;
  readonly detail: string;
}

export type Popped =
  | { readonly kind: 'chain'; readonly chain: Chain }
  /** A chain that cannot be served (bad buffer address, wrong order) in a healthy ring: push its head back with length 0. */
  | { readonly kind: 'rejected'; readonly head: number; readonly error: QueueError }
  | { readonly kind: 'empty' }
  /** Memory is not local yet: nothing changed, call again after `GuestMemory.onLocal`. */
  | { readonly kind: 'wait' }
  /** The ring is latched as broken (until reset). */
  | { readonly kind: 'broken'; readonly error: QueueError };

/** A chain that was popped earlier, once more. */
export type Recalled = Exclude<Popped, { readonly kind: 'empty' }>;

/** A chain that the device has finished with. */
export interface Used {
  /** {@link Chain.head} */
  readonly head: number;
  /** Bytes written to its writable buffers, from their start. */
  readonly written: number;
}

/** The device side of a virtqueue, after activation. */
export interface DeviceQueue {
  readonly size: number;
  /** Chains popped and not yet pushed. */
  readonly inFlight: number;
  readonly error: QueueError | undefined;
  /**
   * The driver has notified. A look at far memory may be under way, or over, that found nothing: that says nothing of what
   * the driver offers now, and it will not notify again.
   */
  notified(): void;
  pop(): Popped;
  /**
   * Returns a chain to the driver with `written` bytes written. With IN_ORDER the driver sees it when those popped
   * earlier were pushed as well. False: memory is not local yet, call again.
   */
  push(head: number, written: number): boolean;
  /**
   * Returns chains that the driver sees all at once, such as the buffers of one frame (2.8.9). False: memory is not
   * local yet, nothing was returned; call again.
   */
  pushAll(used: readonly Used[]): boolean;
  /**
   * Whether the driver wants an interrupt for what was pushed since this was last said (2.7.7). `wait`: memory is not local
   * yet, ask again; to interrupt instead is allowed.
   */
  shouldInterrupt(): boolean | 'wait';
  /** Asks the driver for notifications or for none (2.7.10); after `true`, look for chains once more. */
  setNotifications(wanted: boolean): void;
  /** Heads popped and not yet pushed, oldest first. */
  heads(): readonly number[];
  /** A chain that is in flight, as it was popped: a device that takes over a saved queue serves it anew. */
  recall(head: number): Recalled;
  /**
   * Goes on where a process stopped that is lost, by the account that it kept in memory that outlives it: what it had taken
   * will be pushed by whoever {@link recall}s it. Absent: no such account can be kept.
   */
  resume?(): Result<void, string>;
  /** The queue's state as plain data. */
  save(): unknown;
  /**
   * Takes over a saved state; what is in flight will be pushed by whoever {@link recall}s it.
   * @returns why the state cannot be one of this queue
   */
  restore(state: unknown): Result<void, string>;
}

/** A buffer of a request as the driver knows it. */
export interface GuestBuffer {
  readonly address: bigint;
  readonly length: number;
}

export type UsedElement<Token> =
  | { readonly kind: 'used'; readonly token: Token; readonly written: number }
  | { readonly kind: 'empty' }
  | { readonly kind: 'broken'; readonly error: QueueError };

/** The driver side of a virtqueue. Its memory is its VM's own: always local. */
export interface DriverQueue<Token> {
  readonly size: number;
  /** Descriptors of the ring that are free; a request that goes through an indirect table takes one. */
  readonly free: number;
  readonly inFlight: number;
  readonly error: QueueError | undefined;
  /** Requests that {@link popUsed} gave back since the queue was made: whoever watches sees that something ends. */
  readonly returned: number;
  /** Told when chains were made available, before the device is asked whether it wants to know. */
  onPublish: () => void;
  /** Makes a chain available (seen by the device after {@link publish}). False: not enough descriptors are free. */
  add(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[], token: Token): boolean;
  /** Publishes what was added; returns whether the device wants a notification (2.7.10). */
  publish(): boolean;
  popUsed(): UsedElement<Token>;
  /**
   * Asks the device for interrupts or for none (2.7.7, 2.8.10); returns true if used elements came meanwhile.
   * @param after requests that shall have ended before the interrupt, of those in flight: a driver with many saves
   *   interrupts so. Without EVENT_IDX every one interrupts.
   */
  setInterrupts(wanted: boolean, after?: number): boolean;
  /** Where the next chain will be made available, as notifications carry it (2.9): next_off, and next_wrap in bit 15. */
  readonly notificationData: number;
  /**
   * Starts over, in the same memory, after the device has reset the queue or itself.
   * @returns requests that the device had not ended, oldest first
   */
  restart(): readonly Token[];
}
