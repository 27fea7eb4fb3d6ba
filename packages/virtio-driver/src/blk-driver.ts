import { assert, err, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_NUM_QUEUES,
  BLK_HEADER_SIZE,
  BLK_STATUS_SIZE,
  DEVICE_ID_BLOCK,
  featureSet,
  hasFeature,
  SECTOR_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_EVENT_IDX,
} from '@remio/virtio-spec';
import type { DriverQueue, GuestBuffer } from '@remio/virtqueue';
import { DeviceBringUp } from './bring-up.js';
import { type DriverError, driverError } from './driver-error.js';
import type { MmioTransport } from './mmio-transport.js';
import type { SharedAllocator } from './shared-allocator.js';

/** A request to the disk. `data` lies in the memory shared with the backend. */
export type BlkRequest =
  | { readonly kind: 'read' | 'write'; readonly sector: bigint; readonly data: readonly GuestBuffer[] }
  | { readonly kind: 'flush' };

/** How a request ended. */
export type BlkOutcome = 'ok' | 'io-error' | 'unsupported' | 'device-broken';

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
  /** Whether EVENT_IDX may be negotiated. */
  readonly eventIdx?: boolean;
}

/** Counters of a driver; what each access cost is the platform's to tell. */
export interface BlkCounters {
  requests: number;
  /** Notifications made, each a trapped write. */
  notifications: number;
  interrupts: number;
  errors: number;
}

interface Slot {
  readonly header: bigint;
  readonly status: bigint;
  ticket: BlkTicket | undefined;
}

interface Queue {
  readonly ring: DriverQueue<Slot>;
  /** Every slot, in flight or not. */
  readonly all: readonly Slot[];
  /** Those that are free. */
  readonly slots: Slot[];
  /** The vCPU that submits here. */
  owner: GuestCpu | undefined;
}

const STATUS_PENDING = 0xff;

/**
 * A virtio-blk driver (5.2). Several vCPUs may use it at the same time, each on a queue of its own; the vCPU that
 * probed takes the device's interrupt and wakes the others.
 */
export class VirtioBlkDriver {
  readonly capacity: bigint;
  readonly readOnly: boolean;
  readonly features: bigint;
  readonly allocator: SharedAllocator;
  readonly counters: BlkCounters = { requests: 0, notifications: 0, interrupts: 0, errors: 0 };
  readonly transport: MmioTransport;
  readonly #queues: readonly Queue[];
  #broken: DriverError | undefined;

  private constructor(device: DeviceBringUp, capacity: bigint, queues: readonly Queue[]) {
    this.transport = device.transport;
    this.allocator = device.allocator;
    this.features = device.features;
    this.capacity = capacity;
    this.readOnly = hasFeature(device.features, VIRTIO_BLK_F_RO);
    this.#queues = queues;
  }

