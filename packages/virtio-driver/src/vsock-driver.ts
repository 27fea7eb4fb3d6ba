import { ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  DEVICE_ID_VSOCK,
  featureSet,
  VIRTIO_VSOCK_EVENT_TRANSPORT_RESET,
  VIRTIO_VSOCK_F_STREAM,
  VSOCK_CONFIG_GUEST_CID,
  VSOCK_EVENT_SIZE,
  VSOCK_EVENTQ,
  VSOCK_HEADER_SIZE,
  VSOCK_RXQ,
  VSOCK_TXQ,
} from '@remio/virtio-spec';
import { type Connected, readHeader, type VsockConnection, VsockEndpoint, type VsockRequest } from '@remio/vsock';
import { DeviceBringUp } from './bring-up.js';
import { type BufferRingOptions, ReceiveRing, SendRing } from './buffer-rings.js';
import { despiteLoss } from './despite-loss.js';
import type { DriverError } from './driver-error.js';

/** The first port of those that stand for connections that the guest asks for. */
const LOCAL_PORTS = 2 ** 30;

const PACKETS: BufferRingOptions = { buffers: 32, size: 16 * 1024 };
const EVENTS: BufferRingOptions = { buffers: 4, size: 64 };

/**
 * A virtio socket driver (5.10) for stream sockets. What happens is kept until the program looks: {@link happened} is
 * called, and the program {@link flush}es.
 */
export class VirtioVsockDriver {
  readonly features: bigint;
  happened: () => void = () => {};
  /** Takes connections that the other side asks for; each is accepted or refused, now or later. */
  requested: (request: VsockRequest) => void = (request) => request.refuse();
  readonly #device: DeviceBringUp;
  readonly #receive: ReceiveRing;
  readonly #send: SendRing;
  readonly #events: ReceiveRing;
  readonly #endpoint: VsockEndpoint;
  #cid = 0n;
  #cidWanted = false;
  #localPort = LOCAL_PORTS;
  #broken: DriverError | undefined;

  private constructor(device: DeviceBringUp, receive: ReceiveRing, send: SendRing, events: ReceiveRing) {
    this.features = device.features;
    this.#device = device;
    this.#receive = receive;
    this.#send = send;
    this.#events = events;
    this.#endpoint = new VsockEndpoint({
      sendable: () => this.happened(),
      requested: (request) => this.requested(request),
    });
  }

  /** Brings a device up, on the vCPU that will take its interrupts. */
  static probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    packets: BufferRingOptions = PACKETS,
  ): Promise<Result<VirtioVsockDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioVsockDriver.#attempt(cpu, end, packets));
  }

  static async #attempt(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    packets: BufferRingOptions,
  ): Promise<Result<VirtioVsockDriver, DriverError>> {
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_VSOCK, featureSet(VIRTIO_VSOCK_F_STREAM));
    if (!found.ok) return found;
    const device = found.value;
    const receive = await ReceiveRing.setUp(cpu, device, VSOCK_RXQ, packets);
    if (!receive.ok) return receive;
    const send = await SendRing.setUp(cpu, device, VSOCK_TXQ, packets);
    if (!send.ok) return send;
    const events = await ReceiveRing.setUp(cpu, device, VSOCK_EVENTQ, EVENTS);
    if (!events.ok) return events;
    const driver = new VirtioVsockDriver(device, receive.value, send.value, events.value);
    const cid = await driver.#readCid(cpu);
    if (!cid.ok) return cid;
    const live = await device.goLive(cpu, {
      used: () => driver.#used(),
      configChanged: () => {},
      lost: (error) => driver.#fail(error),
    });
    if (!live.ok) return live;
    await driver.flush(cpu);
    return ok(driver);
  }

  /** The guest's CID. */
  get cid(): bigint {
    return this.#cid;
  }

  /** Why the device is of no use any more. */
  get broken(): DriverError | undefined {
    return this.#broken;
  }

  /**
   * Asks for a connection to a port of the host or of another guest.
   * @returns it, to be joined with the local side when it is established; undefined if there are too many
   */
  connect(peerCid: bigint, peerPort: number, connected: Connected): VsockConnection | undefined {
    this.#localPort = this.#localPort + 1 < 2 ** 31 ? this.#localPort + 1 : LOCAL_PORTS;
    return this.#endpoint.connect({ localCid: this.#cid, localPort: this.#localPort, peerCid, peerPort }, connected);
  }

  /**
   * Sends what there is to send, and tells the device.
   * @returns whether something has happened meanwhile that is to be looked at before the vCPU sleeps
   */
  async flush(cpu: GuestCpu): Promise<boolean> {
    if (this.#cidWanted) {
      this.#cidWanted = false;
      const cid = await this.#readCid(cpu);
      if (!cid.ok) this.#fail(cid.error);
    }
    this.#dispatch();
    this.#pump();
    await this.#send.publish(cpu);
    await this.#receive.publish(cpu);
    await this.#events.publish(cpu);
    const full = this.#endpoint.waiting && !this.#send.room;
    const changed = this.#send.setInterrupts(full) && full;
    if (changed) this.#used();
    return this.#broken === undefined && (changed || this.pending);
  }

  /** Whether there is something that {@link flush} can do now. */
  get pending(): boolean {
    if (this.#cidWanted) return true;
    return (this.#endpoint.waiting && this.#send.room) || (this.#endpoint.receptive && !this.#receive.empty);
  }

  /** Ends every connection. */
  close(): void {
    this.#endpoint.abandon();
  }

  #used(): void {
    const error = this.#receive.reap() ?? this.#send.reap() ?? this.#events.reap();
    if (error !== undefined) this.#fail(error);
    for (let event = this.#events.message; event !== undefined; event = this.#events.message) {
      const id = event.length < VSOCK_EVENT_SIZE ? undefined : new DataView(event.slice().buffer).getUint32(0, true);
      this.#events.next();
      if (id !== VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) continue;
      // 5.10.6.7.1: connections are gone, whoever listens stays, and the CID may be another one.
      this.#endpoint.abandon();
      this.#cidWanted = true;
    }
    this.happened();
  }

  /** Takes packets over, as long as there is room for what they may be answered with (5.10.6.1). */
  #dispatch(): void {
    while (this.#endpoint.receptive) {
      const packet = this.#receive.message;
      if (packet === undefined) return;
      if (packet.length >= VSOCK_HEADER_SIZE) {
        // The header is read once, from a copy; the payload is no longer than what came (V20).
        const header = readHeader(packet.slice(0, VSOCK_HEADER_SIZE));
        const payload = packet.subarray(VSOCK_HEADER_SIZE, VSOCK_HEADER_SIZE + header.length);
        if (header.dstCid === this.#cid) this.#endpoint.receive(header, payload.length > 0 ? [payload] : []);
      }
      this.#receive.next();
    }
  }

  #pump(): void {
    this.#send.reap();
    while (this.#send.room) {
      const packet = this.#endpoint.next(this.#send.size);
      if (packet === undefined) return;
      this.#send.fill((buffer) => {
        buffer.set(packet.header);
        return packet.header.length + packet.read(buffer.subarray(packet.header.length));
      });
    }
  }

  async #readCid(cpu: GuestCpu): Promise<Result<void, DriverError>> {
    const { transport } = this.#device;
    const cid = await transport.readConfig(cpu, () => transport.config64(cpu, VSOCK_CONFIG_GUEST_CID));
    if (!cid.ok) return cid;
    this.#cid = cid.value;
    return ok(undefined);
  }

  #fail(error: DriverError): void {
    this.#broken ??= error;
    this.#endpoint.abandon();
    this.happened();
  }
}
