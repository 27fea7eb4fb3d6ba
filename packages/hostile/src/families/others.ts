import { DEVICE_ID_ENTROPY } from '@remio/virtio-spec';
import { type DeviceCase, refusedRequest } from '../device-cases/device-case.js';
import type { Family } from '../family.js';

export const ENTROPY: Family = {
  name: 'entropy',
  deviceIds: [DEVICE_ID_ENTROPY],
  features: 0n,
  requestQueues: () => [0],
  request: () => ({ readable: [], writable: [64], good: (written) => written > 0 && written <= 64 }),
  judges: true,
};

/** The like of A42: requests for random bytes that are none (5.4.6). */
export const ENTROPY_CASES: readonly DeviceCase[] = [
  refusedRequest({ id: 'A42', title: 'entropy: a buffer to read, and none to write', clause: '5.4.6.1' }, (make) => [
    make.bytes(new Uint8Array(64)),
  ]),
  refusedRequest(
    // More than the device gives at once: it must neither fill it for ever nor keep it.
    { id: 'A42', title: 'entropy: room for 1 MiB', clause: '5.4.6.2', expected: ['C', 'R'] },
    (make) => [make.room(0x10_0000)],
  ),
];

/** Any other device: its first queue is given something to read and something to write, and must give it back. */
export const UNKNOWN: Family = {
  name: 'unknown',
  deviceIds: [],
  features: 0n,
  requestQueues: () => [0],
  request: () => ({ readable: [new Uint8Array(16)], writable: [64], good: (written) => written <= 64 }),
  judges: false,
};
