import {
  FUSE_ATTR_OUT,
  FUSE_ENTRY_OUT,
  FUSE_OUT_HEADER,
  structBytes,
  structView,
  writeStruct,
} from '@remio/virtio-spec';
import type { Attributes } from './file-tree.js';
import type { Node } from './tables.js';

/** How a request ended. */
export type Reply =
  | { readonly kind: 'failed'; readonly errno: number }
  | {
      readonly kind: 'done';
      /** What follows the reply's header. */
      readonly payload: Uint8Array;
      /** Bytes that stand after the header already: the data of a READ. */
      readonly moved: number;
    };

const NOTHING = new Uint8Array(0);

export const failed = (errno: number): Reply => ({ kind: 'failed', errno });

export const done = (payload: Uint8Array = NOTHING, moved = 0): Reply => ({ kind: 'done', payload, moved });

/** Seconds for which a driver may believe names and attributes: the host may change the tree, too. */
const VALID_SECONDS = 1n;

/** `fuse_entry_out`, with room after it. */
export const entryOut = (node: Node, attributes: Attributes, littleEndian: boolean, room = 0): Uint8Array =>
  structBytes(
    FUSE_ENTRY_OUT,
    { nodeid: node.id, entry_valid: VALID_SECONDS, attr_valid: VALID_SECONDS, ...attributes },
    littleEndian,
    room,
  );

/** `fuse_attr_out`. */
export const attrOut = (attributes: Attributes, littleEndian: boolean): Uint8Array =>
  structBytes(FUSE_ATTR_OUT, { attr_valid: VALID_SECONDS, ...attributes }, littleEndian);

/** A reply's bytes, without the data that stands there already, and the length of the whole. */
export function replyBytes(
  unique: bigint,
  reply: Reply,
  littleEndian: boolean,
): { readonly bytes: Uint8Array; readonly length: number } {
  const payload = reply.kind === 'done' ? reply.payload : NOTHING;
  const bytes = new Uint8Array(FUSE_OUT_HEADER.size + payload.length);
  const length = bytes.length + (reply.kind === 'done' ? reply.moved : 0);
  const error = reply.kind === 'done' ? 0 : -reply.errno;
  writeStruct(FUSE_OUT_HEADER, structView(bytes), 0, { len: length, error, unique }, littleEndian);
  bytes.set(payload, FUSE_OUT_HEADER.size);
  return { bytes, length };
}
