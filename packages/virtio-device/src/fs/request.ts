import type { GuestMemory } from '@remio/guest-memory';
import {
  ERRNO,
  FUSE_ACCESS,
  FUSE_ACCESS_IN,
  FUSE_ATTR_OUT,
  FUSE_BATCH_FORGET,
  FUSE_BATCH_FORGET_IN,
  FUSE_CREATE,
  FUSE_CREATE_IN,
  FUSE_DESTROY,
  FUSE_ENTRY_OUT,
  FUSE_FALLOCATE,
  FUSE_FALLOCATE_IN,
  FUSE_FLUSH,
  FUSE_FLUSH_IN,
  FUSE_FORGET,
  FUSE_FORGET_IN,
  FUSE_FSYNC,
  FUSE_FSYNC_IN,
  FUSE_FSYNCDIR,
  FUSE_GETATTR,
  FUSE_GETATTR_IN,
  FUSE_IN_HEADER,
  FUSE_INIT,
  FUSE_INIT_BSWAP_RESERVED,
  FUSE_INIT_IN,
  FUSE_INIT_OUT,
  FUSE_INTERRUPT,
  FUSE_INTERRUPT_IN,
  FUSE_LINK,
  FUSE_LINK_IN,
  FUSE_LOOKUP,
  FUSE_LSEEK,
  FUSE_LSEEK_IN,
  FUSE_LSEEK_OUT,
  FUSE_MKDIR,
  FUSE_MKDIR_IN,
  FUSE_MKNOD,
  FUSE_MKNOD_IN,
  FUSE_OPEN,
  FUSE_OPEN_IN,
  FUSE_OPEN_OUT,
  FUSE_OPENDIR,
  FUSE_OUT_HEADER,
  FUSE_READ,
  FUSE_READ_IN,
  FUSE_READDIR,
  FUSE_READDIRPLUS,
  FUSE_READLINK,
  FUSE_RELEASE,
  FUSE_RELEASE_IN,
  FUSE_RELEASEDIR,
  FUSE_RENAME,
  FUSE_RENAME_IN,
  FUSE_RENAME2,
  FUSE_RENAME2_IN,
  FUSE_RMDIR,
  FUSE_SETATTR,
  FUSE_SETATTR_IN,
  FUSE_STATFS,
  FUSE_STATFS_OUT,
  FUSE_SYMLINK,
  FUSE_UNLINK,
  FUSE_WRITE,
  FUSE_WRITE_IN,
  FUSE_WRITE_OUT,
  isComponent,
  NAME_MAX,
  PATH_MAX,
  readStruct,
} from '@remio/virtio-spec';
import type { Chain, Segment } from '@remio/virtqueue';
import { gather, slice } from '../segments.js';

/** What a request consists of, by its opcode. */
interface Shape {
  /** Bytes of the structure after the header. */
  readonly args: number;
  /** What follows the structure: strings that end with NUL, data, or whatever the operation makes of it. */
  readonly rest?: readonly ('name' | 'target')[] | 'data' | 'more';
  /** Bytes of a reply after its header: so many, at least; `none`: there is no reply; `asked`: as many as are asked for. */
  readonly reply?: number | 'none' | 'asked';
  /** The tree is changed. */
  readonly changes?: true;
}

const ENTRY = FUSE_ENTRY_OUT.size;

