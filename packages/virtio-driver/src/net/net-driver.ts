import { err, ok, type Result } from '@remio/base';
import type { Mac, Offloads } from '@remio/ethernet';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  DEVICE_ID_NETWORK,
  hasFeature,
  NET_CONFIG_STATUS,
  NET_CTRL_ACK_SIZE,
  NET_CTRL_HEADER_SIZE,
  VIRTIO_NET_CTRL_ANNOUNCE,
  VIRTIO_NET_CTRL_ANNOUNCE_ACK,
  VIRTIO_NET_CTRL_MQ,
  VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_OK,
  VIRTIO_NET_S_ANNOUNCE,
  VIRTIO_NET_S_LINK_UP,
} from '@remio/virtio-spec';
import { DeviceBringUp } from '../bring-up.js';
import { despiteLoss } from '../despite-loss.js';
import { type DriverError, driverError } from '../driver-error.js';
import type { MmioTransport } from '../mmio-transport.js';
import {
  COMMAND_BYTES_MAX,
  type NetCommandQueue,
  type NetDriverOptions,
  type NetLane,
  type NetParts,
  setUp,
  wantedFeatures,
} from './set-up.js';

export type { NetDriverOptions, NetLane };

/** Counters of a driver. */
export interface NetDriverCounters {
  /** Notifications made, each a trapped write. */
  notifications: number;
  interrupts: number;
}

/**
 * A virtio-net driver (5.1). Its user fills and empties buffers that lie in the shared memory; nothing is copied and
 * nothing waits per frame. What was sent and recycled reaches the device with {@link flush}.
 */
export class VirtioNetDriver {
  readonly mac: Mac;
  readonly mtu: number;
  readonly features: bigint;
  readonly transport: MmioTransport;
  readonly lanes: readonly NetLane[];
  /** What may be left to the device in frames that are sent. */
  readonly leaves: Offloads;
  /** What frames that come may leave to the user. */
  readonly accepts: Offloads;
  readonly counters: NetDriverCounters = { notifications: 0, interrupts: 0 };
  readonly #command: NetCommandQueue | undefined;
  readonly #device: DeviceBringUp;
  #broken: DriverError | undefined;
  #configChanged = false;
  #linkUp = true;
  #announce = false;

  private constructor(device: DeviceBringUp, parts: NetParts) {
    this.#device = device;
    this.transport = device.transport;
    this.features = device.features;
    this.mac = parts.mac;
    this.mtu = parts.mtu;
    this.lanes = parts.lanes;
    this.leaves = parts.leaves;
    this.accepts = parts.accepts;
    this.#command = parts.command;
  }

