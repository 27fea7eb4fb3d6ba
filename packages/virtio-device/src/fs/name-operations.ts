import { assert } from '@remio/base';
import {
  ERRNO,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_FH,
  FATTR_GID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_ACCESS_IN,
  FUSE_LINK_IN,
  FUSE_MKDIR_IN,
  FUSE_MKNOD_IN,
  FUSE_RENAME_IN,
  FUSE_RENAME2_IN,
  FUSE_SETATTR_IN,
  FUSE_STATFS_OUT,
  NAME_MAX,
  O_EXCL,
  O_RDONLY,
  R_OK,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  readStruct,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type StructOf,
  structBytes,
  W_OK,
  X_OK,
} from '@remio/virtio-spec';
import type { AttributeChanges, Attributes, HostFile, SetTime } from './file-tree.js';
import { attrOut, done, failed, type Reply } from './reply.js';
import type { FuseRequest } from './request.js';
import { entry, type Operation, type Session, withFile, withNode } from './session.js';

/** Permissions that a driver may give: no set-user-ID, no set-group-ID (5.11.6.5: they would harm others). */
export const MODE_MAX = 0o1777;

const nameOf = ({ names }: FuseRequest, index = 0): Uint8Array => {
  const name = names[index];
  assert(name !== undefined, 'a request has the names of its shape');
  return name;
};

export const lookup: Operation = (session, request) =>
  withNode(session, request.nodeid, async ({ handle }) => {
    const found = await session.tree.lookup(handle, nameOf(request));
    return found.ok ? entry(session, found.value) : failed(found.error);
  });

export const getattr: Operation = (session, { nodeid }) =>
  withNode(session, nodeid, async ({ handle }) => {
    const attributes = await session.tree.attributes(handle);
    return attributes.ok ? done(attrOut(attributes.value, session.littleEndian)) : failed(attributes.error);
  });

export const setattr: Operation = (session, { nodeid, args, littleEndian }) =>
  withNode(session, nodeid, async (node) => {
    const given = readStruct(FUSE_SETATTR_IN, args, 0, littleEndian);
    const changes = changesOf(given);
    if (typeof changes === 'number') return failed(changes);
    // Nobody but the driver believes in its users: what it makes belongs to whoever runs the device, and stays theirs.
    if ((given.valid & (FATTR_UID | FATTR_GID)) !== 0) {
      const now = await session.tree.attributes(node.handle);
      if (!now.ok) return failed(now.error);
      const uid = (given.valid & FATTR_UID) !== 0 && given.uid !== now.value.uid;
      const gid = (given.valid & FATTR_GID) !== 0 && given.gid !== now.value.gid;
      if (uid || gid) return failed(ERRNO.EPERM);
    }
    if (changes.size !== undefined && node.type !== S_IFREG) {
      return failed(node.type === S_IFDIR ? ERRNO.EISDIR : ERRNO.EINVAL);
    }
    if (changes.mode !== undefined && node.type === S_IFLNK) return failed(ERRNO.EOPNOTSUPP);
    const change = async (file?: HostFile): Promise<Reply> => {
      const changed = await session.tree.change(node.handle, changes, file);
      return changed.ok ? done(attrOut(changed.value, session.littleEndian)) : failed(changed.error);
    };
    return (given.valid & FATTR_FH) === 0
      ? change()
      : withFile(session, given.fh, nodeid, 'file', ({ handle }) => change(handle));
  });

/** What a SETATTR changes, or what is wrong with it. */
function changesOf(given: StructOf<typeof FUSE_SETATTR_IN>): AttributeChanges | number {
  const { valid } = given;
  const time = (set: number, now: number, seconds: bigint, nanoseconds: number): SetTime | undefined | 'wrong' => {
    if ((valid & now) !== 0) return 'now';
    if ((valid & set) === 0) return undefined;
    return nanoseconds < 1_000_000_000 ? { seconds: BigInt.asIntN(64, seconds), nanoseconds } : 'wrong';
  };
  const atime = time(FATTR_ATIME, FATTR_ATIME_NOW, given.atime, given.atimensec);
  const mtime = time(FATTR_MTIME, FATTR_MTIME_NOW, given.mtime, given.mtimensec);
  if (atime === 'wrong' || mtime === 'wrong') return ERRNO.EINVAL;
  const size = (valid & FATTR_SIZE) === 0 ? undefined : offsetOf(given.size);
  if (size === 'beyond') return ERRNO.EFBIG;
  return {
    ...((valid & FATTR_MODE) === 0 ? {} : { mode: given.mode & MODE_MAX }),
    ...(size === undefined ? {} : { size }),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
  };
}

/** A position in a file as a number that is exact. */
export const offsetOf = (offset: bigint): number | 'beyond' =>
  offset <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(offset) : 'beyond';

export const readlink: Operation = (session, { nodeid, room }) =>
  withNode(session, nodeid, async ({ handle, type }) => {
    if (type !== S_IFLNK) return failed(ERRNO.EINVAL);
    const target = await session.tree.readlink(handle);
    if (!target.ok) return failed(target.error);
    return target.value.length <= room ? done(target.value) : failed(ERRNO.EINVAL);
  });

