import { S_IFMT } from '@remio/virtio-spec';
import type { FileTree, Found, HostFile, HostNode } from './file-tree.js';

/** What a session may hold of the host at the same time: a driver's appetite ends here. */
export interface FsLimits {
  /** Nodes that were looked up and not forgotten. */
  readonly nodes: number;
  /** Files and directories that are open. */
  readonly files: number;
}

export const DEFAULT_FS_LIMITS: FsLimits = { nodes: 4096, files: 512 };

/** A node that the driver knows by number. */
export interface Node {
  readonly id: bigint;
  readonly handle: HostNode;
  readonly identity: string;
  /** S_IF…: a node keeps its type for life. */
  readonly type: number;
  /** Lookups that the driver has not taken back. */
  lookups: bigint;
  /** Operations and open files that use it. */
  pins: number;
}

/**
 * The nodes that a driver looked up. A node stays while the driver counts a lookup of it or an operation uses it, and is
 * released once: a handle that the host gave to somebody else meanwhile is never used.
 */
export class NodeTable {
  readonly #tree: FileTree;
  readonly #max: number;
  readonly #byId = new Map<bigint, Node>();
  readonly #byIdentity = new Map<string, Node>();
  #nextId: bigint;
  #ended = false;

  constructor(tree: FileTree, root: Omit<Node, 'lookups' | 'pins'>, max: number) {
    this.#tree = tree;
    this.#max = max;
    this.#nextId = root.id + 1n;
    // The root is never looked up and never forgotten; the tree holds it itself.
    const node = { ...root, lookups: 0n, pins: 1 };
    this.#byId.set(node.id, node);
    this.#byIdentity.set(node.identity, node);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** Whether a node that is not known yet finds no room. */
  get full(): boolean {
    return this.#byId.size >= this.#max;
  }

  /** Takes over a node that the host found, and counts a lookup; undefined if there is no room, or the session ended. */
  add({ node: handle, identity, attributes }: Found): Node | undefined {
    const known = this.#byIdentity.get(identity);
    if (known !== undefined) {
      this.#tree.release(handle);
      known.lookups += 1n;
      return known;
    }
    if (this.full || this.#ended) {
      this.#tree.release(handle);
      return undefined;
    }
    const node: Node = { id: this.#nextId, handle, identity, type: attributes.mode & S_IFMT, lookups: 1n, pins: 0 };
    this.#nextId += 1n;
    this.#byId.set(node.id, node);
    this.#byIdentity.set(identity, node);
    return node;
  }

  /** A node to use until {@link unpin}. */
  pin(id: bigint): Node | undefined {
    const node = this.#byId.get(id);
    if (node !== undefined) node.pins += 1;
    return node;
  }

  unpin(node: Node): void {
    node.pins -= 1;
    this.#releaseIfUnused(node);
  }

  /** Takes lookups back; more than there were is as good as all. Unknown nodes are ignored, and so is the root. */
  forget(id: bigint, lookups: bigint): void {
    const node = this.#byId.get(id);
    if (node === undefined) return;
    node.lookups = lookups >= node.lookups ? 0n : node.lookups - lookups;
    this.#releaseIfUnused(node);
  }

  /** Releases everything, now or when the last operation on it ends. */
  end(): void {
    this.#ended = true;
    for (const node of this.#byId.values()) {
      node.lookups = 0n;
      this.#releaseIfUnused(node);
    }
  }

  #releaseIfUnused(node: Node): void {
    if (node.lookups > 0n || node.pins > 0) return;
    this.#byId.delete(node.id);
    this.#byIdentity.delete(node.identity);
    this.#tree.release(node.handle);
  }
}

/** A file or directory that the driver has open. */
export interface OpenFile {
  readonly fh: bigint;
  readonly handle: HostFile;
  /** Pinned while the file is open. */
  readonly node: Node;
  readonly kind: 'file' | 'directory';
  pins: number;
  /** The driver released it. */
  released: boolean;
}

/** The files and directories that a driver has open. */
export class FileTable {
  readonly #tree: FileTree;
  readonly #nodes: NodeTable;
  readonly #max: number;
  readonly #files = new Map<bigint, OpenFile>();
  #nextFh = 1n;
  #ended = false;

  constructor(tree: FileTree, nodes: NodeTable, max: number) {
    this.#tree = tree;
    this.#nodes = nodes;
    this.#max = max;
  }

  get size(): number {
    return this.#files.size;
  }

  get full(): boolean {
    return this.#files.size >= this.#max;
  }

  /** Takes over a file of a node that the caller has pinned; undefined if there is no room, or the session ended. */
  add(handle: HostFile, node: Node, kind: OpenFile['kind']): OpenFile | undefined {
    if (this.full || this.#ended) {
      this.#tree.release(handle);
      return undefined;
    }
    const file: OpenFile = { fh: this.#nextFh, handle, node, kind, pins: 0, released: false };
    this.#nextFh += 1n;
    node.pins += 1;
    this.#files.set(file.fh, file);
    return file;
  }

  /** An open file of this node to use until {@link unpin}. */
  pin(fh: bigint, nodeid: bigint, kind: OpenFile['kind']): OpenFile | undefined {
    const file = this.#files.get(fh);
    if (file === undefined || file.kind !== kind || file.node.id !== nodeid) return undefined;
    file.pins += 1;
    return file;
  }

  unpin(file: OpenFile): void {
    file.pins -= 1;
    this.#releaseIfUnused(file);
  }

  /** The driver closes a file; operations in flight end first. */
  close(file: OpenFile): void {
    if (file.released) return;
    file.released = true;
    this.#files.delete(file.fh);
    this.#releaseIfUnused(file);
  }

  /** Closes everything, now or when the last operation on it ends. */
  end(): void {
    this.#ended = true;
    for (const file of this.#files.values()) this.close(file);
  }

  #releaseIfUnused(file: OpenFile): void {
    if (!file.released || file.pins > 0) return;
    this.#tree.release(file.handle);
    this.#nodes.unpin(file.node);
  }
}
