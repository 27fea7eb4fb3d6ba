import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FileTree } from '@remio/virtio-device';
import * as spec from '@remio/virtio-spec';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SharedDirectory } from './shared-directory.js';
import { bytes, descriptorsBelow, FuseRig, type Returned, type RigOptions } from './testing/fuse-rig.js';

const { ERRNO, FUSE_ROOT_ID: ROOT, structBytes, structView } = spec;

let share: string;
let tree: SharedDirectory;

beforeEach(() => {
  share = realpathSync(mkdtempSync(join(tmpdir(), 'remio-fs-')));
  open(false);
});

afterEach(async () => {
  await tree.close();
  rmSync(share, { recursive: true, force: true });
});

function open(readOnly: boolean): void {
  const opened = SharedDirectory.open(share, readOnly);
  if (!opened.ok) throw new Error(opened.error);
  tree = opened.value;
}

/** A device with a session. */
async function mounted(options: RigOptions = {}, on: FileTree = tree): Promise<FuseRig> {
  const rig = new FuseRig(on, options);
  await rig.init();
  return rig;
}

const fhOf = ({ payload }: Returned, at = 0): bigint => spec.readStruct(spec.FUSE_OPEN_OUT, structView(payload), at).fh;

const openFile = async (rig: FuseRig, nodeid: bigint, flags = spec.O_RDWR): Promise<bigint> =>
  fhOf(await rig.send(spec.FUSE_OPEN, nodeid, structBytes(spec.FUSE_OPEN_IN, { flags })));

const readIn = (fh: bigint, offset: bigint, size: number): Uint8Array =>
  structBytes(spec.FUSE_READ_IN, { fh, offset, size });

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The tree, with every call of one operation held up until it is let go. */
function holding(operation: keyof FileTree): { readonly tree: FileTree; letGo(): void } {
  let letGo = (): void => {};
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const held = new Proxy<FileTree>(tree, {
    get: (target, key) => {
      const member: unknown = Reflect.get(target, key);
      if (typeof member !== 'function') return member;
      return key === operation
        ? async (...args: unknown[]) => {
            await gate;
            return Reflect.apply(member, target, args) as unknown;
          }
        : (...args: unknown[]) => Reflect.apply(member, target, args) as unknown;
    },
  });
  return { tree: held, letGo };
}