export const mkdir: Operation = (session, request) =>
  withNode(session, request.nodeid, async ({ handle }) => {
    if (session.nodes.full) return failed(ERRNO.ENFILE);
    const { mode } = readStruct(FUSE_MKDIR_IN, request.args, 0, request.littleEndian);
    const made = await session.tree.makeDirectory(handle, nameOf(request), mode & MODE_MAX);
    return made.ok ? entry(session, made.value) : failed(made.error);
  });

export const symlink: Operation = (session, request) =>
  withNode(session, request.nodeid, async ({ handle }) => {
    if (session.nodes.full) return failed(ERRNO.ENFILE);
    const made = await session.tree.makeSymlink(handle, nameOf(request), nameOf(request, 1));
    return made.ok ? entry(session, made.value) : failed(made.error);
  });

/** Regular files only: device nodes, sockets and FIFOs would reach beyond the tree (5.11.6.5). */
export const mknod: Operation = (session, request) =>
  withNode(session, request.nodeid, async ({ handle }) => {
    const { mode } = readStruct(FUSE_MKNOD_IN, request.args, 0, request.littleEndian);
    const type = mode & S_IFMT;
    if (type !== S_IFREG && type !== 0) return failed(ERRNO.EPERM);
    if (session.nodes.full) return failed(ERRNO.ENFILE);
    const made = await session.tree.create(handle, nameOf(request), mode & MODE_MAX, O_RDONLY | O_EXCL);
    if (!made.ok) return failed(made.error);
    session.tree.release(made.value.file);
    return entry(session, made.value.found);
  });

export const link: Operation = (session, request) =>
  withNode(session, request.nodeid, (directory) =>
    withNode(session, readStruct(FUSE_LINK_IN, request.args, 0, request.littleEndian).oldnodeid, async (node) => {
      if (node.type === S_IFDIR) return failed(ERRNO.EPERM);
      const made = await session.tree.link(node.handle, directory.handle, nameOf(request));
      return made.ok ? entry(session, made.value) : failed(made.error);
    }),
  );

export const unlink: Operation = (session, request) =>
  withNode(session, request.nodeid, async ({ handle }) => ended(await session.tree.unlink(handle, nameOf(request))));

export const rmdir: Operation = (session, request) =>
  withNode(session, request.nodeid, async ({ handle }) =>
    ended(await session.tree.removeDirectory(handle, nameOf(request))),
  );

const renameTo = (session: Session, request: FuseRequest, newdir: bigint, flags: number): Promise<Reply> =>
  withNode(session, request.nodeid, (from) =>
    withNode(session, newdir, async (to) =>
      ended(await session.tree.rename(from.handle, nameOf(request), to.handle, nameOf(request, 1), flags)),
    ),
  );

export const rename: Operation = (session, request) =>
  renameTo(session, request, readStruct(FUSE_RENAME_IN, request.args, 0, request.littleEndian).newdir, 0);

export const rename2: Operation = async (session, request) => {
  const { newdir, flags } = readStruct(FUSE_RENAME2_IN, request.args, 0, request.littleEndian);
  if (flags !== 0 && flags !== RENAME_NOREPLACE && flags !== RENAME_EXCHANGE) return failed(ERRNO.EINVAL);
  return renameTo(session, request, newdir, flags);
};

export const access: Operation = (session, { nodeid, uid, gid, args, littleEndian }) =>
  withNode(session, nodeid, async ({ handle }) => {
    const { mask } = readStruct(FUSE_ACCESS_IN, args, 0, littleEndian);
    const attributes = await session.tree.attributes(handle);
    if (!attributes.ok) return failed(attributes.error);
    if ((mask & W_OK) !== 0 && session.tree.readOnly) return failed(ERRNO.EROFS);
    return permits(attributes.value, uid, gid, mask) ? done() : failed(ERRNO.EACCES);
  });

/** Whether a user of the driver's may do this, by the permissions alone; user 0 may do all but execute what nobody may. */
function permits({ mode, uid, gid }: Attributes, user: number, group: number, mask: number): boolean {
  if (user === 0) return (mask & X_OK) === 0 || (mode & S_IFMT) === S_IFDIR || (mode & 0o111) !== 0;
  const bits = user === uid ? mode >> 6 : group === gid ? mode >> 3 : mode;
  const wanted = mask & (R_OK | W_OK | X_OK);
  return (bits & wanted) === wanted;
}

export const statfs: Operation = async (session) => {
  const statistics = await session.tree.statistics();
  if (!statistics.ok) return failed(statistics.error);
  return done(structBytes(FUSE_STATFS_OUT, { ...statistics.value, namelen: NAME_MAX }, session.littleEndian));
};

const ended = (outcome: { readonly ok: true } | { readonly ok: false; readonly error: number }): Reply =>
  outcome.ok ? done() : failed(outcome.error);
