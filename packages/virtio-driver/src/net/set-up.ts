import { err, ok, type Result } from '@remio/base';
import { type Mac, macAt, NO_OFFLOADS, type Offloads } from '@remio/ethernet';
import type { GuestCpu } from '@remio/guest';
import {
  featureSet,
  hasFeature,
  NET_CONFIG_MAC,
  NET_CONFIG_MAX_VIRTQUEUE_PAIRS,
  NET_CONFIG_MTU,
  NET_CTRL_ACK_SIZE,
  NET_CTRL_HEADER_SIZE,
  NET_GSO_FRAME_MAX,
  NET_HEADER_SIZE,
  NET_MTU_MIN,
  NET_QUEUE_PAIRS_MAX,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_CTRL_RX,
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
} from '@remio/virtio-spec';
import type { DriverQueue } from '@remio/virtqueue';
import type { DeviceBringUp } from '../bring-up.js';
import { type DriverError, driverError } from '../driver-error.js';
import { type ReceiveBuffer, ReceiveRing } from './receive-ring.js';
import { allocateBuffers, type TransmitBuffer, TransmitRing } from './transmit-ring.js';

export interface NetDriverOptions {
  /** Queue pairs to use, if the device has as many: 1 and up. */
  readonly queuePairs?: number;
  /** Most descriptors of a queue. */
  readonly queueSize?: number;
  /** Whether a frame may be spread over several buffers (MRG_RXBUF). */
  readonly mergeable?: boolean;
  /** What the user of the driver copes with, in frames that come and in frames that it sends. */
  readonly offloads?: Offloads;
  /** Bytes of a receive buffer; absent: of the largest frame. Smaller ones need MRG_RXBUF. */
  readonly receiveBytes?: number;
  /** Whether the user sends gratuitous packets when it is asked to. */
  readonly announce?: boolean;
  /** Whether the device is to filter by address and VLAN; absent: every frame comes. */
  readonly filter?: boolean;
}

/** A queue pair. */
export interface NetLane {
  readonly transmit: TransmitRing;
  readonly receive: ReceiveRing;
}

/** The control queue, and memory for a command and its answer. */
export interface NetCommandQueue {
  readonly ring: DriverQueue<number>;
  readonly area: bigint;
  readonly index: number;
}

/** What a driver is made of. */
export interface NetParts {
  readonly mac: Mac;
  readonly mtu: number;
  readonly leaves: Offloads;
  readonly accepts: Offloads;
  readonly lanes: readonly NetLane[];
  readonly command: NetCommandQueue | undefined;
}

/** Bytes of a command's data, at most. */
export const COMMAND_BYTES_MAX = 1024;
const ETHERNET_MTU = 1500;
/** Ethernet header with a VLAN tag. */
const LINK_HEADER = 18;
/** Queue pairs that a driver sets up, whatever a device claims to have. */
const PAIRS_MAX = 64;
/** A locally administered address, for a device that has none (5.1.4.2). */
const LOCAL_MAC: Mac = 0x0200_0000_0001;

/** Features that a driver understands, for what its user wants. */
export function wantedFeatures(options: NetDriverOptions): bigint {
  const { csum, tso4, tso6, ecn } = options.offloads ?? NO_OFFLOADS;
  const wanted: readonly (readonly [boolean, readonly number[]])[] = [
    [options.mergeable !== false, [VIRTIO_NET_F_MRG_RXBUF]],
    [csum, [VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM]],
    [csum && tso4, [VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4]],
    [csum && tso6, [VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6]],
    [csum && ecn && (tso4 || tso6), [VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN]],
    [options.filter === true, [VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VLAN]],
    [options.announce === true, [VIRTIO_NET_F_GUEST_ANNOUNCE]],
    [(options.queuePairs ?? 1) > 1, [VIRTIO_NET_F_MQ]],
  ];
  const chosen = wanted.flatMap(([want, features]) => (want ? features : []));
  return featureSet(VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_CTRL_VQ, ...chosen);
}

interface NetConfig {
  readonly mac: Mac;
  readonly mtu: number;
  readonly pairs: number;
}

