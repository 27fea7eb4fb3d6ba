import { assert, err, hex, type Result, restoring } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import {
  ALL_RING_FEATURES,
  featureSet,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  MMIO,
  MMIO_CONFIG,
  MMIO_MAGIC,
  MMIO_VERSION,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import type { KeptState, QueueConfig, QueueError } from '@remio/virtqueue';
import { type DeviceCounters, newDeviceCounters } from './counters.js';
import type { VirtioDevice } from './device.js';
import { DeviceQueues } from './device-queues.js';
import {
  featuresAcceptable,
  PREREQUISITES,
  type RegisterImage,
  readRegisters,
  type SavedRegisters,
} from './saved-registers.js';

/** VendorID: "remi", little-endian. */
export const VENDOR_ID = 0x696d_6572;

/** Where a register model's effects go. */
export interface RegistersHost {
  /**
   * Raises the frontend's interrupt.
   * @param queue number of the queue that it is for; absent: it is for the configuration
   */
  interrupt(queue?: number): void;
  /**
   * Runs work soon, after the host's own events; `idle`: after everybody else's as well.
   * @param queue number of the queue that it is for
   */
  defer(work: () => void, idle?: boolean, queue?: number): void;
  /** What the driver did against the rules, for a trace; nothing depends on it. */
  trace?(event: { readonly what: string; readonly clause: string; readonly detail: string }): void;
}

/**
 * The registers of a virtio-mmio device, version 2 (4.2.2), and the life of the device behind them. Whatever a driver
 * writes, in whatever order and width, ends in a defined state.
 */
export class MmioRegisters {
  readonly device: VirtioDevice;
  readonly counters: DeviceCounters;
  readonly #memory: () => GuestMemory;
  readonly #host: RegistersHost;
  /** What goes on when memory becomes local. */
  readonly #waiting: (() => void)[] = [];
  readonly #offered: bigint;
  readonly #queues: DeviceQueues;
  #status = 0;
  #resetting = false;
  #active = false;
  #interruptStatus = 0;
  #generation = 0;
  #deviceFeaturesSel = 0;
  #driverFeaturesSel = 0;
  #driverFeatures = 0n;
  #queueSel = 0;
  /** Counts resets: what a former life of the device still has to say is not heard. */
  #life = 0;

  /** Where the state is kept that outlives this process; undefined: none does. */
  readonly #kept: KeptState | undefined;

  /**
   * @param ringFeatures those of {@link RING_FEATURES} that are offered, where the model can have them
   * @param kept where the state is kept for the process that takes the place of this one, should it be lost
   */
  constructor(
    device: VirtioDevice,
    memory: GuestMemory | (() => GuestMemory),
    host: RegistersHost,
    ringFeatures = ALL_RING_FEATURES,
    kept?: KeptState,
  ) {
    this.device = device;
    this.#memory = typeof memory === 'function' ? memory : () => memory;
    this.#host = host;
    // The reference's device models offer ACCESS_PLATFORM always: rings and buffers lie in the memory that both VMs map.
    // What a packed ring has in flight is overwritten in the ring by what is used: no account of heads would do.
    const withheld = (device.withheldRingFeatures ?? 0n) | (kept === undefined ? 0n : featureSet(VIRTIO_F_RING_PACKED));
    this.#kept = kept;
    this.#offered =
      (device.features & ~ALL_RING_FEATURES) |
      (ringFeatures & ~withheld) |
      featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM);
    this.counters = newDeviceCounters(device.queueCount);
    this.#queues = new DeviceQueues(device, this.#memory, this.counters.queues, kept?.tables);
  }

  /** Device status (2.1). */
  get status(): number {
    return this.#status;
  }

  /** Queues as the driver programmed them, for those that are ready. */
  queueConfig(index: number): QueueConfig | undefined {
    return this.#queues.config(index);
  }

  /** Chains of a queue that the device has taken and not returned. */
  inFlight(index: number): number {
    return this.#queues.running[index]?.inFlight ?? 0;
  }

  /** Features that were negotiated so far. */
  get features(): bigint {
    return (this.#status & STATUS_FEATURES_OK) === 0 ? 0n : this.#driverFeatures;
  }

  /**
   * A register read (4.2.2.2). Control registers are read with 32 bits at their own offset, configuration with any width;
   * everything else reads 0.
   * @param offset bytes from the base of the window
   * @param width bytes
   */
  read(offset: number, width: number): bigint {
    if (offset >= MMIO_CONFIG) return this.#readConfig(offset - MMIO_CONFIG, width);
    if (width !== 4) {
      this.#trace('4.2.2.2', `a ${8 * width}-bit read of control register 0x${offset.toString(16)}`);
      return 0n;
    }
    return BigInt(this.#readControl(offset));
  }

  /** A register write (4.2.2.2). What has no meaning now is ignored. */
  write(offset: number, width: number, value: bigint): void {
    if (offset >= MMIO_CONFIG) this.#writeConfig(offset - MMIO_CONFIG, width, value);
    else if (width !== 4)
      this.#trace('4.2.2.2', `a ${8 * width}-bit write of control register 0x${offset.toString(16)}`);
    else this.#writeControl(offset, Number(value & 0xffff_ffffn));
    if (offset !== MMIO.QueueNotify && offset !== MMIO.InterruptACK) this.keep();
  }

  /**
   * Keeps the registers as they are, for the process that takes the place of this one. What the driver has changed is kept
   * before it is told that it has: done again by the next process, an access changes nothing more.
   */
  keep(): void {
    this.#kept?.write(this.#memory().far ? {} : this.#save(true));
  }

  /**
   * Goes on where the process stopped that kept its state here: requests that it had not answered are served anew, and the
   * driver is interrupted for whatever it may not have heard of.
   * @returns why it cannot: the device is then as after a reset
   */
  resume(): Result<void, string> {
    const kept = this.#kept;
    if (kept === undefined) return err('no state is kept');
    const record = (kept.read() ?? {}) as Partial<SavedRegisters>;
    const { status = 0, config = [] } = record;
    if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) return err('it was broken');
    const runs = (status & STATUS_DRIVER_OK) !== 0;
    const interruptStatus = kept.interrupts | (runs ? INTERRUPT_USED_BUFFER : 0);
    const restored = this.restore({ ...record, interruptStatus });
    if (restored.ok && this.#active && config.some((byte, n) => byte !== this.device.config[n])) this.#configChanged();
    this.#keepInterrupts();
    this.keep();
    return restored;
  }

  /** The registers, and the queues that run, as plain data. What the model does outside is not part of it. */
  save(): SavedRegisters {
    return this.#save(false);
  }

  /** @param kept what queues have in flight is kept elsewhere */
  #save(kept: boolean): SavedRegisters {
    return {
      format: 'virtio-mmio/1',
      deviceId: this.device.deviceId,
      status: this.#status,
      resetting: this.#resetting,
      interruptStatus: this.#interruptStatus,
      generation: this.#generation,
      deviceFeaturesSel: this.#deviceFeaturesSel,
      driverFeaturesSel: this.#driverFeaturesSel,
      driverFeatures: hex(this.#driverFeatures),
      queueSel: this.#queueSel,
      config: [...this.device.config],
      queues: this.#queues.save(kept),
    };
  }

  /**
   * Takes over what {@link save} gave, into a device that does not run. The state is checked as hostile input would be;
   * chains in flight are served anew, and a reset (of the device or of a queue) that waited for them has ended.
   * @returns the first thing that is wrong with it: the device is then as after a reset
   */
  restore(state: unknown): Result<void, string> {
    assert(!this.#active, 'a state is restored into a device that does not run');
    const taken = restoring(state, (saved) => this.#takeOver(readRegisters(saved, this.device, this.#offered)));
    if (!taken.ok || this.#resetting) this.#wipe();
    if (!taken.ok) return taken;
    if ((this.#status & STATUS_DRIVER_OK) !== 0) {
      this.#run();
      this.device.resume?.();
    }
    // Whether the driver was told is not known: a spurious interrupt is allowed, a lost one is not.
    if (this.#interruptStatus !== 0) this.#host.interrupt();
    return taken;
  }

  #takeOver(image: RegisterImage): void {
    this.#status = image.status;
    this.#driverFeatures = image.driverFeatures;
    this.#queues.takeOver(image.queues, image.driverFeatures);
    this.#resetting = image.resetting;
    this.#interruptStatus = image.interruptStatus;
    this.#generation = image.generation;
    this.#deviceFeaturesSel = image.deviceFeaturesSel;
    this.#driverFeaturesSel = image.driverFeaturesSel;
    this.#queueSel = image.queueSel;
    if ((image.status & STATUS_FEATURES_OK) !== 0) this.device.negotiated?.(image.driverFeatures);
    this.device.config.set(image.config);
  }

  #readControl(offset: number): number {
    switch (offset) {
      case MMIO.MagicValue:
        return MMIO_MAGIC;
      case MMIO.Version:
        return MMIO_VERSION;
      case MMIO.DeviceID:
        return this.device.deviceId;
      case MMIO.VendorID:
        return VENDOR_ID;
      case MMIO.DeviceFeatures:
        return this.#deviceFeaturesSel > 1
          ? 0
          : Number((this.#offered >> BigInt(32 * this.#deviceFeaturesSel)) & 0xffff_ffffn);
      case MMIO.QueueSizeMax:
        return this.#queues.sizeMax(this.#queueSel, this.features);
      case MMIO.QueueReady:
        return this.#queues.ready(this.#queueSel) ? 1 : 0;
      case MMIO.QueueReset:
        return this.#queues.running[this.#queueSel]?.resetting ? 1 : 0;
      case MMIO.InterruptStatus:
        return this.#interruptStatus;
      case MMIO.Status:
        return this.#status;
      case MMIO.ConfigGeneration:
        return this.#generation;
      // 4.2.2: a shared memory region that does not exist has length and base -1.
      case MMIO.SHMLenLow:
      case MMIO.SHMLenHigh:
      case MMIO.SHMBaseLow:
      case MMIO.SHMBaseHigh:
        return 0xffff_ffff;
      default:
        this.#trace('4.2.2', `a read of 0x${offset.toString(16)}, which is write-only or no register`);
        return 0;
    }
  }

  #writeControl(offset: number, value: number): void {
    // While a reset is under way, only another status write means anything.
    if (this.#resetting && offset !== MMIO.Status) return;
    switch (offset) {
      case MMIO.DeviceFeaturesSel:
        this.#deviceFeaturesSel = value;
        return;
      case MMIO.DriverFeaturesSel:
        this.#driverFeaturesSel = value;
        return;
      case MMIO.DriverFeatures:
        this.#setDriverFeatures(value);
        return;
      case MMIO.QueueSel:
        this.#queueSel = value;
        return;
      case MMIO.QueueNotify:
        this.#notify(value);
        return;
      case MMIO.InterruptACK:
        this.#interruptStatus &= ~value;
        this.#keepInterrupts();
        return;
      case MMIO.Status:
        this.#setStatus(value);
        return;
      case MMIO.QueueSize:
      case MMIO.QueueReady:
      case MMIO.QueueDescLow:
      case MMIO.QueueDescHigh:
      case MMIO.QueueDriverLow:
      case MMIO.QueueDriverHigh:
      case MMIO.QueueDeviceLow:
      case MMIO.QueueDeviceHigh:
        this.#setQueue(offset, value);
        return;
      case MMIO.QueueReset:
        if (value === 1) this.#resetQueue(this.#queueSel);
        return;
      case MMIO.SHMSel:
        return;
      default:
        this.#trace('4.2.2', `a write of 0x${offset.toString(16)}, which is read-only or no register`);
    }
  }

  #setDriverFeatures(value: number): void {
    if ((this.#status & STATUS_FEATURES_OK) !== 0 || this.#driverFeaturesSel > 1) {
      this.#trace('2.2.1', 'features written after FEATURES_OK, or beyond the two words');
      return;
    }
    const shift = BigInt(32 * this.#driverFeaturesSel);
    this.#driverFeatures = (this.#driverFeatures & ~(0xffff_ffffn << shift)) | (BigInt(value) << shift);
  }

  #setStatus(value: number): void {
    if (value === 0) {
      this.#reset();
      return;
    }
    if (this.#resetting) return;
    // 2.1.1: a driver sets bits, one step after the other, and clears none but by a reset.
    let accepted = this.#status | (value & STATUS_FAILED);
    for (const [bit, needs] of PREREQUISITES) {
      if ((value & bit) === 0 || (accepted & bit) !== 0) continue;
      if ((accepted & needs) !== needs) {
        this.#trace('3.1.1', `status 0x${value.toString(16)} before its prerequisites`);
        continue;
      }
      if (bit === STATUS_FEATURES_OK) {
        if (!this.#featuresAcceptable()) continue;
        this.device.negotiated?.(this.#driverFeatures);
      }
      accepted |= bit;
    }
    const starts = (accepted & STATUS_DRIVER_OK) !== 0 && (this.#status & STATUS_DRIVER_OK) === 0;
    this.#status = accepted;
    if (starts) this.#activate();
  }

  #featuresAcceptable(): boolean {
    const features = this.#driverFeatures;
    if (featuresAcceptable(features, this.#offered, this.device)) return true;
    this.#trace('2.2.2', `features 0x${features.toString(16)} of 0x${this.#offered.toString(16)} are not acceptable`);
    return false;
  }

  #setQueue(offset: number, value: number): void {
    const negotiated = (this.#status & STATUS_FEATURES_OK) !== 0;
    const index = this.#queueSel;
    const outcome = negotiated
      ? this.#queues.write(index, offset, value, this.#active, this.#driverFeatures)
      : 'refused';
    if (outcome === 'refused') this.#trace('4.2.3.2', `queue ${index} cannot be changed now`);
    else if (outcome !== 'done') this.#broken(index, outcome);
  }

  #resetQueue(index: number): void {
    if (hasFeature(this.features, VIRTIO_F_RING_RESET) && this.#queues.reset(index)) this.device.resetQueue?.(index);
    else this.#trace('2.6.1', `a reset of queue ${index}, which does not run or cannot be reset`);
  }

  #activate(): void {
    this.#queues.activate(this.#driverFeatures, (index, error) => this.#broken(index, error));
    // From here on requests may be served.
    this.keep();
    this.#run();
  }

  /** Gives the queues that run to the device. */
  #run(): void {
    this.#active = true;
    const life = this.#life;
    const alive = (): boolean => life === this.#life && !this.#resetting;
    const memory = this.#memory();
    memory.onLocal = () => this.#becameLocal();
    const used = (index: number): void => {
      const queue = this.#queues.running[index];
      if (!alive() || queue === undefined) return;
      const wanted = queue.shouldInterrupt();
      if (wanted === 'wait') this.#waiting.push(() => used(index));
      else if (wanted) {
        queue.counters.interrupts += 1;
        this.#raise(INTERRUPT_USED_BUFFER, index);
      }
      // What the driver asked for may have been impossible (2.8.14).
      if (queue.error !== undefined) this.#broken(index, queue.error);
    };
    this.device.activate({
      memory,
      features: this.#driverFeatures,
      queues: this.#queues.running,
      whenLocal: (work) => this.#waiting.push(work),
      used,
      configChanged: () => {
        if (alive()) this.#configChanged();
      },
      broken: (index, error) => {
        if (alive()) this.#broken(index, error);
      },
      defer: (work, idle, queue) =>
        this.#host.defer(
          () => {
            if (life === this.#life) work();
          },
          idle,
          queue,
        ),
    });
  }

  #configChanged(): void {
    this.#generation = (this.#generation + 1) >>> 0;
    this.counters.configChanges += 1;
    this.#raise(INTERRUPT_CONFIG_CHANGE);
    this.keep();
  }

  /**
   * A device that knows nothing of its driver, in the place of one that did: the driver is told to start over (2.1.2). If
   * none has begun, it resets the device first, and nothing was.
   */
  demandReset(): void {
    this.#status |= STATUS_DEVICE_NEEDS_RESET;
    this.#raise(INTERRUPT_CONFIG_CHANGE);
    this.keep();
  }

  /** Everybody who waits for memory tries again; whoever still has to wait says so again. */
  #becameLocal(): void {
    const waiting = this.#waiting.splice(0);
    if (this.#resetting) return;
    for (const work of waiting) work();
  }

  #broken(index: number, error: QueueError): void {
    if (!this.#queues.latch(index)) return;
    this.#trace(error.clause, `queue ${index} is broken: ${error.detail}`);
    this.#status |= STATUS_DEVICE_NEEDS_RESET;
    this.keep();
    // 2.1.2: the driver is told only when it can be listening.
    if ((this.#status & STATUS_DRIVER_OK) !== 0) this.#raise(INTERRUPT_CONFIG_CHANGE);
  }

  #notify(value: number): void {
    // 2.9: where the driver will go on is not believed; the ring is looked at all the same.
    const index = hasFeature(this.features, VIRTIO_F_NOTIFICATION_DATA) ? value & 0xffff : value;
    const queue = this.#queues.running[index];
    if (!this.#active || queue?.runs !== true) {
      this.#trace('4.2.3.3', `a notification of queue ${index}, which does not run`);
      return;
    }
    queue.notified();
    this.device.notify(index);
  }

  #raise(bit: number, queue?: number): void {
    this.#interruptStatus |= bit;
    this.#keepInterrupts();
    this.#host.interrupt(queue);
  }

  #keepInterrupts(): void {
    if (this.#kept !== undefined) this.#kept.interrupts = this.#interruptStatus;
  }

  #reset(): void {
    if (this.#resetting) return;
    this.#resetting = true;
    this.counters.resets += 1;
    if (this.#active) this.device.reset(() => this.#wipe());
    else this.#wipe();
  }

  #wipe(): void {
    this.#life += 1;
    this.#waiting.length = 0;
    this.#status = 0;
    this.#resetting = false;
    this.#active = false;
    this.#interruptStatus = 0;
    this.#deviceFeaturesSel = 0;
    this.#driverFeaturesSel = 0;
    this.#driverFeatures = 0n;
    this.#queueSel = 0;
    this.#queues.clear();
    this.#keepInterrupts();
    this.keep();
  }

  #readConfig(offset: number, width: number): bigint {
    const { config } = this.device;
    let value = 0n;
    for (let n = width - 1; n >= 0; n -= 1) value = (value << 8n) | BigInt(config[offset + n] ?? 0);
    return value;
  }

  #writeConfig(offset: number, width: number, value: bigint): void {
    if (this.device.writeConfig === undefined || this.#resetting || offset + width > this.device.config.length) {
      this.#trace('2.5', `a write of configuration offset ${offset}, which is read-only`);
      return;
    }
    this.device.writeConfig(
      offset,
      Uint8Array.from({ length: width }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn)),
    );
  }

  #trace(clause: string, detail: string): void {
    this.#host.trace?.({ what: 'driver', clause, detail });
  }
}
