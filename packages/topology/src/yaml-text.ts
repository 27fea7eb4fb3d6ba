import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  type YAMLMap,
} from 'yaml';

/*
 * Bounds of what is read, so that no file makes us wait or run out of memory. A topology of 4096 VMs, the most that a
 * board has CPUs for, takes about half of each.
 */

/** Bytes of a file. */
export const FILE_BYTES_MAX = 8 * 1024 ** 2;
/** Words, punctuation marks and line ends of a file: what reading takes time for. */
const LEXEMES_MAX = 1_000_000;
const NESTING_MAX = 64;
/** Collections, and entries of them, that are open at one place while a text is read: a few for each level. */
const OPEN_MAX = 4 * NESTING_MAX;
/** Values when every alias is replaced by what it stands for. */
const VALUES_MAX = 500_000;
/** Errors of syntax after which the rest is not looked at. */
const ERRORS_MAX = 20;

/** What is wrong with the text of a file. */
export interface YamlProblem {
  readonly offset: number;
  readonly message: string;
  readonly fix: string;
}

/** A YAML text: its nodes with their places, and as plain data. */
export interface YamlText {
  readonly lines: LineCounter;
  readonly root: Node | null;
  /** Scalars, arrays and objects; integers as bigint. Undefined if there are problems. */
  readonly data: unknown;
  readonly problems: readonly YamlProblem[];
  /** The node that an alias stands for. */
  readonly targets: ReadonlyMap<Node, Node>;
}

/** Reading stops here: the last problem says why. */
class Stop extends Error {}

/**
 * Reads a text in bounded time and memory. Of YAML's own limits none is relied on: a library's resolving of aliases and
 * looking for keys that are there twice takes time that grows with the square of the text.
 */
export function readYaml(text: string): YamlText {
  const lines = new LineCounter();
  const problems: YamlProblem[] = [];
  let root: Node | null = null;
  let data: unknown;
  const targets = new Map<Node, Node>();
  try {
    root = compose(text, lines, problems)?.contents ?? null;
    if (problems.length === 0) data = new Conversion(targets, problems).of(root, NESTING_MAX);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
  }
  return { lines, root, data: problems.length === 0 ? data : undefined, problems, targets };
}

const SYNTAX_FIX = 'correct the syntax at this place';

function compose(text: string, lines: LineCounter, problems: YamlProblem[]): Document | undefined {
  const stop = (problem: YamlProblem): never => {
    problems.push(problem);
    throw new Stop();
  };
  const composer = new Composer({ intAsBigInt: true, uniqueKeys: false });
  const report = (offset: number, message: string): void => {
    // The composer, which catches what it throws itself, may go on for a while after we have stopped.
    if (problems.length >= ERRORS_MAX) throw new Stop();
    problems.push({ offset, message: `not YAML: ${message.trimEnd()}`, fix: SYNTAX_FIX });
  };
  // The composer collects errors without end, and slowly; this is where it hands them over. Its warnings (an unknown
  // tag, a directive) are mistakes in a file of ours.
  Reflect.set(composer, 'onError', (source: ErrorSource, _code: string, message: string) =>
    report(offsetOf(source), message),
  );
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  let lexemes = 0;
  let document: Document | undefined;
  const take = (composed: Document): void => {
    if (document === undefined) document = composed;
    else {
      const offset = composed.range?.[0] ?? 0;
      stop({ offset, message: 'not YAML: a second document starts here', fix: 'write one document per file' });
    }
  };
  for (const lexeme of new Lexer().lex(text)) {
    lexemes += 1;
    if (lexemes > LEXEMES_MAX) {
      const message = `the file has more than ${LEXEMES_MAX} words and marks; no topology needs so many`;
      stop({ offset: 0, message, fix: 'give a topology; split it if it really is one' });
    }
    // Before anything recurses into it: where the stack ends, Node ends with it.
    if (parser.stack.length > OPEN_MAX) stop(tooDeep(parser.offset));
    for (const token of parser.next(lexeme)) {
      if (token.type === 'error') report(token.offset, token.message);
      else for (const composed of composer.next(token)) take(composed);
    }
  }
  for (const token of parser.end()) for (const composed of composer.next(token)) take(composed);
  for (const composed of composer.end(false, text.length)) take(composed);
  for (const { message, pos } of document?.errors ?? []) report(pos[0], message);
  return document;
}

/** Where the composer says that an error is. */
type ErrorSource = number | readonly [number, number, ...number[]] | { readonly offset: number };