describe('FUSE_INIT (5.11.5)', () => {
  const init = (major: number, minor: number): Uint8Array =>
    structBytes(spec.FUSE_INIT_IN, { major, minor, max_readahead: 1 << 30, flags: 0xffff_ffff });

  it.each([
    [7, 31, 7, 31],
    [7, 27, 7, 27],
    [7, 45, 7, 31],
    [8, 0, 7, 31],
  ])('of version %d.%d is answered with %d.%d', async (major, minor, saysMajor, saysMinor) => {
    const { error, payload } = await new FuseRig(tree).send(spec.FUSE_INIT, 0n, init(major, minor));
    expect(error).toBe(0);
    const out = spec.readStruct(spec.FUSE_INIT_OUT, structView(payload), 0);
    expect(out).toMatchObject({ major: saysMajor, minor: saysMinor });
    if (major === 7) expect(out).toMatchObject({ max_write: 1 << 20, max_pages: 256, max_readahead: 1 << 20 });
  });

  it.each([
    [7, 26],
    [6, 31],
  ])('of version %d.%d is refused', async (major, minor) => {
    expect((await new FuseRig(tree).send(spec.FUSE_INIT, 0n, init(major, minor))).error).toBe(ERRNO.EPROTO);
  });

  it('accepts no flag that means something which is not there', async () => {
    const { payload } = await new FuseRig(tree).send(spec.FUSE_INIT, 0n, init(7, 31));
    const { flags } = spec.readStruct(spec.FUSE_INIT_OUT, structView(payload), 0);
    const [locks, writeback, exports, alignment] = [1 << 1, 1 << 16, 1 << 4, 1 << 26];
    expect(flags & (locks | writeback | exports | alignment)).toBe(0);
    expect(flags & spec.FUSE_DO_READDIRPLUS).not.toBe(0);
  });

  it('comes first: nothing is served before it, nor after FUSE_DESTROY', async () => {
    const rig = new FuseRig(tree);
    const getattr = () => rig.send(spec.FUSE_GETATTR, ROOT, structBytes(spec.FUSE_GETATTR_IN, {}));
    expect((await getattr()).error).toBe(ERRNO.ENOTCONN);
    await rig.init();
    expect((await getattr()).error).toBe(0);
    expect((await rig.send(spec.FUSE_DESTROY, 0n)).error).toBe(0);
    expect((await getattr()).error).toBe(ERRNO.ENOTCONN);
  });

  it('ends the session before it: its nodes and files are released', async () => {
    writeFileSync(join(share, 'a'), 'x');
    const rig = await mounted();
    const a = await rig.lookup(ROOT, 'a');
    const fh = await openFile(rig, a);
    expect(rig.device.held).toEqual({ nodes: 1, files: 1 });
    await rig.init();
    expect(rig.device.held).toEqual({ nodes: 0, files: 0 });
    expect((await rig.send(spec.FUSE_READ, a, readIn(fh, 0n, 1))).error).toBe(ERRNO.EBADF);
    expect((await rig.send(spec.FUSE_GETATTR, a, structBytes(spec.FUSE_GETATTR_IN, {}))).error).toBe(ERRNO.ESTALE);
    while (descriptorsBelow(share) > 1) await settled();
  });

  it('chooses the byte order of its session (5.11.6.1)', async () => {
    writeFileSync(join(share, 'a'), 'x'.repeat(0x1234));
    const rig = await mounted({ littleEndian: false });
    const { error, payload } = await rig.send(spec.FUSE_LOOKUP, ROOT, bytes('a'));
    expect(error).toBe(0);
    expect(structView(payload).getBigUint64(40 + 8, false)).toBe(0x1234n);
  });
});

