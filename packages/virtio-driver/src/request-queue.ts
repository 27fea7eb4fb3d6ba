import { assert, err, ok, type Result } from '@remio/base';
import type { GuestCpu } from '@remio/guest';
import type { DriverQueue } from '@remio/virtqueue';
import type { DeviceBringUp } from './bring-up.js';
import { type DriverError, driverError } from './driver-error.js';
import type { Expectation } from './watch.js';

/** A request: what the device reads, and how many bytes it may write. */
export interface QueueRequest {
  readonly parts: readonly Uint8Array[];
  /** 0: there is no reply. */
  readonly room: number;
}

/** What a queue of requests is made for. */
export interface RequestQueueOptions {
  /** Requests in flight, at most; 1 and up. */
  readonly depth: number;
  /** Bytes of a request and of a reply, at most. */
  readonly requestSize: number;
  readonly replySize: number;
  /** Absent: every request is answered, sooner or later. */
  readonly expects?: Expectation;
}

/** Memory of one request, and its end. */
interface Slot {
  readonly request: bigint;
  readonly reply: bigint;
  /** Bytes that the device wrote, copied out of the shared memory, once; undefined while the request is in flight. */
  returned: Uint8Array | undefined;
  /** Nobody waits for its reply. */
  unawaited: boolean;
  /** The device was reset while it had the request: whether it was carried out, nobody knows. */
  lost: boolean;
}

/** Descriptors of a request: what the device reads, what it writes. */
const REQUEST_DESCRIPTORS = 2;

/**
 * A queue of small requests, for tasks of one vCPU: each is copied into the shared memory, and
 * its reply out of it before anybody looks at it, so that the device cannot change what was checked.
 */
export class RequestQueue {
  readonly counters = { requests: 0, notifications: 0 };
  /** The vCPU whose tasks use it. */
  readonly cpu: GuestCpu;
  readonly #device: DeviceBringUp;
  readonly #index: number;
  readonly #ring: DriverQueue<Slot>;
  readonly #options: RequestQueueOptions;
  readonly #free: Slot[];
  /** Requests that can be made together, at most: fewer than wanted if the device's queue is smaller. */
  readonly depth: number;
  #broken: DriverError | undefined;
  #reset: DriverError | undefined;

  private constructor(
    cpu: GuestCpu,
    device: DeviceBringUp,
    index: number,
    ring: DriverQueue<Slot>,
    options: RequestQueueOptions,
    free: Slot[],
  ) {
    this.cpu = cpu;
    this.#device = device;
    this.#index = index;
    this.#ring = ring;
    this.#options = options;
    this.#free = free;
    this.depth = free.length;
  }

  static async setUp(
    cpu: GuestCpu,
    device: DeviceBringUp,
    index: number,
    options: RequestQueueOptions,
  ): Promise<Result<RequestQueue, DriverError>> {
    const { depth, requestSize, replySize, expects } = options;
    const descriptors = depth * REQUEST_DESCRIPTORS;
    const ring = await device.setUpQueue<Slot>(cpu, index, descriptors, REQUEST_DESCRIPTORS, expects);
    if (!ring.ok) return ring;
    const free: Slot[] = [];
    while (free.length < Math.min(depth, Math.floor(ring.value.size / REQUEST_DESCRIPTORS))) {
      const request = device.allocator.allocate(requestSize);
      const reply = device.allocator.allocate(replySize);
      if (request === undefined || reply === undefined) {
        return err(driverError('memory', '2.7', `the shared memory has no room for the requests of queue ${index}`));
      }
      free.push({ request, reply, returned: undefined, unawaited: false, lost: false });
    }
    return ok(new RequestQueue(cpu, device, index, ring.value, options, free));
  }

  /** Why nothing more is to be had from the queue. */
  get broken(): DriverError | undefined {
    return this.#broken;
  }

  /** Why {@link ask} had no reply last. */
  get failure(): DriverError {
    return this.#broken ?? this.#reset ?? driverError('queue', '2.7', 'the device is broken');
  }

