import { assert, err, type IrqId, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_NUM_QUEUES,
  BLK_HEADER_SIZE,
  BLK_STATUS_SIZE,
  DEVICE_ID_BLOCK,
  featureSet,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  SECTOR_SIZE,
  STATUS_DEVICE_NEEDS_RESET,
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
import { type GuestBuffer, layoutSplitQueue, SplitDriverQueue } from '@remio/virtqueue';
import { type DriverError, driverError } from './driver-error.js';
import { MmioTransport } from './mmio-transport.js';
import { SharedAllocator } from './shared-allocator.js';

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
  readonly ring: SplitDriverQueue<Slot>;
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
  readonly #irq: IrqId;
  #broken: DriverError | undefined;

  private constructor(
    transport: MmioTransport,
    allocator: SharedAllocator,
    features: bigint,
    capacity: bigint,
    queues: readonly Queue[],
    irq: IrqId,
  ) {
    this.transport = transport;
    this.allocator = allocator;
    this.features = features;
    this.capacity = capacity;
    this.readOnly = hasFeature(features, VIRTIO_BLK_F_RO);
    this.#queues = queues;
    this.#irq = irq;
  }

  /** Brings a device up by the sequence of 3.1.1, on the vCPU that will take its interrupts. */
  static async probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: BlkDriverOptions = {},
  ): Promise<Result<VirtioBlkDriver, DriverError>> {
    const transport = new MmioTransport(end.window.base);
    const allocator = new SharedAllocator(end.shmem);
    const found = await transport.probe(cpu, DEVICE_ID_BLOCK);
    if (!found.ok) return found;
    const wanted =
      featureSet(VIRTIO_BLK_F_RO, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ) |
      (options.eventIdx === false ? 0n : featureSet(VIRTIO_F_EVENT_IDX));
    const negotiated = await transport.negotiate(cpu, wanted);
    if (!negotiated.ok) return negotiated;
    const features = negotiated.value;
    const config = await transport.readConfig(cpu, async () => ({
      capacity: await transport.config64(cpu, BLK_CONFIG_CAPACITY),
      queues: hasFeature(features, VIRTIO_BLK_F_MQ) ? await transport.config16(cpu, BLK_CONFIG_NUM_QUEUES) : 1,
    }));
    if (!config.ok) return config;
    const count = Math.max(1, Math.min(options.cpus ?? 1, config.value.queues));
    const queues: Queue[] = [];
    for (let index = 0; index < count; index += 1) {
      const queue = await setUpQueue(cpu, transport, allocator, index, features, options.queueSize ?? 128);
      if (!queue.ok) {
        await transport.fail(cpu);
        return queue;
      }
      queues.push(queue.value);
    }
    const driver = new VirtioBlkDriver(transport, allocator, features, config.value.capacity, queues, end.interrupt);
    cpu.onInterrupt(end.interrupt, () => driver.#interrupt(cpu));
    await cpu.enableInterrupt(end.interrupt);
    const live = await transport.driverOk(cpu);
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

  async #interrupt(cpu: GuestCpu): Promise<void> {
    this.counters.interrupts += 1;
    const reasons = await this.transport.interruptReasons(cpu);
    if ((reasons & INTERRUPT_CONFIG_CHANGE) !== 0) {
      const status = await this.transport.status(cpu);
      if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) {
        this.#fail(driverError('needs-reset', '2.1.2', 'the device set DEVICE_NEEDS_RESET'));
      }
    }
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

  /** The interrupt that the driver handles. */
  get irq(): IrqId {
    return this.#irq;
  }
}

const OUTCOME: Readonly<Record<number, BlkOutcome>> = {
  [VIRTIO_BLK_S_OK]: 'ok',
  [VIRTIO_BLK_S_IOERR]: 'io-error',
  [VIRTIO_BLK_S_UNSUPP]: 'unsupported',
};

/** Bytes of a disk. */
export const diskBytes = (capacity: bigint): number => Number(capacity) * SECTOR_SIZE;

async function setUpQueue(
  cpu: GuestCpu,
  transport: MmioTransport,
  allocator: SharedAllocator,
  index: number,
  features: bigint,
  wanted: number,
): Promise<Result<Queue, DriverError>> {
  const max = await transport.queueSizeMax(cpu, index);
  // The largest power of two that both sides can have: a device may say anything (V13).
  const size = 2 ** Math.floor(Math.log2(Math.min(max, wanted)));
  if (max < 4 || !Number.isInteger(size)) {
    return err(
      driverError('queue', '4.2.3.2', `queue ${index} has QueueSizeMax ${max}; a request needs 3 descriptors`),
    );
  }
  const area = allocator.allocate(layoutSplitQueue(0n, size).bytes, 4096);
  const slotArea = allocator.allocate(size * (BLK_HEADER_SIZE + 16));
  if (area === undefined || slotArea === undefined) {
    return err(driverError('memory', '2.7', `the shared memory has no room for queue ${index}`));
  }
  const { config } = layoutSplitQueue(area, size);
  const ring = SplitDriverQueue.create<Slot>(allocator.memory, config, features);
  if (!ring.ok) return err(driverError('queue', ring.error.clause, ring.error.detail));
  const slots = Array.from({ length: size }, (_, n): Slot => {
    const header = slotArea + BigInt(n * (BLK_HEADER_SIZE + 16));
    return { header, status: header + BigInt(BLK_HEADER_SIZE), ticket: undefined };
  });
  const set = await transport.setQueue(cpu, index, config);
  return set.ok ? ok({ ring: ring.value, all: slots, slots: [...slots], owner: undefined }) : set;
}