describe.each([
  ['memory that is local', {}],
  ['memory that is far away', { far: true }],
])('files, in %s', (_, options) => {
  it('are created, written, read and released; data goes straight to and from the request’s buffers', async () => {
    const rig = await mounted(options);
    const flags = spec.O_RDWR | spec.O_CREAT | spec.O_EXCL;
    const created = await rig.send(
      spec.FUSE_CREATE,
      ROOT,
      bytes(structBytes(spec.FUSE_CREATE_IN, { flags, mode: 0o100640 }), 'new'),
    );
    expect(created.error).toBe(0);
    const { nodeid } = spec.readStruct(spec.FUSE_ENTRY_OUT, structView(created.payload), 0);
    const fh = fhOf(created, spec.FUSE_ENTRY_OUT.size);
    const data = Uint8Array.from({ length: 10_000 }, (_, n) => n);
    const writeIn = structBytes(spec.FUSE_WRITE_IN, { fh, offset: 5n, size: data.length });
    const written = await rig.send(spec.FUSE_WRITE, nodeid, bytes(writeIn, data));
    expect(spec.readStruct(spec.FUSE_WRITE_OUT, structView(written.payload), 0).size).toBe(data.length);
    expect(readFileSync(join(share, 'new')).subarray(5)).toEqual(Buffer.from(data));
    const header = structBytes(spec.FUSE_IN_HEADER, {
      len: 80,
      opcode: spec.FUSE_READ,
      unique: 7n,
      nodeid,
    });
    const read = await rig.raw([header, readIn(fh, 6n, 20_000)], [3, 20, 5000, 10_000, 8000]);
    expect(read).toMatchObject({ error: 0, unique: 7n, written: 16 + 9999 });
    expect(Buffer.from(read.payload)).toEqual(Buffer.from(data.subarray(1)));
    const release = structBytes(spec.FUSE_RELEASE_IN, { fh });
    expect((await rig.send(spec.FUSE_FLUSH, nodeid, structBytes(spec.FUSE_FLUSH_IN, { fh }))).error).toBe(0);
    expect((await rig.send(spec.FUSE_FSYNC, nodeid, structBytes(spec.FUSE_FSYNC_IN, { fh }))).error).toBe(0);
    expect((await rig.send(spec.FUSE_RELEASE, nodeid, release)).error).toBe(0);
    expect((await rig.send(spec.FUSE_RELEASE, nodeid, release)).error).toBe(ERRNO.EBADF);
    expect(rig.device.held).toEqual({ nodes: 1, files: 0 });
  });

  it('are listed, with and without looking each up', async () => {
    for (let n = 0; n < 200; n += 1) writeFileSync(join(share, `file-${n}`), 'x'.repeat(n));
    const rig = await mounted(options);
    for (const [opcode, head] of [
      [spec.FUSE_READDIR, 0],
      [spec.FUSE_READDIRPLUS, spec.FUSE_ENTRY_OUT.size],
    ] as const) {
      const fh = fhOf(await rig.send(spec.FUSE_OPENDIR, ROOT, structBytes(spec.FUSE_OPEN_IN, {})));
      const sizes = new Map<string, bigint>();
      for (let offset = 0n; ; ) {
        const { error, payload } = await rig.send(opcode, ROOT, readIn(fh, offset, 2000), { room: 2016 });
        expect(error).toBe(0);
        if (payload.length === 0) break;
        for (let at = 0; at < payload.length; ) {
          const entry = spec.readStruct(spec.FUSE_DIRENT, structView(payload), at + head);
          const from = at + head + spec.FUSE_DIRENT.size;
          const size = head > 0 ? spec.readStruct(spec.FUSE_ENTRY_OUT, structView(payload), at).size : 0n;
          sizes.set(Buffer.from(payload.subarray(from, from + entry.namelen)).toString(), size);
          offset = entry.off;
          at += head + spec.fuseDirentSize(entry.namelen);
        }
      }
      expect([...sizes.keys()].sort()).toEqual(readdirSync(share).sort());
      // A lookup is counted for each entry that was given, and for no other.
      expect(rig.device.held.nodes).toBe(head > 0 ? 200 : 0);
      if (head > 0) expect(sizes.get('file-77')).toBe(77n);
      const release = structBytes(spec.FUSE_RELEASE_IN, { fh });
      expect((await rig.send(spec.FUSE_RELEASEDIR, ROOT, release)).error).toBe(0);
    }
  });
});