function offsetOf(source: ErrorSource): number {
  if (typeof source === 'number') return source;
  return 'offset' in source ? source.offset : source[0];
}

const tooDeep = (offset: number): YamlProblem => ({
  offset,
  message: `lists and maps are nested more than ${NESTING_MAX} deep`,
  fix: 'remove some levels: the language has fewer than ten',
});

interface Converted {
  readonly data: unknown;
  /** Values in it, aliases replaced. */
  readonly values: number;
}

/** Turns nodes into plain data, each once; aliases share what their anchor's node became. */
class Conversion {
  readonly #targets: Map<Node, Node>;
  readonly #problems: YamlProblem[];
  readonly #anchors = new Map<string, Node>();
  readonly #done = new Map<Node, Converted>();
  readonly #open = new Set<Node>();
  #values = 0;

  constructor(targets: Map<Node, Node>, problems: YamlProblem[]) {
    this.#targets = targets;
    this.#problems = problems;
  }

  of(node: unknown, depth: number): unknown {
    if (isAlias(node)) return this.#alias(node);
    if (isScalar(node)) {
      if (node.anchor !== undefined) this.#finish(node, node.value, this.#values);
      this.#count(1, node);
      return node.value;
    }
    if (!isMap(node) && !isSeq(node)) return null;
    if (depth === 0) this.#stop(tooDeep(node.range?.[0] ?? 0));
    const before = this.#values;
    this.#count(1, node);
    if (node.anchor !== undefined) {
      this.#anchors.set(node.anchor, node);
      this.#open.add(node);
    }
    const data = isMap(node) ? this.#map(node, depth) : node.items.map((item) => this.of(item, depth - 1));
    if (node.anchor !== undefined) {
      this.#open.delete(node);
      this.#finish(node, data, before);
    }
    return data;
  }

  #map(map: YAMLMap<unknown, unknown>, depth: number): object {
    const data: Record<string, unknown> = {};
    for (const { key, value } of map.items) {
      if (!isScalar(key)) {
        const offset = rangeStart(key) ?? map.range?.[0] ?? 0;
        this.#problem({ offset, message: 'a key is a name, not a list, map or alias', fix: 'write a name' });
        continue;
      }
      const name = String(key.value);
      if (Object.hasOwn(data, name)) {
        const message = `\`${name}\` is there already`;
        this.#problem({ offset: key.range?.[0] ?? 0, message, fix: 'remove one of the two, or rename it' });
        continue;
      }
      // Assigned, `__proto__` would be the object's prototype.
      const entry = { value: this.of(value, depth - 1), enumerable: true, writable: true, configurable: true };
      Object.defineProperty(data, name, entry);
    }
    return data;
  }

  #alias(alias: Node & { readonly source: string }): unknown {
    const offset = alias.range?.[0] ?? 0;
    const target = this.#anchors.get(alias.source);
    if (target === undefined) {
      const message = `there is no anchor &${alias.source} before this alias`;
      return this.#problem({ offset, message, fix: 'set the anchor where the value stands first' });
    }
    if (this.#open.has(target)) {
      const message = `*${alias.source} stands within what it stands for: the file would be endless`;
      return this.#problem({ offset, message, fix: 'write the value instead of the alias' });
    }
    this.#targets.set(alias, target);
    const done = this.#done.get(target);
    this.#count(done?.values ?? 1, alias);
    return done?.data;
  }

  #finish(node: Node & { readonly anchor?: string | undefined }, data: unknown, before: number): void {
    if (node.anchor === undefined) return;
    this.#anchors.set(node.anchor, node);
    this.#done.set(node, { data, values: Math.max(1, this.#values - before) });
  }

  #count(values: number, node: Node): void {
    this.#values += values;
    if (this.#values <= VALUES_MAX) return;
    const message = `with its aliases replaced, the file has more than ${VALUES_MAX} values`;
    this.#stop({ offset: node.range?.[0] ?? 0, message, fix: 'use fewer aliases of aliases' });
  }

  #problem(problem: YamlProblem): undefined {
    this.#problems.push(problem);
    if (this.#problems.length >= ERRORS_MAX) throw new Stop();
    return undefined;
  }

  #stop(problem: YamlProblem): never {
    this.#problems.push(problem);
    throw new Stop();
  }
}

const rangeStart = (node: unknown): number | undefined =>
  typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)
    ? Number(node.range[0])
    : undefined;
