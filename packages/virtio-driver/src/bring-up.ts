import { assert, err, type IrqId, ok, type Result } from '@remio/base';
import { type GuestCpu, type GuestDeviceEnd, GuestFault } from '@remio/guest';
import type { GuestMemory } from '@remio/guest-memory';
import {
  ALL_RING_FEATURES,
  featureSet,
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_RESET,
} from '@remio/virtio-spec';
import { createDriverQueue, type DriverQueue, layoutQueue, type QueueConfig, queueSizeWithin } from '@remio/virtqueue';
import { type DriverError, driverError } from './driver-error.js';
import { MmioTransport } from './mmio-transport.js';
import { SharedAllocator } from './shared-allocator.js';
import { VcpuTimer } from './vcpu-timer.js';
import { type Expectation, PATIENCE, type Patience, QueueWatch } from './watch.js';

/** What a driver does when its device speaks, or is silent. */
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
  /**
   * Nothing more is to be had from the device before {@link DeviceBringUp.restart}: it set DEVICE_NEEDS_RESET, forgot its
   * driver, does not answer, or broke a queue ({@link DeviceBringUp.lose}). Called in an interrupt's handler.
   */
  lost(error: DriverError): void | Promise<void>;
}

/** A queue that was set up, and where it lies. */
interface SetUpQueue {
  readonly index: number;
  readonly ring: DriverQueue<unknown>;
  readonly config: QueueConfig;
  readonly watch: QueueWatch;
  readonly resets: Resets;
}

/** Resets in a row, without a request that ended in between, after which a queue or a device is given up on. */
export const RESETS_MAX = 3;

/** Counts resets that did not help. */
class Resets {
  #count = 0;
  #returned = 0;

  /** @param returned requests that have ended so far. @returns whether another reset may be tried */
  again(returned: number): boolean {
    this.#count = returned === this.#returned ? this.#count + 1 : 1;
    this.#returned = returned;
    return this.#count <= RESETS_MAX;
  }
}

/**
 * The driver that has a device, by the memory that it shares: one whose program has been given up may still look after
 * it, and would reset it under the next.
 */
const inCharge = new WeakMap<GuestMemory, DeviceBringUp>();

/**
 * A device that a driver is bringing up (3.1.1): found, reset, features negotiated. What all drivers have in common;
 * the device is not trusted, whatever it says is checked, and what it does not say is looked for.
 */
export class DeviceBringUp {
  readonly transport: MmioTransport;
  readonly allocator: SharedAllocator;
  /** Negotiated. */
  readonly features: bigint;
  readonly irq: IrqId;
  readonly #deviceId: number;
  readonly #timer: VcpuTimer;
  /** The vCPU that takes the device's interrupts. */
  readonly cpu: GuestCpu;
  readonly #patience: Patience;
  readonly #queues: SetUpQueue[] = [];
  #events: DriverEvents | undefined;
  /** DRIVER_OK is set, and nothing is known that speaks against the device. */
  #live = false;
  /** A look is due. */
  #watching = false;
  readonly #resets = new Resets();
  /** Another driver brings the device up: this one leaves it alone. */
  #replaced = false;

  private constructor(
    cpu: GuestCpu,
    transport: MmioTransport,
    features: bigint,
    { interrupt, shmem }: GuestDeviceEnd,
    deviceId: number,
    patience: Patience,
  ) {
    this.transport = transport;
    this.allocator = new SharedAllocator(shmem);
    this.features = features;
    this.irq = interrupt;
    this.#deviceId = deviceId;
    this.cpu = cpu;
    this.#timer = VcpuTimer.of(cpu);
    this.#patience = patience;
  }

