import { DT_DEPTH_MAX, type Dt, type DtBytes, type DtPlace, fail } from './dt-tree.js';
import { DtsScanner, takeNumber } from './dts-scanner.js';

/** Most characters of a source, with all that it includes. */
export const DTS_CHARACTERS_MAX = 4 * 1024 * 1024;
const INCLUDES_MAX = 64;

export interface DtsOptions {
  /** The text of a file that `/include/` names, and its path; undefined if there is none. */
  include(path: string, from: string): { readonly file: string; readonly text: string } | undefined;
}

/** What a value is made of until every label is known. */
type Piece =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'phandle' | 'path'; readonly target: string; readonly at: DtPlace };

interface Property {
  pieces: readonly Piece[];
  readonly at: DtPlace;
}

interface Node {
  readonly name: string;
  readonly labels: Set<string>;
  readonly properties: Map<string, Property>;
  readonly children: Map<string, Node>;
  readonly at: DtPlace;
}

const LABEL = /([A-Za-z_][A-Za-z0-9_]*):/y;
const NAME = /[A-Za-z0-9,._+*#?@-]+/y;
const STRING = /"((?:[^"\\\n]|\\.)*)"/y;
const REFERENCE = /&([A-Za-z_][A-Za-z0-9_]*|\{\/[^}\n]*\})/y;
const BYTES = /[0-9a-fA-F]{2}/y;

/**
 * Reads the source of a device tree: what `dtc` reads, but for overlays and included binaries.
 * @throws ImportFailure where it is none
 */
export function readDts(text: string, file: string, options: DtsOptions): Dt {
  return new DtsReader(options).read(text, file);
}

class DtsReader {
  readonly #options: DtsOptions;
  readonly #root: Node = newNode('/', { file: '', place: undefined });
  readonly #labels = new Map<string, Node>();
  #characters = 0;
  #includes = 0;

  constructor(options: DtsOptions) {
    this.#options = options;
  }

  read(text: string, file: string): Dt {
    if (!/\/dts-v1\/\s*;/.test(text))
      fail({ file, place: undefined }, 'this is no device tree: it does not begin with /dts-v1/;');
    this.#file(text, file);
    return new Resolver(this.#root, this.#labels, file).resolved();
  }

  #open(text: string, file: string, at: DtPlace): DtsScanner {
    this.#characters += text.length;
    if (this.#characters > DTS_CHARACTERS_MAX) {
      fail(at, `it has more than ${DTS_CHARACTERS_MAX} characters, with what it includes`);
    }
    return new DtsScanner(text, file);
  }

