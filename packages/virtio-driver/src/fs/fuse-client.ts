import { ok, type Result } from '@remio/base';
import {
  ERRNO,
  FATTR_FH,
  FATTR_MODE,
  FATTR_SIZE,
  FUSE_ASYNC_READ,
  FUSE_ATTR_OUT,
  FUSE_BIG_WRITES,
  FUSE_CREATE,
  FUSE_CREATE_IN,
  FUSE_DESTROY,
  FUSE_DIRENT,
  FUSE_ENTRY_OUT,
  FUSE_FSYNC,
  FUSE_FSYNC_IN,
  FUSE_GETATTR,
  FUSE_GETATTR_IN,
  FUSE_INIT,
  FUSE_INIT_IN,
  FUSE_INIT_OUT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_MINOR_VERSION_MIN,
  FUSE_KERNEL_VERSION,
  FUSE_LINK,
  FUSE_LINK_IN,
  FUSE_LOOKUP,
  FUSE_MAX_PAGES,
  FUSE_MKDIR,
  FUSE_MKDIR_IN,
  FUSE_OPEN,
  FUSE_OPEN_IN,
  FUSE_OPEN_OUT,
  FUSE_OPENDIR,
  FUSE_READ,
  FUSE_READ_IN,
  FUSE_READDIR,
  FUSE_READLINK,
  FUSE_RELEASE,
  FUSE_RELEASE_IN,
  FUSE_RELEASEDIR,
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
  fuseDirentSize,
  isComponent,
  type Layout,
  PATH_MAX,
  readStruct,
  type Struct,
  type StructFields,
  type StructOf,
  structBytes,
  structView,
} from '@remio/virtio-spec';
import type { Forgotten, VirtioFsDriver } from './fs-driver.js';
import { type FsError, type FsOutcome, fsError } from './fs-error.js';

/** Attributes of a file as the device says them. */
export type FsAttributes = Omit<StructOf<typeof FUSE_ATTR_OUT>, 'attr_valid' | 'attr_valid_nsec' | 'dummy'>;

/** A node that was looked up: to be forgotten once for each time. */
export interface FsNode {
  readonly id: bigint;
  readonly attributes: FsAttributes;
}

/** An entry of a directory. */
export interface FsEntry {
  readonly name: string;
  /** Type as in a mode: S_IFREG, S_IFDIR, S_IFLNK, … */
  readonly type: number;
}

/** Bytes that a device must take in one WRITE, at least: a page. */
const WRITE_MIN = 4096;

const NO_ARGS = new Uint8Array(0);

/** FUSE requests, each with its structures, and what replies may be believed. */
export class FuseClient {
  readonly #driver: VirtioFsDriver;
  /** Bytes of data of one READ or WRITE. */
  readonly transfer: number;

  private constructor(driver: VirtioFsDriver, transfer: number) {
    this.#driver = driver;
    this.transfer = transfer;
  }

  /** Starts a session (5.11.5). */
  static async init(driver: VirtioFsDriver): FsOutcome<FuseClient> {
    const args = structBytes(FUSE_INIT_IN, {
      major: FUSE_KERNEL_VERSION,
      minor: FUSE_KERNEL_MINOR_VERSION,
      max_readahead: driver.dataSize,
      flags: FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES,
    });
    const reply = await driver.request({ opcode: FUSE_INIT, nodeid: 0n, args, room: FUSE_INIT_OUT.size });
    const out = structOf(reply, FUSE_INIT_OUT);
    if (!out.ok) return out;
    const { major, minor, max_write } = out.value;
    if (major !== FUSE_KERNEL_VERSION || minor < FUSE_KERNEL_MINOR_VERSION_MIN) {
      return fsError(ERRNO.EPROTO, `the device speaks FUSE ${major}.${minor}`);
    }
    if (max_write < WRITE_MIN) return fsError(ERRNO.EPROTO, `the device takes ${max_write} bytes at once`);
    return ok(new FuseClient(driver, Math.min(driver.dataSize, max_write)));
  }

