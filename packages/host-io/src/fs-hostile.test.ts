import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fc, test } from '@fast-check/vitest';
import * as spec from '@remio/virtio-spec';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SharedDirectory } from './shared-directory.js';
import { bytes, FuseRig, type Returned } from './testing/fuse-rig.js';

const { ERRNO, FUSE_ROOT_ID: ROOT, structBytes, structView } = spec;

/** What a case finds: a share with a file `a`, a directory `d`, a link `out` to the outside; `a` and `d` looked up and open. */
interface Scene {
  readonly rig: FuseRig;
  readonly a: bigint;
  readonly d: bigint;
  readonly out: bigint;
  readonly fh: bigint;
  readonly dirFh: bigint;
  readonly share: string;
}

let scratch: string;
let tree: SharedDirectory;
let scene: Scene;

/** Cases change nothing, but for a few: those that spoil the scene leave it to be set up again. */
beforeAll(() => setUp());
afterAll(() => tearDown());

async function setUp(): Promise<void> {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'remio-hostile-')));
  const share = join(scratch, 'share');
  mkdirSync(join(share, 'd'), { recursive: true });
  mkdirSync(join(scratch, 'outside'));
  writeFileSync(join(scratch, 'outside', 'secret'), 'secret');
  writeFileSync(join(share, 'a'), 'content');
  symlinkSync('../outside', join(share, 'out'));
  const opened = SharedDirectory.open(share, false);
  if (!opened.ok) throw new Error(opened.error);
  tree = opened.value;
  const rig = new FuseRig(tree);
  await rig.init();
  const [a, d, out] = [await rig.lookup(ROOT, 'a'), await rig.lookup(ROOT, 'd'), await rig.lookup(ROOT, 'out')];
  const openIn = structBytes(spec.FUSE_OPEN_IN, { flags: spec.O_RDWR });
  const fh = spec.readStruct(spec.FUSE_OPEN_OUT, structView((await rig.send(spec.FUSE_OPEN, a, openIn)).payload), 0).fh;
  const dir = await rig.send(spec.FUSE_OPENDIR, d, openIn);
  const dirFh = spec.readStruct(spec.FUSE_OPEN_OUT, structView(dir.payload), 0).fh;
  scene = { rig, a, d, out, fh, dirFh, share };
}

async function tearDown(): Promise<void> {
  await tree.close();
  rmSync(scratch, { recursive: true, force: true });
}

const U64_MAX = 2n ** 64n - 1n;
const getattr = structBytes(spec.FUSE_GETATTR_IN, {});
const header = (values: Partial<spec.StructOf<typeof spec.FUSE_IN_HEADER>>): Uint8Array =>
  structBytes(spec.FUSE_IN_HEADER, { unique: 9n, nodeid: ROOT, ...values });
const lookup = ({ rig }: Scene, name: Uint8Array): Promise<Returned> => rig.send(spec.FUSE_LOOKUP, ROOT, name);
const read = ({ rig, a, fh }: Scene, values: Partial<spec.StructOf<typeof spec.FUSE_READ_IN>>): Promise<Returned> =>
  rig.send(spec.FUSE_READ, a, structBytes(spec.FUSE_READ_IN, { fh, ...values }));
const setattr = ({ rig, a }: Scene, values: Partial<spec.StructOf<typeof spec.FUSE_SETATTR_IN>>): Promise<Returned> =>
  rig.send(spec.FUSE_SETATTR, a, structBytes(spec.FUSE_SETATTR_IN, values));
const write = ({ rig, a, fh }: Scene, offset: bigint, size: number, data: number): Promise<Returned> =>
  rig.send(spec.FUSE_WRITE, a, bytes(structBytes(spec.FUSE_WRITE_IN, { fh, offset, size }), new Uint8Array(data)));
const readdir = ({ rig, d, dirFh }: Scene, offset: bigint, size: number): Promise<Returned> =>
  rig.send(spec.FUSE_READDIR, d, structBytes(spec.FUSE_READ_IN, { fh: dirFh, offset, size }));
const quiet = { room: 0, queue: 0 };

