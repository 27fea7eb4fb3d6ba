import {
  type BigIntStats,
  chmod,
  close,
  closeSync,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  open,
  openSync,
  readv,
  statfs,
  writev,
} from 'node:fs';
import { constants as system } from 'node:os';
import { err, ok, type Result } from '@remio/base';
import type {
  AttributeChanges,
  Attributes,
  DirectoryEntry,
  FileTree,
  Found,
  HostFile,
  HostNode,
  Outcome,
} from '@remio/virtio-device';
import { ERRNO, isComponent, O_EXCL, O_RDWR } from '@remio/virtio-spec';
import { readDirectoryEntries } from './directory-entries.js';
import {
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_FOLLOW,
  descriptorPath,
  fallocate,
  linkat,
  lseek,
  mkdirat,
  O_CLOEXEC,
  O_PATH,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  readlinkat,
  renameat2,
  setTimes,
  symlinkat,
  unlinkat,
} from './linux-calls.js';

/** How every name is resolved: one component, in its own directory, through no link, into no other file system. */
const RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;

/** Opening never waits for a peer, never becomes anybody's terminal. */
const QUIETLY = constants.O_NONBLOCK | constants.O_NOCTTY;

/** Bytes of a symbolic link's target, at most (PATH_MAX). */
const TARGET_MAX = 4096;

/**
 * A directory of the host as a tree of files, confined to it. A node is an O_PATH descriptor; a name is looked up with
 * openat2(2) as one component of a directory that is held already, through no symbolic link and into no other mount. So
 * there is no path that anybody could turn elsewhere, before or while it is walked: a directory that is moved or replaced
 * by a link meanwhile is the same directory still, or is not there. Files are opened through the descriptor of their node.
 */
export class SharedDirectory implements FileTree {
  readonly readOnly: boolean;
  readonly root: HostNode;
  /** Directory listings under way: each moves the descriptor's position. */
  readonly #listings = new Map<HostFile, Promise<unknown>>();

  private constructor(root: number, readOnly: boolean) {
    this.root = root as HostNode;
    this.readOnly = readOnly;
  }

