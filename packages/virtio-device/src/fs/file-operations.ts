import { assert } from '@remio/base';
import {
  ERRNO,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FUSE_CREATE_IN,
  FUSE_ENTRY_OUT,
  FUSE_FALLOCATE_IN,
  FUSE_FLUSH_IN,
  FUSE_FSYNC_FDATASYNC,
  FUSE_FSYNC_IN,
  FUSE_LSEEK_IN,
  FUSE_LSEEK_OUT,
  FUSE_OPEN_IN,
  FUSE_OPEN_OUT,
  FUSE_READ_IN,
  FUSE_RELEASE_IN,
  FUSE_WRITE_IN,
  FUSE_WRITE_OUT,
  O_ACCMODE,
  O_APPEND,
  O_DSYNC,
  O_EXCL,
  O_RDONLY,
  O_SYNC,
  O_TRUNC,
  readStruct,
  S_IFDIR,
  S_IFREG,
  SEEK_DATA,
  SEEK_HOLE,
  structBytes,
  structView,
  writeStruct,
} from '@remio/virtio-spec';
import { MODE_MAX, offsetOf } from './name-operations.js';
import { done, entryOut, failed, type Reply } from './reply.js';
import { type Operation, type Session, withFile, withNode } from './session.js';
import type { OpenFile } from './tables.js';

/** Flags of OPEN that mean something here; the others are the driver's own business. */
const OPEN_FLAGS = O_ACCMODE | O_APPEND | O_DSYNC | O_SYNC | O_TRUNC;

const opened = ({ littleEndian }: Session, file: OpenFile): Reply =>
  done(structBytes(FUSE_OPEN_OUT, { fh: file.fh }, littleEndian));

export const open: Operation = (session, { nodeid, args, littleEndian }) =>
  withNode(session, nodeid, async (node) => {
    const { flags } = readStruct(FUSE_OPEN_IN, args, 0, littleEndian);
    const access = flags & O_ACCMODE;
    if (access === O_ACCMODE) return failed(ERRNO.EINVAL);
    if (session.tree.readOnly && (access !== O_RDONLY || (flags & O_TRUNC) !== 0)) return failed(ERRNO.EROFS);
    // FIFOs and device nodes that the host put there would block, or act; a driver opens its own.
    if (node.type !== S_IFREG) return failed(node.type === S_IFDIR ? ERRNO.EISDIR : ERRNO.EACCES);
    if (session.files.full) return failed(ERRNO.ENFILE);
    const handle = await session.tree.open(node.handle, flags & OPEN_FLAGS);
    if (!handle.ok) return failed(handle.error);
    const file = session.files.add(handle.value, node, 'file');
    return file === undefined ? failed(ERRNO.ENFILE) : opened(session, file);
  });

export const opendir: Operation = (session, { nodeid }) =>
  withNode(session, nodeid, async (node) => {
    if (node.type !== S_IFDIR) return failed(ERRNO.ENOTDIR);
    if (session.files.full) return failed(ERRNO.ENFILE);
    const handle = await session.tree.openDirectory(node.handle);
    if (!handle.ok) return failed(handle.error);
    const file = session.files.add(handle.value, node, 'directory');
    return file === undefined ? failed(ERRNO.ENFILE) : opened(session, file);
  });

export const create: Operation = (session, { nodeid, names, args, littleEndian }) =>
  withNode(session, nodeid, async (directory) => {
    const { flags, mode } = readStruct(FUSE_CREATE_IN, args, 0, littleEndian);
    const [name] = names;
    assert(name !== undefined, 'a CREATE has a name');
    if ((flags & O_ACCMODE) === O_ACCMODE) return failed(ERRNO.EINVAL);
    if (session.nodes.full || session.files.full) return failed(ERRNO.ENFILE);
    const made = await session.tree.create(directory.handle, name, mode & MODE_MAX, flags & (OPEN_FLAGS | O_EXCL));
    if (!made.ok) return failed(made.error);
    const { found, file: handle } = made.value;
    const node = session.nodes.add(found);
    if (node === undefined) {
      session.tree.release(handle);
      return failed(ERRNO.ENFILE);
    }
    const file = session.files.add(handle, node, 'file');
    if (file === undefined) {
      session.nodes.forget(node.id, 1n);
      return failed(ERRNO.ENFILE);
    }
    const payload = entryOut(node, found.attributes, littleEndian, FUSE_OPEN_OUT.size);
    writeStruct(FUSE_OPEN_OUT, structView(payload), FUSE_ENTRY_OUT.size, { fh: file.fh }, littleEndian);
    return done(payload);
  });

