import { assert, guestAddress } from '@remio/base';
import { allocateMemory, DelayedMemory, type GuestMemory, type LocalMemory } from '@remio/guest-memory';
import { RemoteLink } from '@remio/remote-memory/testing';
import { type DeviceIo, MmioRegisters, type VirtioDevice } from '@remio/virtio-device';
import {
  featureSet,
  hasFeature,
  INTERRUPT_USED_BUFFER,
  MMIO,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import {
  type Chain,
  createDriverQueue,
  type DriverQueue,
  type GuestBuffer,
  layoutQueue,
  type Segment,
  type Used,
} from '@remio/virtqueue';

const BASE = guestAddress(0x8000_0000n);
const SLOTS = 160;
const SLOT_SIZE = 512;

/** The device's memory is here, here but late, or behind the service that stands for another host's. */
export const MEMORY_KINDS = ['local', 'delayed', 'remote'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** What the world is made with. */
export interface WorldSettings {
  readonly features: bigint;
  readonly size: number;
  readonly memory: MemoryKind;
}

/** A request as the driver makes it: its bytes depend on its number, so none can pass for another. */
interface Request {
  readonly token: number;
  readonly slot: number;
  readonly readable: readonly GuestBuffer[];
  readonly writable: readonly GuestBuffer[];
}

const questionByte = (token: number, n: number): number => (token * 31 + n * 7 + 1) & 0xff;
const answerByte = (token: number, n: number): number => (token * 17 + n * 5 + 3) & 0xff;

const lengthOf = (parts: readonly { readonly length: number }[]): number =>
  parts.reduce((sum, { length }) => sum + length, 0);

/**
 * A device and a driver that keep to the protocol, each asleep whenever it allows, and nothing between them but rings,
 * registers and interrupts. What they do when is the test's to say; what must hold is checked with each step.
 */
export class RingWorld implements VirtioDevice {
  readonly deviceId = 42;
  readonly features = 0n;
  readonly queueCount = 1;
  readonly queueSizeMax = 32_768;
  readonly config = new Uint8Array(0);
  readonly #near: LocalMemory;
  readonly #far: GuestMemory;
  readonly #link: RemoteLink | undefined;
  readonly #registers: MmioRegisters;
  readonly #negotiated: bigint;
  readonly #size: number;
  readonly #slotsAt: number;
  readonly #freeSlots = Array.from({ length: SLOTS }, (_, n) => n);
  #ring: DriverQueue<Request>;

  /** Requests that were made and have not ended, by token. */
  readonly #open = new Map<number, Request>();
  /** Requests that came back from a reset, to be made again before any other. */
  #again: Request[] = [];
  #nextToken = 0;
  #driverAwake = true;
  ended = 0;
  interrupts = 0;
  notifications = 0;

  #io: DeviceIo | undefined;
  #deviceAwake = false;
  /** The device has asked for notifications, and looks once more. */
  #lastLook = false;
  readonly #taken: Chain[] = [];
  readonly #rejected: number[] = [];
  #unsignalled = false;
  /** What the device wrote, by token. */
  readonly #written = new Map<number, number>();

  constructor({ features, size, memory }: WorldSettings) {
    this.#negotiated = features | featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);
    this.#size = size;
    const { bytes } = layoutQueue(BASE, size, this.#negotiated);
    this.#slotsAt = Math.ceil(bytes / 64) * 64;
    this.#near = allocateMemory(BASE, this.#slotsAt + SLOTS * SLOT_SIZE);
    this.#link = memory === 'remote' ? new RemoteLink(this.#near) : undefined;
    this.#far = memory === 'delayed' ? new DelayedMemory(this.#near) : (this.#link?.memory ?? this.#near);
    const host = {
      interrupt: () => {
        this.#link?.reachDriver();
        this.interrupts += 1;
        this.#driverAwake = true;
      },
      defer: (work: () => void) => work(),
    };
    this.#registers = new MmioRegisters(this, this.#far, host);
    this.#ring = this.#bringUp();
  }

  // What the driver can do.

  /** Makes a request of so many buffers. */
  add(readable: number, writable: number): void {
    const slot = this.#freeSlots.at(-1);
    if (slot === undefined || readable + writable === 0 || this.#again.length > 0) return;
    const start = this.#slotsAt + slot * SLOT_SIZE;
    const token = this.#nextToken;
    let at = start;
    const buffers = (count: number, salt: number): GuestBuffer[] =>
      Array.from({ length: count }, (_, n) => {
        const length = 1 + ((token + n * salt) % 23);
        const buffer = { address: BASE + BigInt(at), length };
        at += length;
        return buffer;
      });
    const request = { token, slot, readable: buffers(readable, 3), writable: buffers(writable, 5) };
    assert(at <= start + SLOT_SIZE, 'the buffers of a request fit into its slot');
    if (!this.#put(request)) return;
    this.#freeSlots.pop();
    this.#open.set(token, request);
    this.#nextToken += 1;
  }

  publish(): void {
    for (let next = this.#again[0]; next !== undefined && this.#put(next); next = this.#again[0]) this.#again.shift();
    if (!this.#ring.publish()) return;
    this.notifications += 1;
    const told = hasFeature(this.#negotiated, VIRTIO_F_NOTIFICATION_DATA) ? this.#ring.notificationData : 0;
    this.#write(MMIO.QueueNotify, (told << 16) >>> 0);
  }

  /** Takes one request that has ended. */
  reap(): void {
    const element = this.#ring.popUsed();
    assert(element.kind !== 'broken', `the device keeps to the protocol: ${this.#ring.error?.detail}`);
    if (element.kind === 'empty') return;
    const { token: request, written } = element;
    const { token, slot, writable } = request;
    assert(this.#open.delete(token), `request ${token} ends once`);
    assert(written === this.#written.get(token), `request ${token} ends with the length that the device gave`);
    const answer = this.#gather(this.#near, writable);
    for (let n = 0; n < written; n += 1) {
      assert(answer[n] === answerByte(token, n), `request ${token} has its own answer`);
    }
    this.#written.delete(token);
    this.#freeSlots.push(slot);
    this.ended += 1;
  }

  /** Asks for no interrupts: only a driver that is awake may. */
  silence(): void {
    this.#driverAwake = true;
    this.#ring.setInterrupts(false);
  }

  /** Goes to sleep until an interrupt, unless something has ended meanwhile. */
  sleep(after: number): void {
    this.#driverAwake = this.#ring.setInterrupts(true, after);
  }

  /** Resets the queue and sets it up again, if that was negotiated; the device ends what it has. */
  resetQueue(): void {
    if (!hasFeature(this.#negotiated, VIRTIO_F_RING_RESET)) return;
    this.#write(MMIO.QueueSel, 0);
    this.#write(MMIO.QueueReset, 1);
    for (let n = 0; this.#read(MMIO.QueueReset) !== 0; n += 1) {
      assert(n < 10_000, 'the reset of a queue ends');
      this.#deviceAwake = true;
      this.deviceStep(n);
      this.deliver();
    }
    this.#takeBack();
    this.#setQueue();
  }

  /** Resets the device and brings it up again. */
  resetDevice(): void {
    this.#write(MMIO.Status, 0);
    assert(this.#read(MMIO.Status) === 0, 'this device ends its reset at once');
    this.#takeBack();
    this.#negotiate();
    this.#setQueue();
    this.#live();
  }

  // What the device can do.

  activate(io: DeviceIo): void {
    this.#io = io;
    this.#taken.length = 0;
    this.#rejected.length = 0;
    this.#unsignalled = false;
    this.#lastLook = false;
    this.#deviceAwake = true;
  }

  notify(): void {
    this.#deviceAwake = true;
  }

  reset(done: () => void): void {
    this.#io = undefined;
    this.#taken.length = 0;
    this.#rejected.length = 0;
    done();
  }

  /** One thing that the device does while it is awake. */
  deviceStep(choice: number): void {
    // What a step may do without an end in between only matters where memory is forgotten at the end.
    const acts = this.#link === undefined ? 1 : 1 + (choice % 4);
    for (let n = 0; n < acts && this.#deviceAwake && this.#io !== undefined; n += 1) this.#act(choice + n);
    this.#link?.endStep();
  }

  #act(choice: number): void {
    const open = this.#taken.length + this.#rejected.length;
    if (choice % 7 === 0) {
      this.#io?.queues[0]?.setNotifications(false);
      this.#lastLook = false;
    }
    if (open > 0 && choice % 3 === 0) this.#finish(choice);
    else if (this.#unsignalled && choice % 3 === 1) this.#signal();
    else this.#look();
  }

  /** Lets memory that the device waits for arrive, or a message of its way. */
  deliver(): boolean {
    if (this.#link === undefined) return this.#far instanceof DelayedMemory && this.#far.deliver();
    return this.#link.move();
  }

  /** The device goes to sleep until memory is local, and then does this. */
  #wait(then: () => void): void {
    this.#deviceAwake = false;
    this.#io?.whenLocal(() => {
      this.#deviceAwake = true;
      then();
      if (this.#link !== undefined) this.deviceStep(3 * this.ended);
    });
  }

  /** The device forgets what is local. */
  forget(): void {
    if (this.#far instanceof DelayedMemory) this.#far.forget();
  }

  /**
   * Lets both sides go on until neither is awake and no memory is on its way.
   * @returns requests that have not ended then: someone sleeps who should have been woken
   */
  settle(): number {
    for (let n = 0; n < 200_000; n += 1) {
      if (this.#driverAwake) {
        if ((this.#read(MMIO.InterruptStatus) & INTERRUPT_USED_BUFFER) !== 0) {
          this.#write(MMIO.InterruptACK, INTERRUPT_USED_BUFFER);
        }
        const before = this.ended;
        this.reap();
        if (this.ended === before) {
          this.publish();
          this.sleep(1 + (n % 9));
        }
      } else if (this.#deviceAwake) this.deviceStep(n);
      else if (!this.deliver()) return this.#open.size;
    }
    return -1;
  }

  /** Whether anything of a former life is left over, when nothing is open. */
  get clean(): boolean {
    return this.#ring.free === this.#size && this.#ring.inFlight === 0 && this.#freeSlots.length === SLOTS;
  }

  #look(): void {
    const queue = this.#io?.queues[0];
    if (queue === undefined) return;
    const popped = queue.pop();
    switch (popped.kind) {
      case 'chain':
        if (this.#lastLook) queue.setNotifications(false);
        this.#lastLook = false;
        this.#taken.push(popped.chain);
        return;
      case 'rejected':
        this.#rejected.push(popped.head);
        return;
      case 'wait':
        this.#wait(() => this.#look());
        return;
      case 'broken':
        assert(false, `the driver keeps to the protocol: ${popped.error.detail}`);
        return;
      case 'empty':
        if (!this.#lastLook) {
          queue.setNotifications(true);
          this.#lastLook = true;
          return;
        }
        this.#lastLook = false;
        // Nothing to do but what ends by itself.
        if (this.#unsignalled) this.#signal();
        else if (this.#taken.length + this.#rejected.length > 0) this.#finish(0);
        else this.#deviceAwake = false;
    }
  }

  /** Ends one request, or two at once, whichever. */
  #finish(choice: number): void {
    const used: Used[] = [];
    const count = choice % 4 === 0 ? 2 : 1;
    const ended: Chain[] = [];
    for (let n = 0; n < count; n += 1) {
      const left = this.#taken.filter((chain) => !ended.includes(chain));
      const chain = left[(choice >>> 2) % Math.max(1, left.length)];
      if (chain === undefined) break;
      const written = this.#serve(chain, choice);
      if (written === undefined) {
        this.#wait(() => this.#finish(choice));
        return;
      }
      ended.push(chain);
      used.push({ head: chain.head, written });
    }
    const rejected = ended.length === 0 ? this.#rejected[0] : undefined;
    if (rejected !== undefined) used.push({ head: rejected, written: 0 });
    const [first] = used;
    if (first === undefined) return;
    const queue = this.#io?.queues[0];
    const pushed = used.length === 1 ? queue?.push(first.head, first.written) : queue?.pushAll(used);
    if (pushed !== true) {
      this.#wait(() => this.#finish(choice));
      return;
    }
    for (const chain of ended) this.#taken.splice(this.#taken.indexOf(chain), 1);
    if (rejected !== undefined) this.#rejected.shift();
    this.#unsignalled = true;
  }

  /** Reads the question and writes the answer; undefined if memory is not local yet. */
  #serve({ readable, writable, writableLength }: Chain, choice: number): number | undefined {
    const memory = this.#far;
    const local =
      readable.every(({ offset, length }) => memory.need(offset, length, 'read')) &&
      writable.every(({ offset, length }) => memory.need(offset, length, 'write'));
    if (!local) return undefined;
    const token = this.#tokenAt(readable, writable);
    const request = this.#open.get(token);
    assert(request !== undefined, `request ${token} is in flight`);
    assert(writableLength === lengthOf(request.writable), `request ${token} has the room that the driver gave`);
    const question = this.#gather(memory, request.readable);
    assert(
      question.every((byte, n) => byte === questionByte(token, n)),
      `request ${token} has its own question`,
    );
    const written = choice % 5 === 0 ? Math.floor(writableLength / 2) : writableLength;
    let n = 0;
    for (const { offset, length } of writable) {
      const bytes = memory.bytes(offset, length);
      for (let at = 0; at < length && n < written; at += 1, n += 1) bytes[at] = answerByte(token, n);
      memory.written(offset, length);
    }
    this.#written.set(token, written);
    return written;
  }

  /** Which request has its buffers here. */
  #tokenAt(readable: readonly Segment[], writable: readonly Segment[]): number {
    const [first] = [...readable, ...writable];
    assert(first !== undefined, 'a chain has a buffer');
    const slot = Math.floor((first.offset - this.#slotsAt) / SLOT_SIZE);
    for (const request of this.#open.values()) if (request.slot === slot) return request.token;
    assert(false, `slot ${slot} belongs to a request`);
    return -1;
  }

  #signal(): void {
    this.#unsignalled = false;
    this.#io?.used(0);
  }

  #gather(memory: GuestMemory, buffers: readonly GuestBuffer[]): number[] {
    return buffers.flatMap(({ address, length }) => [...memory.bytes(memory.locate(address, length), length)]);
  }

  #put(request: Request): boolean {
    if (!this.#ring.add(request.readable, request.writable, request)) return false;
    let n = 0;
    for (const { address, length } of request.readable) {
      const bytes = this.#near.bytes(this.#near.locate(address, length), length);
      for (let at = 0; at < length; at += 1, n += 1) bytes[at] = questionByte(request.token, n);
    }
    return true;
  }

  /** What was in flight is made again, in its order. */
  #takeBack(): void {
    this.#again = [...this.#ring.restart(), ...this.#again];
    this.#written.clear();
    this.#driverAwake = true;
  }

  #bringUp(): DriverQueue<Request> {
    const { config, tables } = layoutQueue(BASE, this.#size, this.#negotiated);
    const ring = createDriverQueue<Request>(this.#near, config, this.#negotiated, tables);
    assert(ring.ok, 'the queue is well placed');
    this.#ring = ring.value;
    this.#negotiate();
    this.#setQueue();
    this.#live();
    return ring.value;
  }

  #negotiate(): void {
    this.#write(MMIO.Status, STATUS_ACKNOWLEDGE);
    this.#write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    for (const half of [0, 1]) {
      this.#write(MMIO.DriverFeaturesSel, half);
      this.#write(MMIO.DriverFeatures, Number((this.#negotiated >> BigInt(32 * half)) & 0xffff_ffffn));
    }
    this.#write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    assert((this.#read(MMIO.Status) & STATUS_FEATURES_OK) !== 0, 'every subset is acceptable');
  }

  #setQueue(): void {
    const { config } = layoutQueue(BASE, this.#size, this.#negotiated);
    this.#write(MMIO.QueueSel, 0);
    assert(this.#read(MMIO.QueueSizeMax) >= config.size, 'the device has room for the queue');
    this.#write(MMIO.QueueSize, config.size);
    this.#write(MMIO.QueueDescLow, Number(config.descriptorArea));
    this.#write(MMIO.QueueDriverLow, Number(config.driverArea));
    this.#write(MMIO.QueueDeviceLow, Number(config.deviceArea));
    this.#write(MMIO.QueueReady, 1);
    assert(this.#read(MMIO.QueueReady) === 1, 'the queue is ready');
    this.#deviceAwake = true;
  }

  #live(): void {
    const status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    this.#write(MMIO.Status, status);
    assert(this.#read(MMIO.Status) === status, 'the device runs');
  }

  #read(offset: number): number {
    this.#link?.reachDevice();
    const value = Number(this.#registers.read(offset, 4));
    this.#link?.reachDriver();
    return value;
  }

  #write(offset: number, value: number): void {
    this.#link?.reachDevice();
    this.#registers.write(offset, 4, BigInt(value));
    this.#link?.reachDriver();
  }
}