const SHAPES: Readonly<Record<number, Shape>> = {
  [FUSE_LOOKUP]: { args: 0, rest: ['name'], reply: ENTRY },
  [FUSE_FORGET]: { args: FUSE_FORGET_IN.size, reply: 'none' },
  [FUSE_GETATTR]: { args: FUSE_GETATTR_IN.size, reply: FUSE_ATTR_OUT.size },
  [FUSE_SETATTR]: { args: FUSE_SETATTR_IN.size, reply: FUSE_ATTR_OUT.size, changes: true },
  [FUSE_READLINK]: { args: 0 },
  [FUSE_SYMLINK]: { args: 0, rest: ['name', 'target'], reply: ENTRY, changes: true },
  [FUSE_MKNOD]: { args: FUSE_MKNOD_IN.size, rest: ['name'], reply: ENTRY, changes: true },
  [FUSE_MKDIR]: { args: FUSE_MKDIR_IN.size, rest: ['name'], reply: ENTRY, changes: true },
  [FUSE_UNLINK]: { args: 0, rest: ['name'], changes: true },
  [FUSE_RMDIR]: { args: 0, rest: ['name'], changes: true },
  [FUSE_RENAME]: { args: FUSE_RENAME_IN.size, rest: ['name', 'name'], changes: true },
  [FUSE_LINK]: { args: FUSE_LINK_IN.size, rest: ['name'], reply: ENTRY, changes: true },
  [FUSE_OPEN]: { args: FUSE_OPEN_IN.size, reply: FUSE_OPEN_OUT.size },
  [FUSE_READ]: { args: FUSE_READ_IN.size, reply: 'asked' },
  [FUSE_WRITE]: { args: FUSE_WRITE_IN.size, rest: 'data', reply: FUSE_WRITE_OUT.size, changes: true },
  [FUSE_STATFS]: { args: 0, reply: FUSE_STATFS_OUT.size },
  [FUSE_RELEASE]: { args: FUSE_RELEASE_IN.size },
  [FUSE_FSYNC]: { args: FUSE_FSYNC_IN.size },
  [FUSE_FLUSH]: { args: FUSE_FLUSH_IN.size },
  [FUSE_INIT]: { args: FUSE_INIT_IN.size, rest: 'more', reply: FUSE_INIT_OUT.size },
  [FUSE_OPENDIR]: { args: FUSE_OPEN_IN.size, reply: FUSE_OPEN_OUT.size },
  [FUSE_READDIR]: { args: FUSE_READ_IN.size, reply: 'asked' },
  [FUSE_RELEASEDIR]: { args: FUSE_RELEASE_IN.size },
  [FUSE_FSYNCDIR]: { args: FUSE_FSYNC_IN.size },
  [FUSE_ACCESS]: { args: FUSE_ACCESS_IN.size },
  [FUSE_CREATE]: { args: FUSE_CREATE_IN.size, rest: ['name'], reply: ENTRY + FUSE_OPEN_OUT.size, changes: true },
  [FUSE_INTERRUPT]: { args: FUSE_INTERRUPT_IN.size, reply: 'none' },
  [FUSE_DESTROY]: { args: 0 },
  [FUSE_BATCH_FORGET]: { args: FUSE_BATCH_FORGET_IN.size, rest: 'more', reply: 'none' },
  [FUSE_FALLOCATE]: { args: FUSE_FALLOCATE_IN.size, changes: true },
  [FUSE_READDIRPLUS]: { args: FUSE_READ_IN.size, reply: 'asked' },
  [FUSE_RENAME2]: { args: FUSE_RENAME2_IN.size, rest: ['name', 'name'], changes: true },
  [FUSE_LSEEK]: { args: FUSE_LSEEK_IN.size, reply: FUSE_LSEEK_OUT.size },
};

/** Bytes of a request without the data of a write, at most: room for two names, or thousands of forgets. */
const REQUEST_MAX = 0x1_0000;

/** A request taken apart. Everything but the data is a private copy. */
export interface FuseRequest {
  readonly opcode: number;
  readonly unique: bigint;
  readonly nodeid: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly littleEndian: boolean;
  /** What follows the header, the strings included; as long as the operation's structure at least. */
  readonly args: DataView;
  /** Strings of the operation, without their NUL; names are single components. */
  readonly names: readonly Uint8Array[];
  /** READ, READDIR, WRITE: bytes that are asked for, or that follow. */
  readonly size: number;
  /** Where the data of a WRITE lies, or that of a READ belongs. */
  readonly data: readonly Segment[];
  /** Bytes of room for the reply after its header. */
  readonly room: number;
  /** Whether there is a reply. */
  readonly replies: boolean;
  /** Whether the tree is changed. */
  readonly changes: boolean;
}

export type ParsedFuse =
  | { readonly kind: 'request'; readonly request: FuseRequest }
  /** Something is wrong with the request: a reply's header says what, if the request has a reply. */
  | {
      readonly kind: 'error';
      readonly unique: bigint;
      readonly replies: boolean;
      readonly littleEndian: boolean;
      readonly errno: number;
    }
  /** Neither a request nor the room for a reply's header. */
  | { readonly kind: 'malformed' }
  /** The request is not local yet. */
  | { readonly kind: 'wait' };

