import { assert, err, type IrqId, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  ALL_RING_FEATURES,
  featureSet,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_RESET,
} from '@remio/virtio-spec';
import { createDriverQueue, type DriverQueue, layoutQueue, type QueueConfig, queueSizeWithin } from '@remio/virtqueue';
import { type DriverError, driverError } from './driver-error.js';
import { MmioTransport } from './mmio-transport.js';
import { SharedAllocator } from './shared-allocator.js';

/** What a driver does when its device speaks. */
export interface DriverEvents {
  /**
   * The device interrupted. What its rings hold can be taken at once; why it did is read next, and acknowledged: two
   * accesses that trap, while the device has nothing more to do if nobody gave it work before. {@link used} follows.
   */
  arrived?(): void | Promise<void>;
  /** Used buffers may be there: look at every queue. */
  used(): void | Promise<void>;
  /** The device configuration changed. Read anew within the interrupt's handler, if it is needed. */
  configChanged(): void | Promise<void>;
  /** The device set DEVICE_NEEDS_RESET: nothing more is to be had from it before {@link DeviceBringUp.restart}. */
  needsReset(error: DriverError): void | Promise<void>;
}

/** A queue that was set up, and where it lies. */
interface SetUpQueue {
  readonly index: number;
  readonly ring: DriverQueue<unknown>;
  readonly config: QueueConfig;
}

/**
 * A device that a driver is bringing up (3.1.1): found, reset, features negotiated. What all drivers have in common;
 * the device is not trusted, whatever it says is checked.
 */
export class DeviceBringUp {
  readonly transport: MmioTransport;
  readonly allocator: SharedAllocator;
  /** Negotiated. */
  readonly features: bigint;
  readonly irq: IrqId;
  readonly #deviceId: number;
  readonly #queues: SetUpQueue[] = [];

  private constructor(
    transport: MmioTransport,
    allocator: SharedAllocator,
    features: bigint,
    { interrupt }: GuestDeviceEnd,
    deviceId: number,
  ) {
    this.transport = transport;
    this.allocator = allocator;
    this.features = features;
    this.irq = interrupt;
    this.#deviceId = deviceId;
  }

  /**
   * Steps 1 to 6 of 3.1.1. Ring features are the device's and the end's affair: those that both have are accepted.
   * @param wanted features of the device type that the driver understands
   */
  static async negotiate(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    deviceId: number,
    wanted: bigint,
  ): Promise<Result<DeviceBringUp, DriverError>> {
    const transport = new MmioTransport(end.window.base);
    const found = await transport.probe(cpu, deviceId);
    if (!found.ok) return found;
    const negotiated = await transport.negotiate(cpu, (wanted & ~ALL_RING_FEATURES) | end.ring);
    if (!negotiated.ok) return negotiated;
    return ok(new DeviceBringUp(transport, new SharedAllocator(end.shmem), negotiated.value, end, deviceId));
  }

  /**
   * Step 7: makes a queue and tells the device where it lies.
   * @param wanted most descriptors
   * @param needed fewest descriptors that a request takes
   */
  async setUpQueue<Token>(
    cpu: GuestCpu,
    index: number,
    wanted: number,
    needed: number,
  ): Promise<Result<DriverQueue<Token>, DriverError>> {
    const { transport, allocator, features } = this;
    const max = await transport.queueSizeMax(cpu, index);
    // The largest queue that both sides can have: a device may say anything (V13).
    const size = queueSizeWithin(Math.min(max, wanted), features);
    if (size < needed) {
      const detail = `queue ${index} has QueueSizeMax ${max}; a request needs ${needed} descriptors`;
      return this.#giveUp(cpu, driverError('queue', '4.2.3.2', detail));
    }
    // Indirect tables are worth having where there is room for them.
    const plain = features & ~featureSet(VIRTIO_F_INDIRECT_DESC);
    for (const parts of features === plain ? [plain] : [features, plain]) {
      const area = allocator.allocate(layoutQueue(0n, size, parts).bytes, 4096);
      if (area === undefined) continue;
      const { config, tables } = layoutQueue(area, size, parts);
      const ring = createDriverQueue<Token>(allocator.memory, config, features, tables);
      if (!ring.ok) return this.#giveUp(cpu, driverError('queue', ring.error.clause, ring.error.detail));
      const set = await transport.setQueue(cpu, index, config);
      if (!set.ok) return this.#giveUp(cpu, set.error);
      transport.watchQueue(index, ring.value, features);
      this.#queues.push({ index, ring: ring.value, config });
      return ok(ring.value);
    }
    return this.#giveUp(cpu, driverError('memory', '2.7', `the shared memory has no room for queue ${index}`));
  }

