import {
  BLK_HEADER_SIZE,
  DEVICE_ID_BLOCK,
  featureSet,
  SECTOR_SIZE,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '@remio/virtio-spec';
import { type DeviceCase, refusedRequest } from '../device-cases/device-case.js';
import type { Family, FamilyRequest } from '../family.js';
import type { Piece } from '../raw-queue.js';

const header = (type: number, sector: bigint): Uint8Array => {
  const bytes = new Uint8Array(BLK_HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, sector, true);
  return bytes;
};

/** A read of one sector. */
const read = (sector: bigint, bytes = SECTOR_SIZE, head = header(VIRTIO_BLK_T_IN, sector)): FamilyRequest => ({
  readable: [head],
  writable: [bytes, 1],
  good: (written, parts) => written === bytes + 1 && parts[1]?.[0] === VIRTIO_BLK_S_OK,
});

export const BLOCK: Family = {
  name: 'block',
  deviceIds: [DEVICE_ID_BLOCK],
  features: featureSet(VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO),
  requestQueues: (queues) => Array.from({ length: queues }, (_, n) => n),
  request: () => read(0n),
  judges: true,
};

const blockCase = (
  title: string,
  clause: string,
  pieces: (header: (bytes: Uint8Array) => Piece, room: (bytes: number) => Piece) => readonly Piece[],
): DeviceCase =>
  refusedRequest({ id: 'A42', title: `block: ${title}`, clause }, ({ bytes, room }) => pieces(bytes, room));

const IN = header(VIRTIO_BLK_T_IN, 0n);

/** A42: requests that are none (5.2.6). The head comes back, whatever it is. */
export const BLOCK_CASES: readonly DeviceCase[] = [
  blockCase('a header and nothing else', '5.2.6', (place) => [place(IN)]),
  blockCase('a header of 15 bytes', '5.2.6', (place, room) => [place(IN.subarray(1)), room(512), room(1)]),
  blockCase('no header', '5.2.6', (_, room) => [room(512), room(1)]),
  blockCase('a status byte that cannot be written', '5.2.6', (place) => [place(IN), place(new Uint8Array(1))]),
  blockCase('a sector beyond the end', '5.2.6.1', (place, room) => [
    place(header(VIRTIO_BLK_T_IN, 1n << 55n)),
    room(512),
    room(1),
  ]),
  blockCase('a sector that wraps 2^64', '5.2.6.1', (place, room) => [
    place(header(VIRTIO_BLK_T_IN, (1n << 64n) - 1n)),
    room(1024),
    room(1),
  ]),
  blockCase('a length that is no multiple of 512', '5.2.6.1', (place, room) => [place(IN), room(511), room(1)]),
  blockCase('a write beyond the end', '5.2.6.1', (place, room) => [
    place(header(VIRTIO_BLK_T_OUT, 1n << 60n)),
    place(new Uint8Array(512)),
    room(1),
  ]),
  blockCase('a type that does not exist', '5.2.6', (place, room) => [place(header(0x7777, 0n)), room(512), room(1)]),
];
