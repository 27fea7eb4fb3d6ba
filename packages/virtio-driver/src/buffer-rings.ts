import { err, ok, type Result } from '@remio/base';
import type { GuestCpu } from '@remio/guest';
import type { GuestMemory } from '@remio/guest-memory';
import type { DriverQueue, QueueError } from '@remio/virtqueue';
import type { DeviceBringUp } from './bring-up.js';
import { type DriverError, driverError } from './driver-error.js';
import type { Expectation } from './watch.js';

/** A buffer in the shared memory. */
interface Slot {
  readonly address: bigint;
  readonly offset: number;
  readonly size: number;
}

/** How many buffers a ring has, and how large they are. */
export interface BufferRingOptions {
  /** A power of two. */
  readonly buffers: number;
  /** Bytes of each. */
  readonly size: number;
}

interface Ring {
  readonly device: DeviceBringUp;
  readonly index: number;
  readonly queue: DriverQueue<Slot>;
  readonly slots: Slot[];
  readonly memory: GuestMemory;
}

async function setUp(
  cpu: GuestCpu,
  device: DeviceBringUp,
  index: number,
  { buffers, size }: BufferRingOptions,
  expects: Expectation,
): Promise<Result<Ring, DriverError>> {
  const queue = await device.setUpQueue<Slot>(cpu, index, buffers, 1, expects);
  if (!queue.ok) return queue;
  const { allocator } = device;
  const area = allocator.allocate(queue.value.size * size);
  if (area === undefined) {
    const detail = `the shared memory has no room for ${queue.value.size} buffers of ${size} bytes for queue ${index}`;
    return err(driverError('memory', '2.7', detail));
  }
  const slots = Array.from({ length: queue.value.size }, (_, n): Slot => {
    const address = area + BigInt(n * size);
    return { address, offset: allocator.memory.locate(address, size), size };
  });
  return ok({ device, index, queue: queue.value, slots, memory: allocator.memory });
}

/** The device broke a ring, and is of no use any more. */
function brokenRing(device: DeviceBringUp, { clause, detail }: QueueError): DriverError {
  const error = driverError('queue', clause, detail);
  device.lose(error);
  return error;
}

/** A queue in which a driver keeps buffers for what its device will say, each with one descriptor. */
export class ReceiveRing {
  readonly #ring: Ring;
  /** What was received and not taken, oldest first: how long each is as far as it can be believed. */
  readonly #received: { readonly slot: Slot; readonly length: number }[] = [];
  /** Bytes of the oldest that were taken. */
  #taken = 0;

  private constructor(ring: Ring) {
    this.#ring = ring;
    for (const slot of ring.slots) this.#offer(slot);
  }

  static async setUp(
    cpu: GuestCpu,
    device: DeviceBringUp,
    index: number,
    options: BufferRingOptions,
  ): Promise<Result<ReceiveRing, DriverError>> {
    const ring = await setUp(cpu, device, index, options, 'events');
    return ring.ok ? ok(new ReceiveRing(ring.value)) : ring;
  }

  /** Whether everything that was received was taken. */
  get empty(): boolean {
    return this.#received.length === 0;
  }

  /** Takes over what the device has used; returns what is wrong with the ring, if anything is. */
  reap(): DriverError | undefined {
    const { queue, device } = this.#ring;
    do {
      for (;;) {
        const element = queue.popUsed();
        if (element.kind === 'empty') break;
        if (element.kind === 'broken') return brokenRing(device, element.error);
        if (element.written > 0) this.#received.push({ slot: element.token, length: element.written });
        else this.#offer(element.token);
      }
    } while (queue.setInterrupts(true));
    return undefined;
  }

  /** The oldest message, in place; undefined if there is none. It is valid until {@link next}. */
  get message(): Uint8Array | undefined {
    const [first] = this.#received;
    return first === undefined ? undefined : this.#ring.memory.bytes(first.slot.offset, first.length);
  }

  /** Done with the oldest message: its buffer is offered again. */
  next(): void {
    const first = this.#received.shift();
    this.#taken = 0;
    if (first !== undefined) this.#offer(first.slot);
  }

  /**
   * Gives what was received to a sink, as a stream of bytes, until it takes no more.
   * @param sink takes as many of the bytes as it can
   */
  drain(sink: (bytes: Uint8Array) => number): void {
    for (let bytes = this.message; bytes !== undefined; bytes = this.message) {
      this.#taken += sink(bytes.subarray(this.#taken));
      if (this.#taken < bytes.length) return;
      this.next();
    }
  }

  /** Lets the device see the buffers that are offered. */
  async publish(cpu: GuestCpu): Promise<void> {
    const { device, index, queue } = this.#ring;
    if (queue.publish()) await device.transport.notify(cpu, index);
  }

  #offer(slot: Slot): void {
    this.#ring.queue.add([], [{ address: slot.address, length: slot.size }], slot);
  }
}

/**
 * A queue in which a driver sends, each message or piece of a stream with one descriptor. The device is asked for
 * interrupts only while somebody waits for room or for the end.
 */
export class SendRing {
  readonly #ring: Ring;

  private constructor(ring: Ring) {
    this.#ring = ring;
    ring.queue.setInterrupts(false);
  }

  static async setUp(
    cpu: GuestCpu,
    device: DeviceBringUp,
    index: number,
    options: BufferRingOptions,
  ): Promise<Result<SendRing, DriverError>> {
    const ring = await setUp(cpu, device, index, options, 'room');
    return ring.ok ? ok(new SendRing(ring.value)) : ring;
  }

  /** Bytes of a message, at most. */
  get size(): number {
    return this.#ring.slots[0]?.size ?? 0;
  }

  /** Whether the device has used everything that was sent. */
  get idle(): boolean {
    return this.#ring.queue.inFlight === 0;
  }

  /** Whether there is room for a message; if not, an interrupt comes when there is. */
  get room(): boolean {
    return this.#ring.slots.length > 0;
  }

  /** Takes buffers back that the device has used; returns what is wrong with the ring, if anything is. */
  reap(): DriverError | undefined {
    const { queue, slots, device } = this.#ring;
    for (;;) {
      const element = queue.popUsed();
      if (element.kind === 'empty') return undefined;
      if (element.kind === 'broken') return brokenRing(device, element.error);
      slots.push(element.token);
    }
  }

  /**
   * Sends what a source gives, if there is room and it gives anything. Seen by the device after {@link publish}.
   * @param source fills as much of the buffer as it can
   * @returns bytes that were sent
   */
  fill(source: (buffer: Uint8Array) => number): number {
    const { queue, slots, memory } = this.#ring;
    const slot = slots.pop();
    if (slot === undefined) return 0;
    const length = source(memory.bytes(slot.offset, slot.size));
    if (length === 0 || !queue.add([{ address: slot.address, length }], [], slot)) {
      slots.push(slot);
      return 0;
    }
    return length;
  }

  /** Asks for an interrupt when the device uses something, or for none; true if it did meanwhile. */
  setInterrupts(wanted: boolean): boolean {
    return this.#ring.queue.setInterrupts(wanted);
  }

  /** Lets the device see what was sent. */
  async publish(cpu: GuestCpu): Promise<void> {
    const { device, index, queue } = this.#ring;
    if (queue.publish()) await device.transport.notify(cpu, index);
  }
}
