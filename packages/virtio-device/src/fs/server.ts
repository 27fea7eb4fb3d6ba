import { assert } from '@remio/base';
import {
  ERRNO,
  FUSE_ACCESS,
  FUSE_ASYNC_READ,
  FUSE_ATOMIC_O_TRUNC,
  FUSE_AUTO_INVAL_DATA,
  FUSE_BATCH_FORGET,
  FUSE_BATCH_FORGET_IN,
  FUSE_BIG_WRITES,
  FUSE_CREATE,
  FUSE_DESTROY,
  FUSE_DO_READDIRPLUS,
  FUSE_FALLOCATE,
  FUSE_FLUSH,
  FUSE_FORGET,
  FUSE_FORGET_IN,
  FUSE_FORGET_ONE,
  FUSE_FSYNC,
  FUSE_FSYNCDIR,
  FUSE_GETATTR,
  FUSE_INIT,
  FUSE_INIT_IN,
  FUSE_INIT_OUT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_MINOR_VERSION_MIN,
  FUSE_KERNEL_VERSION,
  FUSE_LINK,
  FUSE_LOOKUP,
  FUSE_LSEEK,
  FUSE_MAX_PAGES,
  FUSE_MKDIR,
  FUSE_MKNOD,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_PARALLEL_DIROPS,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_READDIRPLUS,
  FUSE_READDIRPLUS_AUTO,
  FUSE_READLINK,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_RENAME,
  FUSE_RENAME2,
  FUSE_RMDIR,
  FUSE_ROOT_ID,
  FUSE_SETATTR,
  FUSE_STATFS,
  FUSE_SYMLINK,
  FUSE_UNLINK,
  FUSE_WRITE,
  readStruct,
  S_IFDIR,
  structBytes,
} from '@remio/virtio-spec';
import * as directories from './directory-operations.js';
import * as files from './file-operations.js';
import type { FileTree } from './file-tree.js';
import * as names from './name-operations.js';
import { done, failed, type Reply } from './reply.js';
import type { FuseRequest } from './request.js';
import type { Operation, Session } from './session.js';
import { FileTable, type FsLimits, NodeTable } from './tables.js';

const OPERATIONS: Readonly<Record<number, Operation>> = {
  [FUSE_LOOKUP]: names.lookup,
  [FUSE_GETATTR]: names.getattr,
  [FUSE_SETATTR]: names.setattr,
  [FUSE_READLINK]: names.readlink,
  [FUSE_SYMLINK]: names.symlink,
  [FUSE_MKNOD]: names.mknod,
  [FUSE_MKDIR]: names.mkdir,
  [FUSE_UNLINK]: names.unlink,
  [FUSE_RMDIR]: names.rmdir,
  [FUSE_RENAME]: names.rename,
  [FUSE_RENAME2]: names.rename2,
  [FUSE_LINK]: names.link,
  [FUSE_STATFS]: names.statfs,
  [FUSE_ACCESS]: names.access,
  [FUSE_OPEN]: files.open,
  [FUSE_CREATE]: files.create,
  [FUSE_READ]: files.read,
  [FUSE_WRITE]: files.write,
  [FUSE_FLUSH]: files.flush,
  [FUSE_FSYNC]: files.fsync,
  [FUSE_RELEASE]: files.release,
  [FUSE_FALLOCATE]: files.fallocate,
  [FUSE_LSEEK]: files.lseek,
  [FUSE_OPENDIR]: files.opendir,
  [FUSE_READDIR]: directories.readdir,
  [FUSE_READDIRPLUS]: directories.readdirplus,
  [FUSE_FSYNCDIR]: files.fsyncdir,
  [FUSE_RELEASEDIR]: files.releasedir,
};

/** Flags of INIT that are accepted when a driver offers them. */
export const FUSE_FLAGS =
  FUSE_ASYNC_READ |
  FUSE_ATOMIC_O_TRUNC |
  FUSE_BIG_WRITES |
  FUSE_AUTO_INVAL_DATA |
  FUSE_DO_READDIRPLUS |
  FUSE_READDIRPLUS_AUTO |
  FUSE_PARALLEL_DIROPS |
  FUSE_MAX_PAGES;

/** Bytes and pages of one READ or WRITE that a driver is told to stay within; it is its own memory. */
const TRANSFER_MAX = 1 << 20;
const PAGE = 4096;

/** Requests that a driver need not wait for, and when it should hold back: what FUSE suggests. */
const BACKGROUND_MAX = 12;
const CONGESTION_THRESHOLD = 9;

