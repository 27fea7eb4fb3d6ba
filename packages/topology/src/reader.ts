import { COST_NAMES } from '@remio/board';
import { isMap, isPair, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import type { Diagnostic, Place, RuleId } from './diagnostics.js';
import { type TopologyFile, topologySchema } from './schema.js';

/** Steps from the root of a topology: field names and positions in lists. */
export type Path = readonly (string | number)[];

/** A path as it is shown: `vms.backend.remio_devs[0]`. */
export const showPath = (path: Path): string =>
  path.map((step, n) => (typeof step === 'number' ? `[${step}]` : n === 0 ? step : `.${step}`)).join('');

/** A topology file, read and of the right shape, with where everything stands. */
export class TopologySource {
  readonly file: string;
  readonly data: TopologyFile | undefined;
  readonly #diagnostics: Diagnostic[] = [];
  readonly #lines = new LineCounter();
  readonly #root: Node | null;

  constructor(text: string, file: string) {
    this.file = file;
    const document = parseDocument(text, { lineCounter: this.#lines, intAsBigInt: true, prettyErrors: false });
    this.#root = document.contents;
    for (const { message, pos } of [...document.errors, ...document.warnings]) {
      this.#push('syntax', [], `not YAML: ${message}`, 'correct the syntax at this place', this.#at(pos[0]));
    }
    if (document.errors.length > 0) {
      this.data = undefined;
      return;
    }
    const parsed = topologySchema.safeParse(document.toJS());
    this.data = parsed.success ? parsed.data : undefined;
    for (const issue of parsed.error?.issues ?? []) this.#shape(issue);
  }

  get diagnostics(): readonly Diagnostic[] {
    return this.#diagnostics;
  }

  error(rule: RuleId, path: Path, message: string, fix: string): void {
    this.#push(rule, path, message, fix, this.placeOf(path));
  }

  warning(rule: RuleId, path: Path, message: string, fix: string): void {
    this.#push(rule, path, message, fix, this.placeOf(path), 'warning');
  }

  /** Where a path's value (or key) stands; where its nearest part stands that exists. */
  placeOf(path: Path, what: 'key' | 'value' = 'value'): Place {
    let node: unknown = this.#root;
    let offset = this.#root?.range?.[0] ?? 0;
    for (const step of path) {
      if (isMap(node)) {
        const pair = node.items.find(
          (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(step),
        );
        if (pair === undefined) break;
        if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
        node = pair.value;
      } else if (hasItems(node)) {
        node = node.items[Number(step)];
        offset = rangeOf(node) ?? offset;
      } else break;
    }
    return this.#at(path.length > 0 && what === 'value' && isScalar(node) ? (rangeOf(node) ?? offset) : offset);
  }

  #shape(issue: z.core.$ZodIssue): void {
    const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)));
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        const known = knownKeys(path);
        const close = known.find((candidate) => similar(candidate, key));
        const fix = close === undefined ? `remove it; here there are ${known.join(', ')}` : `write ${close}`;
        const place = this.placeOf([...path, key], 'key');
        this.#push('schema', [...path, key], `there is no field \`${key}\` here`, fix, place);
      }
      return;
    }
    const missing = (issue.code === 'invalid_type' || issue.code === 'invalid_union') && !this.#exists(path);
    const message = missing ? `\`${showPath(path)}\` is missing` : issue.message;
    this.error('schema', path, message, missing ? `add ${String(path.at(-1))}` : 'write a value of this kind');
  }

  #exists(path: Path): boolean {
    let node: unknown = this.#root;
    for (const step of path) {
      if (isMap(node)) node = node.get(typeof step === 'number' ? step : step, true);
      else if (hasItems(node)) node = node.items[Number(step)];
      else return false;
    }
    return node !== undefined && node !== null;
  }

  #at(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #push(
    rule: RuleId,
    path: Path,
    message: string,
    fix: string,
    place: Place,
    severity: Diagnostic['severity'] = 'error',
  ): void {
    this.#diagnostics.push({ severity, rule, file: this.file, place, path: showPath(path), message, fix });
  }
}

const hasItems = (node: unknown): node is { readonly items: readonly unknown[] } =>
  typeof node === 'object' && node !== null && 'items' in node && Array.isArray(node.items);

const rangeOf = (node: unknown): number | undefined =>
  typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
    ? (node.range[0] as number)
    : undefined;

/** Fields that an object has, by where it stands. */
function knownKeys(path: Path): readonly string[] {
  const last = path.at(-1);
  const within = path.at(-2);
  if (path.length === 0) return ['name', 'board', 'profile', 'costs', 'shared_memories', 'vms'];
  if (last === 'costs') return ['clock_hz', ...COST_NAMES];
  if (within === 'vms') return ['cpus', 'memory', 'program', 'remio_devs', 'ipcs'];
  if (within === 'shared_memories') return ['size', 'phys'];
  if (within === 'remio_devs') {
    return ['name', 'type', 'bind_key', 'window', 'interrupt', 'shmem', 'deadline', 'device', 'driver', 'repeat'];
  }
  if (within === 'ipcs') return ['memory', 'base', 'size', 'interrupts', 'driver'];
  if (within === 'memory') return ['base', 'size', 'phys'];
  if (last === 'window') return ['base', 'size'];
  if (last === 'shmem') return ['memory', 'base'];
  return [];
}

/** Whether one name may have been meant for the other: at most two letters differ. */
function similar(a: string, b: string): boolean {
  const row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i += 1) {
    let diagonal = row[0] ?? 0;
    row[0] = i;
    for (let j = 1; j <= b.length; j += 1) {
      const above = row[j] ?? 0;
      row[j] = Math.min(above + 1, (row[j - 1] ?? 0) + 1, diagonal + (a[i - 1] === b[j - 1] ? 0 : 1));
      diagonal = above;
    }
  }
  return (row[b.length] ?? 9) <= 2;
}