describe('what a driver is not given', () => {
  it('set-user-ID and set-group-ID (5.11.6.5)', async () => {
    const rig = await mounted();
    const create = structBytes(spec.FUSE_CREATE_IN, { flags: spec.O_RDWR, mode: 0o106755 });
    await rig.send(spec.FUSE_CREATE, ROOT, bytes(create, 'a'));
    const a = await rig.lookup(ROOT, 'a');
    const setattr = structBytes(spec.FUSE_SETATTR_IN, { valid: spec.FATTR_MODE, mode: 0o107777 });
    expect((await rig.send(spec.FUSE_SETATTR, a, setattr)).error).toBe(0);
    expect(statSync(join(share, 'a')).mode & 0o7777).toBe(0o1777);
  });

  it('device nodes, FIFOs and sockets (5.11.6.5)', async () => {
    const rig = await mounted();
    for (const type of [0o010000, 0o020000, 0o060000, 0o140000]) {
      const mknod = structBytes(spec.FUSE_MKNOD_IN, { mode: type | 0o666, rdev: 0x0103 });
      expect((await rig.send(spec.FUSE_MKNOD, ROOT, bytes(mknod, 'node'))).error).toBe(ERRNO.EPERM);
    }
    const mknod = structBytes(spec.FUSE_MKNOD_IN, { mode: spec.S_IFREG | 0o600 });
    expect((await rig.send(spec.FUSE_MKNOD, ROOT, bytes(mknod, 'node'))).error).toBe(0);
    expect(rig.device.held).toEqual({ nodes: 1, files: 0 });
  });

  it('files of other users', async () => {
    writeFileSync(join(share, 'a'), '');
    const rig = await mounted();
    const a = await rig.lookup(ROOT, 'a');
    const { uid } = statSync(join(share, 'a'));
    const own = structBytes(spec.FUSE_SETATTR_IN, { valid: spec.FATTR_UID, uid: uid + 1 });
    expect((await rig.send(spec.FUSE_SETATTR, a, own)).error).toBe(ERRNO.EPERM);
    const same = structBytes(spec.FUSE_SETATTR_IN, { valid: spec.FATTR_UID, uid });
    expect((await rig.send(spec.FUSE_SETATTR, a, same)).error).toBe(0);
  });

  it('more nodes and files than its limits: until it gives some back', async () => {
    for (const name of ['a', 'b', 'c']) writeFileSync(join(share, name), '');
    // The root counts.
    const rig = await mounted({ limits: { nodes: 3, files: 1 } });
    const a = await rig.lookup(ROOT, 'a');
    await rig.lookup(ROOT, 'b');
    expect((await rig.send(spec.FUSE_LOOKUP, ROOT, bytes('c'))).error).toBe(ERRNO.ENFILE);
    expect((await rig.send(spec.FUSE_MKDIR, ROOT, bytes(structBytes(spec.FUSE_MKDIR_IN, {}), 'd'))).error).toBe(
      ERRNO.ENFILE,
    );
    expect(readdirSync(share)).toEqual(['a', 'b', 'c']);
    expect(await rig.lookup(ROOT, 'a')).toBe(a);
    const fh = await openFile(rig, a);
    expect((await rig.send(spec.FUSE_OPEN, a, structBytes(spec.FUSE_OPEN_IN, {}))).error).toBe(ERRNO.ENFILE);
    expect((await rig.send(spec.FUSE_OPENDIR, ROOT, structBytes(spec.FUSE_OPEN_IN, {}))).error).toBe(ERRNO.ENFILE);
    await rig.send(spec.FUSE_RELEASE, a, structBytes(spec.FUSE_RELEASE_IN, { fh }));
    await rig.send(spec.FUSE_FORGET, a, structBytes(spec.FUSE_FORGET_IN, { nlookup: 2n }), { room: 0, queue: 0 });
    await rig.lookup(ROOT, 'c');
    // The tree, the two nodes, and nothing else.
    while (descriptorsBelow(share) > 3) await settled();
  });

  it('a tree to write to that is read-only: every change is EROFS', async () => {
    writeFileSync(join(share, 'a'), 'x');
    await tree.close();
    open(true);
    const rig = await mounted();
    const a = await rig.lookup(ROOT, 'a');
    const two = bytes(structBytes(spec.FUSE_RENAME_IN, { newdir: ROOT }), 'a', 'b');
    const changes: readonly (readonly [number, bigint, Uint8Array])[] = [
      [spec.FUSE_SETATTR, a, structBytes(spec.FUSE_SETATTR_IN, { valid: spec.FATTR_MODE })],
      [spec.FUSE_SYMLINK, ROOT, bytes('l', 'a')],
      [spec.FUSE_MKNOD, ROOT, bytes(structBytes(spec.FUSE_MKNOD_IN, { mode: spec.S_IFREG }), 'n')],
      [spec.FUSE_MKDIR, ROOT, bytes(structBytes(spec.FUSE_MKDIR_IN, {}), 'd')],
      [spec.FUSE_UNLINK, ROOT, bytes('a')],
      [spec.FUSE_RMDIR, ROOT, bytes('a')],
      [spec.FUSE_RENAME, ROOT, two],
      [spec.FUSE_RENAME2, ROOT, bytes(structBytes(spec.FUSE_RENAME2_IN, { newdir: ROOT }), 'a', 'b')],
      [spec.FUSE_LINK, ROOT, bytes(structBytes(spec.FUSE_LINK_IN, { oldnodeid: a }), 'b')],
      [spec.FUSE_OPEN, a, structBytes(spec.FUSE_OPEN_IN, { flags: spec.O_WRONLY })],
      [spec.FUSE_OPEN, a, structBytes(spec.FUSE_OPEN_IN, { flags: spec.O_TRUNC })],
      [spec.FUSE_CREATE, ROOT, bytes(structBytes(spec.FUSE_CREATE_IN, {}), 'c')],
      [spec.FUSE_WRITE, a, bytes(structBytes(spec.FUSE_WRITE_IN, { fh: 1n, size: 1 }), Uint8Array.of(1))],
      [spec.FUSE_FALLOCATE, a, structBytes(spec.FUSE_FALLOCATE_IN, { fh: 1n, length: 1n })],
      [spec.FUSE_ACCESS, a, structBytes(spec.FUSE_ACCESS_IN, { mask: spec.W_OK })],
    ];
    for (const [opcode, nodeid, args] of changes) {
      expect((await rig.send(opcode, nodeid, args)).error, `opcode ${opcode}`).toBe(ERRNO.EROFS);
    }
    const fh = await openFile(rig, a, spec.O_RDONLY);
    expect(Buffer.from((await rig.send(spec.FUSE_READ, a, readIn(fh, 0n, 9))).payload).toString()).toBe('x');
    expect(readdirSync(share)).toEqual(['a']);
  });
});