  /** Brings a device up by the sequence of 3.1.1, on the vCPU that will take its interrupts. */
  static async probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: BlkDriverOptions = {},
  ): Promise<Result<VirtioBlkDriver, DriverError>> {
    const wanted =
      featureSet(VIRTIO_BLK_F_RO, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ) |
      (options.eventIdx === false ? 0n : featureSet(VIRTIO_F_EVENT_IDX));
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_BLOCK, wanted);
    if (!found.ok) return found;
    const device = found.value;
    const { features, transport } = device;
    const config = await transport.readConfig(cpu, async () => ({
      capacity: await transport.config64(cpu, BLK_CONFIG_CAPACITY),
      queues: hasFeature(features, VIRTIO_BLK_F_MQ) ? await transport.config16(cpu, BLK_CONFIG_NUM_QUEUES) : 1,
    }));
    if (!config.ok) return config;
    const count = Math.max(1, Math.min(options.cpus ?? 1, config.value.queues));
    const queues: Queue[] = [];
    for (let index = 0; index < count; index += 1) {
      const queue = await setUpQueue(cpu, device, index, options.queueSize ?? 128);
      if (!queue.ok) return queue;
      queues.push(queue.value);
    }
    const driver = new VirtioBlkDriver(device, config.value.capacity, queues);
    const live = await device.goLive(cpu, {
      used: () => driver.#used(cpu),
      configChanged: () => {},
      needsReset: (error) => driver.#fail(error),
    });
    return live.ok ? ok(driver) : live;
  }

  /** Queues that were set up: vCPUs with an index below this may submit. */
  get queues(): number {
    return this.#queues.length;
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
   * Submits requests on the vCPU's own queue, with one notification for all if the device wants one.
   * @returns tickets of those that were accepted, in order; fewer than given when the queue is full
   */
  async submit(cpu: GuestCpu, requests: readonly BlkRequest[]): Promise<readonly BlkTicket[]> {
    const queue = this.#queues[cpu.index];
    assert(queue !== undefined, `vCPU ${cpu.index} has no queue of its own`);
    queue.owner = cpu;
    const tickets: BlkTicket[] = [];
    for (const request of requests) {
      const ticket: BlkTicket = { request, outcome: this.#broken === undefined ? undefined : 'device-broken' };
      if (ticket.outcome === undefined && !this.#add(queue, ticket)) break;
      tickets.push(ticket);
    }
    if (queue.ring.publish()) {
      this.counters.notifications += 1;
      await this.transport.notify(cpu, cpu.index);
    }
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
  async execute(cpu: GuestCpu, request: BlkRequest): Promise<BlkOutcome> {
    for (;;) {
      const [ticket] = await this.submit(cpu, [request]);
      if (ticket !== undefined) return this.finish(cpu, ticket);
      await cpu.waitForInterrupt();
    }
  }

  #add(queue: Queue, ticket: BlkTicket): boolean {
    const slot = queue.slots.pop();
    if (slot === undefined) return false;
    const { memory } = this.allocator;
    const { request } = ticket;
    const header = memory.locate(slot.header, BLK_HEADER_SIZE);
    const status = memory.locate(slot.status, BLK_STATUS_SIZE);
    const type =
      request.kind === 'read' ? VIRTIO_BLK_T_IN : request.kind === 'write' ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_FLUSH;
    memory.writeU32(header, type);
    memory.writeU32(header + 4, 0);
    memory.writeU64(header + 8, request.kind === 'flush' ? 0n : request.sector);
    memory.writeU8(status, STATUS_PENDING);
    const head = { address: slot.header, length: BLK_HEADER_SIZE };
    const tail = { address: slot.status, length: BLK_STATUS_SIZE };
    const readable = request.kind === 'write' ? [head, ...request.data] : [head];
    const writable = request.kind === 'read' ? [...request.data, tail] : [tail];
    if (!queue.ring.add(readable, writable, slot)) {
      queue.slots.push(slot);
      return false;
    }
    slot.ticket = ticket;
    this.counters.requests += 1;
    return true;
  }

  #used(cpu: GuestCpu): void {
    this.counters.interrupts += 1;
    for (const queue of this.#queues) {
      const woke = this.#reap(queue);
      if (woke && queue.owner !== undefined && queue.owner !== cpu) queue.owner.sendIpi(queue.owner.index);
    }
  }

  /** Takes what the device has used; true if something ended. */
  #reap(queue: Queue): boolean {
    let ended = false;
    do {
      for (;;) {
        const element = queue.ring.popUsed();
        if (element.kind === 'empty') break;
        if (element.kind === 'broken') {
          this.#fail(driverError('queue', element.error.clause, element.error.detail));
          return true;
        }
        this.#end(queue, element.token);
        ended = true;
      }
    } while (queue.ring.setInterrupts(true));
    return ended;
  }

  #end(queue: Queue, slot: Slot): void {
    const { ticket } = slot;
    const { memory } = this.allocator;
    const status = memory.readU8(memory.locate(slot.status, BLK_STATUS_SIZE));
    slot.ticket = undefined;
    queue.slots.push(slot);
    if (ticket === undefined) return;
    ticket.outcome = OUTCOME[status] ?? 'io-error';
    if (ticket.outcome !== 'ok') this.counters.errors += 1;
  }

  /** Nothing more is to be had from the device: every request in flight ends. */
  #fail(error: DriverError): void {
    this.#broken ??= error;
    for (const queue of this.#queues) {
      for (const slot of queue.all) {
        if (slot.ticket !== undefined) slot.ticket.outcome = 'device-broken';
        slot.ticket = undefined;
      }
      queue.owner?.sendIpi(queue.owner.index);
    }
  }
}

const OUTCOME: Readonly<Record<number, BlkOutcome>> = {
  [VIRTIO_BLK_S_OK]: 'ok',
  [VIRTIO_BLK_S_IOERR]: 'io-error',
  [VIRTIO_BLK_S_UNSUPP]: 'unsupported',
};

/** Bytes of a disk. */
export const diskBytes = (capacity: bigint): number => Number(capacity) * SECTOR_SIZE;

/** Descriptors of the smallest request: header, data, status. */
const REQUEST_DESCRIPTORS = 3;

async function setUpQueue(
  cpu: GuestCpu,
  device: DeviceBringUp,
  index: number,
  wanted: number,
): Promise<Result<Queue, DriverError>> {
  const set = await device.setUpQueue<Slot>(cpu, index, wanted, REQUEST_DESCRIPTORS);
  if (!set.ok) return set;
  const ring = set.value;
  const area = device.allocator.allocate(ring.size * (BLK_HEADER_SIZE + 16));
  if (area === undefined) {
    return err(driverError('memory', '2.7', `the shared memory has no room for the requests of queue ${index}`));
  }
  const slots = Array.from({ length: ring.size }, (_, n): Slot => {
    const header = area + BigInt(n * (BLK_HEADER_SIZE + 16));
    return { header, status: header + BigInt(BLK_HEADER_SIZE), ticket: undefined };
  });
  return ok({ ring, all: slots, slots: [...slots], owner: undefined });
}
