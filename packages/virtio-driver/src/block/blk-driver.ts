import { assert, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  BLK_CONFIG_WRITEBACK,
  DEVICE_ID_BLOCK,
  featureSet,
  hasFeature,
  SECTOR_SIZE,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '@remio/virtio-spec';
import type { GuestBuffer } from '@remio/virtqueue';
import { DeviceBringUp } from '../bring-up.js';
import { despiteLoss } from '../despite-loss.js';
import type { DriverError } from '../driver-error.js';
import type { MmioTransport } from '../mmio-transport.js';
import type { SharedAllocator } from '../shared-allocator.js';
import type { Patience } from '../watch.js';
import { type BlkConfig, readBlkConfig, readCapacity } from './blk-config.js';
import { BlkQueue, type Ended } from './blk-queue.js';
import type { BlkOutcome, BlkRequest } from './blk-request.js';

/** A request that was submitted. */
export interface BlkTicket {
  readonly request: BlkRequest;
  /** Undefined while it is in flight. */
  outcome: BlkOutcome | undefined;
}

export interface BlkDriverOptions {
  /** vCPUs that do I/O, each with a queue of its own if the device has enough: 1 and up. */
  readonly cpus?: number;
  /** Most descriptors of a queue, a power of two. */
  readonly queueSize?: number;
  /** How long the device has to end a request; absent: half a minute. */
  readonly patience?: Patience;
}

/** Counters of a driver; what each access cost is the platform's to tell. */
export interface BlkCounters {
  requests: number;
  /** Notifications made, each a trapped write. */
  notifications: number;
  interrupts: number;
  errors: number;
  /** Resets of the device, or of one of its queues, after which requests went on. */
  resets: number;
}

/** What this driver understands (5.2.3): all but disk geometry, which nobody needs, and zones. */
const UNDERSTOOD = featureSet(
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_SECURE_ERASE,
);

/**
 * A virtio-blk driver (5.2). Several vCPUs may use it at the same time, each on a queue of its own; the vCPU that
 * probed takes the device's interrupt and wakes the others.
 *
 * Requests end by the device's interrupt, or by {@link poll}: while many are in flight, whoever has to look after other
 * things anyway looks at the used rings as well, and the device need not interrupt.
 *
 * A device that needs a reset, does not answer or breaks its queues is reset, and requests in flight are made again, in
 * order: reads and writes that may have been carried out already do no harm twice, since nothing that depends on them was
 * told their end. A request that was in flight in too many resets ends as `io-error`; a device that ends nothing
 * between its resets is broken, and every request ends as `device-broken`.
 */
export class VirtioBlkDriver {
  readonly readOnly: boolean;
  readonly features: bigint;
  readonly allocator: SharedAllocator;
  readonly counters: BlkCounters = { requests: 0, notifications: 0, interrupts: 0, errors: 0, resets: 0 };
  readonly transport: MmioTransport;
  readonly config: BlkConfig;
  /** Called after the capacity changed. */
  onResize: () => void = () => {};
  readonly #device: DeviceBringUp;
  readonly #queues: readonly BlkQueue[];
  #capacity: bigint;
  #writeback: boolean;
  /** Whether the device is asked for interrupts. */
  #interrupts = true;
  #broken: DriverError | undefined;

  private constructor(device: DeviceBringUp, config: BlkConfig, queues: readonly BlkQueue[]) {
    this.#device = device;
    this.transport = device.transport;
    this.allocator = device.allocator;
    this.features = device.features;
    this.config = config;
    this.#capacity = config.capacity;
    this.#writeback = config.writeback;
    this.readOnly = hasFeature(device.features, VIRTIO_BLK_F_RO);
    this.#queues = queues;
  }

  /** Brings a device up by the sequence of 3.1.1, on the vCPU that will take its interrupts. */
  static probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: BlkDriverOptions = {},
  ): Promise<Result<VirtioBlkDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioBlkDriver.#attempt(cpu, end, options));
  }

  static async #attempt(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: BlkDriverOptions,
  ): Promise<Result<VirtioBlkDriver, DriverError>> {
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_BLOCK, UNDERSTOOD, options.patience);
    if (!found.ok) return found;
    const device = found.value;
    const config = await readBlkConfig(cpu, device.transport, device.features);
    if (!config.ok) {
      await device.transport.fail(cpu);
      return config;
    }
    const count = Math.max(1, Math.min(options.cpus ?? 1, config.value.queues));
    const queues: BlkQueue[] = [];
    for (let index = 0; index < count; index += 1) {
      const queue = await BlkQueue.setUp(cpu, device, index, options.queueSize ?? 128);
      if (!queue.ok) return queue;
      queues.push(queue.value);
    }
    const driver = new VirtioBlkDriver(device, config.value, queues);
    const live = await device.goLive(cpu, {
      arrived: () => {
        driver.counters.interrupts += 1;
        return driver.#reapAll(cpu, false);
      },
      used: () => driver.#reapAll(cpu, true),
      configChanged: () => driver.#configChanged(cpu),
      lost: (error) => driver.#restart(cpu, error),
    });
    return live.ok ? ok(driver) : live;
  }

  /** Sectors of 512 bytes; may change while the disk is in use. */
  get capacity(): bigint {
    return this.#capacity;
  }

  /** Whether a write may be volatile after it ended, until a flush (5.2.6.2). */
  get writeback(): boolean {
    return this.#writeback;
  }

  /** Queues that were set up. */
  get queues(): number {
    return this.#queues.length;
  }

  /** Requests that the device has. */
  get inFlight(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.inFlight, 0);
  }

  /** Why the device is of no use any more. */
  get broken(): DriverError | undefined {
    return this.#broken;
  }

  /** Memory for data, shared with the backend; undefined if there is no room. */
  allocate(bytes: number): GuestBuffer | undefined {
    const address = this.allocator.allocate(bytes, 4096);
    return address === undefined ? undefined : { address, length: bytes };
  }

  /**
   * Switches the cache mode (5.2.6.1). Writes in flight end in either mode; what was volatile stays so until a flush.
   * @returns false if the device does not let its driver choose
   */
  async setWriteback(cpu: GuestCpu, writeback: boolean): Promise<boolean> {
    if (!hasFeature(this.features, VIRTIO_BLK_F_CONFIG_WCE)) return false;
    await this.transport.writeConfig8(cpu, BLK_CONFIG_WRITEBACK, writeback ? 1 : 0);
    this.#writeback = writeback;
    return true;
  }

  /**
   * Puts a request into a queue; the device sees it after {@link publish}. One that is added while another is told that
   * it has ended, by the device's interrupt, is published with all of these.
   * @param ended called once, when the request has ended: from {@link poll}, from the device's interrupt, or at once if
   *   the request cannot be made
   * @returns false if the queue has no room now
   */
  add(index: number, request: BlkRequest, ended: Ended): boolean {
    if (this.#broken !== undefined) ended('device-broken');
    else if (!this.#possible(request)) this.#ended('io-error', ended);
    else {
      if (!this.#queue(index).add(request, (outcome) => this.#ended(outcome, ended))) return false;
      this.counters.requests += 1;
    }
    return true;
  }

  /** Shows the device what was added to a queue; returns whether it wants to be notified, by {@link notify}. */
  publish(index: number): boolean {
    return this.#queue(index).publish();
  }

  /** Notifies the device of a queue: an access that traps. */
  async notify(cpu: GuestCpu, index: number): Promise<void> {
    this.counters.notifications += 1;
    await this.transport.notify(cpu, index);
  }

  /** Ends what the device has used, without waiting for its interrupt; returns how many requests that were. */
  poll(): number {
    let count = 0;
    for (const queue of this.#queues) count += this.#reap(queue);
    return count;
  }

  /**
   * Asks the device to interrupt, or not to: it need not while somebody polls.
   * @returns true if something was used meanwhile: poll once more before waiting
   */
  setInterrupts(wanted: boolean): boolean {
    this.#interrupts = wanted;
    let used = false;
    for (const queue of this.#queues) used = queue.setInterrupts(wanted) || used;
    return used;
  }

  /** A vCPU adds requests to its own queue by itself: it is to be woken when they end. */
  serve(cpu: GuestCpu): void {
    this.#queue(cpu.index).owner = cpu;
  }

  /**
   * Submits requests on a queue, with one notification for all if the device wants one.
   * @param index of the queue; the vCPU's own unless it says otherwise. A queue is used by one vCPU at a time
   * @returns tickets of those that were accepted, in order; fewer than given when the queue is full
   */
  async submit(cpu: GuestCpu, requests: readonly BlkRequest[], index = cpu.index): Promise<readonly BlkTicket[]> {
    this.#queue(index).owner = cpu;
    const tickets: BlkTicket[] = [];
    for (const request of requests) {
      const ticket: BlkTicket = { request, outcome: undefined };
      const added = this.add(index, request, (outcome) => {
        ticket.outcome = outcome;
      });
      if (!added) break;
      tickets.push(ticket);
    }
    if (this.publish(index)) await this.notify(cpu, index);
    return tickets;
  }

  /** Waits until a request has ended. */
  async finish(cpu: GuestCpu, ticket: BlkTicket): Promise<BlkOutcome> {
    for (;;) {
      if (ticket.outcome !== undefined) return ticket.outcome;
      await cpu.waitForInterrupt();
    }
  }

  /** One request, from submission to its end. */
  async execute(cpu: GuestCpu, request: BlkRequest, index = cpu.index): Promise<BlkOutcome> {
    for (;;) {
      const [ticket] = await this.submit(cpu, [request], index);
      if (ticket !== undefined) return this.finish(cpu, ticket);
      await cpu.waitForInterrupt();
    }
  }

  #queue(index: number): BlkQueue {
    const queue = this.#queues[index];
    assert(queue !== undefined, `queue ${index} was set up`);
    return queue;
  }

  /** 5.2.6.1: a driver makes no request beyond the capacity, which may have shrunk under whoever asks for one. */
  #possible(request: BlkRequest): boolean {
    switch (request.kind) {
      case 'read':
      case 'write': {
        const bytes = request.data.reduce((sum, { length }) => sum + length, 0);
        return request.sector + BigInt(bytes / SECTOR_SIZE) <= this.#capacity;
      }
      case 'discard':
      case 'secure-erase':
      case 'write-zeroes':
        return request.ranges.every(({ sector, sectors }) => sector + BigInt(sectors) <= this.#capacity);
      default:
        return true;
    }
  }

  #ended(outcome: BlkOutcome, ended: Ended): void {
    if (outcome !== 'ok') this.counters.errors += 1;
    ended(outcome);
  }

  /**
   * Ends what the device has used, wakes whoever waits for it, and shows the device what was added meanwhile.
   * @param rearm asks for the next interrupt as well
   */
  async #reapAll(cpu: GuestCpu, rearm: boolean): Promise<void> {
    for (const queue of this.#queues) {
      let woke = false;
      do woke = this.#reap(queue) > 0 || woke;
      while (rearm && this.#interrupts && this.#broken === undefined && queue.setInterrupts(true));
      if (!(queue.refill() || woke)) continue;
      if (woke && queue.owner !== undefined && queue.owner !== cpu) queue.owner.sendIpi(queue.owner.index);
      if (this.#broken === undefined && queue.publish()) await this.notify(cpu, queue.index);
    }
  }

  #reap(queue: BlkQueue): number {
    if (this.#broken !== undefined) return 0;
    const reaped = queue.reap();
    if (reaped.ok) return reaped.value;
    // A queue that the device broke does not stop the others.
    queue.stop();
    this.#device.soon(() => this.#resetQueue(queue, reaped.error));
    return 0;
  }

  /** Resets one queue, and makes its requests again; the device, if that cannot be done or does not help. */
  async #resetQueue(queue: BlkQueue, error: DriverError): Promise<void> {
    if (this.#broken !== undefined || !queue.stopped) return;
    const { cpu } = this.#device;
    if (!(await queue.reset(cpu)).ok) {
      this.#device.lose(error);
      return;
    }
    this.counters.resets += 1;
    queue.goOn();
    await this.#goOn(cpu, [queue]);
  }

  /** Resets the device, and makes the requests again that were in flight. */
  async #restart(cpu: GuestCpu, error: DriverError): Promise<void> {
    for (const queue of this.#queues) queue.stop();
    const empty = (): void => {
      for (const queue of this.#queues) queue.restart();
    };
    const restarted = await this.#device.restart(cpu, empty, error);
    if (!restarted.ok) {
      this.#fail(restarted.error);
      return;
    }
    this.counters.resets += 1;
    if (hasFeature(this.features, VIRTIO_BLK_F_CONFIG_WCE)) await this.setWriteback(cpu, this.#writeback);
    await this.#configChanged(cpu);
    for (const queue of this.#queues) queue.goOn();
    await this.#goOn(cpu, this.#queues);
  }

  async #goOn(cpu: GuestCpu, queues: readonly BlkQueue[]): Promise<void> {
    for (const queue of queues) {
      // Asked for anew: the rings are as at the start.
      queue.setInterrupts(this.#interrupts);
      if (queue.publish()) await this.notify(cpu, queue.index);
      // There is room, and some requests may have ended.
      if (queue.owner !== undefined && queue.owner !== cpu) queue.owner.sendIpi(queue.owner.index);
    }
  }

  async #configChanged(cpu: GuestCpu): Promise<void> {
    const capacity = await readCapacity(cpu, this.transport);
    if (!capacity.ok) this.#fail(capacity.error);
    else if (capacity.value !== this.#capacity) {
      this.#capacity = capacity.value;
      this.onResize();
    }
  }

  /** Nothing more is to be had from the device: every request in flight ends. Called in an interrupt's handler. */
  #fail(error: DriverError): void {
    this.#broken ??= error;
    for (const queue of this.#queues) {
      queue.fail();
      if (queue.owner !== this.#device.cpu) queue.owner?.sendIpi(queue.owner.index);
    }
  }
}

/** Bytes of a disk. */
export const diskBytes = (capacity: bigint): number => Number(capacity) * SECTOR_SIZE;