  #file(text: string, file: string, at: DtPlace = { file, place: undefined }): void {
    const scanner = this.#open(text, file, at);
    while (!scanner.isAtEnd) this.#topLevel(scanner);
  }

  #include(scanner: DtsScanner): { readonly file: string; readonly text: string } {
    const at = scanner.here;
    const path = scanner.take(STRING)?.[1] ?? scanner.fail('a file in quotes is expected after /include/');
    this.#includes += 1;
    if (this.#includes > INCLUDES_MAX)
      fail(at, `more than ${INCLUDES_MAX} files are included: does one include itself?`);
    return this.#options.include(path, scanner.file) ?? fail(at, `there is no file ${path} to include`);
  }

  #topLevel(scanner: DtsScanner): void {
    const at = scanner.here;
    if (scanner.takes('/dts-v1/')) scanner.expect(';', 'after /dts-v1/');
    else if (scanner.takes('/plugin/')) fail(at, 'this is an overlay; apply it to its tree first (fdtoverlay)');
    else if (scanner.takes('/memreserve/')) {
      for (let n = 0; n < 2; n += 1) if (takeNumber(scanner) === undefined) scanner.fail('a number is expected');
      scanner.expect(';', 'after /memreserve/');
    } else if (scanner.takes('/include/')) {
      const { file, text } = this.#include(scanner);
      this.#file(text, file, at);
    } else if (scanner.takes('/delete-node/')) {
      const target = this.#target(scanner);
      remove(this.#root, target);
      scanner.expect(';', 'after /delete-node/');
    } else if (scanner.takes('/')) this.#body(scanner, this.#root, 0);
    else {
      const labels = this.#takeLabels(scanner);
      if (scanner.takes('/')) {
        this.#label(this.#root, labels);
        this.#body(scanner, this.#root, 0);
        return;
      }
      const node = this.#target(scanner);
      this.#label(node, labels);
      this.#body(scanner, node, 0);
    }
  }

  /** The node that `&label` or `&{/path}` stands for. */
  #target(scanner: DtsScanner): Node {
    const at = scanner.here;
    const name = scanner.take(REFERENCE)?.[1] ?? scanner.fail('a node is expected: / { … }, or &label { … }');
    return nodeNamed(name, this.#root, this.#labels) ?? fail(at, `no node is labelled ${name}`);
  }

  #takeLabels(scanner: DtsScanner): readonly string[] {
    const labels: string[] = [];
    for (let found = scanner.take(LABEL); found !== undefined; found = scanner.take(LABEL)) labels.push(found[1] ?? '');
    return labels;
  }

  #label(node: Node, labels: readonly string[]): void {
    for (const label of labels) {
      const other = this.#labels.get(label);
      if (other !== undefined && other !== node) fail(node.at, `${label} labels ${other.name} already`);
      node.labels.add(label);
      this.#labels.set(label, node);
    }
  }

  #body(scanner: DtsScanner, node: Node, depth: number): void {
    if (depth > DT_DEPTH_MAX) scanner.fail(`nodes are ${DT_DEPTH_MAX} deep here`);
    scanner.expect('{', 'before what a node has');
    this.#contents(scanner, node, depth);
    scanner.expect('}', 'after what a node has');
    scanner.expect(';', 'after a node');
  }

  #contents(scanner: DtsScanner, node: Node, depth: number): void {
    for (;;) {
      const at = scanner.here;
      if (scanner.takes('/delete-property/')) {
        node.properties.delete(scanner.take(NAME)?.[0] ?? scanner.fail('a name is expected'));
        scanner.expect(';', 'after /delete-property/');
        continue;
      }
      if (scanner.takes('/delete-node/')) {
        const name = scanner.take(NAME)?.[0] ?? scanner.fail('a name is expected');
        node.children.delete(name);
        scanner.expect(';', 'after /delete-node/');
        continue;
      }
      if (scanner.takes('/include/')) {
        const { file, text } = this.#include(scanner);
        const inner = this.#open(text, file, at);
        this.#contents(inner, node, depth);
        if (!inner.isAtEnd) inner.fail('a property or node is expected');
        continue;
      }
      scanner.takes('/omit-if-no-ref/');
      const labels = this.#takeLabels(scanner);
      const name = scanner.take(NAME)?.[0];
      if (name === undefined) {
        if (labels.length > 0) scanner.fail('a property or node is expected after a label');
        return;
      }
      if (scanner.takes('=')) {
        node.properties.set(name, { pieces: this.#values(scanner), at });
        scanner.expect(';', `after ${name}`);
      } else if (scanner.takes(';')) {
        node.properties.set(name, { pieces: [], at });
      } else {
        const child = node.children.get(name) ?? newNode(name, at);
        node.children.set(name, child);
        this.#label(child, labels);
        this.#body(scanner, child, depth + 1);
      }
    }
  }

  #values(scanner: DtsScanner): readonly Piece[] {
    const pieces: Piece[] = [];
    do {
      this.#takeLabels(scanner);
      this.#value(scanner, pieces);
      this.#takeLabels(scanner);
    } while (scanner.takes(','));
    return pieces;
  }

  #value(scanner: DtsScanner, pieces: Piece[]): void {
    const at = scanner.here;
    const text = scanner.take(STRING);
    if (text !== undefined) {
      pieces.push({ kind: 'bytes', bytes: new TextEncoder().encode(`${unescaped(text[1] ?? '')}\0`) });
    } else if (scanner.takes('[')) {
      const bytes: number[] = [];
      for (let found = scanner.take(BYTES); found !== undefined; found = scanner.take(BYTES))
        bytes.push(Number.parseInt(found[0], 16));
      pieces.push({ kind: 'bytes', bytes: Uint8Array.from(bytes) });
      scanner.expect(']', 'after bytes');
    } else if (scanner.takes('/bits/')) {
      const bits = Number(takeNumber(scanner) ?? scanner.fail('a number of bits is expected'));
      if (![8, 16, 32, 64].includes(bits)) fail(at, `there are cells of 8, 16, 32 and 64 bits, not ${bits}`);
      scanner.expect('<', 'before cells');
      this.#cells(scanner, bits / 8, pieces);
    } else if (scanner.takes('<')) this.#cells(scanner, 4, pieces);
    else if (scanner.takes('/incbin/'))
      fail(at, '/incbin/ is not read; compile the tree with dtc, and import the blob');
    else {
      const target = scanner.take(REFERENCE)?.[1] ?? scanner.fail('a value is expected: "…", <…>, […] or &label');
      pieces.push({ kind: 'path', target, at });
    }
  }

  #cells(scanner: DtsScanner, width: number, pieces: Piece[]): void {
    for (;;) {
      this.#takeLabels(scanner);
      if (scanner.takes('>')) return;
      const at = scanner.here;
      const target = scanner.take(REFERENCE)?.[1];
      if (target !== undefined) {
        if (width !== 4) fail(at, 'a phandle has 32 bits');
        pieces.push({ kind: 'phandle', target, at });
        continue;
      }
      const value = takeNumber(scanner) ?? scanner.fail('a number, &label or `>` is expected');
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value);
      const high = value >> BigInt(8 * width);
      // A negative number has all ones above its width.
      if (high !== 0n && high !== (1n << BigInt(64 - 8 * width)) - 1n)
        fail(at, `this number has more than ${8 * width} bits`);
      pieces.push({ kind: 'bytes', bytes: bytes.subarray(8 - width) });
    }
  }
}