  /** Ends the session. */
  async destroy(): FsOutcome<void> {
    return nothing(await this.#ask(FUSE_DESTROY, 0n));
  }

  async lookup(directory: bigint, name: string): FsOutcome<FsNode> {
    return nodeOf(await this.#ask(FUSE_LOOKUP, directory, withNames([name]), FUSE_ENTRY_OUT.size));
  }

  forget(nodes: readonly Forgotten[]): Promise<void> {
    return this.#driver.forget(nodes);
  }

  async getattr(nodeid: bigint): FsOutcome<FsAttributes> {
    const args = structBytes(FUSE_GETATTR_IN, {});
    return structOf(await this.#ask(FUSE_GETATTR, nodeid, args, FUSE_ATTR_OUT.size), FUSE_ATTR_OUT);
  }

  /** Sets the size, or the permissions. */
  async setattr(
    nodeid: bigint,
    changes: { readonly size?: number; readonly mode?: number; readonly fh?: bigint },
  ): FsOutcome<FsAttributes> {
    const { size, mode, fh } = changes;
    const args = structBytes(FUSE_SETATTR_IN, {
      valid:
        (size === undefined ? 0 : FATTR_SIZE) |
        (mode === undefined ? 0 : FATTR_MODE) |
        (fh === undefined ? 0 : FATTR_FH),
      size: BigInt(size ?? 0),
      mode: mode ?? 0,
      fh: fh ?? 0n,
    });
    return structOf(await this.#ask(FUSE_SETATTR, nodeid, args, FUSE_ATTR_OUT.size), FUSE_ATTR_OUT);
  }

  async readlink(nodeid: bigint): FsOutcome<string> {
    const reply = await this.#ask(FUSE_READLINK, nodeid, NO_ARGS, PATH_MAX);
    return reply.ok ? ok(new TextDecoder().decode(reply.value)) : reply;
  }

  async symlink(directory: bigint, name: string, target: string): FsOutcome<FsNode> {
    return nodeOf(await this.#ask(FUSE_SYMLINK, directory, withNames([name, target]), FUSE_ENTRY_OUT.size));
  }

  async mkdir(directory: bigint, name: string, mode: number): FsOutcome<FsNode> {
    const args = withNames([name], structBytes(FUSE_MKDIR_IN, { mode }));
    return nodeOf(await this.#ask(FUSE_MKDIR, directory, args, FUSE_ENTRY_OUT.size));
  }

  async link(nodeid: bigint, directory: bigint, name: string): FsOutcome<FsNode> {
    const args = withNames([name], structBytes(FUSE_LINK_IN, { oldnodeid: nodeid }));
    return nodeOf(await this.#ask(FUSE_LINK, directory, args, FUSE_ENTRY_OUT.size));
  }

  async unlink(directory: bigint, name: string): FsOutcome<void> {
    return nothing(await this.#ask(FUSE_UNLINK, directory, withNames([name])));
  }

  async rmdir(directory: bigint, name: string): FsOutcome<void> {
    return nothing(await this.#ask(FUSE_RMDIR, directory, withNames([name])));
  }

  /** @param flags RENAME_NOREPLACE, RENAME_EXCHANGE */
  async rename(directory: bigint, name: string, newDirectory: bigint, newName: string, flags: number): FsOutcome<void> {
    const args = withNames([name, newName], structBytes(FUSE_RENAME2_IN, { newdir: newDirectory, flags }));
    return nothing(await this.#ask(FUSE_RENAME2, directory, args));
  }

  async create(
    directory: bigint,
    name: string,
    mode: number,
    flags: number,
  ): FsOutcome<{ readonly node: FsNode; readonly fh: bigint }> {
    const args = withNames([name], structBytes(FUSE_CREATE_IN, { flags, mode }));
    const reply = await this.#ask(FUSE_CREATE, directory, args, FUSE_ENTRY_OUT.size + FUSE_OPEN_OUT.size);
    const node = nodeOf(reply);
    if (!node.ok) return node;
    const out = structOf(reply, FUSE_OPEN_OUT, FUSE_ENTRY_OUT.size);
    return out.ok ? ok({ node: node.value, fh: out.value.fh }) : out;
  }

  async open(nodeid: bigint, flags: number): FsOutcome<bigint> {
    return this.#open(FUSE_OPEN, nodeid, flags);
  }

  async opendir(nodeid: bigint): FsOutcome<bigint> {
    return this.#open(FUSE_OPENDIR, nodeid, 0);
  }

  async release(nodeid: bigint, fh: bigint): FsOutcome<void> {
    return nothing(await this.#ask(FUSE_RELEASE, nodeid, structBytes(FUSE_RELEASE_IN, { fh })));
  }

  async releasedir(nodeid: bigint, fh: bigint): FsOutcome<void> {
    return nothing(await this.#ask(FUSE_RELEASEDIR, nodeid, structBytes(FUSE_RELEASE_IN, { fh })));
  }

  /** At most {@link transfer} bytes from a position on; fewer at the end of the file. */
  async read(nodeid: bigint, fh: bigint, position: number, size: number): FsOutcome<Uint8Array> {
    const args = structBytes(FUSE_READ_IN, { fh, offset: BigInt(position), size });
    return this.#ask(FUSE_READ, nodeid, args, size);
  }

  /** At most {@link transfer} bytes; how many of them the device took. */
  async write(nodeid: bigint, fh: bigint, position: number, data: Uint8Array): FsOutcome<number> {
    const args = structBytes(FUSE_WRITE_IN, { fh, offset: BigInt(position), size: data.length });
    const room = FUSE_WRITE_OUT.size;
    const reply = await this.#driver.request({ opcode: FUSE_WRITE, nodeid, args, data, room });
    const out = structOf(reply, FUSE_WRITE_OUT);
    if (!out.ok) return out;
    const { size } = out.value;
    return size <= data.length ? ok(size) : fsError(ERRNO.EPROTO, `${size} bytes written of ${data.length}`);
  }

  async fsync(nodeid: bigint, fh: bigint): FsOutcome<void> {
    return nothing(await this.#ask(FUSE_FSYNC, nodeid, structBytes(FUSE_FSYNC_IN, { fh })));
  }

  /**
   * Entries of an open directory, and where those after them are; none at its end.
   * @param from 0, or where a former call said
   */
  async readdir(
    nodeid: bigint,
    fh: bigint,
    from: bigint,
  ): FsOutcome<{ readonly entries: readonly FsEntry[]; readonly next: bigint }> {
    const size = this.#driver.dataSize;
    const reply = await this.#ask(FUSE_READDIR, nodeid, structBytes(FUSE_READ_IN, { fh, offset: from, size }), size);
    return reply.ok ? entriesOf(reply.value, from) : reply;
  }

  async statfs(): FsOutcome<StructOf<typeof FUSE_STATFS_OUT>> {
    return structOf(await this.#ask(FUSE_STATFS, 1n, NO_ARGS, FUSE_STATFS_OUT.size), FUSE_STATFS_OUT);
  }

  async #open(opcode: number, nodeid: bigint, flags: number): FsOutcome<bigint> {
    const reply = await this.#ask(opcode, nodeid, structBytes(FUSE_OPEN_IN, { flags }), FUSE_OPEN_OUT.size);
    const out = structOf(reply, FUSE_OPEN_OUT);
    return out.ok ? ok(out.value.fh) : out;
  }

  #ask(opcode: number, nodeid: bigint, args: Uint8Array = NO_ARGS, room = 0): FsOutcome<Uint8Array> {
    return this.#driver.request({ opcode, nodeid, args, room });
  }
}

/** A structure, and names that end with NUL. */
function withNames(names: readonly string[], struct: Uint8Array = NO_ARGS): Uint8Array {
  const text = new TextEncoder().encode(names.map((name) => `${name}\0`).join(''));
  const bytes = new Uint8Array(struct.length + text.length);
  bytes.set(struct);
  bytes.set(text, struct.length);
  return bytes;
}

const nothing = (reply: Result<Uint8Array, FsError>): Result<void, FsError> => (reply.ok ? ok(undefined) : reply);

/** The structure that a reply must bring. */
function structOf<F extends StructFields>(
  reply: Result<Uint8Array, FsError>,
  layout: Layout<F>,
  at = 0,
): Result<Struct<F>, FsError> {
  if (!reply.ok) return reply;
  if (reply.value.length < at + layout.size) {
    return fsError(ERRNO.EPROTO, `a reply of ${reply.value.length} bytes, which has ${at + layout.size}`);
  }
  return ok(readStruct(layout, structView(reply.value), at));
}

function nodeOf(reply: Result<Uint8Array, FsError>): Result<FsNode, FsError> {
  const out = structOf(reply, FUSE_ENTRY_OUT);
  if (!out.ok) return out;
  // A device may say so that a name is not there.
  if (out.value.nodeid === 0n) return fsError(ERRNO.ENOENT, 'the device’s answer');
  return ok({ id: out.value.nodeid, attributes: out.value });
}

/** Entries, if they are such: names that could lead elsewhere are none. */
function entriesOf(
  bytes: Uint8Array,
  from: bigint,
): Result<{ readonly entries: readonly FsEntry[]; readonly next: bigint }, FsError> {
  const entries: FsEntry[] = [];
  let next = from;
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < FUSE_DIRENT.size) return fsError(ERRNO.EPROTO, 'a directory entry is cut short');
    const { off, namelen, type } = readStruct(FUSE_DIRENT, structView(bytes), at);
    const name = bytes.subarray(at + FUSE_DIRENT.size, at + FUSE_DIRENT.size + namelen);
    if (name.length !== namelen) return fsError(ERRNO.EPROTO, 'the name of a directory entry is cut short');
    const text = new TextDecoder().decode(name);
    if (text !== '.' && text !== '..') {
      if (!isComponent(name)) return fsError(ERRNO.EPROTO, `a directory entry is called ${JSON.stringify(text)}`);
      entries.push({ name: text, type: (type << 12) >>> 0 });
    }
    next = off;
    at += fuseDirentSize(namelen);
  }
  return ok({ entries, next });
}