describe('requests in flight', () => {
  it('keep what they use: a file that is released and forgotten meanwhile is read to the end', async () => {
    writeFileSync(join(share, 'a'), 'content');
    const held = holding('read');
    const rig = await mounted({}, held.tree);
    const a = await rig.lookup(ROOT, 'a');
    const fh = await openFile(rig, a);
    const reading = rig.send(spec.FUSE_READ, a, readIn(fh, 0n, 100));
    // The ring is looked at again when a request ends; the other queue is not held up by it.
    await rig.send(spec.FUSE_FORGET, a, structBytes(spec.FUSE_FORGET_IN, { nlookup: 1n }), { room: 0, queue: 0 });
    const releasing = rig.send(spec.FUSE_RELEASE, a, structBytes(spec.FUSE_RELEASE_IN, { fh }));
    expect((await releasing).error).toBe(0);
    writeFileSync(join(share, 'other'), 'nothing of yours');
    expect(descriptorsBelow(join(share, 'a'))).toBe(2);
    held.letGo();
    expect(Buffer.from((await reading).payload).toString()).toBe('content');
    while (descriptorsBelow(join(share, 'a')) > 0) await settled();
    expect(rig.device.held).toEqual({ nodes: 0, files: 0 });
  });

  it('do not hold up the hiprio queue (5.11.6.2)', async () => {
    writeFileSync(join(share, 'a'), '');
    const held = holding('attributes');
    const rig = await mounted({}, held.tree);
    const a = await rig.lookup(ROOT, 'a');
    const waiting = rig.send(spec.FUSE_GETATTR, ROOT, structBytes(spec.FUSE_GETATTR_IN, {}));
    const forget = bytes(
      structBytes(spec.FUSE_BATCH_FORGET_IN, { count: 1 }),
      structBytes(spec.FUSE_FORGET_ONE, { nodeid: a, nlookup: 1n }),
    );
    await rig.send(spec.FUSE_BATCH_FORGET, 0n, forget, { room: 0, queue: 0 });
    const interrupt = structBytes(spec.FUSE_INTERRUPT_IN, { unique: 101n });
    expect((await rig.send(spec.FUSE_INTERRUPT, 0n, interrupt, { room: 0, queue: 0 })).written).toBe(0);
    expect(rig.device.held.nodes).toBe(0);
    held.letGo();
    expect((await waiting).error).toBe(0);
  });

  it('hold up a reset until they have ended, and then nothing is held or written (2.4)', async () => {
    writeFileSync(join(share, 'a'), 'content');
    const held = holding('read');
    const rig = await mounted({}, held.tree);
    const a = await rig.lookup(ROOT, 'a');
    const fh = await openFile(rig, a);
    let answered = false;
    void rig.send(spec.FUSE_READ, a, readIn(fh, 0n, 7)).then(() => {
      answered = true;
    });
    let done = false;
    const reset = rig.reset().then(() => {
      done = true;
    });
    await settled();
    expect(done).toBe(false);
    held.letGo();
    await reset;
    await settled();
    expect(answered).toBe(false);
    while (descriptorsBelow(share) > 1) await settled();
  });

  it('of a session that ended meanwhile leave nothing behind', async () => {
    writeFileSync(join(share, 'a'), '');
    const held = holding('lookup');
    const rig = await mounted({}, held.tree);
    const looking = rig.send(spec.FUSE_LOOKUP, ROOT, bytes('a'));
    expect((await rig.send(spec.FUSE_DESTROY, 0n)).error).toBe(0);
    held.letGo();
    expect((await looking).error).toBe(ERRNO.ENFILE);
    while (descriptorsBelow(share) > 1) await settled();
  });
});