  /**
   * Makes requests together, in order, and waits for their replies.
   * @returns what the device wrote of each; undefined if the queue is broken, or was reset meanwhile
   */
  async ask(requests: readonly QueueRequest[]): Promise<readonly Uint8Array[] | undefined> {
    const slots = await this.#submit(requests, false);
    if (slots === undefined) return undefined;
    for (;;) {
      const replies = slots.flatMap(({ returned }) => returned ?? []);
      if (replies.length === slots.length) {
        this.#free.push(...slots);
        return replies;
      }
      if (slots.some(({ lost }) => lost)) {
        this.#free.push(...slots);
        return undefined;
      }
      if (this.#broken !== undefined) return undefined;
      await this.cpu.waitForInterrupt();
    }
  }

  /** Makes a request that nobody waits for. */
  async tell(parts: readonly Uint8Array[]): Promise<void> {
    await this.#submit([{ parts, room: 0 }], true);
  }

  /** Nothing more is to be had: everybody who waits is told. */
  fail(error: DriverError): void {
    this.#broken ??= error;
  }

  /** The device has let go of the queue: requests in flight are not made again, since they may have been carried out. */
  restart(error: DriverError): void {
    this.#reset = error;
    for (const slot of this.#ring.restart()) {
      if (slot.unawaited) this.#free.push(slot);
      else slot.lost = true;
    }
  }

  /** Takes what the device has used; to be called on its interrupt. */
  reap(): void {
    const { memory } = this.#device.allocator;
    do {
      for (;;) {
        const element = this.#ring.popUsed();
        if (element.kind === 'empty') break;
        if (element.kind === 'broken') {
          this.#device.lose(driverError('queue', element.error.clause, element.error.detail));
          return;
        }
        const { token: slot, written } = element;
        if (slot.unawaited) this.#free.push(slot);
        else slot.returned = memory.bytes(memory.locate(slot.reply, written), written).slice();
      }
    } while (this.#ring.setInterrupts(true));
  }

  /** Makes requests available when there is room for all of them; undefined if the queue is broken. */
  async #submit(requests: readonly QueueRequest[], unawaited: boolean): Promise<readonly Slot[] | undefined> {
    assert(requests.length <= this.depth, 'requests that are made together fit into the queue');
    while (this.#broken === undefined) {
      // A ring that the device broke takes nothing until it is restarted.
      if (this.#ring.error === undefined && this.#free.length >= requests.length) {
        const slots = requests.map((request) => this.#add(request, unawaited));
        this.counters.requests += slots.length;
        if (this.#ring.publish()) {
          this.counters.notifications += 1;
          await this.#device.transport.notify(this.cpu, this.#index);
        }
        return slots;
      }
      await this.cpu.waitForInterrupt();
    }
    return undefined;
  }

  #add({ parts, room }: QueueRequest, unawaited: boolean): Slot {
    const slot = this.#free.pop();
    assert(slot !== undefined, 'a slot is free');
    slot.returned = undefined;
    slot.lost = false;
    slot.unawaited = unawaited;
    const { memory } = this.#device.allocator;
    let length = 0;
    for (const part of parts) {
      memory.bytes(memory.locate(slot.request + BigInt(length), part.length), part.length).set(part);
      length += part.length;
    }
    assert(length <= this.#options.requestSize && room <= this.#options.replySize, 'a request fits into its memory');
    const writable = room === 0 ? [] : [{ address: slot.reply, length: room }];
    // There are as many slots as requests have descriptors in the ring.
    assert(this.#ring.add([{ address: slot.request, length }], writable, slot), 'the ring has room for a free slot');
    return slot;
  }
}

/**
 * Resets a device that has nothing but queues of requests, of which none depends on an earlier one: those in flight fail,
 * later ones are made as ever.
 */
export async function restartQueues(
  cpu: GuestCpu,
  device: DeviceBringUp,
  queues: readonly RequestQueue[],
  error: DriverError,
): Promise<void> {
  const empty = (): void => {
    for (const queue of queues) queue.restart(error);
  };
  const restarted = await device.restart(cpu, empty, error);
  if (!restarted.ok) for (const queue of queues) queue.fail(restarted.error);
}
