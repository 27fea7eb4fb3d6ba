import { ERRNO } from '@remio/virtio-spec';
import type { FileTree, Found } from './file-tree.js';
import { done, entryOut, failed, type Reply } from './reply.js';
import type { FuseRequest } from './request.js';
import type { FileTable, Node, NodeTable, OpenFile } from './tables.js';

/** What a driver has of a file system between FUSE_INIT and its end. */
export interface Session {
  readonly tree: FileTree;
  readonly nodes: NodeTable;
  readonly files: FileTable;
  readonly littleEndian: boolean;
}

/** Carries out one request of a session. */
export type Operation = (
  session: Session,
  request: FuseRequest,
  /** Guest memory that the data of a READ or WRITE goes to or comes from. */
  buffers: readonly Uint8Array[],
) => Promise<Reply>;

/** Does something with the node that a request names, which stays until it has ended. */
export const withNode = async ({ nodes }: Session, id: bigint, use: (node: Node) => Promise<Reply>): Promise<Reply> => {
  const node = nodes.pin(id);
  if (node === undefined) return failed(ERRNO.ESTALE);
  try {
    return await use(node);
  } finally {
    nodes.unpin(node);
  }
};

/** Does something with an open file of a node, which stays open until it has ended. */
export const withFile = async (
  { files }: Session,
  fh: bigint,
  nodeid: bigint,
  kind: OpenFile['kind'],
  use: (file: OpenFile) => Promise<Reply>,
): Promise<Reply> => {
  const file = files.pin(fh, nodeid, kind);
  if (file === undefined) return failed(ERRNO.EBADF);
  try {
    return await use(file);
  } finally {
    files.unpin(file);
  }
};

/** Counts a lookup of what the host found, and says so. */
export function entry({ nodes, littleEndian }: Session, found: Found): Reply {
  const node = nodes.add(found);
  return node === undefined ? failed(ERRNO.ENFILE) : done(entryOut(node, found.attributes, littleEndian));
}