/** Verdict: an error number; `reject`: the head comes back with nothing written; `none`: a request without a reply. */
interface Case {
  readonly id: string;
  readonly clause: string;
  readonly verdict: number | 'reject' | 'none';
  readonly spoils?: true;
  does(scene: Scene): Promise<Returned>;
}

/** Opcodes of FUSE that are not served, with others that nobody knows. */
const UNSERVED = [0, 7, 19, 21, 22, 23, 24, 31, 32, 33, 37, 39, 40, 41, 47, 48, 49, 50, 51, 4096, 1 << 20, 0xffff_ffff];

/** The structure of each request by its opcode, with names as there must be. */
const WELL_FORMED: readonly (readonly [opcode: number, args: Uint8Array])[] = [
  [spec.FUSE_LOOKUP, bytes('x')],
  [spec.FUSE_GETATTR, getattr],
  [spec.FUSE_SETATTR, structBytes(spec.FUSE_SETATTR_IN, {})],
  [spec.FUSE_READLINK, bytes()],
  [spec.FUSE_SYMLINK, bytes('x', 'y')],
  [spec.FUSE_MKNOD, bytes(structBytes(spec.FUSE_MKNOD_IN, { mode: spec.S_IFREG }), 'x')],
  [spec.FUSE_MKDIR, bytes(structBytes(spec.FUSE_MKDIR_IN, {}), 'x')],
  [spec.FUSE_UNLINK, bytes('x')],
  [spec.FUSE_RMDIR, bytes('x')],
  [spec.FUSE_RENAME, bytes(structBytes(spec.FUSE_RENAME_IN, { newdir: ROOT }), 'x', 'y')],
  [spec.FUSE_RENAME2, bytes(structBytes(spec.FUSE_RENAME2_IN, { newdir: ROOT }), 'x', 'y')],
  [spec.FUSE_LINK, bytes(structBytes(spec.FUSE_LINK_IN, { oldnodeid: ROOT }), 'x')],
  [spec.FUSE_OPEN, structBytes(spec.FUSE_OPEN_IN, {})],
  [spec.FUSE_READ, structBytes(spec.FUSE_READ_IN, {})],
  [spec.FUSE_WRITE, structBytes(spec.FUSE_WRITE_IN, {})],
  [spec.FUSE_RELEASE, structBytes(spec.FUSE_RELEASE_IN, {})],
  [spec.FUSE_FSYNC, structBytes(spec.FUSE_FSYNC_IN, {})],
  [spec.FUSE_FLUSH, structBytes(spec.FUSE_FLUSH_IN, {})],
  [spec.FUSE_OPENDIR, structBytes(spec.FUSE_OPEN_IN, {})],
  [spec.FUSE_READDIR, structBytes(spec.FUSE_READ_IN, {})],
  [spec.FUSE_READDIRPLUS, structBytes(spec.FUSE_READ_IN, {})],
  [spec.FUSE_RELEASEDIR, structBytes(spec.FUSE_RELEASE_IN, {})],
  [spec.FUSE_FSYNCDIR, structBytes(spec.FUSE_FSYNC_IN, {})],
  [spec.FUSE_ACCESS, structBytes(spec.FUSE_ACCESS_IN, {})],
  [spec.FUSE_CREATE, bytes(structBytes(spec.FUSE_CREATE_IN, {}), 'x')],
  [spec.FUSE_FALLOCATE, structBytes(spec.FUSE_FALLOCATE_IN, {})],
  [spec.FUSE_LSEEK, structBytes(spec.FUSE_LSEEK_IN, {})],
];

