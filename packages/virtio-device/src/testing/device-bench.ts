import { assert, guestAddress } from '@remio/base';
import { allocateMemory, DelayedMemory, type GuestMemory, type LocalMemory } from '@remio/guest-memory';
import { RemoteLink } from '@remio/remote-memory/testing';
import {
  featureSet,
  MMIO,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import { createDriverQueue, type DriverQueue, type GuestBuffer, layoutQueue } from '@remio/virtqueue';
import type { VirtioDevice } from '../device.js';
import { MmioRegisters } from '../mmio-registers.js';

const BASE = guestAddress(0x8000_0000n);

/** Where the memory of a device may be: here, here but late, or behind the service that stands for another host's. */
export const MEMORY_KINDS = ['local', 'delayed', 'remote'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** A chain that a test offered: where its buffers lie. */
export interface Offered {
  readonly writable: readonly GuestBuffer[];
}

/** A chain that came back. */
export interface Returned {
  readonly offered: Offered;
  readonly written: number;
  /** What was written, as far as the writable buffers go. */
  readonly bytes: Uint8Array;
}

/** A device model behind its registers, and a driver of all its queues that offers whatever a test likes. */
export class DeviceBench {
  readonly memory: LocalMemory = allocateMemory(BASE, 0x40_0000);
  /** What the device sees it through, if it is not local. */
  readonly delayed: DelayedMemory | undefined;
  readonly link: RemoteLink | undefined;
  readonly registers: MmioRegisters;
  readonly queues: DriverQueue<Offered>[] = [];
  interrupts = 0;
  readonly #deferred: (() => void)[] = [];
  #next = 0;

  constructor(device: VirtioDevice, { memory = 'local' }: { readonly memory?: MemoryKind } = {}) {
    this.delayed = memory === 'delayed' ? new DelayedMemory(this.memory) : undefined;
    this.link = memory === 'remote' ? new RemoteLink(this.memory) : undefined;
    const seen: GuestMemory = this.delayed ?? this.link?.memory ?? this.memory;
    this.registers = new MmioRegisters(device, seen, {
      interrupt: () => {
        this.interrupts += 1;
      },
      defer: (work) => this.#deferred.push(work),
    });
  }

  read(offset: number): number {
    return Number(this.registers.read(offset, 4));
  }

  write(offset: number, value: number): void {
    this.registers.write(offset, 4, BigInt(value));
  }

  /** Runs what the device put off. */
  catchUp(): void {
    for (let work = this.#deferred.shift(); work !== undefined; work = this.#deferred.shift()) work();
  }

  /** Runs what the device put off, and lets memory arrive, until nothing is left to do. */
  settle(): void {
    do this.catchUp();
    while (this.link?.move() === true || this.delayed?.deliver() === true);
  }

  /** 3.1.1: brings the device up with these features and queues of this size. */
  up(features: bigint, queues: number, size = 16): this {
    const negotiated = features | featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);
    this.#next = 0;
    this.queues.length = 0;
    this.write(MMIO.Status, 0);
    this.settle();
    const status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    this.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    this.write(MMIO.Status, status);
    for (const half of [0, 1]) {
      this.write(MMIO.DriverFeaturesSel, half);
      this.write(MMIO.DriverFeatures, Number((negotiated >> BigInt(32 * half)) & 0xffff_ffffn));
    }
    this.write(MMIO.Status, status | STATUS_FEATURES_OK);
    assert((this.read(MMIO.Status) & STATUS_FEATURES_OK) !== 0, 'the test asks for features that are offered');
    for (let index = 0; index < queues; index += 1) {
      const { config, tables } = layoutQueue(this.#place(layoutQueue(0n, size, negotiated).bytes), size, negotiated);
      const queue = createDriverQueue<Offered>(this.memory, config, negotiated, tables);
      assert(queue.ok, 'a queue in memory of the test is well placed');
      this.queues.push(queue.value);
      this.write(MMIO.QueueSel, index);
      this.write(MMIO.QueueSize, size);
      this.write(MMIO.QueueDescLow, Number(config.descriptorArea));
      this.write(MMIO.QueueDriverLow, Number(config.driverArea));
      this.write(MMIO.QueueDeviceLow, Number(config.deviceArea));
      this.write(MMIO.QueueReady, 1);
    }
    this.write(MMIO.Status, status | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    this.settle();
    return this;
  }

  /** Offers a chain: buffers with this content to read, and room of these sizes to write. Notifies if asked to. */
  offer(queue: number, readable: readonly Uint8Array[], room: readonly number[] = []): void {
    const [sources, writable] = this.#buffers(readable, room);
    this.offerBuffers(queue, sources, writable);
  }

  /** Offers several chains, of which the device hears together. It has not dealt with them yet unless it is to `settle`. */
  offerTogether(
    queue: number,
    chains: readonly { readonly readable: readonly Uint8Array[]; readonly room: readonly number[] }[],
    settle = true,
  ): void {
    const ring = this.#ring(queue);
    for (const { readable, room } of chains) {
      const [sources, writable] = this.#buffers(readable, room);
      assert(ring.add(sources, writable, { writable }), 'the ring has room for what the test offers');
    }
    if (ring.publish()) this.write(MMIO.QueueNotify, queue);
    if (settle) this.settle();
  }

  #buffers(
    readable: readonly Uint8Array[],
    room: readonly number[],
  ): readonly [readable: readonly GuestBuffer[], writable: readonly GuestBuffer[]] {
    const sources = readable.map((bytes): GuestBuffer => {
      const address = this.#place(bytes.length);
      this.memory.bytes(Number(address - BASE), bytes.length).set(bytes);
      return { address, length: bytes.length };
    });
    return [sources, room.map((length): GuestBuffer => ({ address: this.#place(length), length }))];
  }

  /** Offers a chain of buffers that lie wherever the test says. */
  offerBuffers(queue: number, readable: readonly GuestBuffer[], writable: readonly GuestBuffer[]): void {
    const ring = this.#ring(queue);
    assert(ring.add(readable, writable, { writable }), 'the ring has room for what the test offers');
    if (ring.publish()) this.write(MMIO.QueueNotify, queue);
    this.settle();
  }

  /** Chains that the device returned since the last call. */
  returned(queue: number): readonly Returned[] {
    const ring = this.#ring(queue);
    const all: Returned[] = [];
    for (;;) {
      const element = ring.popUsed();
      assert(element.kind !== 'broken', 'the device keeps its rings whole');
      if (element.kind === 'empty') break;
      const { token, written } = element;
      all.push({ offered: token, written, bytes: this.#gather(token.writable, written) });
    }
    ring.setInterrupts(true);
    return all;
  }

  #gather(buffers: readonly GuestBuffer[], written: number): Uint8Array {
    const bytes = new Uint8Array(written);
    let at = 0;
    for (const { address, length } of buffers) {
      const part = Math.min(length, written - at);
      bytes.set(this.memory.bytes(Number(address - BASE), part), at);
      at += part;
    }
    return bytes;
  }

  #ring(queue: number): DriverQueue<Offered> {
    const ring = this.queues[queue];
    assert(ring !== undefined, `the test set queue ${queue} up`);
    return ring;
  }

  #place(bytes: number): bigint {
    const at = Math.ceil(this.#next / 64) * 64;
    assert(at + bytes <= this.memory.size, 'the test has memory left');
    this.#next = at + bytes;
    return BASE + BigInt(at);
  }
}
