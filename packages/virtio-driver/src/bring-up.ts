import { err, type IrqId, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import { INTERRUPT_CONFIG_CHANGE, INTERRUPT_USED_BUFFER, STATUS_DEVICE_NEEDS_RESET } from '@remio/virtio-spec';
import { createDriverQueue, type DriverQueue, layoutQueue } from '@remio/virtqueue';
import { type DriverError, driverError } from './driver-error.js';
import { MmioTransport } from './mmio-transport.js';
import { SharedAllocator } from './shared-allocator.js';

/** What a driver does when its device speaks. */
export interface DriverEvents {
  /** Used buffers may be there: look at every queue. */
  used(): void;
  /** The device configuration changed. */
  configChanged(): void;
  /** The device set DEVICE_NEEDS_RESET: nothing more is to be had from it. */
  needsReset(error: DriverError): void;
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

  private constructor(transport: MmioTransport, allocator: SharedAllocator, features: bigint, irq: IrqId) {
    this.transport = transport;
    this.allocator = allocator;
    this.features = features;
    this.irq = irq;
  }

  /**
   * Steps 1 to 6 of 3.1.1.
   * @param wanted features that the driver understands
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
    const negotiated = await transport.negotiate(cpu, wanted);
    if (!negotiated.ok) return negotiated;
    return ok(new DeviceBringUp(transport, new SharedAllocator(end.shmem), negotiated.value, end.interrupt));
  }

  /**
   * Step 7: makes a queue and tells the device where it lies.
   * @param wanted most descriptors, a power of two
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
    // The largest power of two that both sides can have: a device may say anything (V13).
    const size = 2 ** Math.floor(Math.log2(Math.min(max, wanted)));
    if (!Number.isInteger(size) || size < needed) {
      const detail = `queue ${index} has QueueSizeMax ${max}; a request needs ${needed} descriptors`;
      return this.#giveUp(cpu, driverError('queue', '4.2.3.2', detail));
    }
    const area = allocator.allocate(layoutQueue(0n, size, features).bytes, 4096);
    if (area === undefined) {
      return this.#giveUp(cpu, driverError('memory', '2.7', `the shared memory has no room for queue ${index}`));
    }
    const { config } = layoutQueue(area, size, features);
    const ring = createDriverQueue<Token>(allocator.memory, config, features);
    if (!ring.ok) return this.#giveUp(cpu, driverError('queue', ring.error.clause, ring.error.detail));
    const set = await transport.setQueue(cpu, index, config);
    return set.ok ? ok(ring.value) : this.#giveUp(cpu, set.error);
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
    const reasons = await this.transport.interruptReasons(cpu);
    if ((reasons & INTERRUPT_CONFIG_CHANGE) !== 0) {
      const status = await this.transport.status(cpu);
      if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) {
        events.needsReset(driverError('needs-reset', '2.1.2', 'the device set DEVICE_NEEDS_RESET'));
      } else events.configChanged();
    }
    // Also when no bit says so: an interrupt may come before its cause is seen (2.7.7.1).
    if ((reasons & INTERRUPT_USED_BUFFER) !== 0 || reasons === 0) events.used();
  }
}
