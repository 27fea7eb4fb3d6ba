import {
  CONSOLE_CONTROL_RECEIVEQ,
  CONSOLE_CONTROL_SIZE,
  CONSOLE_CONTROL_TRANSMITQ,
  DEVICE_ID_CONSOLE,
  featureSet,
  VIRTIO_CONSOLE_DEVICE_READY,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_PORT_OPEN,
  VIRTIO_CONSOLE_PORT_READY,
} from '@remio/virtio-spec';
import { type DeviceCase, requestOn } from '../device-cases/device-case.js';
import type { Family } from '../family.js';

/** `struct virtio_console_control` (5.3.6.2). */
const control = (id: number, event: number, value: number): Uint8Array => {
  const bytes = new Uint8Array(CONSOLE_CONTROL_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, id, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  return bytes;
};

export const CONSOLE: Family = {
  name: 'console',
  deviceIds: [DEVICE_ID_CONSOLE],
  features: featureSet(VIRTIO_CONSOLE_F_MULTIPORT),
  // What is sent on a port waits until somebody takes it; what is said on the control queue does not.
  requestQueues: (queues) => [queues > CONSOLE_CONTROL_TRANSMITQ ? CONSOLE_CONTROL_TRANSMITQ : 1],
  request: () => ({
    readable: [control(0, VIRTIO_CONSOLE_DEVICE_READY, 0)],
    writable: [],
    good: (written) => written === 0,
  }),
  // A message that means nothing comes back as one that does.
  judges: false,
};

const MULTIPORT = featureSet(VIRTIO_CONSOLE_F_MULTIPORT);

const said = (title: string, bytes: Uint8Array): DeviceCase =>
  requestOn(
    CONSOLE_CONTROL_TRANSMITQ,
    { id: 'A44', title: `console: ${title}`, clause: '5.3.6.2', ring: MULTIPORT },
    (make) => [make.bytes(bytes)],
    'as it likes',
  );

/** A44: control messages that are none (5.3.6.2), and buffers of no use. */
export const CONSOLE_CASES: readonly DeviceCase[] = [
  ...[0xffff_ffff, 0x7fff_ffff, 31, 1].map((port) =>
    said(`port ${port} is opened`, control(port, VIRTIO_CONSOLE_PORT_OPEN, 1)),
  ),
  said('a port that is ready, and was not added', control(0xffff, VIRTIO_CONSOLE_PORT_READY, 1)),
  said('an event that there is not', control(0, 0xfffe, 1)),
  said('an event that only a device may say', control(0, 5, 0)),
  said('a control message of no bytes but one', Uint8Array.of(6)),
  said('a control message of 7 bytes', control(0, VIRTIO_CONSOLE_PORT_OPEN, 1).subarray(0, 7)),
  said('a control message of 64 KiB', new Uint8Array(0x1_0000).fill(6)),
  requestOn(
    CONSOLE_CONTROL_TRANSMITQ,
    { id: 'A44', title: 'console: room instead of a control message', clause: '5.3.6.2', ring: MULTIPORT },
    (make) => [make.room(CONSOLE_CONTROL_SIZE)],
    'as it likes',
  ),
  requestOn(
    CONSOLE_CONTROL_RECEIVEQ,
    { id: 'A44', title: 'console: room of 1 byte for control messages', clause: '5.3.6.2', ring: MULTIPORT },
    (make) => [make.room(1)],
    'as it likes',
  ),
  requestOn(
    0,
    { id: 'A44', title: 'console: a buffer for what comes that cannot be written', clause: '5.3.6.1' },
    (make) => [make.bytes(new Uint8Array(16))],
    'as it likes',
  ),
];
