import { type FramePort, type Mac, macAt, macBytes, type Offloads } from '@remio/ethernet';
import {
  DEVICE_ID_NETWORK,
  featureSet,
  hasFeature,
  NET_CONFIG_MAC,
  NET_CONFIG_MAX_VIRTQUEUE_PAIRS,
  NET_CONFIG_MTU,
  NET_CONFIG_SIZE,
  NET_CONFIG_STATUS,
  NET_CTRL_ACK_SIZE,
  NET_FEATURE_NEEDS,
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_HOST_ECN,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_HOST_TSO6,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
  VIRTIO_NET_F_STATUS,
  VIRTIO_NET_OK,
  VIRTIO_NET_S_ANNOUNCE,
  VIRTIO_NET_S_LINK_UP,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { allLocal, slice } from '../segments.js';
import { ChainFlow } from './chain-flow.js';
import { CONTROL_BYTES_MAX, type ControlTarget, control } from './control.js';
import { type NetCounters, newCounters } from './limits.js';
import { ReceiveQueue } from './receive-queue.js';
import { RxFilter } from './rx-filter.js';
import { TransmitQueue } from './transmit-queue.js';

/** How a network device presents itself. */
export interface NetOptions {
  readonly mac: Mac;
  /** 68 to 65535 bytes. */
  readonly mtu?: number;
  /** Queue pairs, 1 to what the port has lanes for. */
  readonly queuePairs?: number;
  /** QueueSizeMax. */
  readonly queueSize?: number;
}

const ETHERNET_MTU = 1500;

/** Features of receiving that CTRL_GUEST_OFFLOADS switches (5.1.9.5.9). */
const GUEST_OFFLOADS = featureSet(
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
  VIRTIO_NET_F_GUEST_ECN,
);

/** What the driver accepts, by its features. */
const guestOffloads = (features: bigint): Offloads => ({
  csum: hasFeature(features, VIRTIO_NET_F_GUEST_CSUM),
  tso4: hasFeature(features, VIRTIO_NET_F_GUEST_TSO4),
  tso6: hasFeature(features, VIRTIO_NET_F_GUEST_TSO6),
  ecn: hasFeature(features, VIRTIO_NET_F_GUEST_ECN),
});

/** What the driver may leave to the device, by its features. */
const hostOffloads = (features: bigint): Offloads => ({
  csum: hasFeature(features, VIRTIO_NET_F_CSUM),
  tso4: hasFeature(features, VIRTIO_NET_F_HOST_TSO4),
  tso6: hasFeature(features, VIRTIO_NET_F_HOST_TSO6),
  ecn: hasFeature(features, VIRTIO_NET_F_HOST_ECN),
});

/** The queues of a device that its driver runs. */
interface Running {
  readonly io: DeviceIo;
  readonly receive: readonly (ReceiveQueue | undefined)[];
  readonly transmit: readonly (TransmitQueue | undefined)[];
  readonly control: QueueServer | undefined;
  /** Number of the control queue: it follows the pairs that the driver knows of (5.1.2). */
  readonly controlIndex: number;
  /** Queue pairs in use (5.1.9.5.6). */
  pairs: number;
  accepts: Offloads;
}

/** A network device (5.1) on a {@link FramePort}. Frames go straight between the port and guest memory. */
export class NetDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_NETWORK;
  readonly features: bigint;
  readonly queueCount: number;
  readonly queueSizeMax: number;
  readonly config = new Uint8Array(NET_CONFIG_SIZE);
  readonly configVaries = true;
  readonly counters: NetCounters = newCounters();
  readonly #view = new DataView(this.config.buffer);
  readonly #port: FramePort;
  readonly #mac: Mac;
  readonly #mtu: number;
  readonly #pairs: number;
  readonly #filter: RxFilter;
  #running: Running | undefined;

  constructor(port: FramePort, options: NetOptions) {
    this.#port = port;
    this.#mac = options.mac;
    this.#mtu = options.mtu ?? ETHERNET_MTU;
    this.#pairs = options.queuePairs ?? 1;
    this.#filter = new RxFilter(options.mac);
    this.queueCount = 2 * this.#pairs + 1;
    this.queueSizeMax = options.queueSize ?? 256;
    const { csum, tso4, tso6, ecn } = port.offloads;
    const offered: readonly (readonly [boolean, number])[] = [
      [csum, VIRTIO_NET_F_CSUM],
      [tso4, VIRTIO_NET_F_HOST_TSO4],
      [tso6, VIRTIO_NET_F_HOST_TSO6],
      [ecn, VIRTIO_NET_F_HOST_ECN],
      [this.#pairs > 1, VIRTIO_NET_F_MQ],
    ];
    this.features =
      featureSet(
        VIRTIO_NET_F_MAC,
        VIRTIO_NET_F_MTU,
        VIRTIO_NET_F_STATUS,
        VIRTIO_NET_F_MRG_RXBUF,
        VIRTIO_NET_F_CTRL_VQ,
        VIRTIO_NET_F_CTRL_RX,
        VIRTIO_NET_F_CTRL_RX_EXTRA,
        VIRTIO_NET_F_CTRL_VLAN,
        VIRTIO_NET_F_CTRL_MAC_ADDR,
        VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
        VIRTIO_NET_F_GUEST_ANNOUNCE,
      ) |
      GUEST_OFFLOADS |
      featureSet(...offered.flatMap(([offer, feature]) => (offer ? [feature] : [])));
    this.#setDefaults();
  }

  /** 5.1.3.1: features come with those that they need. */
  featuresAcceptable(features: bigint): boolean {
    return NET_FEATURE_NEEDS.every(
      ([feature, oneOf]) => !hasFeature(features, feature) || oneOf.some((need) => hasFeature(features, need)),
    );
  }

  activate(io: DeviceIo): void {
    const { features } = io;
    const has = (feature: number): boolean => hasFeature(features, feature);
    const pairs = has(VIRTIO_NET_F_MQ) ? this.#pairs : 1;
    const controlIndex = 2 * pairs;
    this.#filter.reset(has(VIRTIO_NET_F_CTRL_RX), has(VIRTIO_NET_F_CTRL_VLAN));
    const server: QueueServer | undefined = has(VIRTIO_NET_F_CTRL_VQ)
      ? QueueServer.of(io, controlIndex, (chain) => (server === undefined ? 'wait' : this.#control(io, server, chain)))
      : undefined;
    const lanes = Array.from({ length: pairs }, (_, lane) => lane);
    const running: Running = {
      io,
      receive: lanes.map((lane) => this.#receiveQueue(io, lane)),
      transmit: lanes.map((lane) => this.#transmitQueue(io, lane)),
      control: server,
      controlIndex,
      pairs: 1,
      accepts: guestOffloads(features),
    };
    this.#running = running;
    this.#port.open({
      readable: (lane) => running.receive[lane]?.pass(),
      linkChanged: () => this.#linkChanged(),
    });
    this.#port.configure(running.accepts, 1);
    this.#showLink();
    running.receive[0]?.pass();
  }

  resume(): void {
    const running = this.#running;
    if (running === undefined) return;
    // The configuration was taken over with the registers: the address is the driver's, the rest is ours.
    const mac = macAt(this.config, NET_CONFIG_MAC);
    this.#setDefaults();
    this.#setMac(mac);
    running.control?.resume();
    for (const queue of [...running.receive, ...running.transmit]) queue?.resume();
  }

  notify(queue: number): void {
    const running = this.#running;
    if (running === undefined) return;
    if (queue === running.controlIndex) running.control?.pass();
    else if (queue >= 2 * running.pairs) return;
    else if (queue % 2 === 0) running.receive[queue / 2]?.pass();
    else running.transmit[(queue - 1) / 2]?.pass();
  }

  resetQueue(queue: number): void {
    const running = this.#running;
    if (running === undefined || queue === running.controlIndex) return;
    const lane = Math.floor(queue / 2);
    (queue % 2 === 0 ? running.receive[lane] : running.transmit[lane])?.end();
  }

  reset(done: () => void): void {
    const running = this.#running;
    this.#running = undefined;
    if (running !== undefined) {
      this.#port.shut();
      for (const queue of running.receive) queue?.release();
    }
    this.#setDefaults();
    done();
  }

  close(): Promise<void> {
    return this.#port.close();
  }

  #receiveQueue(io: DeviceIo, lane: number): ReceiveQueue | undefined {
    const queue = io.queues[2 * lane];
    if (queue === undefined) return undefined;
    const settings = {
      port: this.#port,
      lane,
      mergeable: hasFeature(io.features, VIRTIO_NET_F_MRG_RXBUF),
      mtu: this.#mtu,
      filter: this.#filter,
      accepts: () => this.#running?.accepts ?? guestOffloads(0n),
    };
    return new ReceiveQueue(io, 2 * lane, new ChainFlow(queue), settings, this.counters);
  }

  #transmitQueue(io: DeviceIo, lane: number): TransmitQueue | undefined {
    const queue = io.queues[2 * lane + 1];
    if (queue === undefined) return undefined;
    const to = { port: this.#port, lane, leaves: hostOffloads(io.features), mtu: this.#mtu };
    return new TransmitQueue(io, 2 * lane + 1, new ChainFlow(queue), to, this.counters);
  }

  /** The configuration and filter that a driver finds. */
  #setDefaults(): void {
    this.#view.setUint16(NET_CONFIG_MAX_VIRTQUEUE_PAIRS, this.#pairs, true);
    this.#view.setUint16(NET_CONFIG_MTU, this.#mtu, true);
    this.#setMac(this.#mac);
    this.#showLink();
  }

  #setMac(mac: Mac): void {
    this.config.set(macBytes(mac), NET_CONFIG_MAC);
    this.#filter.mac = mac;
  }

  #showLink(): void {
    this.#setStatus(this.#port.linkUp ? VIRTIO_NET_S_LINK_UP : 0);
  }

  #setStatus(status: number): void {
    this.#view.setUint16(NET_CONFIG_STATUS, status, true);
  }

  #linkChanged(): void {
    const running = this.#running;
    if (running === undefined) return;
    const up = this.#port.linkUp;
    const announce = up && hasFeature(running.io.features, VIRTIO_NET_F_GUEST_ANNOUNCE);
    // 5.1.9.5.4: whoever is behind the link may have forgotten the driver, or be somebody else.
    this.#setStatus((up ? VIRTIO_NET_S_LINK_UP : 0) | (announce ? VIRTIO_NET_S_ANNOUNCE : 0));
    if (hasFeature(running.io.features, VIRTIO_NET_F_STATUS)) running.io.configChanged();
  }

  /** Serves a command; one without room for its answer is given back. */
  #control(io: DeviceIo, server: QueueServer, chain: Chain): 'taken' | 'wait' {
    const [ack] = slice(chain.writable, 0, NET_CTRL_ACK_SIZE);
    if (ack === undefined) {
      server.answer(chain.head, 0);
      return 'taken';
    }
    const { memory } = io;
    // One byte more than the longest command, so that a longer one is refused for its length.
    const command = new Uint8Array(Math.min(chain.readableLength, CONTROL_BYTES_MAX + 1));
    const parts = slice(chain.readable, 0, command.length);
    if (!allLocal(memory, parts, 'read')) return 'wait';
    let at = 0;
    for (const { offset, length } of parts) {
      command.set(memory.bytes(offset, length), at);
      at += length;
    }
    const code = control(command, this.#target(io)) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
    server.answer(chain.head, NET_CTRL_ACK_SIZE, () => {
      if (!memory.need(ack.offset, NET_CTRL_ACK_SIZE, 'write')) return false;
      memory.writeU8(ack.offset, code);
      memory.written(ack.offset, NET_CTRL_ACK_SIZE);
      return true;
    });
    return 'taken';
  }

  #target(io: DeviceIo): ControlTarget {
    return {
      filter: this.#filter,
      features: io.features,
      setMac: (mac) => this.#setMac(mac),
      setPairs: (pairs) => this.#setPairs(pairs),
      setOffloads: (offloads) => this.#setOffloads(offloads),
      announced: () => this.#setStatus(this.#view.getUint16(NET_CONFIG_STATUS, true) & ~VIRTIO_NET_S_ANNOUNCE),
    };
  }

  #setPairs(pairs: number): boolean {
    const running = this.#running;
    if (running === undefined || pairs < 1 || pairs > running.receive.length) return false;
    for (let lane = 0; lane < pairs; lane += 1) {
      if (running.receive[lane] === undefined || running.transmit[lane] === undefined) return false;
    }
    running.pairs = pairs;
    this.#port.configure(running.accepts, pairs);
    for (const queue of running.receive.slice(0, pairs)) queue?.pass();
    return true;
  }

  #setOffloads(offloads: bigint): boolean {
    const running = this.#running;
    if (running === undefined || (offloads & ~(GUEST_OFFLOADS & running.io.features)) !== 0n) return false;
    if (!this.featuresAcceptable(offloads)) return false;
    running.accepts = guestOffloads(offloads);
    this.#port.configure(running.accepts, running.pairs);
    return true;
  }
}
