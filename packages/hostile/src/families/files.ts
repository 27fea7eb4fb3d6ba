import {
  DEVICE_ID_FILE_SYSTEM,
  FS_QUEUE_HIPRIO,
  FS_QUEUE_REQUEST,
  FUSE_GETATTR,
  FUSE_IN_HEADER,
  FUSE_INIT,
  FUSE_INIT_IN,
  FUSE_INIT_OUT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_LOOKUP,
  FUSE_OUT_HEADER,
  FUSE_READ,
  readStruct,
  structBytes,
  structView,
} from '@remio/virtio-spec';
import { type DeviceCase, refusedRequest, requestOn } from '../device-cases/device-case.js';
import type { Family } from '../family.js';

const UNIQUE = 0x1234_5678n;

/** A FUSE request: header and arguments. */
function request(opcode: number, args: Uint8Array, { nodeid = 1n, len }: { nodeid?: bigint; len?: number } = {}) {
  const header = structBytes(FUSE_IN_HEADER, {
    len: len ?? FUSE_IN_HEADER.size + args.length,
    opcode,
    unique: UNIQUE,
    nodeid,
  });
  const bytes = new Uint8Array(header.length + args.length);
  bytes.set(header);
  bytes.set(args, header.length);
  return bytes;
}

const INIT = request(
  FUSE_INIT,
  structBytes(FUSE_INIT_IN, { major: FUSE_KERNEL_VERSION, minor: FUSE_KERNEL_MINOR_VERSION }),
);
const INIT_ROOM = FUSE_OUT_HEADER.size + FUSE_INIT_OUT.size;

export const FILES: Family = {
  name: 'file system',
  deviceIds: [DEVICE_ID_FILE_SYSTEM],
  features: 0n,
  requestQueues: (queues) => Array.from({ length: queues - FS_QUEUE_REQUEST }, (_, n) => FS_QUEUE_REQUEST + n),
  // A session that starts ends the one before.
  request: () => ({
    readable: [INIT],
    writable: [INIT_ROOM],
    good: (written, [reply]) => {
      if (reply === undefined || written !== INIT_ROOM) return false;
      const { error, unique } = readStruct(FUSE_OUT_HEADER, structView(reply), 0);
      return error === 0 && unique === UNIQUE;
    },
  }),
  judges: true,
};

const text = (name: string): Uint8Array => new TextEncoder().encode(name);

const asked = (title: string, bytes: Uint8Array, room = INIT_ROOM): DeviceCase =>
  refusedRequest({ id: 'A42', title: `file system: ${title}`, clause: '5.11.6' }, (make) => [
    make.bytes(bytes),
    ...(room === 0 ? [] : [make.room(room)]),
  ]);

/** The like of A42: FUSE requests that are none (5.11.6). */
export const FILES_CASES: readonly DeviceCase[] = [
  asked('a header cut short', INIT.subarray(0, FUSE_IN_HEADER.size - 1)),
  asked('one byte', Uint8Array.of(1)),
  asked('a length beyond the request', request(FUSE_GETATTR, new Uint8Array(16), { len: 0xffff_ffff })),
  asked('a length of less than the header', request(FUSE_GETATTR, new Uint8Array(16), { len: 8 })),
  asked('an operation that there is not', request(0xfffe, new Uint8Array(16))),
  asked('arguments cut short', request(FUSE_READ, new Uint8Array(4))),
  asked('a name without its end', request(FUSE_LOOKUP, text('name'))),
  asked('a name that leads out', request(FUSE_LOOKUP, text('..\0'))),
  asked('a name with a slash', request(FUSE_LOOKUP, text('../../etc/passwd\0'))),
  asked('a node that there is not', request(FUSE_GETATTR, new Uint8Array(16), { nodeid: 0xffff_ffff_ffff_ffffn })),
  asked('no room for a reply', INIT, 0),
  asked('room for less than the header of a reply', INIT, FUSE_OUT_HEADER.size - 1),
  requestOn(
    FS_QUEUE_HIPRIO,
    { id: 'A42', title: 'file system: forgets what it does not know', clause: '5.11.6.2' },
    // FORGET of a node, four thousand million times.
    (make) => [make.bytes(request(2, Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), { nodeid: 77n }))],
    'as it likes',
  ),
];