async function readConfig(cpu: GuestCpu, device: DeviceBringUp): Promise<Result<NetConfig, DriverError>> {
  const { transport, features } = device;
  const has = (feature: number): boolean => hasFeature(features, feature);
  const config = await transport.readConfig(cpu, async () => {
    const bytes = new Uint8Array(6);
    for (let n = 0; n < bytes.length; n += 1) bytes[n] = await transport.config8(cpu, NET_CONFIG_MAC + n);
    return {
      mac: has(VIRTIO_NET_F_MAC) ? macAt(bytes, 0) : LOCAL_MAC,
      mtu: has(VIRTIO_NET_F_MTU) ? await transport.config16(cpu, NET_CONFIG_MTU) : ETHERNET_MTU,
      pairs: has(VIRTIO_NET_F_MQ) ? await transport.config16(cpu, NET_CONFIG_MAX_VIRTQUEUE_PAIRS) : 1,
    };
  });
  if (!config.ok) return config;
  const { mtu, pairs } = config.value;
  if (mtu < NET_MTU_MIN) return err(driverError('config', '5.1.4.1', `mtu ${mtu}`));
  if (pairs < 1 || pairs > NET_QUEUE_PAIRS_MAX) return err(driverError('config', '5.1.4.1', `${pairs} queue pairs`));
  return config;
}

/** Sets up the queues of a device whose features are negotiated, and posts receive buffers (5.1.5). */
export async function setUp(
  cpu: GuestCpu,
  device: DeviceBringUp,
  options: NetDriverOptions,
): Promise<Result<NetParts, DriverError>> {
  const config = await readConfig(cpu, device);
  if (!config.ok) return config;
  const { features, allocator } = device;
  const has = (feature: number): boolean => hasFeature(features, feature);
  const { mac, mtu, pairs } = config.value;
  const leaves: Offloads = {
    csum: has(VIRTIO_NET_F_CSUM),
    tso4: has(VIRTIO_NET_F_HOST_TSO4),
    tso6: has(VIRTIO_NET_F_HOST_TSO6),
    ecn: has(VIRTIO_NET_F_HOST_ECN),
  };
  const accepts: Offloads = {
    csum: has(VIRTIO_NET_F_GUEST_CSUM),
    tso4: has(VIRTIO_NET_F_GUEST_TSO4),
    tso6: has(VIRTIO_NET_F_GUEST_TSO6),
    ecn: has(VIRTIO_NET_F_GUEST_ECN),
  };
  const count = Math.min(options.queuePairs ?? 1, pairs, PAIRS_MAX);
  const rings: { readonly transmit: DriverQueue<TransmitBuffer>; readonly receive: DriverQueue<ReceiveBuffer> }[] = [];
  const size = options.queueSize ?? 256;
  for (let lane = 0; lane < count; lane += 1) {
    const receive = await device.setUpQueue<ReceiveBuffer>(cpu, 2 * lane, size, 1, 'events');
    if (!receive.ok) return receive;
    const transmit = await device.setUpQueue<TransmitBuffer>(cpu, 2 * lane + 1, size, 1, 'room');
    if (!transmit.ok) return transmit;
    rings.push({ transmit: transmit.value, receive: receive.value });
  }
  const command = has(VIRTIO_NET_F_CTRL_VQ) ? await setUpCommands(cpu, device, 2 * pairs) : ok(undefined);
  if (!command.ok) return command;

  const mergeable = has(VIRTIO_NET_F_MRG_RXBUF);
  const frame = mtu + LINK_HEADER;
  const incoming = NET_HEADER_SIZE + (accepts.tso4 || accepts.tso6 ? NET_GSO_FRAME_MAX : frame);
  const outgoing = NET_HEADER_SIZE + (leaves.tso4 || leaves.tso6 ? NET_GSO_FRAME_MAX : frame);
  const receiveBytes = mergeable ? (options.receiveBytes ?? incoming) : incoming;
  const budget = Math.floor(allocator.left / (2 * count));
  const lanes: NetLane[] = [];
  for (const { transmit, receive } of rings) {
    const inbound = allocateBuffers(allocator, receive.size, receiveBytes, budget);
    const outbound = allocateBuffers(allocator, transmit.size, outgoing, budget);
    // 5.1.4.2: at least one frame of the largest size can be received.
    if (inbound.length * receiveBytes < incoming || outbound.length === 0) {
      const detail = `the shared memory has no room for frames of ${incoming} bytes in ${count} queue pairs`;
      return err(driverError('memory', '5.1.9.3', detail));
    }
    lanes.push({
      transmit: new TransmitRing(transmit, outbound),
      receive: new ReceiveRing(receive, inbound, mergeable, accepts),
    });
  }
  return ok({ mac, mtu, leaves, accepts, lanes, command: command.value });
}

async function setUpCommands(
  cpu: GuestCpu,
  device: DeviceBringUp,
  index: number,
): Promise<Result<NetCommandQueue, DriverError>> {
  const ring = await device.setUpQueue<number>(cpu, index, 16, 2);
  if (!ring.ok) return ring;
  const area = device.allocator.allocate(NET_CTRL_HEADER_SIZE + COMMAND_BYTES_MAX + NET_CTRL_ACK_SIZE);
  return area === undefined
    ? err(driverError('memory', '5.1.9.5', 'the shared memory has no room for commands'))
    : ok({ ring: ring.value, area, index });
}
