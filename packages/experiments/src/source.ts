import { isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';

/** Steps from the root of a file. */
export type Path = readonly (string | number)[];

/** Something wrong with a file, as a compiler shows it. */
export interface Problem {
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** A YAML file and where everything stands in it. */
export class YamlSource {
  readonly file: string;
  readonly text: string;
  /** Integers are bigint. */
  readonly value: unknown;
  readonly problems: Problem[] = [];
  /** What is wrong with other files that this one names, as a compiler shows it. */
  readonly #others: string[] = [];
  readonly #lines = new LineCounter();
  readonly #root: Node | null;

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
    const document = parseDocument(text, { lineCounter: this.#lines, intAsBigInt: true, prettyErrors: false });
    this.#root = document.contents;
    for (const { message, pos } of [...document.errors, ...document.warnings]) {
      this.problems.push({ ...this.#at(pos[0]), message: `not YAML: ${message}` });
    }
    this.value = document.errors.length === 0 ? document.toJS() : undefined;
  }

  /** Says what is wrong with the value at a path, or with the nearest part of it that there is. */
  problem(path: Path, message: string, what: 'value' | 'key' = 'value'): void {
    let node: unknown = this.#root;
    let offset = this.#root?.range?.[0] ?? 0;
    for (const step of path) {
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
        if (pair === undefined) break;
        if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
        if (isNode(node)) offset = node.range?.[0] ?? offset;
      } else break;
    }
    if (what === 'value' && isScalar(node)) offset = node.range?.[0] ?? offset;
    this.problems.push({ ...this.#at(offset), message });
  }

  /** Says that another file, which the value at a path names, is not good, and why. */
  otherFile(path: Path, message: string, rendered: string): void {
    this.problem(path, message);
    this.#others.push(rendered);
  }

  /** Says what a schema has against a value. @param place where each part of the value stands in the file */
  issues(error: z.ZodError, place: (path: Path) => Path = (path) => path): void {
    for (const issue of error.issues) {
      const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)));
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys) this.problem(place([...path, key]), `there is no field \`${key}\` here`, 'key');
      } else this.problem(place(path), `\`${path.join('.')}\`: ${issue.message}`);
    }
  }

  /** The problems, each with its line and a mark under the place. */
  render(): string {
    const lines = this.text.split('\n');
    const mine = this.problems.map(({ line, column, message }) => {
      const margin = ' '.repeat(String(line).length);
      return [
        `error: ${message}`,
        `${margin}--> ${this.file}:${line}:${column}`,
        `${margin} |`,
        `${line} | ${lines[line - 1] ?? ''}`,
        `${margin} | ${' '.repeat(Math.max(0, column - 1))}^`,
      ].join('\n');
    });
    return [...mine, ...this.#others].join('\n\n');
  }

  #at(offset: number): { readonly line: number; readonly column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}