  /** Brings a device up by the sequence of 3.1.1 and 5.1.5, on the vCPU that will take its interrupts. */
  static probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: NetDriverOptions = {},
  ): Promise<Result<VirtioNetDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioNetDriver.#attempt(cpu, end, options));
  }

  static async #attempt(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: NetDriverOptions,
  ): Promise<Result<VirtioNetDriver, DriverError>> {
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_NETWORK, wantedFeatures(options));
    if (!found.ok) return found;
    const device = found.value;
    const parts = await setUp(cpu, device, options);
    if (!parts.ok) return parts;
    const driver = new VirtioNetDriver(device, parts.value);
    const live = await device.goLive(cpu, {
      used: () => {
        driver.counters.interrupts += 1;
      },
      configChanged: () => {
        driver.#configChanged = true;
      },
      lost: (error) => {
        driver.#broken ??= error;
      },
    });
    if (!live.ok) return live;
    await driver.refresh(cpu);
    // 5.1.9.3: buffers were posted before DRIVER_OK, when nobody was to be notified.
    await driver.#notify(cpu, 0);
    if (driver.lanes.length > 1) {
      const pairs = Uint8Array.of(driver.lanes.length & 0xff, driver.lanes.length >>> 8);
      if (!(await driver.command(cpu, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs))) {
        return err(driverError('queue', '5.1.9.5.6', `the device refuses ${driver.lanes.length} queue pairs`));
      }
      for (let lane = 1; lane < driver.lanes.length; lane += 1) await driver.#notify(cpu, 2 * lane);
    }
    return ok(driver);
  }

  /** Why the device is of no use any more. */
  get broken(): DriverError | undefined {
    if (this.#broken !== undefined) return this.#broken;
    for (const { transmit, receive } of this.lanes) {
      const error = transmit.ring.error ?? receive.ring.error;
      if (error !== undefined) this.#broken = driverError('queue', error.clause, error.detail);
    }
    return this.#broken;
  }

  /** The device said that its configuration changed: {@link refresh}. */
  get stale(): boolean {
    return this.#configChanged;
  }

  /** Whether the link is up, as {@link refresh} found it last. */
  get linkUp(): boolean {
    return this.#linkUp;
  }

  /** The device asked for gratuitous packets (5.1.9.5.4): send them, then {@link announced}. */
  get announcementWanted(): boolean {
    return this.#announce;
  }

  /** Reads the status of the link again. */
  async refresh(cpu: GuestCpu): Promise<void> {
    this.#configChanged = false;
    if (!hasFeature(this.features, VIRTIO_NET_F_STATUS)) return;
    const { transport } = this;
    const status = await transport.readConfig(cpu, () => transport.config16(cpu, NET_CONFIG_STATUS));
    if (!status.ok) {
      this.#broken ??= status.error;
      return;
    }
    this.#linkUp = (status.value & VIRTIO_NET_S_LINK_UP) !== 0;
    this.#announce =
      (status.value & VIRTIO_NET_S_ANNOUNCE) !== 0 && hasFeature(this.features, VIRTIO_NET_F_GUEST_ANNOUNCE);
  }

  /** Tells the device that the packets it asked for were sent. */
  async announced(cpu: GuestCpu): Promise<void> {
    this.#announce = false;
    await this.command(cpu, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, new Uint8Array(0));
  }

  /** Lets the device see what was sent and recycled. @returns whether it is to be {@link kick}ed */
  publish(): boolean {
    let owed = false;
    for (const { transmit, receive } of this.lanes) {
      transmit.publish();
      receive.publish();
      owed ||= transmit.owed || receive.owed;
    }
    return owed;
  }

  /** Notifies the queues of which the device wants to be told. */
  async kick(cpu: GuestCpu): Promise<void> {
    for (const [lane, { transmit, receive }] of this.lanes.entries()) {
      if (receive.takeOwed()) await this.#notify(cpu, 2 * lane);
      if (transmit.takeOwed()) await this.#notify(cpu, 2 * lane + 1);
    }
  }

  /**
   * Asks for interrupts when frames come, and when a buffer is sent after all were in flight; or for none.
   * @returns true if something came meanwhile: look again before waiting
   */
  setInterrupts(wanted: boolean): boolean {
    let more = false;
    for (const { transmit, receive } of this.lanes) {
      more = receive.ring.setInterrupts(wanted) || more;
      more = (transmit.ring.setInterrupts(wanted && transmit.starved) && transmit.starved) || more;
    }
    return more && wanted;
  }

  /**
   * A command on the control queue (5.1.9.5), and its answer.
   * @returns whether the device carried it out; false also without a control queue
   */
  async command(cpu: GuestCpu, kind: number, code: number, data: Uint8Array): Promise<boolean> {
    const command = this.#command;
    if (command === undefined || this.broken !== undefined || data.length > COMMAND_BYTES_MAX) return false;
    const { ring, area, index } = command;
    const { memory } = this.#device.allocator;
    const length = NET_CTRL_HEADER_SIZE + data.length;
    const at = memory.locate(area, length + NET_CTRL_ACK_SIZE);
    memory.writeU8(at, kind);
    memory.writeU8(at + 1, code);
    memory.bytes(at + NET_CTRL_HEADER_SIZE, data.length).set(data);
    memory.writeU8(at + length, VIRTIO_NET_ERR);
    const ack = { address: area + BigInt(length), length: NET_CTRL_ACK_SIZE };
    // One at a time: the answer of another would be taken for this one's.
    if (ring.inFlight > 0 || !ring.add([{ address: area, length }], [ack], 0)) return false;
    if (ring.publish()) await this.#notify(cpu, index);
    for (;;) {
      const used = ring.popUsed();
      if (used.kind === 'used') return memory.readU8(at + length) === VIRTIO_NET_OK;
      if (used.kind === 'broken') this.#broken ??= driverError('queue', used.error.clause, used.error.detail);
      if (this.broken !== undefined) return false;
      if (!ring.setInterrupts(true)) await cpu.waitForInterrupt();
    }
  }

  async #notify(cpu: GuestCpu, queue: number): Promise<void> {
    this.counters.notifications += 1;
    await this.transport.notify(cpu, queue);
  }
}