/** Names that would lead elsewhere, or nowhere. */
const ESCAPES: readonly (readonly [what: string, name: Uint8Array, errno: number])[] = [
  ['..', bytes('..'), ERRNO.EINVAL],
  ['.', bytes('.'), ERRNO.EINVAL],
  ['nothing', bytes(''), ERRNO.EINVAL],
  ['/', bytes('/'), ERRNO.EINVAL],
  // Nothing is there: were the rule broken, what is would be moved or removed.
  ['an absolute path', bytes('/remio-test/secret'), ERRNO.EINVAL],
  ['a relative path', bytes('d/../..'), ERRNO.EINVAL],
  ['a path through a link', bytes('out/secret'), ERRNO.EINVAL],
  ['a name without NUL', Uint8Array.from(Buffer.from('a')), ERRNO.EINVAL],
  ['a name with more after its NUL', bytes('a', 'b'), ERRNO.EINVAL],
  ['a name with a second NUL', bytes('a', ''), ERRNO.EINVAL],
  ['256 bytes', bytes('n'.repeat(256)), ERRNO.ENAMETOOLONG],
  ['more bytes than a request has', bytes('n'.repeat(70_000)), ERRNO.EINVAL],
];

const CASES: readonly Case[] = [
  { id: 'F1 nothing to read', clause: '5.11.6.1', verdict: 'reject', does: ({ rig }) => rig.raw([], [64]) },
  {
    id: 'F2 a header cut short',
    clause: '5.11.6.1',
    verdict: 'reject',
    does: ({ rig }) => rig.raw([header({ len: 39, opcode: spec.FUSE_STATFS }).subarray(0, 39)], [200]),
  },
  {
    id: 'F3 no room for a reply',
    clause: '5.11.6.1',
    verdict: 'reject',
    does: ({ rig }) => rig.send(spec.FUSE_MKDIR, ROOT, bytes(structBytes(spec.FUSE_MKDIR_IN, {}), 'made'), { room: 0 }),
  },
  {
    id: 'F3 no room for a reply’s header',
    clause: '5.11.6.1',
    verdict: 'reject',
    does: ({ rig }) =>
      rig.send(spec.FUSE_MKDIR, ROOT, bytes(structBytes(spec.FUSE_MKDIR_IN, {}), 'made'), { room: 15 }),
  },
  {
    id: 'F4 room for the header of a reply only: nothing is done',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: ({ rig }) =>
      rig.send(spec.FUSE_MKDIR, ROOT, bytes(structBytes(spec.FUSE_MKDIR_IN, {}), 'made'), { room: 100 }),
  },
  ...[0, 39, 41, 1000, 0xffff_ffff].map(
    (len): Case => ({
      id: `F5 a header that says ${len} bytes of 56`,
      clause: '5.11.6.1',
      verdict: ERRNO.EINVAL,
      does: ({ rig }) => rig.raw([header({ len, opcode: spec.FUSE_GETATTR }), getattr], [200]),
    }),
  ),
  ...UNSERVED.map(
    (opcode): Case => ({
      id: `F6 opcode ${opcode}`,
      clause: '5.11.6.1',
      verdict: ERRNO.ENOSYS,
      does: ({ rig }) => rig.send(opcode, ROOT, new Uint8Array(64)),
    }),
  ),
  ...WELL_FORMED.filter(([, args]) => args.length > 0).map(
    ([opcode, args]): Case => ({
      id: `F7 opcode ${opcode} a byte short`,
      clause: '5.11.6.1',
      verdict: ERRNO.EINVAL,
      does: ({ rig }) => rig.send(opcode, ROOT, args.subarray(0, args.length - 1)),
    }),
  ),
  ...WELL_FORMED.map(
    ([opcode, args]): Case => ({
      id: `F8 opcode ${opcode} a byte too long`,
      clause: '5.11.6.1',
      verdict: ERRNO.EINVAL,
      does: ({ rig }) => rig.send(opcode, ROOT, bytes(args, Uint8Array.of(1))),
    }),
  ),
  ...[0n, 99n, U64_MAX].flatMap((nodeid) =>
    WELL_FORMED.map(
      ([opcode, args]): Case => ({
        id: `F9 opcode ${opcode} of node ${nodeid}`,
        clause: '5.11.6.1',
        // Those of open files look for the file.
        verdict: [15, 16, 18, 20, 25, 28, 29, 30, 43, 44, 46].includes(opcode) ? ERRNO.EBADF : ERRNO.ESTALE,
        does: ({ rig }) => rig.send(opcode, nodeid, args),
      }),
    ),
  ),
  {
    id: 'F10 a file handle nobody gave',
    clause: '5.11.6.1',
    verdict: ERRNO.EBADF,
    does: (s) => read(s, { fh: 99n, size: 1 }),
  },
  {
    id: 'F10 a file handle of another node',
    clause: '5.11.6.1',
    verdict: ERRNO.EBADF,
    does: ({ rig, d, fh }) => rig.send(spec.FUSE_READ, d, structBytes(spec.FUSE_READ_IN, { fh, size: 1 })),
  },
  {
    id: 'F10 a directory read as a file',
    clause: '5.11.6.1',
    verdict: ERRNO.EBADF,
    does: ({ rig, d, dirFh }) => rig.send(spec.FUSE_READ, d, structBytes(spec.FUSE_READ_IN, { fh: dirFh, size: 1 })),
  },
  {
    id: 'F10 a file read as a directory',
    clause: '5.11.6.1',
    verdict: ERRNO.EBADF,
    does: ({ rig, a, fh }) => rig.send(spec.FUSE_READDIR, a, structBytes(spec.FUSE_READ_IN, { fh, size: 100 })),
  },
  ...ESCAPES.flatMap(([what, name, errno]) =>
    (
      [
        [spec.FUSE_LOOKUP, name],
        [spec.FUSE_UNLINK, name],
        [spec.FUSE_RMDIR, name],
        [spec.FUSE_MKDIR, bytes(structBytes(spec.FUSE_MKDIR_IN, { mode: 0o755 }), name)],
        [spec.FUSE_MKNOD, bytes(structBytes(spec.FUSE_MKNOD_IN, { mode: spec.S_IFREG | 0o644 }), name)],
        [spec.FUSE_CREATE, bytes(structBytes(spec.FUSE_CREATE_IN, { flags: spec.O_RDWR }), name)],
        [spec.FUSE_RENAME, bytes(structBytes(spec.FUSE_RENAME_IN, { newdir: ROOT }), 'a', name)],
      ] as const
    ).map(
      ([opcode, args]): Case => ({
        id: `F11 opcode ${opcode}, name: ${what}`,
        clause: '5.11.6.5',
        verdict: errno,
        does: ({ rig }) => rig.send(opcode, ROOT, args),
      }),
    ),
  ),
  {
    id: 'F12 a link’s target of 4096 bytes',
    clause: '5.11.6.5',
    verdict: ERRNO.ENAMETOOLONG,
    does: ({ rig }) => rig.send(spec.FUSE_SYMLINK, ROOT, bytes('l', 't'.repeat(4096))),
  },
  {
    id: 'F12 a rename with one name',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: ({ rig }) => rig.send(spec.FUSE_RENAME, ROOT, bytes(structBytes(spec.FUSE_RENAME_IN, { newdir: ROOT }), 'a')),
  },
  {
    id: 'F13 a lookup in a link to a directory outside',
    clause: '5.11.6.5',
    verdict: ERRNO.ENOTDIR,
    does: ({ rig, out }) => rig.send(spec.FUSE_LOOKUP, out, bytes('secret')),
  },
  {
    id: 'F13 a link to the outside opened as a directory',
    clause: '5.11.6.5',
    verdict: ERRNO.ENOTDIR,
    does: ({ rig, out }) => rig.send(spec.FUSE_OPENDIR, out, structBytes(spec.FUSE_OPEN_IN, {})),
  },
  {
    id: 'F13 a link to the outside opened as a file',
    clause: '5.11.6.5',
    verdict: ERRNO.EACCES,
    does: ({ rig, out }) => rig.send(spec.FUSE_OPEN, out, structBytes(spec.FUSE_OPEN_IN, {})),
  },
  {
    id: 'F13 a file made in a link to a directory outside',
    clause: '5.11.6.5',
    verdict: ERRNO.ENOTDIR,
    does: ({ rig, out }) =>
      rig.send(spec.FUSE_CREATE, out, bytes(structBytes(spec.FUSE_CREATE_IN, { flags: spec.O_RDWR }), 'new')),
  },
  {
    id: 'F13 a file moved through a link to the outside',
    clause: '5.11.6.5',
    verdict: ERRNO.ENOTDIR,
    does: ({ rig, out }) =>
      rig.send(spec.FUSE_RENAME, ROOT, bytes(structBytes(spec.FUSE_RENAME_IN, { newdir: out }), 'a', 'b')),
  },
  { id: 'F14 a read of 4 GiB', clause: '5.11.6.1', verdict: ERRNO.EINVAL, does: (s) => read(s, { size: 0xffff_ffff }) },
  {
    id: 'F14 a read of more than there is room for',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => read(s, { size: 4096 }),
  },
  {
    id: 'F14 a read at 2^64-1',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => read(s, { size: 8, offset: U64_MAX }),
  },
  {
    id: 'F14 a read at 2^53',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => read(s, { size: 8, offset: 2n ** 53n }),
  },
  { id: 'F14 a read of nothing', clause: '5.11.6.1', verdict: 0, does: (s) => read(s, { size: 0 }) },
  {
    id: 'F15 a write of more than it brings',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => write(s, 0n, 100, 8),
  },
  {
    id: 'F15 a write of less than it brings',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => write(s, 0n, 4, 8),
  },
  { id: 'F15 a write at 2^64-1', clause: '5.11.6.1', verdict: ERRNO.EFBIG, does: (s) => write(s, U64_MAX, 8, 8) },
  { id: 'F15 a write of nothing', clause: '5.11.6.1', verdict: 0, does: (s) => write(s, 0n, 0, 0) },
  {
    id: 'F16 a size of 2^64-1',
    clause: '5.11.6.1',
    verdict: ERRNO.EFBIG,
    does: (s) => setattr(s, { valid: spec.FATTR_SIZE, size: U64_MAX }),
  },
  {
    id: 'F16 a billion nanoseconds',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => setattr(s, { valid: spec.FATTR_MTIME, mtimensec: 1_000_000_000 }),
  },
  {
    id: 'F16 a size by a file handle nobody gave',
    clause: '5.11.6.1',
    verdict: ERRNO.EBADF,
    does: (s) => setattr(s, { valid: spec.FATTR_SIZE | spec.FATTR_FH, fh: 99n }),
  },
  {
    id: 'F17 a directory listed into too little room',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    spoils: true,
    does: async (s) => {
      writeFileSync(join(s.share, 'd', 'entry'), '');
      return readdir(s, 0n, 24);
    },
  },
  { id: 'F17 a listing of 4 GiB', clause: '5.11.6.1', verdict: ERRNO.EINVAL, does: (s) => readdir(s, 0n, 0xffff_ffff) },
  {
    id: 'F17 a listing from nowhere',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: (s) => readdir(s, U64_MAX, 1000),
  },
  {
    id: 'F18 the root forgotten',
    clause: '5.11.6.2',
    verdict: 'none',
    does: ({ rig }) => rig.send(spec.FUSE_FORGET, ROOT, structBytes(spec.FUSE_FORGET_IN, { nlookup: U64_MAX }), quiet),
  },
  {
    id: 'F18 a node forgotten more often than it was looked up',
    clause: '5.11.6.2',
    verdict: 'none',
    spoils: true,
    does: ({ rig, a }) => rig.send(spec.FUSE_FORGET, a, structBytes(spec.FUSE_FORGET_IN, { nlookup: U64_MAX }), quiet),
  },
  {
    id: 'F18 a node nobody knows forgotten',
    clause: '5.11.6.2',
    verdict: 'none',
    does: ({ rig }) => rig.send(spec.FUSE_FORGET, 99n, structBytes(spec.FUSE_FORGET_IN, { nlookup: 1n }), quiet),
  },
  {
    id: 'F18 a forget cut short',
    clause: '5.11.6.2',
    verdict: 'none',
    does: ({ rig }) => rig.send(spec.FUSE_FORGET, ROOT, new Uint8Array(7), quiet),
  },
  {
    id: 'F18 a batch that says 2^32-1 and brings one and a half',
    clause: '5.11.6.2',
    verdict: 'none',
    does: ({ rig }) =>
      rig.send(
        spec.FUSE_BATCH_FORGET,
        0n,
        bytes(structBytes(spec.FUSE_BATCH_FORGET_IN, { count: 0xffff_ffff }), new Uint8Array(24)),
        quiet,
      ),
  },
  {
    id: 'F18 an interrupt of a request nobody made',
    clause: '5.11.6.2',
    verdict: 'none',
    does: ({ rig }) =>
      rig.send(spec.FUSE_INTERRUPT, 0n, structBytes(spec.FUSE_INTERRUPT_IN, { unique: 12_345n }), quiet),
  },
  {
    id: 'F19 a normal request on the hiprio queue',
    clause: '5.11.6.2',
    verdict: ERRNO.EINVAL,
    does: ({ rig }) => rig.send(spec.FUSE_GETATTR, ROOT, getattr, { queue: 0 }),
  },
  {
    id: 'F19 a forget on a request queue',
    clause: '5.11.6.2',
    verdict: 'none',
    does: ({ rig }) => rig.send(spec.FUSE_FORGET, 99n, structBytes(spec.FUSE_FORGET_IN, { nlookup: 1n }), { room: 0 }),
  },
  {
    id: 'F20 a directory moved into itself',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: ({ rig, d }) =>
      rig.send(spec.FUSE_RENAME, ROOT, bytes(structBytes(spec.FUSE_RENAME_IN, { newdir: d }), 'd', 'inside')),
  },
  {
    id: 'F20 a second name for a directory',
    clause: '5.11.6.1',
    verdict: ERRNO.EPERM,
    does: ({ rig, d }) => rig.send(spec.FUSE_LINK, ROOT, bytes(structBytes(spec.FUSE_LINK_IN, { oldnodeid: d }), 'e')),
  },
  {
    id: 'F20 a file made in a directory that was removed',
    clause: '5.11.6.1',
    verdict: ERRNO.ENOENT,
    spoils: true,
    does: ({ rig, d, share }) => {
      rmSync(join(share, 'd'), { recursive: true });
      return rig.send(spec.FUSE_CREATE, d, bytes(structBytes(spec.FUSE_CREATE_IN, { flags: spec.O_RDWR }), 'x'));
    },
  },
  {
    id: 'F20 a file opened whose last name is gone',
    clause: '5.11.6.1',
    verdict: 0,
    spoils: true,
    does: ({ rig, a, share }) => {
      rmSync(join(share, 'a'));
      return rig.send(spec.FUSE_OPEN, a, structBytes(spec.FUSE_OPEN_IN, {}));
    },
  },
  {
    id: 'F21 an access mode of 3',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: ({ rig, a }) => rig.send(spec.FUSE_OPEN, a, structBytes(spec.FUSE_OPEN_IN, { flags: 3 })),
  },
  {
    id: 'F21 a directory opened as a file',
    clause: '5.11.6.1',
    verdict: ERRNO.EISDIR,
    does: ({ rig, d }) => rig.send(spec.FUSE_OPEN, d, structBytes(spec.FUSE_OPEN_IN, {})),
  },
  {
    id: 'F21 a file opened as a directory',
    clause: '5.11.6.1',
    verdict: ERRNO.ENOTDIR,
    does: ({ rig, a }) => rig.send(spec.FUSE_OPENDIR, a, structBytes(spec.FUSE_OPEN_IN, {})),
  },
  {
    id: 'F22 a range that wraps 2^64',
    clause: '5.11.6.1',
    verdict: ERRNO.EFBIG,
    does: ({ rig, a, fh }) =>
      rig.send(spec.FUSE_FALLOCATE, a, structBytes(spec.FUSE_FALLOCATE_IN, { fh, offset: U64_MAX, length: 2n })),
  },
  {
    id: 'F22 a range taken out of a file',
    clause: '5.11.6.1',
    verdict: ERRNO.EOPNOTSUPP,
    does: ({ rig, a, fh }) =>
      rig.send(spec.FUSE_FALLOCATE, a, structBytes(spec.FUSE_FALLOCATE_IN, { fh, length: 1n, mode: 8 })),
  },
  {
    id: 'F22 a seek from the end',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: ({ rig, a, fh }) => rig.send(spec.FUSE_LSEEK, a, structBytes(spec.FUSE_LSEEK_IN, { fh, whence: 2 })),
  },
  {
    id: 'F23 a FUSE_INIT cut short',
    clause: '5.11.5',
    verdict: ERRNO.EINVAL,
    does: ({ rig }) => rig.send(spec.FUSE_INIT, 0n, new Uint8Array(15)),
  },
  {
    id: 'F23 a request in the other byte order',
    clause: '5.11.6.1',
    verdict: ERRNO.EINVAL,
    does: ({ rig }) =>
      rig.raw([structBytes(spec.FUSE_IN_HEADER, { len: 56, opcode: spec.FUSE_GETATTR }, false), getattr], [200]),
  },
  {
    id: 'F24 a lookup of what is not there',
    clause: '5.11.6.1',
    verdict: ERRNO.ENOENT,
    does: (s) => lookup(s, bytes('none')),
  },
];

