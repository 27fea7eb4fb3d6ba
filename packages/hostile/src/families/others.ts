import { DEVICE_ID_ENTROPY, DEVICE_ID_NETWORK, NET_HEADER_SIZE } from '@remio/virtio-spec';
import type { Family } from '../family.js';

export const ENTROPY: Family = {
  name: 'entropy',
  deviceIds: [DEVICE_ID_ENTROPY],
  features: 0n,
  requestQueues: () => [0],
  request: () => ({ readable: [], writable: [64], good: (written) => written > 0 && written <= 64 }),
  judges: true,
};

/** Bytes of the shortest frame that an Ethernet carries, without its checksum. */
const FRAME = 60;

export const NETWORK: Family = {
  name: 'network',
  deviceIds: [DEVICE_ID_NETWORK],
  features: 0n,
  // 5.1.2: receive queues are even, transmit queues are odd.
  requestQueues: (queues) => Array.from({ length: Math.floor(queues / 2) }, (_, n) => 2 * n + 1),
  request: () => ({
    readable: [new Uint8Array(NET_HEADER_SIZE), new Uint8Array(FRAME)],
    writable: [],
    good: (written) => written === 0,
  }),
  // A frame that is refused comes back as one that was sent does.
  judges: false,
};

/** Any other device: its first queue is given something to read and something to write, and must give it back. */
export const UNKNOWN: Family = {
  name: 'unknown',
  deviceIds: [],
  features: 0n,
  requestQueues: () => [0],
  request: () => ({ readable: [new Uint8Array(16)], writable: [64], good: (written) => written <= 64 }),
  judges: false,
};
