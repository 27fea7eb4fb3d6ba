import { assert } from '@remio/base';
import {
  featureSet,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  MMIO,
  MMIO_CONFIG,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import { layoutPackedQueue, layoutSplitQueue, type QueueConfig } from '@remio/virtqueue';
import type { Layout, Outcome } from './catalogue.js';
import type { DeviceTarget, Width } from './device-target.js';
import type { Family, FamilyRequest } from './family.js';
import { RawPacked } from './raw-packed.js';
import { type Piece, RawMemory, type RawQueue, type UsedPiece } from './raw-queue.js';
import { RawSplit } from './raw-split.js';

/** Queues that are looked for, and most that are set up. */
const QUEUES_MAX = 4;
/** Descriptors of a queue: few, so that wrapping is no rare event; packed, no power of two. */
const SPLIT_SIZE = 8;
const PACKED_SIZE = 9;
/** Reads of Status until a reset must have ended (2.4.2). */
const RESET_READS_MAX = 10_000;

/** A request in the shared memory. */
export interface PlacedRequest {
  readonly request: FamilyRequest;
  readonly readable: readonly Piece[];
  readonly writable: readonly Piece[];
  /** All of it, in the order of a chain. */
  readonly pieces: readonly Piece[];
}

export type RawQueueOf = RawSplit | RawPacked;

/** How a device is brought up. */
export interface BringUp {
  readonly layout: Layout;
  /** Ring features to accept, where they are offered; the layout decides of RING_PACKED. */
  readonly ring: bigint;
  /** Changes the configuration of a queue before it is made ready. */
  readonly configure?: (config: QueueConfig, index: number) => QueueConfig;
  /** Stops before DRIVER_OK. */
  readonly notLive?: boolean;
  /** Descriptors of a queue, if the device has as many; absent: few. */
  readonly size?: number;
}

/** The memory that a device shares with its driver is too small for a case: the device is not to blame. */
export class NoRoom extends Error {
  /** @param size bytes of the memory */
  constructor(size: number) {
    super(`the shared memory of ${size} bytes has no room for it`);
  }
}

/** A driver that does what it likes with a device, and sees what becomes of it. */
export class HostileDriver {
  readonly target: DeviceTarget;
  readonly family: Family;
  readonly memory: RawMemory;
  /** Of the last {@link bringUp}. */
  queues: readonly RawQueueOf[] = [];
  features = 0n;
  #free = 0n;

  constructor(target: DeviceTarget, family: Family) {
    this.target = target;
    this.family = family;
    this.memory = new RawMemory(target.memory);
  }

  async read(offset: number, width: Width = 4): Promise<number> {
    return Number(await this.target.read(offset, width));
  }

  async write(offset: number, value: number, width: Width = 4): Promise<void> {
    await this.target.write(offset, width, BigInt(value));
  }

  status(): Promise<number> {
    return this.read(MMIO.Status);
  }

  async config(offset: number): Promise<number> {
    return this.read(MMIO_CONFIG + offset);
  }

  async isBroken(): Promise<boolean> {
    return ((await this.status()) & STATUS_DEVICE_NEEDS_RESET) !== 0;
  }

  /** What the device offers. */
  async offered(): Promise<bigint> {
    await this.write(MMIO.DeviceFeaturesSel, 0);
    const low = BigInt(await this.read(MMIO.DeviceFeatures));
    await this.write(MMIO.DeviceFeaturesSel, 1);
    return (BigInt(await this.read(MMIO.DeviceFeatures)) << 32n) | low;
  }

  async setFeatures(features: bigint): Promise<void> {
    for (const half of [0, 1]) {
      await this.write(MMIO.DriverFeaturesSel, half);
      await this.write(MMIO.DriverFeatures, Number((features >> BigInt(32 * half)) & 0xffff_ffffn));
    }
  }

  /** Resets the device; false if that never ends. */
  async reset(): Promise<boolean> {
    await this.write(MMIO.Status, 0);
    for (let n = 0; n < RESET_READS_MAX; n += 1) {
      if ((await this.status()) === 0) return true;
      await this.target.pause();
    }
    return false;
  }

  /** Steps 1 to 8 of 3.1.1, from a reset on, with every queue that there is; why it cannot, if it cannot. */
  async bringUp({ layout, ring, configure, notLive, size }: BringUp): Promise<string | undefined> {
    if (!(await this.reset())) return 'the reset of the device never ends';
    this.#free = this.memory.base;
    await this.write(MMIO.Status, STATUS_ACKNOWLEDGE);
    await this.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    const packed = featureSet(VIRTIO_F_RING_PACKED);
    const wanted = this.family.features | (layout === 'packed' ? ring | packed : ring & ~packed);
    this.features = (await this.offered()) & (wanted | featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM));
    await this.setFeatures(this.features);
    await this.write(MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    if (((await this.status()) & STATUS_FEATURES_OK) === 0) return 'FEATURES_OK is not kept';
    const queues: RawQueueOf[] = [];
    for (let index = 0; index < QUEUES_MAX; index += 1) {
      const queue = await this.#setUp(index, layout, size, configure);
      if (queue === undefined) break;
      queues.push(queue);
    }
    this.queues = queues;
    if (queues.length === 0) return 'the device has no queue';
    if (notLive !== true) await this.goLive();
    return undefined;
  }

  async goLive(): Promise<void> {
    const status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    await this.write(MMIO.Status, status);
  }

  async #setUp(
    index: number,
    layout: Layout,
    wanted: number | undefined,
    configure: BringUp['configure'],
  ): Promise<RawQueueOf | undefined> {
    await this.write(MMIO.QueueSel, index);
    const max = await this.read(MMIO.QueueSizeMax);
    if (max === 0) return undefined;
    const packed = layout === 'packed';
    const size = packed
      ? Math.min(wanted ?? PACKED_SIZE, max)
      : Math.min(wanted ?? SPLIT_SIZE, 2 ** Math.floor(Math.log2(max)));
    const lay = packed ? layoutPackedQueue : layoutSplitQueue;
    const { config } = lay(this.allocate(lay(0n, size).bytes, 64), size);
    this.memory.bytes(config.descriptorArea, lay(0n, size).bytes).fill(0);
    await this.programQueue(index, configure?.(config, index) ?? config);
    await this.write(MMIO.QueueReady, 1);
    const eventIdx = hasFeature(this.features, VIRTIO_F_EVENT_IDX);
    return packed
      ? new RawPacked(this.memory, index, config, eventIdx)
      : new RawSplit(this.memory, index, config, eventIdx);
  }

  /** Writes the registers of a queue, but for QueueReady. */
  async programQueue(index: number, config: QueueConfig): Promise<void> {
    await this.write(MMIO.QueueSel, index);
    await this.write(MMIO.QueueSize, config.size);
    for (const [low, high, address] of [
      [MMIO.QueueDescLow, MMIO.QueueDescHigh, config.descriptorArea],
      [MMIO.QueueDriverLow, MMIO.QueueDriverHigh, config.driverArea],
      [MMIO.QueueDeviceLow, MMIO.QueueDeviceHigh, config.deviceArea],
    ] as const) {
      await this.write(low, Number(BigInt.asUintN(32, address)));
      await this.write(high, Number(BigInt.asUintN(32, address >> 32n)));
    }
  }

  /**
   * Memory that the device may use, zeroed; from the start again after each bring-up.
   * @throws NoRoom if the device's shared memory is too small
   */
  allocate(bytes: number, align = 16): bigint {
    const at = ((this.#free + BigInt(align) - 1n) / BigInt(align)) * BigInt(align);
    if (at + BigInt(bytes) > this.memory.base + BigInt(this.memory.size)) throw new NoRoom(this.memory.size);
    this.#free = at + BigInt(bytes);
    this.memory.bytes(at, bytes).fill(0);
    return at;
  }

  /** Lays a request of the device's family into memory. */
  place(): PlacedRequest {
    const request = this.family.request();
    const readable = request.readable.map((bytes): Piece => {
      const address = this.allocate(Math.max(1, bytes.length));
      this.memory.bytes(address, bytes.length).set(bytes);
      return { address, length: bytes.length, flags: 0 };
    });
    const writable = request.writable.map((length): Piece => {
      return { address: this.allocate(length), length, flags: VIRTQ_DESC_F_WRITE };
    });
    return { request, readable, writable, pieces: [...readable, ...writable] };
  }

  /** The queue that cases are tried on, and the others of its kind. */
  requestQueues(): readonly [RawQueueOf, ...RawQueueOf[]] {
    const [first, ...others] = this.family.requestQueues(this.queues.length).flatMap((n) => this.queues[n] ?? []);
    assert(first !== undefined, 'a device has a queue for requests');
    return [first, ...others];
  }

  async notify(queue: RawQueue): Promise<void> {
    await this.write(MMIO.QueueNotify, this.notification(queue));
  }

  /** The value of a notification; where the driver will go on is not said, whatever was negotiated. */
  notification({ index }: RawQueue): number {
    return hasFeature(this.features, VIRTIO_F_NOTIFICATION_DATA) ? index & 0xffff : index;
  }

  /** Waits until the device has used something of a queue, or is broken. */
  async answered(queue: RawQueue): Promise<'broken' | readonly UsedPiece[]> {
    let used: readonly UsedPiece[] = [];
    let broken = false;
    await this.target.until(async () => {
      used = queue.used();
      broken = used.length === 0 && (await this.isBroken());
      return broken || used.length > 0;
    });
    return broken ? 'broken' : used;
  }

  /** Waits until the device has used something of a queue, whatever became of its others. */
  async used(queue: RawQueue): Promise<readonly UsedPiece[]> {
    let used: readonly UsedPiece[] = [];
    await this.target.until(() => {
      used = queue.used();
      return Promise.resolve(used.length > 0);
    });
    return used;
  }

  /** Whether what came back is the request, ended well. */
  isGood({ request, writable }: PlacedRequest, head: number, used: readonly UsedPiece[]): boolean {
    const own = used.find(({ id }) => id === head);
    if (own === undefined) return false;
    return request.good(
      own.written,
      writable.map(({ address, length }) => this.memory.bytes(address, length)),
    );
  }

  /** Makes a proper request on a queue; why it does not end well, if it does not. */
  async health(queue: RawQueueOf): Promise<string | undefined> {
    const placed = this.place();
    queue.setInterrupts(true);
    const head = queue.put(placed.pieces);
    const others = await this.isBroken();
    await this.notify(queue);
    const used = others ? await this.used(queue) : await this.answered(queue);
    if (used === 'broken') return `queue ${queue.index} is broken`;
    if (used.length === 0) return `queue ${queue.index} does not answer`;
    return this.isGood(placed, head, used) ? undefined : `a proper request of queue ${queue.index} fails`;
  }

  /**
   * What became of a hostile request that was put into a queue.
   * @param head what the device would return; undefined: nothing can come back
   */
  async verdict(queue: RawQueueOf, placed: PlacedRequest, head: number | undefined): Promise<Outcome> {
    const before = this.target.interrupts();
    await this.notify(queue);
    const used = await this.answered(queue);
    if (used === 'broken') return this.latched(before);
    if (head === undefined || used.length === 0) return this.stillWell(queue, 'I', before);
    return this.stillWell(queue, this.isGood(placed, head, used) ? 'C' : 'R', before);
  }

  /** After DEVICE_NEEDS_RESET: the driver was told, and other queues live on (2.1.2). */
  async latched(before: number): Promise<Outcome> {
    if (((await this.read(MMIO.InterruptStatus)) & INTERRUPT_CONFIG_CHANGE) === 0) {
      return { seen: 'F', detail: 'DEVICE_NEEDS_RESET without a configuration change notification' };
    }
    if (!(await this.target.until(() => Promise.resolve(this.target.interrupts() > before)))) {
      return { seen: 'F', detail: 'DEVICE_NEEDS_RESET without an interrupt' };
    }
    await this.target.pause();
    const [, other] = this.requestQueues();
    const ill = other === undefined ? undefined : await this.health(other);
    return ill === undefined ? { seen: 'L' } : { seen: 'F', detail: `another queue: ${ill}` };
  }

  /**
   * A verdict that holds if the queue goes on as if nothing had been.
   * @param before interrupts before the case: a queue that was latched a little later was latched
   */
  async stillWell(queue: RawQueueOf, seen: 'R' | 'I' | 'C', before?: number): Promise<Outcome> {
    const ill = await this.health(queue);
    if (ill !== undefined && before !== undefined && (await this.isBroken())) return this.latched(before);
    return ill === undefined ? { seen } : { seen: 'W', detail: ill };
  }
}
