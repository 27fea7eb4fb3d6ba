import type { Branded, Result } from '@remio/base';
import type { FUSE_ATTR, FUSE_STATFS_OUT, StructOf } from '@remio/virtio-spec';

/** A file, directory or symbolic link of the host that the tree keeps hold of, whatever happens to its name. */
export type HostNode = Branded<number, 'HostNode'>;
/** A file or directory of the host that is open. */
export type HostFile = Branded<number, 'HostFile'>;

/** What the host did, or its error number (positive). */
export type Outcome<T> = Promise<Result<T, number>>;

/** Attributes as FUSE carries them: `st_mode` with the type, times in seconds and nanoseconds. */
export type Attributes = Omit<StructOf<typeof FUSE_ATTR>, 'flags'>;

/** A time to set, or the host's own now. */
export type SetTime = { readonly seconds: bigint; readonly nanoseconds: number } | 'now';

/** What a SETATTR changes; what is absent stays. */
export interface AttributeChanges {
  /** Permissions, without the type. */
  readonly mode?: number;
  /** Bytes. */
  readonly size?: number;
  readonly atime?: SetTime;
  readonly mtime?: SetTime;
}

/** A node that was found or made, which the tree keeps hold of until {@link FileTree.release}. */
export interface Found {
  readonly node: HostNode;
  /** The same for the same file under any of its names, while it is held. */
  readonly identity: string;
  readonly attributes: Attributes;
}

/** An entry of a directory; never `.` or `..`. */
export interface DirectoryEntry {
  readonly ino: bigint;
  /** Where the entry after this one is read from. */
  readonly next: bigint;
  /** Type as in a mode, shifted right by 12. */
  readonly type: number;
  readonly name: Uint8Array;
}

/**
 * A tree of files on the host, as a file system device uses it. A node is named by its directory and one component (no
 * `/`, no NUL, not `.` or `..`), and no operation follows a symbolic link: so nothing outside the tree can be named.
 * Operations may be in flight together; what they use is not released before they end.
 */
export interface FileTree {
  readonly readOnly: boolean;
  readonly root: HostNode;
  lookup(directory: HostNode, name: Uint8Array): Outcome<Found>;
  attributes(node: HostNode): Outcome<Attributes>;
  /** @param file the same file, open for writing, if there is one */
  change(node: HostNode, changes: AttributeChanges, file?: HostFile): Outcome<Attributes>;
  readlink(node: HostNode): Outcome<Uint8Array>;
  makeDirectory(directory: HostNode, name: Uint8Array, mode: number): Outcome<Found>;
  makeSymlink(directory: HostNode, name: Uint8Array, target: Uint8Array): Outcome<Found>;
  /** Gives a node another name. */
  link(node: HostNode, directory: HostNode, name: Uint8Array): Outcome<Found>;
  unlink(directory: HostNode, name: Uint8Array): Outcome<void>;
  removeDirectory(directory: HostNode, name: Uint8Array): Outcome<void>;
  /** @param flags RENAME_NOREPLACE, RENAME_EXCHANGE */
  rename(from: HostNode, name: Uint8Array, to: HostNode, newName: Uint8Array, flags: number): Outcome<void>;
  /**
   * Makes a regular file and opens it; without O_EXCL, opens it if it is one already.
   * @param flags O_ACCMODE, O_APPEND, O_DSYNC, O_EXCL, O_SYNC, O_TRUNC
   */
  create(
    directory: HostNode,
    name: Uint8Array,
    mode: number,
    flags: number,
  ): Outcome<{ readonly found: Found; readonly file: HostFile }>;
  /**
   * Opens a regular file.
   * @param flags O_ACCMODE, O_APPEND, O_DSYNC, O_SYNC, O_TRUNC
   */
  open(node: HostNode, flags: number): Outcome<HostFile>;
  openDirectory(node: HostNode): Outcome<HostFile>;
  /** Fills the buffers, in order, from `position`; bytes moved, fewer at the end of the file. */
  read(file: HostFile, position: number, buffers: readonly Uint8Array[]): Outcome<number>;
  write(file: HostFile, position: number, buffers: readonly Uint8Array[]): Outcome<number>;
  /** Makes what was written durable. */
  sync(file: HostFile, dataOnly: boolean): Outcome<void>;
  /** @param mode FALLOC_FL_… */
  allocate(file: HostFile, mode: number, offset: number, length: number): Outcome<void>;
  /** @param whence SEEK_DATA or SEEK_HOLE */
  seek(file: HostFile, offset: number, whence: number): Outcome<number>;
  /**
   * Entries of an open directory.
   * @param from 0, or `next` of an entry
   * @param bytes about so many, at least one entry if there is any
   */
  list(file: HostFile, from: bigint, bytes: number): Outcome<readonly DirectoryEntry[]>;
  statistics(): Outcome<Partial<StructOf<typeof FUSE_STATFS_OUT>>>;
  /** Nobody uses it any more. */
  release(handle: HostNode | HostFile): void;
  close(): Promise<void>;
}
