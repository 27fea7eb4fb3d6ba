import type { Raw } from './topology-text.js';

/** A number that is written in hexadecimal, as addresses are. */
export class Hex {
  constructor(readonly value: bigint) {}
}

/** Bytes, written as 64KiB or 16MiB where they are so many. */
export class Size {
  constructor(readonly value: bigint) {}
}

/** A value with a comment above it. */
export class Commented {
  constructor(
    readonly value: YamlValue,
    readonly comment: string,
  ) {}
}

/** What a YAML file of ours is made of. */
export type YamlValue = Raw | Hex | Size | Commented | readonly YamlValue[] | YamlMap;
interface YamlMap {
  readonly [field: string]: YamlValue;
}

/** Columns that a map or list on one line may have. */
const INLINE_MAX = 90;
/** Levels from the root that are never put on one line, and levels within one line. */
const BLOCK_LEVELS = 1;
const INLINE_LEVELS = 3;

/**
 * Writes a YAML file as a person would: what is short on one line, numbers as they are meant. The same values give the
 * same bytes. (The library's own writer keeps neither, and takes seconds for a thousand VMs.)
 */
export function yamlText(value: YamlMap, head: string): string {
  const lines = head.split('\n').map((line) => `# ${line}`.trimEnd());
  writeMap(value, '', 0, lines);
  return `${lines.join('\n')}\n`;
}

function writeMap(map: YamlMap, indent: string, level: number, lines: string[]): void {
  for (const [key, value] of Object.entries(map)) writeValue(`${indent}${scalar(key)}:`, value, indent, level, lines);
}

/** Writes a value after its key or dash. @param indent of what it belongs to */
function writeValue(before: string, given: YamlValue, indent: string, level: number, lines: string[]): void {
  let value = given;
  if (value instanceof Commented) {
    for (const line of value.comment.split('\n')) lines.push(`${indent}# ${line.trim()}`);
    value = value.value;
  }
  const inline =
    level < BLOCK_LEVELS && isCollection(value) && !isEmpty(value) ? undefined : inlined(value, INLINE_LEVELS);
  if (inline !== undefined && (before.length + inline.length < INLINE_MAX + indent.length || !isCollection(value))) {
    lines.push(`${before} ${inline}`);
    return;
  }
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (before !== '') lines.push(before);
    for (const item of value as readonly YamlValue[]) writeItem(item, inner, level + 1, lines);
  } else {
    lines.push(before);
    writeMap(value as YamlMap, inner, level + 1, lines);
  }
}

/** Writes an item of a list: a map begins on the line of its dash. */
function writeItem(item: YamlValue, indent: string, level: number, lines: string[]): void {
  const plain = item instanceof Commented ? item.value : item;
  const inline = inlined(plain, INLINE_LEVELS);
  if (!isMap(plain) || (inline !== undefined && inline.length < INLINE_MAX)) {
    writeValue(`${indent}-`, item, indent, level, lines);
    return;
  }
  if (item instanceof Commented) for (const line of item.comment.split('\n')) lines.push(`${indent}# ${line.trim()}`);
  const from = lines.length;
  writeMap(plain, `${indent}  `, level, lines);
  // Comments of the first field come first.
  const first = lines.findIndex((line, n) => n >= from && !line.trimStart().startsWith('#'));
  lines[first] = `${indent}- ${(lines[first] ?? '').slice(indent.length + 2)}`;
}

const isMap = (value: YamlValue): value is YamlMap =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Hex || value instanceof Size || value instanceof Commented);

const isCollection = (value: YamlValue): boolean => Array.isArray(value) || isMap(value);
const isEmpty = (value: YamlValue): boolean => Object.keys(value as object).length === 0;

/** A value on one line; undefined if it has comments, or more levels than that. */
function inlined(value: YamlValue, levels: number): string | undefined {
  if (value instanceof Commented) return undefined;
  if (value instanceof Hex) return `0x${value.value.toString(16)}`;
  if (value instanceof Size) return showSize(value.value);
  if (!isCollection(value)) return scalar(value as string | bigint | number | boolean | null);
  if (levels === 0) return undefined;
  const parts: string[] = [];
  for (const [key, inner] of Object.entries(value as object) as [string, YamlValue][]) {
    const text = inlined(inner, levels - 1);
    if (text === undefined) return undefined;
    parts.push(Array.isArray(value) ? text : `${scalar(key)}: ${text}`);
  }
  if (Array.isArray(value)) return `[${parts.join(', ')}]`;
  return parts.length === 0 ? '{}' : `{ ${parts.join(', ')} }`;
}

/** Durations and sizes of topologies. */
const QUANTITY = /^[0-9]+(?:ns|us|ms|s|KiB|MiB|GiB)$/;
/** Strings that no reader takes for something else. */
const PLAIN = /^[A-Za-z][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+)*$|^(?:\.{1,2})?(?:\/[A-Za-z0-9_.-]+)+$/;
/** Words that stand for other values, in any version of YAML. */
const WORDS = /^(?:true|false|null|yes|no|on|off|y|n)$/i;

const scalar = (value: string | bigint | number | boolean | null): string =>
  typeof value !== 'string' ||
  (PLAIN.test(value) && !WORDS.test(value)) ||
  (typeof value === 'string' && QUANTITY.test(value))
    ? String(value)
    : JSON.stringify(value);

const UNITS: readonly (readonly [string, bigint])[] = [
  ['GiB', 1024n ** 3n],
  ['MiB', 1024n ** 2n],
  ['KiB', 1024n],
];

function showSize(bytes: bigint): string {
  const unit = UNITS.find(([, size]) => bytes >= size && bytes % size === 0n);
  return unit === undefined ? String(bytes) : `${bytes / unit[1]}${unit[0]}`;
}
