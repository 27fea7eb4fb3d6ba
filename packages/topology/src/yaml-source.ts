import { isMap, isPair, isScalar, isSeq, type Node, type Pair, type YAMLMap } from 'yaml';
import type { z } from 'zod';
import type { Diagnostic, Place, TextEdit } from './diagnostics.js';
import { type Path, showPath } from './path.js';
import type { Repair } from './repair.js';
import type { RuleId } from './rules/index.js';
import { schemaProblems } from './schema-problems.js';
import { readYaml, type YamlText } from './yaml-text.js';

/** A YAML file of a language that a schema describes: its data, where everything stands, what is wrong with it. */
export class YamlSource<Data> {
  readonly file: string;
  readonly data: Data | undefined;
  readonly #text: string;
  readonly #yaml: YamlText;
  readonly #diagnostics: Diagnostic[] = [];
  /** Pairs by key, of maps that were looked into. */
  readonly #pairs = new Map<Node, ReadonlyMap<string, Pair>>();
  /** Whether diagnostics show their line themselves: this is not the file that they are shown with. */
  readonly #excerpts: boolean;

  constructor(text: string, file: string, schema: z.ZodType<Data>, { excerpts = false } = {}) {
    this.file = file;
    this.#text = text;
    this.#excerpts = excerpts;
    this.#yaml = readYaml(text);
    for (const { offset, message, fix } of this.#yaml.problems) {
      this.#push('error', 'syntax', [], message, fix, this.#at(offset));
    }
    if (this.#yaml.problems.length > 0) {
      this.data = undefined;
      return;
    }
    const parsed = schema.safeParse(this.#yaml.data);
    this.data = parsed.success ? parsed.data : undefined;
    if (parsed.error === undefined) return;
    for (const problem of schemaProblems(parsed.error.issues, schema, this.#yaml.data)) {
      const place = this.placeOf(problem.path, problem.at);
      this.#push('error', 'schema', problem.path, problem.message, problem.fix, place, problem.repair);
    }
  }

  get diagnostics(): readonly Diagnostic[] {
    return this.#diagnostics;
  }

  get failed(): boolean {
    return this.#diagnostics.some(({ severity }) => severity === 'error');
  }

  error(rule: RuleId, path: Path, message: string, fix: string, ...repair: readonly Repair[]): void {
    this.#push('error', rule, path, message, fix, this.placeOf(path), ...repair);
  }

  warning(rule: RuleId, path: Path, message: string, fix: string, ...repair: readonly Repair[]): void {
    this.#push('warning', rule, path, message, fix, this.placeOf(path), ...repair);
  }

  /** Takes over what was said of another file. */
  adopt(diagnostics: readonly Diagnostic[]): void {
    this.#diagnostics.push(...diagnostics);
  }

  /** Where a path's value (or key) stands; where its nearest part stands that exists. */
  placeOf(path: Path, what: 'key' | 'value' = 'value'): Place {
    let node: unknown = this.#yaml.root;
    let offset = rangeOf(node)?.[0] ?? 0;
    for (const step of path) {
      node = this.#target(node);
      if (isMap(node)) {
        const pair = this.#pair(node, step);
        if (pair === undefined) break;
        offset = rangeOf(pair.key)?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
        offset = rangeOf(node)?.[0] ?? offset;
      } else break;
    }
    return this.#at(path.length > 0 && what === 'value' && isScalar(node) ? (rangeOf(node)?.[0] ?? offset) : offset);
  }

  /** The node itself, of an alias what it stands for. */
  #target(node: unknown): unknown {
    return this.#yaml.targets.get(node as Node) ?? node;
  }

  /** Pair or item at a path; undefined where there is none, or where an alias leads there: others would change too. */
  #find(path: Path): { readonly key?: unknown; readonly value: unknown } | undefined {
    let found: { readonly key?: unknown; readonly value: unknown } = { value: this.#yaml.root };
    for (const step of path) {
      const node: unknown = found.value;
      if (isMap(node)) {
        const pair = this.#pair(node, step);
        if (pair === undefined) return undefined;
        found = pair;
      } else if (isSeq(node)) found = { value: node.items[Number(step)] };
      else return undefined;
    }
    return found;
  }

  #pair(map: YAMLMap, step: string | number): Pair | undefined {
    let pairs = this.#pairs.get(map);
    if (pairs === undefined) {
      const byKey = new Map<string, Pair>();
      for (const item of map.items) if (isPair(item) && isScalar(item.key)) byKey.set(String(item.key.value), item);
      this.#pairs.set(map, byKey);
      pairs = byKey;
    }
    return pairs.get(String(step));
  }

  #editsOf(repair: Repair): readonly TextEdit[] | undefined {
    if (repair.kind === 'swap') {
      const a = this.#extent(this.#find(repair.a)?.value);
      const b = this.#extent(this.#find(repair.b)?.value);
      if (a === undefined || b === undefined || a[1] > b[0]) return undefined;
      return [this.#edit(a, this.#text.slice(...b)), this.#edit(b, this.#text.slice(...a))];
    }
    const found = this.#find(repair.path);
    const node = repair.kind === 'set' ? found?.value : found?.key;
    const range = rangeOf(node);
    // An anchored value is that of its aliases too.
    if (range === undefined || !isScalar(node) || node.anchor !== undefined) return undefined;
    return [this.#edit([range[0], range[1]], repair.kind === 'set' ? repair.value : repair.key)];
  }

  /** What a value takes of the text, with a comment behind it on its last line. */
  #extent(node: unknown): readonly [number, number] | undefined {
    const range = rangeOf(node);
    if (range === undefined) return undefined;
    const end = range[0] + this.#text.slice(range[0], range[1]).trimEnd().length;
    const [comment = ''] = /^[ \t]+#[^\n]*/.exec(this.#text.slice(end)) ?? [];
    return [range[0], end + comment.trimEnd().length];
  }

  #edit([start, end]: readonly [number, number], text: string): TextEdit {
    return { from: this.#at(start), to: this.#at(end), start, end, text };
  }

  #at(offset: number): Place {
    const { line, col } = this.#yaml.lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #push(
    severity: Diagnostic['severity'],
    rule: RuleId,
    path: Path,
    message: string,
    fix: string,
    place: Place,
    ...repair: readonly (Repair | undefined)[]
  ): void {
    const edits: TextEdit[] = [];
    let whole = true;
    for (const part of repair) {
      const made = part === undefined ? [] : this.#editsOf(part);
      if (made === undefined) whole = false;
      else edits.push(...made);
    }
    this.#diagnostics.push({
      severity,
      rule,
      file: this.file,
      place,
      path: showPath(path),
      message,
      fix,
      ...(this.#excerpts ? { excerpt: this.#line(place.line) } : {}),
      ...(whole && edits.length > 0 ? { edits } : {}),
    });
  }

  #line(line: number): string {
    const { lineStarts } = this.#yaml.lines;
    return this.#text.slice(lineStarts[line - 1] ?? 0, lineStarts[line] ?? this.#text.length).trimEnd();
  }
}

const rangeOf = (node: unknown): readonly [number, number, number] | undefined =>
  typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
    ? (node.range as unknown as readonly [number, number, number])
    : undefined;
