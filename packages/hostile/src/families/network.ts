import {
  DEVICE_ID_NETWORK,
  featureSet,
  NET_CTRL_ACK_SIZE,
  NET_FEATURE_NEEDS,
  NET_HEADER_SIZE,
  VIRTIO_NET_ERR,
  VIRTIO_NET_F_CTRL_VQ,
} from '@remio/virtio-spec';
import { type DeviceCase, featureWithout, refusedRequest, requestOn } from '../device-cases/device-case.js';
import type { Family } from '../family.js';

/** Bytes of the shortest frame that an Ethernet carries, without its checksum. */
const FRAME = 60;
/** Queues of a device with one pair (5.1.2). */
const RECEIVEQ = 0;
const CONTROLQ = 2;

export const NETWORK: Family = {
  name: 'network',
  deviceIds: [DEVICE_ID_NETWORK],
  features: featureSet(VIRTIO_NET_F_CTRL_VQ),
  // 5.1.2: receive queues are even, transmit queues are odd, and without MQ there is one pair.
  requestQueues: () => [1],
  request: () => ({
    readable: [new Uint8Array(NET_HEADER_SIZE), new Uint8Array(FRAME)],
    writable: [],
    good: (written) => written === 0,
  }),
  // A frame that is refused comes back as one that was sent does.
  judges: false,
};

/** A header with these bytes at their places, and a frame. */
const packet = (changes: readonly (readonly [at: number, byte: number])[], frame = FRAME): Uint8Array => {
  const bytes = new Uint8Array(NET_HEADER_SIZE + frame);
  for (const [at, byte] of changes) bytes[at] = byte;
  return bytes;
};

const transmitted = (title: string, clause: string, ...pieces: readonly Uint8Array[]): DeviceCase =>
  refusedRequest({ id: 'A43', title: `network: ${title}`, clause }, (make) => pieces.map((bytes) => make.bytes(bytes)));

const command = (title: string, ...bytes: readonly number[]): DeviceCase =>
  requestOn(
    CONTROLQ,
    { id: 'A43', title: `network: a command ${title}`, clause: '5.1.9.5', ring: featureSet(VIRTIO_NET_F_CTRL_VQ) },
    (make) => [make.bytes(Uint8Array.from(bytes)), make.room(NET_CTRL_ACK_SIZE)],
    ([ack]) => ack === VIRTIO_NET_ERR,
  );

/** A33 and A43: features without those that they need; frames and commands that are none (5.1.3, 5.1.9). */
export const NETWORK_CASES: readonly DeviceCase[] = [
  ...NET_FEATURE_NEEDS.map(([feature, needs]) =>
    featureWithout(
      `network: feature ${feature} without ${needs.join(' or ')}`,
      '5.1.3.1',
      featureSet(feature),
      featureSet(feature),
    ),
  ),
  transmitted('a frame without a header', '5.1.6', new Uint8Array(4)),
  transmitted('a header of 11 bytes', '5.1.6', new Uint8Array(NET_HEADER_SIZE - 1)),
  transmitted('a header and no frame', '5.1.9.2', packet([], 0)),
  transmitted('a frame of 13 bytes, less than an Ethernet header', '5.1.9.2', packet([], 13)),
  transmitted('a frame of 64 KiB', '5.1.9.2', packet([], 0x1_0000)),
  transmitted('a frame of 1 MiB', '5.1.9.2', packet([], 0x10_0000)),
  transmitted(
    'num_buffers 65535 in a frame that is sent',
    '5.1.9.2',
    packet([
      [10, 0xff],
      [11, 0xff],
    ]),
  ),
  transmitted('flags that there are not', '5.1.9.2.1', packet([[0, 0xff]])),
  transmitted(
    'a large frame that was not negotiated',
    '5.1.9.2.1',
    packet([
      [1, 1],
      [4, 1],
    ]),
  ),
  transmitted(
    'a checksum to complete far behind the frame',
    '5.1.9.2.1',
    packet([
      [0, 1],
      [6, 0xff],
      [7, 0xff],
      [8, 2],
    ]),
  ),
  transmitted('a kind of large frame that there is not', '5.1.9.2.1', packet([[1, 0x7f]])),
  ...[1, NET_HEADER_SIZE - 1, NET_HEADER_SIZE].map((length) =>
    requestOn(
      RECEIVEQ,
      { id: 'A43', title: `network: a receive buffer of ${length} bytes`, clause: '5.1.9.3.1' },
      (make) => [make.room(length)],
      'as it likes',
    ),
  ),
  requestOn(
    RECEIVEQ,
    { id: 'A43', title: 'network: a receive buffer that cannot be written', clause: '5.1.9.3.1' },
    (make) => [make.bytes(new Uint8Array(64))],
    'as it likes',
  ),
  command('of one byte', 1),
  command('of a class that there is not', 0xfe, 0, 0),
  command('with a code that there is not', 4, 0xfe, 1, 0),
  command('with too many queue pairs', 4, 0, 0xff, 0xff),
  command('with no queue pairs', 4, 0, 0, 0),
  command('with a table of addresses longer than its data', 1, 0, 0xff, 0xff, 0xff, 0xff, 1, 2),
  requestOn(
    CONTROLQ,
    { id: 'A43', title: 'network: a command without room for its answer', clause: '5.1.9.5' },
    (make) => [make.bytes(Uint8Array.of(0, 0, 1))],
    'as it likes',
  ),
];
