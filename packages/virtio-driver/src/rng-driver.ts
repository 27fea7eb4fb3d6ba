import { err, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import { DEVICE_ID_ENTROPY, ENTROPY_REQUESTQ } from '@remio/virtio-spec';
import type { DriverQueue } from '@remio/virtqueue';
import { DeviceBringUp } from './bring-up.js';
import { despiteLoss } from './despite-loss.js';
import { type DriverError, driverError } from './driver-error.js';
import type { Patience } from './watch.js';

/** Answers without a byte that a driver takes before it gives up on the device: each must bring one (5.4.6.2). */
const EMPTY_ANSWERS_MAX = 16;

export interface RngDriverOptions {
  /** Requests in flight, 1 and up. */
  readonly depth?: number;
  /** Bytes of one request. */
  readonly requestSize?: number;
  /** How long the device has to answer; absent: half a minute. */
  readonly patience?: Patience;
}

/** A buffer of a request, and where it lies in the shared memory. */
interface Slot {
  readonly address: bigint;
  readonly offset: number;
  /** Bytes asked for. */
  asked: number;
}

/** A virtio entropy driver (5.4): asks for random bytes, and believes only as many as the device says it wrote. */
export class VirtioRngDriver {
  readonly features: bigint;
  /** Requests made. */
  requests = 0;
  readonly #device: DeviceBringUp;
  readonly #ring: DriverQueue<Slot>;
  readonly #requestSize: number;
  /** Those that are free. */
  readonly #slots: Slot[];
  #sink: (bytes: Uint8Array) => void = () => {};
  /** Bytes that are still to come. */
  #wanted = 0;
  /** Bytes that requests in flight have room for. */
  #asked = 0;
  #answers = 0;
  #emptyAnswers = 0;
  #broken: DriverError | undefined;

  private constructor(device: DeviceBringUp, ring: DriverQueue<Slot>, requestSize: number, slots: Slot[]) {
    this.features = device.features;
    this.#device = device;
    this.#ring = ring;
    this.#requestSize = requestSize;
    this.#slots = slots;
  }

  /** Brings a device up, on the vCPU that will take its interrupts. */
  static probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: RngDriverOptions = {},
  ): Promise<Result<VirtioRngDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioRngDriver.#attempt(cpu, end, options));
  }

  static async #attempt(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: RngDriverOptions,
  ): Promise<Result<VirtioRngDriver, DriverError>> {
    const { depth = 8, requestSize = 64 * 1024 } = options;
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_ENTROPY, 0n, options.patience);
    if (!found.ok) return found;
    const device = found.value;
    const ring = await device.setUpQueue<Slot>(cpu, ENTROPY_REQUESTQ, depth, 1);
    if (!ring.ok) return ring;
    const slots: Slot[] = [];
    while (slots.length < ring.value.size) {
      const address = device.allocator.allocate(requestSize);
      if (address === undefined) break;
      slots.push({ address, offset: device.allocator.memory.locate(address, requestSize), asked: 0 });
    }
    if (slots.length === 0) {
      return err(driverError('memory', '2.7', `the shared memory has no room for a request of ${requestSize} bytes`));
    }
    const driver = new VirtioRngDriver(device, ring.value, requestSize, slots);
    const live = await device.goLive(cpu, {
      used: () => driver.#used(),
      configChanged: () => {},
      lost: (error) => driver.#restart(cpu, error),
    });
    return live.ok ? ok(driver) : live;
  }

  /**
   * Reads random bytes, with several requests in flight.
   * @param sink takes the bytes, in pieces; each is valid during the call only
   */
  async read(cpu: GuestCpu, bytes: number, sink: (bytes: Uint8Array) => void): Promise<Result<void, DriverError>> {
    this.#sink = sink;
    this.#wanted = bytes;
    this.#emptyAnswers = 0;
    for (;;) {
      if (this.#broken !== undefined) return err(this.#broken);
      if (this.#wanted === 0 && this.#ring.inFlight === 0) return ok(undefined);
      const answers = this.#answers;
      this.#ask();
      if (this.#ring.publish()) await this.#device.transport.notify(cpu, ENTROPY_REQUESTQ);
      if (this.#answers === answers && this.#broken === undefined) await cpu.waitForInterrupt();
    }
  }

  /** Makes as many requests as what is still wanted needs, and free buffers allow. */
  #ask(): void {
    while (this.#asked < this.#wanted) {
      const slot = this.#slots.pop();
      if (slot === undefined) return;
      const length = Math.min(this.#requestSize, this.#wanted - this.#asked);
      if (!this.#ring.add([], [{ address: slot.address, length }], slot)) {
        this.#slots.push(slot);
        return;
      }
      slot.asked = length;
      this.#asked += length;
      this.requests += 1;
    }
  }

  /** Resets the device: what it had not answered is asked for again. */
  async #restart(cpu: GuestCpu, error: DriverError): Promise<void> {
    const empty = (): void => {
      for (const slot of this.#ring.restart()) {
        this.#asked -= slot.asked;
        this.#slots.push(slot);
      }
    };
    const restarted = await this.#device.restart(cpu, empty, error);
    if (!restarted.ok) this.#broken ??= restarted.error;
  }

  #used(): void {
    do {
      for (;;) {
        const element = this.#ring.popUsed();
        if (element.kind === 'empty') break;
        if (element.kind === 'broken') {
          this.#device.lose(driverError('queue', element.error.clause, element.error.detail));
          return;
        }
        this.#take(element.token, element.written);
      }
    } while (this.#ring.setInterrupts(true));
  }

  /** Takes an answer: `written` is at most what was asked for, whatever the device claimed. */
  #take(slot: Slot, written: number): void {
    this.#answers += 1;
    this.#asked -= slot.asked;
    this.#slots.push(slot);
    this.#wanted -= written;
    if (written > 0) {
      this.#emptyAnswers = 0;
      this.#sink(this.#device.allocator.memory.bytes(slot.offset, written));
      return;
    }
    this.#emptyAnswers += 1;
    if (this.#emptyAnswers < EMPTY_ANSWERS_MAX) return;
    this.#broken ??= driverError('queue', '5.4.6.2', `${EMPTY_ANSWERS_MAX} answers in a row without a byte`);
  }
}