describe('names and attributes', () => {
  it('a file has one node under all its names', async () => {
    writeFileSync(join(share, 'a'), '');
    linkSync(join(share, 'a'), join(share, 'b'));
    const rig = await mounted();
    const a = await rig.lookup(ROOT, 'a');
    expect(await rig.lookup(ROOT, 'b')).toBe(a);
    const args = bytes(structBytes(spec.FUSE_LINK_IN, { oldnodeid: a }), 'c');
    const linked = await rig.send(spec.FUSE_LINK, ROOT, args);
    expect(spec.readStruct(spec.FUSE_ENTRY_OUT, structView(linked.payload), 0)).toMatchObject({ nodeid: a, nlink: 3 });
    const forget = (nlookup: bigint) =>
      rig.send(spec.FUSE_FORGET, a, structBytes(spec.FUSE_FORGET_IN, { nlookup }), { room: 0, queue: 0 });
    await forget(2n);
    expect(rig.device.held.nodes).toBe(1);
    await forget(1n);
    expect(rig.device.held.nodes).toBe(0);
  });

  it('directories and links are made, renamed, read and removed', async () => {
    const rig = await mounted();
    expect(
      (await rig.send(spec.FUSE_MKDIR, ROOT, bytes(structBytes(spec.FUSE_MKDIR_IN, { mode: 0o750 }), 'd'))).error,
    ).toBe(0);
    const d = await rig.lookup(ROOT, 'd');
    expect((await rig.send(spec.FUSE_SYMLINK, d, bytes('l', '../../etc/passwd'))).error).toBe(0);
    const l = await rig.lookup(d, 'l');
    expect(Buffer.from((await rig.send(spec.FUSE_READLINK, l)).payload).toString()).toBe('../../etc/passwd');
    expect((await rig.send(spec.FUSE_READLINK, d)).error).toBe(ERRNO.EINVAL);
    const rename = (newName: string, flags = 0) =>
      rig.send(spec.FUSE_RENAME2, d, bytes(structBytes(spec.FUSE_RENAME2_IN, { newdir: ROOT, flags }), 'l', newName));
    writeFileSync(join(share, 'taken'), '');
    expect((await rename('taken', spec.RENAME_NOREPLACE)).error).toBe(ERRNO.EEXIST);
    expect((await rename('m', 1 << 7)).error).toBe(ERRNO.EINVAL);
    expect((await rename('m')).error).toBe(0);
    expect((await rig.send(spec.FUSE_RMDIR, ROOT, bytes('d'))).error).toBe(0);
    expect((await rig.send(spec.FUSE_UNLINK, ROOT, bytes('m'))).error).toBe(0);
    expect(readdirSync(share)).toEqual(['taken']);
  });

  it('SETATTR sets size, times and permissions, and says what is', async () => {
    writeFileSync(join(share, 'a'), 'content');
    const rig = await mounted();
    const a = await rig.lookup(ROOT, 'a');
    const valid = spec.FATTR_SIZE | spec.FATTR_MODE | spec.FATTR_MTIME | spec.FATTR_ATIME_NOW;
    const changes = { valid, size: 3n, mode: 0o600, mtime: 77n, mtimensec: 5 };
    const { payload } = await rig.send(spec.FUSE_SETATTR, a, structBytes(spec.FUSE_SETATTR_IN, changes));
    const attributes = spec.readStruct(spec.FUSE_ATTR_OUT, structView(payload), 0);
    expect(attributes).toMatchObject({ size: 3n, mode: 0o100600, mtime: 77n, mtimensec: 5 });
    expect(readFileSync(join(share, 'a'), 'utf8')).toBe('con');
    const directory = structBytes(spec.FUSE_SETATTR_IN, { valid: spec.FATTR_SIZE });
    expect((await rig.send(spec.FUSE_SETATTR, ROOT, directory)).error).toBe(ERRNO.EISDIR);
  });

  it.each([
    [0, 0o000, spec.R_OK | spec.W_OK, 0],
    [0, 0o600, spec.X_OK, ERRNO.EACCES],
    [4000, 0o644, spec.R_OK, 0],
    [4000, 0o644, spec.W_OK, ERRNO.EACCES],
  ])('ACCESS of user %d to mode %o for %d: %d', async (uid, mode, mask, error) => {
    writeFileSync(join(share, 'a'), '');
    chmodSync(join(share, 'a'), mode);
    const rig = await mounted();
    const a = await rig.lookup(ROOT, 'a');
    expect((await rig.send(spec.FUSE_ACCESS, a, structBytes(spec.FUSE_ACCESS_IN, { mask }), { uid })).error).toBe(
      error,
    );
  });

  it('STATFS, LSEEK and FALLOCATE answer', async () => {
    const rig = await mounted();
    const { payload } = await rig.send(spec.FUSE_STATFS, ROOT);
    const stat = spec.readStruct(spec.FUSE_STATFS_OUT, structView(payload), 0);
    expect(stat.blocks).toBeGreaterThan(0n);
    expect(stat.namelen).toBe(255);
    writeFileSync(join(share, 'a'), 'content');
    const a = await rig.lookup(ROOT, 'a');
    const fh = await openFile(rig, a);
    const fallocate = structBytes(spec.FUSE_FALLOCATE_IN, { fh, length: 100n });
    expect((await rig.send(spec.FUSE_FALLOCATE, a, fallocate)).error).toBe(0);
    expect(statSync(join(share, 'a')).size).toBe(100);
    const lseek = structBytes(spec.FUSE_LSEEK_IN, { fh, offset: 0n, whence: spec.SEEK_HOLE });
    const found = await rig.send(spec.FUSE_LSEEK, a, lseek);
    expect(spec.readStruct(spec.FUSE_LSEEK_OUT, structView(found.payload), 0).offset).toBe(100n);
  });

  it('a directory that the host swaps for a link is not there for the driver', async () => {
    mkdirSync(join(share, 'd'));
    writeFileSync(join(share, 'd', 'f'), '');
    const rig = await mounted();
    const d = await rig.lookup(ROOT, 'd');
    rmSync(join(share, 'd'), { recursive: true });
    symlinkSync(tmpdir(), join(share, 'd'));
    expect((await rig.send(spec.FUSE_LOOKUP, d, bytes('f'))).error).toBe(ERRNO.ENOENT);
    const again = await rig.lookup(ROOT, 'd');
    expect((await rig.send(spec.FUSE_LOOKUP, again, bytes('f'))).error).toBe(ERRNO.ENOTDIR);
    expect((await rig.send(spec.FUSE_OPEN, again, structBytes(spec.FUSE_OPEN_IN, {}))).error).toBe(ERRNO.EACCES);
    expect((await rig.send(spec.FUSE_OPENDIR, again, structBytes(spec.FUSE_OPEN_IN, {}))).error).toBe(ERRNO.ENOTDIR);
  });
});

it('several request queues serve one session (5.11.5)', async () => {
  writeFileSync(join(share, 'a'), 'x');
  const rig = await mounted({ queues: 3 });
  expect(rig.device.queueCount).toBe(4);
  const a = await rig.lookup(ROOT, 'a');
  const getattr = structBytes(spec.FUSE_GETATTR_IN, {});
  const errors = [1, 2, 3].map(async (queue) => (await rig.send(spec.FUSE_GETATTR, a, getattr, { queue })).error);
  expect(await Promise.all(errors)).toEqual([0, 0, 0]);
});
