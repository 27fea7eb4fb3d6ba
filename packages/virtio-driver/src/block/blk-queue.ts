import { err, ok, type Result } from '@remio/base';
import type { GuestCpu } from '@remio/guest';
import type { DriverQueue } from '@remio/virtqueue';
import type { DeviceBringUp } from '../bring-up.js';
import { type DriverError, driverError } from '../driver-error.js';
import { type BlkOutcome, type BlkRequest, RequestSlot, SLOT_SIZE } from './blk-request.js';

/** Told how a request ended. */
export type Ended = (outcome: BlkOutcome) => void;

/** A request in the queue, or room for one. */
interface Entry {
  readonly slot: RequestSlot;
  ended: Ended | undefined;
  request: BlkRequest | undefined;
  /** How often the device was reset while it had the request. */
  resets: number;
}

/** Descriptors of the smallest request: header, data, status. */
const REQUEST_DESCRIPTORS = 3;
/** Resets that a request lives through: after another one, it may be what the device does not bear. */
const RESETS_MAX = 3;

/** One queue of requests of a block device. */
export class BlkQueue {
  readonly index: number;
  /** The vCPU that waits for what is submitted here. */
  owner: GuestCpu | undefined;
  readonly #ring: DriverQueue<Entry>;
  readonly #all: readonly Entry[];
  readonly #free: Entry[];
  /** Requests that go to the device once more, oldest first: nothing new is taken before them. */
  readonly #again: Entry[] = [];
  readonly #device: DeviceBringUp;
  /** The device has nothing of this queue at the moment. */
  #stopped = false;

  private constructor(device: DeviceBringUp, index: number, ring: DriverQueue<Entry>, entries: readonly Entry[]) {
    this.index = index;
    this.#device = device;
    this.#ring = ring;
    this.#all = entries;
    this.#free = [...entries];
  }

  /** @param size most descriptors, a power of two */
  static async setUp(
    cpu: GuestCpu,
    device: DeviceBringUp,
    index: number,
    size: number,
  ): Promise<Result<BlkQueue, DriverError>> {
    const ring = await device.setUpQueue<Entry>(cpu, index, size, REQUEST_DESCRIPTORS);
    if (!ring.ok) return ring;
    const { allocator } = device;
    const area = allocator.allocate(ring.value.size * SLOT_SIZE);
    if (area === undefined) {
      return err(driverError('memory', '2.7', `the shared memory has no room for the requests of queue ${index}`));
    }
    const entries = Array.from({ length: ring.value.size }, (_, n): Entry => {
      const slot = new RequestSlot(allocator.memory, area + BigInt(n * SLOT_SIZE));
      return { slot, ended: undefined, request: undefined, resets: 0 };
    });
    return ok(new BlkQueue(device, index, ring.value, entries));
  }

  /** Requests that the device has, or is to have once more. */
  get inFlight(): number {
    return this.#ring.inFlight + this.#again.length;
  }

  /** Puts a request into the ring; the device sees it after {@link publish}. False: there is no room now. */
  add(request: BlkRequest, ended: Ended): boolean {
    if (this.#stopped || this.#again.length > 0) return false;
    const entry = this.#free.pop();
    if (entry === undefined) return false;
    if (!this.#submit(entry, request)) {
      this.#free.push(entry);
      return false;
    }
    entry.ended = ended;
    entry.request = request;
    entry.resets = 0;
    return true;
  }

  /** Shows the device what was added; returns whether it wants a notification. */
  publish(): boolean {
    return !this.#stopped && this.#ring.publish();
  }

  /** Whether the device has nothing of this queue at the moment. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The device is being reset, or this queue of it: nothing is added or shown until {@link goOn}. */
  stop(): void {
    this.#stopped = true;
  }

  /** The device was reset: what was in flight is to go again. */
  restart(): void {
    this.#collect(this.#ring.restart());
  }

  /**
   * Resets this queue alone (2.6.1).
   * @returns why that cannot be done
   */
  reset(cpu: GuestCpu): Promise<Result<void, DriverError>> {
    return this.#device.resetQueue(cpu, this.#ring, () => this.restart());
  }

  /** The device has the queue again: makes the requests once more that were in flight; {@link publish} them. */
  goOn(): void {
    this.#stopped = false;
    this.refill();
  }

  /** Makes the next of the requests that go again, as far as there is room; true if there were any. */
  refill(): boolean {
    let made = false;
    for (let entry = this.#again[0]; entry?.request !== undefined; entry = this.#again[0]) {
      if (!this.#submit(entry, entry.request)) break;
      this.#again.shift();
      made = true;
    }
    return made;
  }

  /**
   * Asks for interrupts or for none; true if something was used meanwhile. With many requests in flight, one interrupt
   * for a third of them is enough: no request depends on another, and the rest keeps the device busy until the interrupt
   * has come to its driver, which takes as long as some ten requests of 1 MiB.
   */
  setInterrupts(wanted: boolean): boolean {
    return !this.#stopped && this.#ring.setInterrupts(wanted, Math.ceil(this.#ring.inFlight / 3));
  }

  /** Ends the requests that the device has used; returns how many, or why the queue is of no use any more. */
  reap(): Result<number, DriverError> {
    let count = 0;
    if (this.#stopped) return ok(count);
    for (;;) {
      const element = this.#ring.popUsed();
      if (element.kind === 'empty') return ok(count);
      if (element.kind === 'broken') return err(driverError('queue', element.error.clause, element.error.detail));
      const entry = element.token;
      this.#end(entry, entry.slot.outcome());
      this.#free.push(entry);
      count += 1;
    }
  }

  /** Ends every request in flight; the queue is not used any more. */
  fail(): void {
    this.#stopped = true;
    this.#again.length = 0;
    for (const entry of this.#all) this.#end(entry, 'device-broken');
  }

  /** A request and its buffers, written anew: whatever the device did to them is gone. */
  #submit(entry: Entry, request: BlkRequest): boolean {
    const { readable, writable } = entry.slot.prepare(request);
    return this.#ring.add(readable, writable, entry);
  }

  #collect(entries: readonly Entry[]): void {
    for (const entry of entries) {
      entry.resets += 1;
      if (entry.resets <= RESETS_MAX) this.#again.push(entry);
      else {
        this.#free.push(entry);
        this.#end(entry, 'io-error');
      }
    }
  }

  #end(entry: Entry, outcome: BlkOutcome): void {
    const { ended } = entry;
    entry.ended = undefined;
    entry.request = undefined;
    ended?.(outcome);
  }
}
