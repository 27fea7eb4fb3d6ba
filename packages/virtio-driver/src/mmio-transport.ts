import { err, ok, type Result } from '@remio/base';
import type { GuestCpu } from '@remio/guest';
import {
  featureSet,
  hasFeature,
  MMIO,
  MMIO_CONFIG,
  MMIO_MAGIC,
  MMIO_VERSION,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import type { DriverQueue, QueueConfig } from '@remio/virtqueue';
import { type DriverError, driverError } from './driver-error.js';

/** Times that Status is read until a reset must have ended (2.4.2). */
const RESET_READS_MAX = 10_000;
/** Times that a configuration is read until it holds still (2.5.1). */
const CONFIG_READS_MAX = 16;

/** The virtio-mmio transport, driver side (4.2), version 2. The device is not trusted: everything it says is checked. */
export class MmioTransport {
  readonly #base: bigint;
  /** Queues whose notifications carry where they will go on (NOTIFICATION_DATA). */
  readonly #told = new Map<number, DriverQueue<unknown>>();
  /** Register accesses made, each a trap. */
  accesses = 0;

  /** @param base guest-physical address of the window */
  constructor(base: bigint) {
    this.#base = base;
  }

  /** Reads MagicValue, Version and DeviceID (4.2.3.1.1). */
  async probe(cpu: GuestCpu, deviceId: number): Promise<Result<void, DriverError>> {
    const magic = await this.read(cpu, MMIO.MagicValue);
    if (magic !== MMIO_MAGIC) return err(driverError('no-device', '4.2.2.2', `MagicValue 0x${magic.toString(16)}`));
    const version = await this.read(cpu, MMIO.Version);
    if (version !== MMIO_VERSION) return err(driverError('no-device', '4.2.2.2', `Version ${version}`));
    const id = await this.read(cpu, MMIO.DeviceID);
    if (id !== deviceId) return err(driverError('wrong-device', '4.2.2.2', `DeviceID ${id}, not ${deviceId}`));
    return ok(undefined);
  }

  /** Resets the device and waits until Status reads 0 (2.4.2). */
  async reset(cpu: GuestCpu): Promise<Result<void, DriverError>> {
    await this.write(cpu, MMIO.Status, 0);
    for (let n = 0; n < RESET_READS_MAX; n += 1) {
      const status = await this.read(cpu, MMIO.Status);
      if (status === 0) return ok(undefined);
      // Its backend has died meanwhile, and the next one knows nothing of this reset.
      if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) await this.write(cpu, MMIO.Status, 0);
    }
    return err(driverError('reset-timeout', '2.4.2', `Status is not 0 after ${RESET_READS_MAX} reads`));
  }

  /**
   * Steps 1 to 6 of 3.1.1: reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK.
   * @param wanted features that the driver understands
   * @returns the features that were negotiated
   */
  async negotiate(cpu: GuestCpu, wanted: bigint): Promise<Result<bigint, DriverError>> {
    const reset = await this.reset(cpu);
    if (!reset.ok) return reset;
    await this.write(cpu, MMIO.Status, STATUS_ACKNOWLEDGE);
    await this.write(cpu, MMIO.Status, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    const offered = await this.#deviceFeatures(cpu);
    const required = featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);
    if ((offered & required) !== required) {
      await this.fail(cpu);
      return err(
        driverError('features', '6.1', `VERSION_1 and ACCESS_PLATFORM are not offered: 0x${offered.toString(16)}`),
      );
    }
    const features = offered & (wanted | required);
    await this.write(cpu, MMIO.DriverFeaturesSel, 0);
    await this.write(cpu, MMIO.DriverFeatures, Number(features & 0xffff_ffffn));
    await this.write(cpu, MMIO.DriverFeaturesSel, 1);
    await this.write(cpu, MMIO.DriverFeatures, Number(features >> 32n));
    const status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
    await this.write(cpu, MMIO.Status, status);
    if (((await this.read(cpu, MMIO.Status)) & STATUS_FEATURES_OK) === 0) {
      await this.fail(cpu);
      return err(driverError('features', '3.1.1', `the device refuses the features 0x${features.toString(16)}`));
    }
    return ok(features);
  }

  /** Number of descriptors that a queue may have; 0: the queue does not exist. Not believed beyond what a ring can be. */
  async queueSizeMax(cpu: GuestCpu, index: number): Promise<number> {
    await this.write(cpu, MMIO.QueueSel, index);
    return this.read(cpu, MMIO.QueueSizeMax);
  }

  /** Programs a queue and makes it ready (4.2.3.2). */
  async setQueue(cpu: GuestCpu, index: number, config: QueueConfig): Promise<Result<void, DriverError>> {
    await this.write(cpu, MMIO.QueueSel, index);
    if ((await this.read(cpu, MMIO.QueueReady)) !== 0) {
      return err(driverError('queue', '4.2.3.2', `queue ${index} is ready already`));
    }
    await this.write(cpu, MMIO.QueueSize, config.size);
    const addresses = [
      [MMIO.QueueDescLow, MMIO.QueueDescHigh, config.descriptorArea],
      [MMIO.QueueDriverLow, MMIO.QueueDriverHigh, config.driverArea],
      [MMIO.QueueDeviceLow, MMIO.QueueDeviceHigh, config.deviceArea],
    ] as const;
    for (const [low, high, address] of addresses) {
      await this.write(cpu, low, Number(address & 0xffff_ffffn));
      await this.write(cpu, high, Number(address >> 32n));
    }
    await this.write(cpu, MMIO.QueueReady, 1);
    return ok(undefined);
  }

  /** Step 8 of 3.1.1: the device is live. */
  async driverOk(cpu: GuestCpu): Promise<Result<void, DriverError>> {
    const status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    await this.write(cpu, MMIO.Status, status);
    const seen = await this.read(cpu, MMIO.Status);
    return (seen & STATUS_DEVICE_NEEDS_RESET) === 0
      ? ok(undefined)
      : err(driverError('needs-reset', '2.1.2', 'DEVICE_NEEDS_RESET right after DRIVER_OK'));
  }

  /** Gives up on the device (2.1.1). */
  async fail(cpu: GuestCpu): Promise<void> {
    await this.write(cpu, MMIO.Status, STATUS_FAILED);
  }

  /** Notifications of this queue carry its data, if that was negotiated (4.2.3.3). */
  watchQueue(index: number, ring: DriverQueue<unknown>, features: bigint): void {
    if (hasFeature(features, VIRTIO_F_NOTIFICATION_DATA)) this.#told.set(index, ring);
  }

  /** Sends an available buffer notification (4.2.3.3). */
  async notify(cpu: GuestCpu, queue: number): Promise<void> {
    const data = this.#told.get(queue)?.notificationData ?? 0;
    await this.write(cpu, MMIO.QueueNotify, (queue | (data << 16)) >>> 0);
  }

  /** Resets a queue (4.2.2.2: until QueueReset reads 0); RING_RESET was negotiated. */
  async resetQueue(cpu: GuestCpu, index: number): Promise<Result<void, DriverError>> {
    await this.write(cpu, MMIO.QueueSel, index);
    await this.write(cpu, MMIO.QueueReset, 1);
    for (let n = 0; n < RESET_READS_MAX; n += 1) {
      if ((await this.read(cpu, MMIO.QueueReset)) === 0) return ok(undefined);
    }
    return err(driverError('reset-timeout', '2.6.1', `QueueReset is not 0 after ${RESET_READS_MAX} reads`));
  }

  /** Reads and acknowledges what interrupted (4.2.3.4). */
  async interruptReasons(cpu: GuestCpu): Promise<number> {
    const reasons = await this.read(cpu, MMIO.InterruptStatus);
    if (reasons !== 0) await this.write(cpu, MMIO.InterruptACK, reasons);
    return reasons;
  }

  async status(cpu: GuestCpu): Promise<number> {
    return this.read(cpu, MMIO.Status);
  }

  /** Reads configuration fields until the generation holds still while they are read (2.5.1, 4.2.2.2). */
  async readConfig<T>(cpu: GuestCpu, read: () => Promise<T>): Promise<Result<T, DriverError>> {
    for (let n = 0; n < CONFIG_READS_MAX; n += 1) {
      const before = await this.read(cpu, MMIO.ConfigGeneration);
      const value = await read();
      if ((await this.read(cpu, MMIO.ConfigGeneration)) === before) return ok(value);
    }
    return err(driverError('config', '2.5.1', `the configuration changed ${CONFIG_READS_MAX} times while it was read`));
  }

  config32(cpu: GuestCpu, offset: number): Promise<number> {
    return this.read(cpu, MMIO_CONFIG + offset);
  }

  config8(cpu: GuestCpu, offset: number): Promise<number> {
    this.accesses += 1;
    return cpu.load8(this.#base + BigInt(MMIO_CONFIG + offset));
  }

  config16(cpu: GuestCpu, offset: number): Promise<number> {
    this.accesses += 1;
    return cpu.load16(this.#base + BigInt(MMIO_CONFIG + offset));
  }

  /** Writes a configuration field of one byte, with an access of its width (4.2.2.2). */
  writeConfig8(cpu: GuestCpu, offset: number, value: number): Promise<void> {
    this.accesses += 1;
    return cpu.store8(this.#base + BigInt(MMIO_CONFIG + offset), value);
  }

  /** 64-bit fields are read as two halves (4.2.2.2). */
  async config64(cpu: GuestCpu, offset: number): Promise<bigint> {
    const low = await this.config32(cpu, offset);
    const high = await this.config32(cpu, offset + 4);
    return (BigInt(high) << 32n) | BigInt(low);
  }

  read(cpu: GuestCpu, offset: number): Promise<number> {
    this.accesses += 1;
    return cpu.load32(this.#base + BigInt(offset));
  }

  write(cpu: GuestCpu, offset: number, value: number): Promise<void> {
    this.accesses += 1;
    return cpu.store32(this.#base + BigInt(offset), value);
  }

  async #deviceFeatures(cpu: GuestCpu): Promise<bigint> {
    await this.write(cpu, MMIO.DeviceFeaturesSel, 0);
    const low = await this.read(cpu, MMIO.DeviceFeatures);
    await this.write(cpu, MMIO.DeviceFeaturesSel, 1);
    const high = await this.read(cpu, MMIO.DeviceFeatures);
    return (BigInt(high) << 32n) | BigInt(low);
  }
}