  /**
   * Resets one queue (2.6.1) and makes it ready again, empty; the others go on.
   * @returns requests that were in flight in it, oldest first: they may or may not have been carried out
   */
  async resetQueue<Token>(cpu: GuestCpu, ring: DriverQueue<Token>): Promise<Result<readonly Token[], DriverError>> {
    const queue = this.#queues.find((candidate) => candidate.ring === ring);
    assert(queue !== undefined, 'the queue is of this device');
    if (!hasFeature(this.features, VIRTIO_F_RING_RESET)) {
      return err(driverError('features', '2.6.1', 'RING_RESET was not negotiated'));
    }
    const reset = await this.transport.resetQueue(cpu, queue.index);
    if (!reset.ok) return reset;
    const tokens = ring.restart();
    const set = await this.transport.setQueue(cpu, queue.index, queue.config);
    return set.ok ? ok(tokens) : set;
  }

  /**
   * Resets the device and brings it up again with the same features and queues: the way back from DEVICE_NEEDS_RESET
   * (2.1.1). The interrupt stays where it is.
   * @param empty called when the device has let go of its queues: the driver restarts each of them
   */
  async restart(cpu: GuestCpu, empty: () => void): Promise<Result<void, DriverError>> {
    const { transport, features } = this;
    const found = await transport.probe(cpu, this.#deviceId);
    if (!found.ok) return found;
    const negotiated = await transport.negotiate(cpu, features);
    if (!negotiated.ok) return negotiated;
    empty();
    if (negotiated.value !== features) {
      return this.#giveUp(cpu, driverError('features', '2.2.2', 'the device offers less than before its reset'));
    }
    for (const { index, config } of this.#queues) {
      const set = await transport.setQueue(cpu, index, config);
      if (!set.ok) return this.#giveUp(cpu, set.error);
    }
    return transport.driverOk(cpu);
  }

  /** Step 8: takes the device's interrupt on this vCPU, and sets DRIVER_OK. */
  async goLive(cpu: GuestCpu, events: DriverEvents): Promise<Result<void, DriverError>> {
    cpu.onInterrupt(this.irq, () => this.#interrupt(cpu, events));
    await cpu.enableInterrupt(this.irq);
    return this.transport.driverOk(cpu);
  }

  /** Gives up on the device (2.1.1) because of what is wrong with it. */
  async #giveUp(cpu: GuestCpu, error: DriverError): Promise<Result<never, DriverError>> {
    await this.transport.fail(cpu);
    return err(error);
  }

  async #interrupt(cpu: GuestCpu, events: DriverEvents): Promise<void> {
    await events.arrived?.();
    const reasons = await this.transport.interruptReasons(cpu);
    if ((reasons & INTERRUPT_CONFIG_CHANGE) !== 0) {
      const status = await this.transport.status(cpu);
      if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) {
        await events.needsReset(driverError('needs-reset', '2.1.2', 'the device set DEVICE_NEEDS_RESET'));
      } else await events.configChanged();
    }
    // Also when no bit says so: an interrupt may come before its cause is seen (2.7.7.1).
    if ((reasons & INTERRUPT_USED_BUFFER) !== 0 || reasons === 0) await events.used();
  }
}