/** A FUSE server (5.11.6): one session at a time on one tree of files. */
export class FuseServer {
  readonly #tree: FileTree;
  readonly #limits: FsLimits;
  #session: Session | undefined;

  constructor(tree: FileTree, limits: FsLimits) {
    this.#tree = tree;
    this.#limits = limits;
  }

  /** The byte order of the session; a new one may choose another. */
  get littleEndian(): boolean {
    return this.#session?.littleEndian ?? true;
  }

  /** What the driver holds: nodes besides the root, and open files. */
  get held(): { readonly nodes: number; readonly files: number } {
    const session = this.#session;
    return session === undefined
      ? { nodes: 0, files: 0 }
      : { nodes: session.nodes.size - 1, files: session.files.size };
  }

  /**
   * Carries out a request that has a reply.
   * @param buffers guest memory for the data of a READ or WRITE
   */
  handle(request: FuseRequest, buffers: readonly Uint8Array[]): Promise<Reply> {
    if (request.opcode === FUSE_INIT) return this.#init(request);
    const session = this.#session;
    if (session === undefined) return Promise.resolve(failed(ERRNO.ENOTCONN));
    if (request.opcode === FUSE_DESTROY) {
      this.end();
      return Promise.resolve(done());
    }
    if (request.changes && this.#tree.readOnly) return Promise.resolve(failed(ERRNO.EROFS));
    const operation = OPERATIONS[request.opcode];
    assert(operation !== undefined, `opcode ${request.opcode} has a shape, so it has an operation`);
    return operation(session, request, buffers);
  }

  /**
   * Takes a request that has no reply: FORGET, BATCH_FORGET. INTERRUPT finds nothing to do: every operation ends by itself,
   * and a request's reply may always come first.
   */
  take({ opcode, nodeid, args, littleEndian }: FuseRequest): void {
    const nodes = this.#session?.nodes;
    if (opcode === FUSE_FORGET) nodes?.forget(nodeid, readStruct(FUSE_FORGET_IN, args, 0, littleEndian).nlookup);
    if (opcode !== FUSE_BATCH_FORGET) return;
    const { count } = readStruct(FUSE_BATCH_FORGET_IN, args, 0, littleEndian);
    const end = Math.min(args.byteLength, FUSE_BATCH_FORGET_IN.size + count * FUSE_FORGET_ONE.size);
    for (let at = FUSE_BATCH_FORGET_IN.size; at + FUSE_FORGET_ONE.size <= end; at += FUSE_FORGET_ONE.size) {
      const one = readStruct(FUSE_FORGET_ONE, args, at, littleEndian);
      nodes?.forget(one.nodeid, one.nlookup);
    }
  }

  /** Ends the session: everything that the driver held is released, or is when the last operation on it ends. */
  end(): void {
    this.#session?.files.end();
    this.#session?.nodes.end();
    this.#session = undefined;
  }

  /** A session starts, and the one before it ends (5.11.6.1). */
  async #init({ args, littleEndian }: FuseRequest): Promise<Reply> {
    const given = readStruct(FUSE_INIT_IN, args, 0, littleEndian);
    this.end();
    // A newer driver hears which version there is, and starts again with that one.
    if (given.major > FUSE_KERNEL_VERSION) {
      return done(
        structBytes(FUSE_INIT_OUT, { major: FUSE_KERNEL_VERSION, minor: FUSE_KERNEL_MINOR_VERSION }, littleEndian),
      );
    }
    if (given.major < FUSE_KERNEL_VERSION || given.minor < FUSE_KERNEL_MINOR_VERSION_MIN) return failed(ERRNO.EPROTO);
    const root = { id: FUSE_ROOT_ID, handle: this.#tree.root, identity: 'root', type: S_IFDIR };
    const nodes = new NodeTable(this.#tree, root, this.#limits.nodes);
    this.#session = {
      tree: this.#tree,
      nodes,
      files: new FileTable(this.#tree, nodes, this.#limits.files),
      littleEndian,
    };
    return done(
      structBytes(
        FUSE_INIT_OUT,
        {
          major: FUSE_KERNEL_VERSION,
          minor: Math.min(given.minor, FUSE_KERNEL_MINOR_VERSION),
          max_readahead: Math.min(given.max_readahead, TRANSFER_MAX),
          flags: (given.flags & FUSE_FLAGS) >>> 0,
          max_background: BACKGROUND_MAX,
          congestion_threshold: CONGESTION_THRESHOLD,
          max_write: TRANSFER_MAX,
          time_gran: 1,
          max_pages: TRANSFER_MAX / PAGE,
        },
        littleEndian,
      ),
    );
  }
}