export const read: Operation = (session, { nodeid, args, littleEndian }, buffers) => {
  const { fh, offset } = readStruct(FUSE_READ_IN, args, 0, littleEndian);
  return withFile(session, fh, nodeid, 'file', async ({ handle }) => {
    const position = offsetOf(offset);
    if (position === 'beyond') return failed(ERRNO.EINVAL);
    const moved = await session.tree.read(handle, position, buffers);
    return moved.ok ? done(undefined, moved.value) : failed(moved.error);
  });
};

export const write: Operation = (session, { nodeid, args, littleEndian }, buffers) => {
  const { fh, offset } = readStruct(FUSE_WRITE_IN, args, 0, littleEndian);
  return withFile(session, fh, nodeid, 'file', async ({ handle }) => {
    const position = offsetOf(offset);
    if (position === 'beyond') return failed(ERRNO.EFBIG);
    const moved = await session.tree.write(handle, position, buffers);
    return moved.ok ? done(structBytes(FUSE_WRITE_OUT, { size: moved.value }, littleEndian)) : failed(moved.error);
  });
};

/** Nothing is kept here that a close would have to write. */
export const flush: Operation = (session, { nodeid, args, littleEndian }) =>
  withFile(session, readStruct(FUSE_FLUSH_IN, args, 0, littleEndian).fh, nodeid, 'file', async () => done());

const syncOf =
  (kind: OpenFile['kind']): Operation =>
  (session, { nodeid, args, littleEndian }) => {
    const { fh, fsync_flags } = readStruct(FUSE_FSYNC_IN, args, 0, littleEndian);
    return withFile(session, fh, nodeid, kind, async ({ handle }) => {
      const synced = await session.tree.sync(handle, (fsync_flags & FUSE_FSYNC_FDATASYNC) !== 0);
      return synced.ok ? done() : failed(synced.error);
    });
  };

export const fsync = syncOf('file');
export const fsyncdir = syncOf('directory');

const releaseOf =
  (kind: OpenFile['kind']): Operation =>
  (session, { nodeid, args, littleEndian }) => {
    const { fh } = readStruct(FUSE_RELEASE_IN, args, 0, littleEndian);
    return withFile(session, fh, nodeid, kind, async (file) => {
      session.files.close(file);
      return done();
    });
  };

export const release = releaseOf('file');
export const releasedir = releaseOf('directory');

/** What FALLOCATE may do; the other modes move data that others may have mapped. */
const ALLOCATE_MODES: readonly number[] = [
  0,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE,
];

export const fallocate: Operation = (session, { nodeid, args, littleEndian }) => {
  const { fh, offset, length, mode } = readStruct(FUSE_FALLOCATE_IN, args, 0, littleEndian);
  return withFile(session, fh, nodeid, 'file', async ({ handle }) => {
    if (!ALLOCATE_MODES.includes(mode)) return failed(ERRNO.EOPNOTSUPP);
    const end = offsetOf(offset + length);
    if (end === 'beyond') return failed(ERRNO.EFBIG);
    const allocated = await session.tree.allocate(handle, mode, Number(offset), Number(length));
    return allocated.ok ? done() : failed(allocated.error);
  });
};

/** SEEK_DATA and SEEK_HOLE: a driver knows its position and the file's end itself. */
export const lseek: Operation = (session, { nodeid, args, littleEndian }) => {
  const { fh, offset, whence } = readStruct(FUSE_LSEEK_IN, args, 0, littleEndian);
  return withFile(session, fh, nodeid, 'file', async ({ handle }) => {
    const from = offsetOf(offset);
    if (from === 'beyond' || (whence !== SEEK_DATA && whence !== SEEK_HOLE)) return failed(ERRNO.EINVAL);
    const found = await session.tree.seek(handle, from, whence);
    return found.ok
      ? done(structBytes(FUSE_LSEEK_OUT, { offset: BigInt(found.value) }, littleEndian))
      : failed(found.error);
  });
};
