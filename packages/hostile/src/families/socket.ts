import {
  DEVICE_ID_VSOCK,
  featureSet,
  VIRTIO_VSOCK_F_STREAM,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_TYPE_STREAM,
  VSOCK_EVENTQ,
  VSOCK_HDR_BUF_ALLOC,
  VSOCK_HDR_DST_CID,
  VSOCK_HDR_DST_PORT,
  VSOCK_HDR_FWD_CNT,
  VSOCK_HDR_LEN,
  VSOCK_HDR_OP,
  VSOCK_HDR_SRC_CID,
  VSOCK_HDR_SRC_PORT,
  VSOCK_HDR_TYPE,
  VSOCK_HEADER_SIZE,
  VSOCK_RXQ,
  VSOCK_TXQ,
} from '@remio/virtio-spec';
import { type DeviceCase, refusedRequest, requestOn } from '../device-cases/device-case.js';
import type { Family } from '../family.js';

interface Packet {
  readonly op: number;
  readonly length?: number;
  readonly payload?: number;
  readonly type?: number;
  readonly source?: bigint;
  readonly destination?: bigint;
  readonly credit?: number;
  readonly forwarded?: number;
}

/** `struct virtio_vsock_hdr` (5.10.6), from a port of no connection, and its payload. */
function packet({ op, length = 0, payload = length, type = VIRTIO_VSOCK_TYPE_STREAM, ...rest }: Packet): Uint8Array {
  const bytes = new Uint8Array(VSOCK_HEADER_SIZE + payload);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(VSOCK_HDR_SRC_CID, rest.source ?? 3n, true);
  view.setBigUint64(VSOCK_HDR_DST_CID, rest.destination ?? 2n, true);
  view.setUint32(VSOCK_HDR_SRC_PORT, 0x7000_0001, true);
  view.setUint32(VSOCK_HDR_DST_PORT, 0x7fff_fff0, true);
  view.setUint32(VSOCK_HDR_LEN, length, true);
  view.setUint16(VSOCK_HDR_TYPE, type, true);
  view.setUint16(VSOCK_HDR_OP, op, true);
  view.setUint32(VSOCK_HDR_BUF_ALLOC, rest.credit ?? 0x1_0000, true);
  view.setUint32(VSOCK_HDR_FWD_CNT, rest.forwarded ?? 0, true);
  return bytes;
}

export const SOCKET: Family = {
  name: 'socket',
  deviceIds: [DEVICE_ID_VSOCK],
  features: featureSet(VIRTIO_VSOCK_F_STREAM),
  requestQueues: () => [VSOCK_TXQ],
  // The end of a connection that there is not: nobody answers.
  request: () => ({
    readable: [packet({ op: VIRTIO_VSOCK_OP_RST })],
    writable: [],
    good: (written) => written === 0,
  }),
  judges: false,
};

const sent = (title: string, bytes: Uint8Array): DeviceCase =>
  refusedRequest({ id: 'A42', title: `socket: ${title}`, clause: '5.10.6' }, (make) => [make.bytes(bytes)]);

/** The like of A42: packets that are none (5.10.6). */
export const SOCKET_CASES: readonly DeviceCase[] = [
  sent('a header of 43 bytes', packet({ op: VIRTIO_VSOCK_OP_RW }).subarray(0, VSOCK_HEADER_SIZE - 1)),
  sent('a payload longer than the packet', packet({ op: VIRTIO_VSOCK_OP_RW, length: 4096, payload: 16 })),
  sent('a payload of 4 GiB', packet({ op: VIRTIO_VSOCK_OP_RW, length: 0xffff_ffff, payload: 16 })),
  sent('data of no connection', packet({ op: VIRTIO_VSOCK_OP_RW, length: 16 })),
  sent('an operation that there is not', packet({ op: 0xfffe })),
  sent('operation 0', packet({ op: 0 })),
  sent('a type of socket that there is not', packet({ op: VIRTIO_VSOCK_OP_REQUEST, type: 0x7777 })),
  sent('another guest\u2019s address as its own', packet({ op: VIRTIO_VSOCK_OP_REQUEST, source: 99n })),
  sent('the host\u2019s address as its own', packet({ op: VIRTIO_VSOCK_OP_REQUEST, source: 2n })),
  sent('an address of 64 bits', packet({ op: VIRTIO_VSOCK_OP_REQUEST, destination: (1n << 64n) - 1n })),
  sent('credit for what was never sent', packet({ op: 6, forwarded: 0xffff_ffff, credit: 0xffff_ffff })),
  requestOn(
    VSOCK_RXQ,
    { id: 'A42', title: 'socket: room for less than a header', clause: '5.10.6.4' },
    (make) => [make.room(16)],
    'as it likes',
  ),
  requestOn(
    VSOCK_EVENTQ,
    { id: 'A42', title: 'socket: room for less than an event', clause: '5.10.6.7' },
    (make) => [make.room(1)],
    'as it likes',
  ),
];
