import { Document, isMap, isScalar, isSeq, type Node, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml';
import type { Raw } from './topology-text.js';

/** A number that is written in hexadecimal, as addresses are. */
export class Hex {
  constructor(readonly value: bigint) {}
}

/** Bytes, written as 64KiB or 16MiB where they are so many. */
export class Size {
  constructor(readonly value: bigint) {}
}

/** A value with a comment: above it in its map or list. */
export class Commented {
  constructor(
    readonly value: YamlValue,
    readonly comment: string,
  ) {}
}

/** What a YAML file of ours is made of; maps and lists of plain values go on one line where they fit. */
export type YamlValue = Raw | Hex | Size | Commented | readonly YamlValue[] | { readonly [field: string]: YamlValue };

/** Columns that a map or list on one line may have. */
const INLINE_MAX = 90;

/** Writes a YAML file. The same values give the same bytes. */
export function yamlText(value: YamlValue, head: string): string {
  const document = new Document(null);
  document.contents = nodeOf(document, value, 0) as typeof document.contents;
  const text = document.toString({ lineWidth: 0, flowCollectionPadding: true, indentSeq: true });
  const comment = head.split('\n').map((line) => `# ${line}`.trimEnd());
  return `${comment.join('\n')}\n${text}`;
}

const UNITS: readonly (readonly [string, bigint])[] = [
  ['GiB', 1024n ** 3n],
  ['MiB', 1024n ** 2n],
  ['KiB', 1024n],
];

const showSize = (bytes: bigint): string | bigint => {
  const unit = UNITS.find(([, size]) => bytes >= size && bytes % size === 0n);
  return unit === undefined ? bytes : `${bytes / unit[1]}${unit[0]}`;
};

/** Levels from the root that are never put on one line. */
const BLOCK_LEVELS = 2;

function nodeOf(document: Document, value: YamlValue, level: number): Node {
  if (value instanceof Commented) {
    const node = nodeOf(document, value.value, level);
    node.commentBefore = ` ${value.comment}`;
    return node;
  }
  if (value instanceof Hex) {
    const scalar = new Scalar(value.value);
    scalar.format = 'HEX';
    return scalar;
  }
  if (value instanceof Size) return document.createNode(showSize(value.value));
  if (Array.isArray(value)) {
    const list = new YAMLSeq<Node>(document.schema);
    for (const item of value) list.add(nodeOf(document, item, level + 1));
    list.flow = level >= BLOCK_LEVELS && isPlain(list);
    return list;
  }
  if (typeof value === 'object' && value !== null) {
    const map = new YAMLMap<Scalar<string>, Node>(document.schema);
    for (const [key, inner] of Object.entries(value)) {
      const node = nodeOf(document, inner, level + 1);
      const name = new Scalar(key);
      // A comment stands above its key.
      if (node.commentBefore !== undefined && node.commentBefore !== null) {
        name.commentBefore = node.commentBefore;
        node.commentBefore = null;
      }
      map.add(new Pair(name, node));
    }
    map.flow = level >= BLOCK_LEVELS && isPlain(map);
    return map;
  }
  return document.createNode(value);
}

/** Whether a map or list has only plain values, or short maps of them, without comments, and fits on a line. */
function isPlain(node: unknown): boolean {
  return plainWidth(node, 2) <= INLINE_MAX;
}

/** Columns that a value takes on one line; infinite where it should not be on one. */
function plainWidth(node: unknown, depth: number): number {
  if (isScalar(node)) return node.commentBefore ? Number.POSITIVE_INFINITY : String(node.value).length + 2;
  if (depth === 0) return Number.POSITIVE_INFINITY;
  if (isSeq(node)) return node.items.reduce((sum: number, item) => sum + plainWidth(item, depth - 1) + 2, 4);
  if (isMap(node)) {
    return node.items.reduce(
      (sum: number, { key, value }) => sum + plainWidth(key, 1) + plainWidth(value, depth - 1) + 2,
      4,
    );
  }
  return Number.POSITIVE_INFINITY;
}