/**
 * Reads a request, once, however the driver cut its buffers (2.7.4: framing is free).
 * @param littleEndian the session's byte order; a FUSE_INIT shows its own (5.11.6.1)
 */
export function parseFuseRequest(memory: GuestMemory, chain: Chain, littleEndian: boolean): ParsedFuse {
  if (chain.readableLength < FUSE_IN_HEADER.size) return { kind: 'malformed' };
  const view = gather(memory, chain.readable, FUSE_IN_HEADER.size);
  if (view === undefined) return { kind: 'wait' };
  const order = orderOf(view.getUint32(4, true)) ?? littleEndian;
  const { len, opcode, unique, nodeid, uid, gid } = readStruct(FUSE_IN_HEADER, view, 0, order);
  const shape = SHAPES[opcode];
  const replies = shape?.reply !== 'none';
  if (replies && chain.writableLength < FUSE_OUT_HEADER.size) return { kind: 'malformed' };
  const refuse = (errno: number): ParsedFuse => ({ kind: 'error', unique, replies, littleEndian: order, errno });
  if (len !== chain.readableLength) return refuse(ERRNO.EINVAL);
  if (shape === undefined) return refuse(ERRNO.ENOSYS);
  const from = FUSE_IN_HEADER.size + shape.args;
  const copied = shape.rest === 'data' ? from : len;
  if (len < from || copied > REQUEST_MAX) return refuse(ERRNO.EINVAL);
  const copy = gather(memory, chain.readable, copied);
  if (copy === undefined) return { kind: 'wait' };
  const names = typeof shape.rest === 'object' ? namesOf(new Uint8Array(copy.buffer, from), shape.rest) : [];
  if (typeof names === 'number') return refuse(names);
  if (shape.rest === undefined && len !== from) return refuse(ERRNO.EINVAL);
  const room = replies ? chain.writableLength - FUSE_OUT_HEADER.size : 0;
  const args = new DataView(copy.buffer, FUSE_IN_HEADER.size);
  const sized = shape.reply === 'asked' || shape.rest === 'data';
  // fuse_read_in and fuse_write_in have it at the same place.
  const size = sized ? readStruct(FUSE_READ_IN, args, 0, order).size : 0;
  if (room < (shape.reply === 'asked' ? size : typeof shape.reply === 'number' ? shape.reply : 0)) {
    return refuse(ERRNO.EINVAL);
  }
  if (shape.rest === 'data' && size !== len - from) return refuse(ERRNO.EINVAL);
  return {
    kind: 'request',
    request: {
      opcode,
      unique,
      nodeid,
      uid,
      gid,
      littleEndian: order,
      args,
      names,
      size,
      data:
        opcode === FUSE_READ
          ? slice(chain.writable, FUSE_OUT_HEADER.size, size)
          : shape.rest === 'data'
            ? slice(chain.readable, from, size)
            : [],
      room,
      replies,
      changes: shape.changes ?? false,
    },
  };
}

/** The byte order that the opcode of a FUSE_INIT shows, read as little-endian; undefined for any other opcode. */
const orderOf = (opcode: number): boolean | undefined =>
  opcode === FUSE_INIT ? true : opcode === FUSE_INIT_BSWAP_RESERVED ? false : undefined;

/** Strings that fill `bytes` exactly, each with its NUL; or what is wrong with them. */
function namesOf(bytes: Uint8Array, kinds: readonly ('name' | 'target')[]): readonly Uint8Array[] | number {
  const names: Uint8Array[] = [];
  let at = 0;
  for (const kind of kinds) {
    const end = bytes.indexOf(0, at);
    if (end < 0) return ERRNO.EINVAL;
    const name = bytes.subarray(at, end);
    if (name.length > (kind === 'name' ? NAME_MAX : PATH_MAX - 1)) return ERRNO.ENAMETOOLONG;
    if (kind === 'name' && !isComponent(name)) return ERRNO.EINVAL;
    names.push(name);
    at = end + 1;
  }
  return at === bytes.length ? names : ERRNO.EINVAL;
}