  /**
   * Steps 1 to 6 of 3.1.1. Ring features are the device's and the end's affair: those that both have are accepted.
   * @param cpu the vCPU that will take the device's interrupts
   * @param wanted features of the device type that the driver understands
   */
  static async negotiate(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    deviceId: number,
    wanted: bigint,
    patience: Patience = PATIENCE,
  ): Promise<Result<DeviceBringUp, DriverError>> {
    const former = inCharge.get(end.shmem);
    if (former !== undefined) {
      former.#replaced = true;
      former.#live = false;
    }
    const transport = new MmioTransport(end.window.base);
    const found = await transport.probe(cpu, deviceId);
    if (!found.ok) return found;
    const negotiated = await transport.negotiate(cpu, (wanted & ~ALL_RING_FEATURES) | end.ring);
    if (!negotiated.ok) return negotiated;
    const device = new DeviceBringUp(cpu, transport, negotiated.value, end, deviceId, patience);
    inCharge.set(end.shmem, device);
    return ok(device);
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
    expects: Expectation = 'answers',
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
      const created = createDriverQueue<Token>(allocator.memory, config, features, tables);
      if (!created.ok) return this.#giveUp(cpu, driverError('queue', created.error.clause, created.error.detail));
      const ring = created.value;
      const set = await transport.setQueue(cpu, index, config);
      if (!set.ok) return this.#giveUp(cpu, set.error);
      transport.watchQueue(index, ring, features);
      this.#queues.push({ index, ring, config, watch: new QueueWatch(index, ring, expects), resets: new Resets() });
      if (expects !== 'events') ring.onPublish = () => this.#watch();
      return ok(ring);
    }
    return this.#giveUp(cpu, driverError('memory', '2.7', `the shared memory has no room for queue ${index}`));
  }

  /**
   * Resets one queue (2.6.1) and makes it ready again, empty; the others go on.
   * @param empty called when the device has let go of the queue: the driver restarts it
   * @returns why that cannot be done, or does not help any more
   */
  async resetQueue<Token>(
    cpu: GuestCpu,
    ring: DriverQueue<Token>,
    empty: () => void,
  ): Promise<Result<void, DriverError>> {
    const queue = this.#queues.find((candidate) => candidate.ring === ring);
    assert(queue !== undefined, 'the queue is of this device');
    if (!hasFeature(this.features, VIRTIO_F_RING_RESET)) {
      return err(driverError('features', '2.6.1', 'RING_RESET was not negotiated'));
    }
    if (!this.#live || !queue.resets.again(ring.returned)) {
      return err(driverError('queue', '2.6.1', `queue ${queue.index} was reset in vain`));
    }
    const done = await this.#unlessFault(async () => {
      const reset = await this.transport.resetQueue(cpu, queue.index);
      if (!reset.ok) return reset;
      empty();
      queue.watch.begin();
      return this.transport.setQueue(cpu, queue.index, queue.config);
    });
    return done.ok ? done.value : done;
  }

  /**
   * Resets the device and brings it up again with the same features and queues: the way back from DEVICE_NEEDS_RESET
   * (2.1.1). The interrupt stays where it is.
   * @param empty called when the device has let go of its queues: the driver restarts each of them
   * @param lost why it is restarted; also the reason if that was tried too often without a request ending in between
   */
  async restart(cpu: GuestCpu, empty: () => void, lost: DriverError): Promise<Result<void, DriverError>> {
    this.#live = false;
    for (;;) {
      if (this.#replaced) return err(lost);
      if (!this.#resets.again(this.#queues.reduce((sum, { ring }) => sum + ring.returned, 0))) {
        await this.#unlessFault(() => this.transport.fail(cpu));
        return err(lost);
      }
      const restarted = await this.#unlessFault(async () => {
        const attempt = await this.#restart(cpu, empty);
        // Its backend may have died once more meanwhile: what was half done is done again.
        return attempt.ok || !(await this.#needsReset(cpu)) ? attempt : undefined;
      });
      if (!restarted.ok) return restarted;
      if (restarted.value === undefined) continue;
      this.#live = restarted.value.ok && !this.#replaced;
      return restarted.value;
    }
  }

  async #needsReset(cpu: GuestCpu): Promise<boolean> {
    return ((await this.transport.status(cpu)) & STATUS_DEVICE_NEEDS_RESET) !== 0;
  }

  /** Step 8: takes the device's interrupt on the vCPU that found it, and sets DRIVER_OK. */
  async goLive(cpu: GuestCpu, events: DriverEvents): Promise<Result<void, DriverError>> {
    this.#events = events;
    cpu.onInterrupt(this.irq, () => this.#interrupt(cpu, events));
    await cpu.enableInterrupt(this.irq);
    // Buffers may have been made available before: from now on somebody looks after them.
    this.#live = true;
    this.#watch();
    const live = await this.transport.driverOk(cpu);
    if (!live.ok) this.#live = false;
    return live;
  }

  /** Nothing more is to be had from the device: {@link DriverEvents.lost} is called soon, once. */
  lose(error: DriverError): void {
    const events = this.#events;
    if (!this.#live || events === undefined) return;
    this.#live = false;
    this.soon(() => events.lost(error));
  }

  /** Has work done by an interrupt of the vCPU that takes the device's, as soon as may be. */
  soon(work: () => void | Promise<void>): void {
    this.#timer.at(0n, work);
  }

  /** Gives up on the device (2.1.1) because of what is wrong with it. */
  async #giveUp(cpu: GuestCpu, error: DriverError): Promise<Result<never, DriverError>> {
    await this.transport.fail(cpu);
    return err(error);
  }

  async #restart(cpu: GuestCpu, empty: () => void): Promise<Result<void, DriverError>> {
    const { transport, features } = this;
    const found = await transport.probe(cpu, this.#deviceId);
    if (!found.ok) return found;
    const negotiated = await transport.negotiate(cpu, features);
    if (!negotiated.ok) return negotiated;
    empty();
    if (negotiated.value !== features) {
      return this.#giveUp(cpu, driverError('features', '2.2.2', 'the device offers less than before its reset'));
    }
    for (const { index, config, watch } of this.#queues) {
      if (this.#replaced) return err(driverError('needs-reset', '2.1', 'another driver has the device'));
      const set = await transport.setQueue(cpu, index, config);
      if (!set.ok) return this.#giveUp(cpu, set.error);
      watch.begin();
    }
    return transport.driverOk(cpu);
  }

  /** An access that ends as a fault is one of a device that is not there any more. */
  async #unlessFault<T>(work: () => T | Promise<T>): Promise<Result<T, DriverError>> {
    try {
      return ok(await work());
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      return err(driverError('no-device', '4.2.2', error.message));
    }
  }

  async #interrupt(cpu: GuestCpu, events: DriverEvents): Promise<void> {
    const handled = await this.#unlessFault(async () => {
      if (this.#live) await events.arrived?.();
      const reasons = await this.transport.interruptReasons(cpu);
      if ((reasons & INTERRUPT_CONFIG_CHANGE) !== 0) {
        const status = await this.transport.status(cpu);
        if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) {
          if (!this.#live) return;
          this.#live = false;
          await events.lost(needsReset());
        } else await events.configChanged();
      }
      // Also when no bit says so: an interrupt may come before its cause is seen (2.7.7.1).
      if ((reasons & INTERRUPT_USED_BUFFER) !== 0 || reasons === 0) await events.used();
    });
    if (!handled.ok) this.lose(handled.error);
  }

  /** Something is in flight: looks after it until nothing is. */
  #watch(): void {
    if (this.#watching || !this.#live) return;
    if (!this.#queues.some(({ watch }) => watch.waits)) return;
    this.#watching = true;
    for (const { watch } of this.#queues) watch.begin();
    this.#lookLater();
  }

  #lookLater(): void {
    this.#timer.at(this.cpu.counter() + this.#patience.lookEvery, () => this.#look());
  }

  /**
   * Looks whether what is in flight ends. A device may have used it and told nobody (V9), want no notifications and sleep
   * (V11), have forgotten everything (V21), or never answer (V8).
   */
  async #look(): Promise<void> {
    const cpu = this.cpu;
    const looked = await this.#unlessFault(async () => {
      if (this.#replaced) return;
      if (this.#live) await this.#events?.used();
      for (const { watch } of this.#queues) watch.look();
      const vain = this.#queues.filter(({ watch }) => watch.vain > 0);
      if (!this.#live || vain.length === 0) return;
      const status = await this.transport.status(cpu);
      if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0) this.lose(needsReset());
      else if ((status & STATUS_DRIVER_OK) === 0) this.lose(driverError('needs-reset', '2.1', FORGOTTEN));
      else if (vain.some(({ watch }) => watch.isHopeless(this.#patience.looks))) {
        const silent = vain.map(({ index }) => index).join(', ');
        this.lose(driverError('timeout', '2.7.13', `the device ends no request of queue ${silent}`));
      } else for (const { index } of vain) await this.transport.notify(cpu, index);
    });
    if (!looked.ok) this.lose(looked.error);
    this.#watching = this.#live && this.#queues.some(({ watch }) => watch.waits);
    if (this.#watching) this.#lookLater();
  }
}

const FORGOTTEN = 'the device knows nothing of its driver any more';

const needsReset = (): DriverError => driverError('needs-reset', '2.1.2', 'the device set DEVICE_NEEDS_RESET');
