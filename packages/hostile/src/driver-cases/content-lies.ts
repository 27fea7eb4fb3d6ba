import {
  CONSOLE_CONTROL_RECEIVEQ,
  DEVICE_ID_BLOCK,
  DEVICE_ID_CONSOLE,
  DEVICE_ID_NETWORK,
  DEVICE_ID_VSOCK,
  NET_HEADER_NUM_BUFFERS,
  VSOCK_RXQ,
} from '@remio/virtio-spec';
import type { Verdict } from '../catalogue.js';
import { type DriverCase, driverCase } from './driver-case.js';
import type { Lie } from './lie.js';

/** Bytes of the configuration of a disk. */
const CAPACITY = 0;
/** Offsets in a packet of a socket device (5.10.6). */
const VSOCK_LEN = 24;
const VSOCK_OP = 30;
const VSOCK_FWD_CNT = 40;

/** The request, frame or packet is lost, or the driver gives up; that no harm is done is what counts. */
const LOST: readonly Verdict[] = ['R', 'C', 'B'];

const FOREVER = [0xff, 0xff, 0xff, 0xff] as const;

const about = (deviceId: number, clause: string, expected: readonly Verdict[]) => ({
  deviceIds: [deviceId],
  clause,
  expected,
});

const overwrite = (content: readonly number[], at: number, queue?: number): Lie => ({
  content,
  at,
  after: 0,
  ...(queue === undefined ? {} : { queue }),
});

/** V18 to V20: what a device may say in its configuration and its buffers, by device type. */
export const CONTENT_LIES: readonly DriverCase[] = [
  driverCase(
    'V18',
    { title: 'block: capacity 0', ...about(DEVICE_ID_BLOCK, '5.2.6.1', LOST) },
    { register: CAPACITY, says: [0] },
    { register: CAPACITY + 4, says: [0] },
  ),
  driverCase(
    'V18',
    { title: 'block: more bytes than a driver can count', ...about(DEVICE_ID_BLOCK, '5.2.4', ['B']) },
    { register: CAPACITY + 4, says: [0x8000_0000] },
  ),
  driverCase(
    'V18',
    {
      title: 'block: a capacity that shrinks while the disk is in use',
      ...about(DEVICE_ID_BLOCK, '5.2.6.1', ['N', 'B']),
    },
    { register: CAPACITY, says: [64, 1] },
    { register: CAPACITY + 4, says: [0] },
    { trick: 'needs-reset', after: 1, times: 1 },
  ),
  ...[1, 2, 3, 0x80, 0xff].map((status) =>
    driverCase(
      'V18',
      { title: `block: status ${status}`, ...about(DEVICE_ID_BLOCK, '5.2.6', LOST) },
      overwrite([status], -1),
    ),
  ),
  driverCase(
    'V19',
    { title: 'network: more buffers than there are', ...about(DEVICE_ID_NETWORK, '5.1.9.4', LOST) },
    overwrite([0xff, 0xff], NET_HEADER_NUM_BUFFERS, 0),
  ),
  driverCase(
    'V19',
    { title: 'network: no buffers', ...about(DEVICE_ID_NETWORK, '5.1.9.4', LOST) },
    overwrite([0, 0], NET_HEADER_NUM_BUFFERS, 0),
  ),
  driverCase(
    'V19',
    { title: 'network: header flags and types that there are not', ...about(DEVICE_ID_NETWORK, '5.1.6', LOST) },
    overwrite([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, 0),
  ),
  driverCase(
    'V20',
    { title: 'console: a port that there is not', ...about(DEVICE_ID_CONSOLE, '5.3.6.2', LOST) },
    overwrite(FOREVER, 0, CONSOLE_CONTROL_RECEIVEQ),
  ),
  driverCase(
    'V20',
    { title: 'console: an event that there is not', ...about(DEVICE_ID_CONSOLE, '5.3.6.2', LOST) },
    overwrite([0xff, 0xff], 4, CONSOLE_CONTROL_RECEIVEQ),
  ),
  driverCase(
    'V20',
    { title: 'socket: a packet longer than what came', ...about(DEVICE_ID_VSOCK, '5.10.6', LOST) },
    overwrite(FOREVER, VSOCK_LEN, VSOCK_RXQ),
  ),
  driverCase(
    'V20',
    { title: 'socket: an operation that there is not', ...about(DEVICE_ID_VSOCK, '5.10.6', LOST) },
    overwrite([0xff, 0xff], VSOCK_OP, VSOCK_RXQ),
  ),
  driverCase(
    'V20',
    { title: 'socket: credit for what was never sent', ...about(DEVICE_ID_VSOCK, '5.10.6.3', LOST) },
    overwrite(FOREVER, VSOCK_FWD_CNT, VSOCK_RXQ),
  ),
];
