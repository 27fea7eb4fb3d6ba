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
}

/** Descriptors of the smallest request: header, data, status. */
const REQUEST_DESCRIPTORS = 3;

/** One queue of requests of a block device. */
export class BlkQueue {
  readonly index: number;
  /** The vCPU that waits for what is submitted here. */
  owner: GuestCpu | undefined;
  readonly #ring: DriverQueue<Entry>;
  readonly #all: readonly Entry[];
  readonly #free: Entry[];

  private constructor(index: number, ring: DriverQueue<Entry>, entries: readonly Entry[]) {
    this.index = index;
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
      return { slot: new RequestSlot(allocator.memory, area + BigInt(n * SLOT_SIZE)), ended: undefined };
    });
    return ok(new BlkQueue(index, ring.value, entries));
  }

  /** Requests that the device has. */
  get inFlight(): number {
    return this.#ring.inFlight;
  }

  /** Puts a request into the ring; the device sees it after {@link publish}. False: there is no room now. */
  add(request: BlkRequest, ended: Ended): boolean {
    const entry = this.#free.pop();
    if (entry === undefined) return false;
    const { readable, writable } = entry.slot.prepare(request);
    if (!this.#ring.add(readable, writable, entry)) {
      this.#free.push(entry);
      return false;
    }
    entry.ended = ended;
    return true;
  }

  /** Shows the device what was added; returns whether it wants a notification. */
  publish(): boolean {
    return this.#ring.publish();
  }

  /**
   * Asks for interrupts or for none; true if something was used meanwhile. With many requests in flight, one interrupt
   * for a third of them is enough: no request depends on another, and the rest keeps the device busy until the interrupt
   * has come to its driver, which takes as long as some ten requests of 1 MiB.
   */
  setInterrupts(wanted: boolean): boolean {
    return this.#ring.setInterrupts(wanted, Math.ceil(this.#ring.inFlight / 3));
  }

  /** Ends the requests that the device has used; returns how many, or why the queue is of no use any more. */
  reap(): Result<number, DriverError> {
    let count = 0;
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
    for (const entry of this.#all) this.#end(entry, 'device-broken');
  }

  #end(entry: Entry, outcome: BlkOutcome): void {
    const { ended } = entry;
    entry.ended = undefined;
    ended?.(outcome);
  }
}