describe('a hostile driver of a file system', () => {
  it.each(CASES)('$id ($clause): $verdict', async ({ verdict, spoils, does }) => {
    const returned = await does(scene);
    if (typeof verdict === 'number') expect(returned.error).toBe(verdict);
    else expect(returned).toMatchObject({ written: 0, error: undefined });
    // Nobody was hurt: the device serves, and what lies around the share is as it was.
    expect((await scene.rig.send(spec.FUSE_GETATTR, ROOT, getattr)).error).toBe(0);
    expect(readdirSync(scratch).sort()).toEqual(['outside', 'share']);
    expect(readdirSync(join(scratch, 'outside'))).toEqual(['secret']);
    expect(readFileSync(join(scratch, 'outside', 'secret'), 'utf8')).toBe('secret');
    expect(lstatSync(join(scene.share, 'out')).isSymbolicLink()).toBe(true);
    if (spoils === undefined) {
      expect(readdirSync(scene.share).sort()).toEqual(['a', 'd', 'out']);
      expect(scene.rig.device.held).toEqual({ nodes: 3, files: 2 });
      expect(readFileSync(join(scene.share, 'a'), 'utf8')).toBe('content');
    } else {
      await tearDown();
      await setUp();
    }
  });

  it('gets a request served however it cuts it into buffers (2.7.4)', async () => {
    const request = bytes(header({ len: 56, opcode: spec.FUSE_GETATTR }), getattr);
    const pieces = [...request].map((byte) => Uint8Array.of(byte));
    const { error, written } = await scene.rig.raw(
      [...pieces.slice(0, 30), request.subarray(30)],
      [1, 2, 3, 10, 4, 200],
    );
    expect([error, written]).toEqual([0, 16 + spec.FUSE_ATTR_OUT.size]);
  });

  const requests = fc.array(
    fc.record({
      request: fc.constantFrom(...WELL_FORMED),
      nodeid: fc.bigInt({ min: 0n, max: 5n }),
      flips: fc.array(fc.tuple(fc.nat(96), fc.nat(255)), { maxLength: 3 }),
      cut: fc.nat(2),
      room: fc.constantFrom(0, 16, 120, 400),
      queue: fc.constantFrom(0, 1, 1, 1),
    }),
    { minLength: 1, maxLength: 20 },
  );
  test.prop([requests], { numRuns: 20 })('gets every head back, whatever it says', async (sent) => {
    for (const { request, nodeid, flips, cut, room, queue } of sent) {
      const [opcode, wellFormed] = request;
      const args = wellFormed.slice(0, Math.max(0, wellFormed.length - cut));
      for (const [at, byte] of flips) if (at < args.length) args[at] = byte;
      const { error } = await scene.rig.send(opcode, nodeid, args, { room, queue });
      expect(error === undefined || (error >= 0 && error <= spec.ERRNO_MAX)).toBe(true);
    }
    await scene.rig.init();
    expect((await scene.rig.send(spec.FUSE_GETATTR, ROOT, getattr)).error).toBe(0);
    expect(readFileSync(join(scratch, 'outside', 'secret'), 'utf8')).toBe('secret');
  });
});
