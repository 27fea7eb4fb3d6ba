import type { GuestMemory } from '@remio/guest-memory';
import type { DriverQueue, GuestBuffer } from '@remio/virtqueue';
import type { SharedAllocator } from '../shared-allocator.js';

/** A buffer that a frame is sent from: header and frame, in the memory shared with the backend. */
export interface TransmitBuffer {
  /** Room for `struct virtio_net_hdr` and the frame behind it. */
  readonly bytes: Uint8Array;
  /** The same, for who fills several pieces. */
  readonly room: readonly Uint8Array[];
  /** The chain that it makes: itself, as long as what it holds. */
  readonly chain: readonly { readonly address: bigint; length: number }[];
}

/** The transmit side of a queue pair: its ring, and buffers that wait to be filled. */
export class TransmitRing {
  readonly ring: DriverQueue<TransmitBuffer>;
  readonly #free: TransmitBuffer[];
  /** The device wanted to be told of what was published. */
  #owed = false;

  constructor(ring: DriverQueue<TransmitBuffer>, buffers: readonly TransmitBuffer[]) {
    this.ring = ring;
    this.#free = [...buffers];
    ring.setInterrupts(false);
  }

  /** A buffer to fill; undefined while all are with the device. */
  take(): TransmitBuffer | undefined {
    if (this.#free.length === 0) this.reap();
    return this.#free.pop();
  }

  /** Gives back what {@link take} gave, unsent. */
  giveBack(buffer: TransmitBuffer): void {
    this.#free.push(buffer);
  }

  /** Sends the first `length` bytes of a buffer: the header and the frame. */
  send(buffer: TransmitBuffer, length: number): void {
    const [only] = buffer.chain;
    if (only === undefined) return;
    only.length = length;
    if (!this.ring.add(buffer.chain, NONE, buffer)) this.#free.push(buffer);
  }

  /** Takes back what the device has sent. */
  reap(): void {
    for (;;) {
      const element = this.ring.popUsed();
      if (element.kind !== 'used') return;
      this.#free.push(element.token);
    }
  }

  /** Lets the device see what was sent. */
  publish(): void {
    if (this.ring.publish()) this.#owed = true;
  }

  /** Whether the device is to be notified. */
  get owed(): boolean {
    return this.#owed;
  }

  /** As {@link owed}; the notification is made by whoever asks. */
  takeOwed(): boolean {
    const owed = this.#owed;
    this.#owed = false;
    return owed;
  }

  /** Whether every buffer is with the device. */
  get starved(): boolean {
    return this.#free.length === 0;
  }
}

const NONE: readonly GuestBuffer[] = [];

/** Buffers of `bytes` bytes each, at most `count` of them, from what the shared memory has left within `budget`. */
export function allocateBuffers(
  allocator: SharedAllocator,
  count: number,
  bytes: number,
  budget: number,
): readonly TransmitBuffer[] {
  const buffers: TransmitBuffer[] = [];
  for (let n = 0; n < count && (n + 1) * bytes <= budget; n += 1) {
    const address = allocator.allocate(bytes);
    if (address === undefined) break;
    const room = bytesAt(allocator.memory, address, bytes);
    buffers.push({ bytes: room, room: [room], chain: [{ address, length: bytes }] });
  }
  return buffers;
}

/** The memory of a driver is its VM's own, always local. */
const bytesAt = (memory: GuestMemory, address: bigint, length: number): Uint8Array =>
  memory.bytes(memory.locate(address, length), length);
