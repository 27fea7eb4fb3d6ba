import { DT_DEPTH_MAX, type Dt, type DtBytes, fail } from './dt-tree.js';

/** Header of a blob (Devicetree Specification 0.4, 5.2): offsets of its big-endian words. */
export const DTB_MAGIC = 0xd00d_feed;
const TOTAL_SIZE = 4;
const STRUCTURE_OFFSET = 8;
const STRINGS_OFFSET = 12;
const LAST_COMPATIBLE = 24;
const HEADER_SIZE = 40;
/** The format that this reads; older ones that say so can be read so. */
const VERSION = 17;

/** Tokens of the structure block (5.4.1). */
const BEGIN_NODE = 1;
const END_NODE = 2;
const PROP = 3;
const NOP = 4;
const END = 9;

export const isDtb = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) === DTB_MAGIC;

interface OpenNode {
  readonly name: string;
  readonly properties: Map<string, DtBytes>;
  readonly children: Dt[];
}

/**
 * Reads a flattened device tree. Whatever the bytes are, nothing outside of them is read.
 * @throws ImportFailure where it is none, or a part of it is not there
 */
export function readDtb(bytes: Uint8Array, file: string): Dt {
  const at = { file, place: undefined };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (offset: number): number =>
    offset >= 0 && offset + 4 <= limit
      ? view.getUint32(offset)
      : fail(at, `the blob ends at byte ${limit}, within its tree`);
  let limit = bytes.length;
  if (bytes.length < HEADER_SIZE || word(0) !== DTB_MAGIC) fail(at, 'this is no device tree blob');
  const total = word(TOTAL_SIZE);
  if (total > bytes.length) fail(at, `the blob has ${bytes.length} bytes of ${total}: it was cut off`);
  limit = total;
  if (word(LAST_COMPATIBLE) > VERSION)
    fail(at, `the blob wants a reader of version ${word(LAST_COMPATIBLE)}; this is ${VERSION}`);
  const strings = word(STRINGS_OFFSET);

  const text = (offset: number): string => {
    let end = offset;
    while (end < limit && bytes[end] !== 0) end += 1;
    if (offset < 0 || end >= limit) fail(at, `a name at byte ${offset} has no end`);
    return new TextDecoder().decode(bytes.subarray(offset, end));
  };
  const aligned = (offset: number): number => (offset + 3) & ~3;

  const open: OpenNode[] = [];
  let root: Dt | undefined;
  for (let offset = word(STRUCTURE_OFFSET); ; ) {
    const token = word(offset);
    offset += 4;
    if (token === NOP) continue;
    if (token === END) break;
    const node = open.at(-1);
    if (token === BEGIN_NODE) {
      if (open.length >= DT_DEPTH_MAX) fail(at, `nodes are ${DT_DEPTH_MAX} deep at byte ${offset}`);
      if (open.length === 0 && root !== undefined) fail(at, `a second root at byte ${offset}`);
      const name = text(offset);
      offset = aligned(offset + new TextEncoder().encode(name).length + 1);
      open.push({ name: name === '' ? '/' : name, properties: new Map(), children: [] });
    } else if (node === undefined) {
      fail(at, `token ${token} at byte ${offset - 4} is outside of the tree`);
    } else if (token === PROP) {
      const length = word(offset);
      const name = text(strings + word(offset + 4));
      const start = offset + 8;
      if (start + length > limit) fail(at, `${name} at byte ${offset} ends outside of the blob`);
      node.properties.set(name, { bytes: bytes.subarray(start, start + length), at });
      offset = aligned(start + length);
    } else if (token === END_NODE) {
      open.pop();
      const done: Dt = { ...node, labels: [], at };
      const parent = open.at(-1);
      if (parent === undefined) root = done;
      else parent.children.push(done);
    } else fail(at, `there is no token ${token}, at byte ${offset - 4}`);
  }
  return root === undefined || open.length > 0 ? fail(at, 'the tree has no end') : root;
}