  /** @returns what is wrong with the directory, and what would be right */
  static open(path: string, readOnly: boolean): Result<SharedDirectory, string> {
    if (process.platform !== 'linux') return err(`directory ${path} can be shared on Linux only`);
    try {
      const root = openSync(path, O_PATH | O_CLOEXEC | constants.O_DIRECTORY);
      return ok(new SharedDirectory(root, readOnly));
    } catch (error) {
      return err(`directory ${path} cannot be shared: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async lookup(directory: HostNode, name: Uint8Array): Outcome<Found> {
    const fd = await this.#open(directory, name, O_PATH | constants.O_NOFOLLOW);
    return fd.ok ? found(fd.value) : fd;
  }

  async attributes(node: HostNode): Outcome<Attributes> {
    const stat = await stats(node);
    return stat.ok ? ok(attributesOf(stat.value)) : stat;
  }

  async change(node: HostNode, changes: AttributeChanges, file?: HostFile): Outcome<Attributes> {
    const { mode, size, atime, mtime } = changes;
    if (mode !== undefined) {
      const changed = await answer((done) => chmod(descriptorPath(node), mode, done));
      if (!changed.ok) return changed;
    }
    if (size !== undefined) {
      const truncated = file === undefined ? await this.#truncate(node, size) : await truncate(file, size);
      if (!truncated.ok) return truncated;
    }
    if (atime !== undefined || mtime !== undefined) {
      const set = await setTimes(node, atime, mtime);
      if (!set.ok) return set;
    }
    return this.attributes(node);
  }

  async readlink(node: HostNode): Outcome<Uint8Array> {
    const target = new Uint8Array(TARGET_MAX);
    const length = await readlinkat(node, target);
    return length.ok ? ok(target.slice(0, length.value)) : length;
  }

  async makeDirectory(directory: HostNode, name: Uint8Array, mode: number): Outcome<Found> {
    if (!isComponent(name)) return err(ERRNO.EINVAL);
    const made = await mkdirat(directory, name, mode);
    return made.ok ? this.lookup(directory, name) : made;
  }

  async makeSymlink(directory: HostNode, name: Uint8Array, target: Uint8Array): Outcome<Found> {
    if (!isComponent(name)) return err(ERRNO.EINVAL);
    const made = await symlinkat(target, directory, name);
    return made.ok ? this.lookup(directory, name) : made;
  }

  async link(node: HostNode, directory: HostNode, name: Uint8Array): Outcome<Found> {
    if (!isComponent(name)) return err(ERRNO.EINVAL);
    const path = new TextEncoder().encode(descriptorPath(node));
    // What is followed is the kernel's own link to the node; if that is a symbolic link, it is the link that gets a name.
    const made = await linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW);
    return made.ok ? this.lookup(directory, name) : made;
  }

  async unlink(directory: HostNode, name: Uint8Array): Outcome<void> {
    return isComponent(name) ? nothing(await unlinkat(directory, name, 0)) : err(ERRNO.EINVAL);
  }

  async removeDirectory(directory: HostNode, name: Uint8Array): Outcome<void> {
    return isComponent(name) ? nothing(await unlinkat(directory, name, AT_REMOVEDIR)) : err(ERRNO.EINVAL);
  }

  async rename(from: HostNode, name: Uint8Array, to: HostNode, newName: Uint8Array, flags: number): Outcome<void> {
    if (!isComponent(name) || !isComponent(newName)) return err(ERRNO.EINVAL);
    return nothing(await renameat2(from, name, to, newName, flags));
  }

  async create(
    directory: HostNode,
    name: Uint8Array,
    mode: number,
    flags: number,
  ): Outcome<{ readonly found: Found; readonly file: HostFile }> {
    const access = flags & ~O_EXCL;
    const created = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | QUIETLY;
    const fd = await this.#open(directory, name, access | created, mode);
    if (!fd.ok) {
      return fd.error === ERRNO.EEXIST && (flags & O_EXCL) === 0 ? this.#openExisting(directory, name, access) : fd;
    }
    const file = fd.value as HostFile;
    // The node of what was made, whatever its name means by now.
    const node = await reopen(file, O_PATH);
    const made = node.ok ? await found(node.value) : node;
    if (made.ok) return ok({ found: made.value, file });
    this.release(file);
    return made;
  }

  async open(node: HostNode, flags: number): Outcome<HostFile> {
    const fd = await reopen(node, flags | QUIETLY);
    return fd.ok ? ok(fd.value as HostFile) : fd;
  }

  async openDirectory(node: HostNode): Outcome<HostFile> {
    const fd = await reopen(node, constants.O_RDONLY | constants.O_DIRECTORY);
    return fd.ok ? ok(fd.value as HostFile) : fd;
  }

  read(file: HostFile, position: number, buffers: readonly Uint8Array[]): Outcome<number> {
    return move(readv, file, position, buffers);
  }

  write(file: HostFile, position: number, buffers: readonly Uint8Array[]): Outcome<number> {
    return move(writev, file, position, buffers);
  }

  sync(file: HostFile, dataOnly: boolean): Outcome<void> {
    return answer((done) => (dataOnly ? fdatasync : fsync)(file, done));
  }

  async allocate(file: HostFile, mode: number, offset: number, length: number): Outcome<void> {
    return nothing(await fallocate(file, mode, offset, length));
  }

  seek(file: HostFile, offset: number, whence: number): Outcome<number> {
    return lseek(file, BigInt(offset), whence);
  }

  async list(file: HostFile, from: bigint, bytes: number): Outcome<readonly DirectoryEntry[]> {
    const before = this.#listings.get(file);
    const listing = (async () => {
      await before;
      return readDirectoryEntries(file, from, bytes);
    })();
    this.#listings.set(file, listing);
    try {
      return await listing;
    } finally {
      if (this.#listings.get(file) === listing) this.#listings.delete(file);
    }
  }

  async statistics(): ReturnType<FileTree['statistics']> {
    return new Promise((resolve) => {
      statfs(descriptorPath(this.root), { bigint: true }, (error, stat) => {
        if (error !== null) resolve(err(errnoOf(error)));
        else {
          const { blocks, bfree, bavail, files, ffree, bsize } = stat;
          const size = Number(bsize);
          resolve(ok({ blocks, bfree, bavail, files, ffree, bsize: size, frsize: size }));
        }
      });
    });
  }

  release(handle: HostNode | HostFile): void {
    // The kernel has forgotten the descriptor even where close says that something could not be written.
    close(handle, () => {});
  }

  async close(): Promise<void> {
    closeSync(this.root);
  }

  async #open(directory: HostNode, name: Uint8Array, flags: number, mode = 0): Outcome<number> {
    return isComponent(name) ? openat2(directory, name, flags | O_CLOEXEC, mode, RESOLVE) : err(ERRNO.EINVAL);
  }

  /** Opens what has the name already, if it is a regular file: nothing else is opened even to look at it. */
  async #openExisting(
    directory: HostNode,
    name: Uint8Array,
    flags: number,
  ): Outcome<{ readonly found: Found; readonly file: HostFile }> {
    const existing = await this.lookup(directory, name);
    if (!existing.ok) return existing;
    const { node, attributes } = existing.value;
    const regular = (attributes.mode & constants.S_IFMT) === constants.S_IFREG;
    const file: Result<HostFile, number> = regular ? await this.open(node, flags) : err(ERRNO.EEXIST);
    if (file.ok) return ok({ found: existing.value, file: file.value });
    this.release(node);
    return file;
  }

  async #truncate(node: HostNode, size: number): Outcome<void> {
    const file = await this.open(node, O_RDWR);
    if (!file.ok) return file;
    const truncated = await truncate(file.value, size);
    this.release(file.value);
    return truncated;
  }
}

/** The error number of what a function of Node's says. */
const errnoOf = (error: NodeJS.ErrnoException): number => {
  const code = error.code as keyof typeof system.errno | undefined;
  return (code === undefined ? undefined : system.errno[code]) ?? ERRNO.EIO;
};

/** A function of Node's that tells its end only. */
const answer = (start: (done: (error: NodeJS.ErrnoException | null) => void) => void): Outcome<void> =>
  new Promise((resolve) => start((error) => resolve(error === null ? ok(undefined) : err(errnoOf(error)))));

const nothing = (result: Result<number, number>): Result<void, number> => (result.ok ? ok(undefined) : result);

const truncate = (file: HostFile, size: number): Outcome<void> => answer((done) => ftruncate(file, size, done));

const stats = (fd: number): Outcome<BigIntStats> =>
  new Promise((resolve) => {
    fstat(fd, { bigint: true }, (error, stat) => resolve(error === null ? ok(stat) : err(errnoOf(error))));
  });

/** Opens the file that a descriptor holds once more, otherwise. */
const reopen = (fd: number, flags: number): Outcome<number> =>
  new Promise((resolve) => {
    open(descriptorPath(fd), flags | O_CLOEXEC, (error, opened) =>
      resolve(error === null ? ok(opened) : err(errnoOf(error))),
    );
  });

/** What stands behind a descriptor that was opened just now; it is closed if that cannot be said. */
async function found(fd: number): Outcome<Found> {
  const stat = await stats(fd);
  if (!stat.ok) {
    close(fd, () => {});
    return stat;
  }
  const { dev, ino } = stat.value;
  return ok({ node: fd as HostNode, identity: `${dev}:${ino}`, attributes: attributesOf(stat.value) });
}

const NANOSECONDS = 1_000_000_000n;

function attributesOf(stat: BigIntStats): Attributes {
  const nanoseconds = (time: bigint): number => Number(((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS);
  const seconds = (time: bigint): bigint => (time - BigInt(nanoseconds(time))) / NANOSECONDS;
  return {
    ino: stat.ino,
    size: stat.size,
    blocks: stat.blocks,
    atime: seconds(stat.atimeNs),
    mtime: seconds(stat.mtimeNs),
    ctime: seconds(stat.ctimeNs),
    atimensec: nanoseconds(stat.atimeNs),
    mtimensec: nanoseconds(stat.mtimeNs),
    ctimensec: nanoseconds(stat.ctimeNs),
    mode: Number(stat.mode),
    nlink: Number(stat.nlink),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    rdev: Number(stat.rdev),
    blksize: Number(stat.blksize),
  };
}

const move = (
  operation: typeof readv | typeof writev,
  file: HostFile,
  position: number,
  buffers: readonly Uint8Array[],
): Outcome<number> =>
  new Promise((resolve) => {
    if (buffers.length === 0) resolve(ok(0));
    else {
      operation(file, buffers, position, (error, moved) => resolve(error === null ? ok(moved) : err(errnoOf(error))));
    }
  });