const newNode = (name: string, at: DtPlace): Node => ({
  name,
  labels: new Set(),
  properties: new Map(),
  children: new Map(),
  at,
});

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '0': '\0',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};
const unescaped = (text: string): string =>
  text.replace(/\\(x[0-9a-fA-F]{1,2}|.)/g, (_, code: string) =>
    code.length > 1 ? String.fromCharCode(Number.parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? code),
  );

/** A node by its label, or by its path in braces. */
function nodeNamed(name: string, root: Node, labels: ReadonlyMap<string, Node>): Node | undefined {
  if (!name.startsWith('{')) return labels.get(name);
  let node: Node | undefined = root;
  for (const step of name
    .slice(2, -1)
    .split('/')
    .filter((part) => part !== '')) {
    node =
      node?.children.get(step) ??
      [...(node?.children.values() ?? [])].find((child) => child.name.split('@')[0] === step);
  }
  return node;
}

function remove(from: Node, target: Node): void {
  for (const [name, child] of from.children) {
    if (child === target) from.children.delete(name);
    else remove(child, target);
  }
}

/** Gives nodes that are pointed at their phandles, and makes bytes of values. */
class Resolver {
  readonly #root: Node;
  readonly #labels: ReadonlyMap<string, Node>;
  readonly #file: string;
  readonly #phandles = new Map<Node, number>();
  readonly #taken = new Set<number>();
  readonly #paths = new Map<Node, string>();
  #next = 1;

  constructor(root: Node, labels: ReadonlyMap<string, Node>, file: string) {
    this.#root = root;
    this.#labels = labels;
    this.#file = file;
  }

  resolved(): Dt {
    this.#note(this.#root, '');
    const tree = this.#node(this.#root);
    return this.#withPhandles(tree, this.#root);
  }

  /** Notes paths, and the phandles that the source has given. */
  #note(node: Node, path: string): void {
    this.#paths.set(node, path === '' ? '/' : path);
    const given = node.properties.get('phandle') ?? node.properties.get('linux,phandle');
    const [piece] = given?.pieces ?? [];
    if (piece?.kind === 'bytes' && piece.bytes.length === 4) {
      const value = new DataView(piece.bytes.buffer, piece.bytes.byteOffset, 4).getUint32(0);
      this.#phandles.set(node, value);
      this.#taken.add(value);
    }
    for (const child of node.children.values()) this.#note(child, `${path}/${child.name}`);
  }

  #node(node: Node): Dt {
    return {
      name: node.name,
      labels: [...node.labels],
      properties: new Map(
        [...node.properties].map(([name, { pieces, at }]) => [
          name,
          { bytes: joined(pieces.map((piece) => this.#bytes(piece))), at },
        ]),
      ),
      children: [...node.children.values()].map((child) => this.#node(child)),
      at: node.at.file === '' ? { file: this.#file, place: undefined } : node.at,
    };
  }

  #bytes(piece: Piece): Uint8Array {
    if (piece.kind === 'bytes') return piece.bytes;
    const node = nodeNamed(piece.target, this.#root, this.#labels);
    if (node === undefined || !this.#paths.has(node)) return fail(piece.at, `no node is labelled ${piece.target}`);
    if (piece.kind === 'path') return new TextEncoder().encode(`${this.#paths.get(node)}\0`);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, this.#phandle(node));
    return bytes;
  }

  #phandle(node: Node): number {
    const known = this.#phandles.get(node);
    if (known !== undefined) return known;
    while (this.#taken.has(this.#next)) this.#next += 1;
    this.#phandles.set(node, this.#next);
    this.#taken.add(this.#next);
    return this.#next;
  }

  #withPhandles(tree: Dt, node: Node): Dt {
    const phandle = this.#phandles.get(node);
    const nodes = [...node.children.values()];
    const children = tree.children.map((child, n) => {
      const from = nodes[n];
      return from === undefined ? child : this.#withPhandles(child, from);
    });
    if (phandle === undefined || tree.properties.has('phandle')) return { ...tree, children };
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, phandle);
    const property: DtBytes = { bytes, at: tree.at };
    return { ...tree, children, properties: new Map([...tree.properties, ['phandle', property]]) };
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
