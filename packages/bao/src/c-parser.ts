import { Language, type Node, Parser, type Tree } from 'web-tree-sitter';
import { ImportFailure } from './problems.js';

export type CNode = Node;

/** Most bytes of a C file: the configuration of a thousand VMs has 2 MB. */
export const C_BYTES_MAX = 3 * 1024 * 1024;
/** Brackets within brackets: a configuration has about ten. The parser's time and memory grow with them. */
const DEPTH_MAX = 64;

/** The C grammar, ready for use: tree-sitter's, compiled to WebAssembly. */
export class CParser {
  readonly #parser: Parser;
  readonly #trees: Tree[] = [];

  private constructor(parser: Parser) {
    this.#parser = parser;
  }

  /**
   * @param runtime web-tree-sitter.wasm
   * @param grammar tree-sitter-c.wasm
   */
  static async create(runtime: Uint8Array, grammar: Uint8Array): Promise<CParser> {
    await Parser.init({ wasmBinary: runtime as Uint8Array<ArrayBuffer> });
    const parser = new Parser();
    parser.setLanguage(await Language.load(grammar));
    return new CParser(parser);
  }

  /**
   * Parses a text; where it is no C, there are nodes that say so.
   * @throws ImportFailure if it is too large or too deep to be looked at
   */
  parse(text: string, file: string): CNode {
    if (text.length > C_BYTES_MAX) {
      const message = `it has ${text.length} characters; a configuration has at most ${C_BYTES_MAX}`;
      throw new ImportFailure({ file, place: undefined, message });
    }
    checkDepth(text, file);
    const tree = this.#parser.parse(text);
    if (tree === null) throw new ImportFailure({ file, place: undefined, message: 'it cannot be parsed as C' });
    this.#trees.push(tree);
    return tree.rootNode;
  }

  /** Gives back what the parser holds outside of JavaScript's memory. Nodes are of no use afterwards. */
  dispose(): void {
    for (const tree of this.#trees) tree.delete();
    this.#parser.delete();
  }
}

function checkDepth(text: string, file: string): void {
  let depth = 0;
  let line = 1;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    if (character === 0x0a) line += 1;
    else if (character === 0x28 || character === 0x5b || character === 0x7b) depth += 1;
    else if (character === 0x29 || character === 0x5d || character === 0x7d) depth -= 1;
    if (depth > DEPTH_MAX) {
      const message = `brackets are ${DEPTH_MAX} deep here; this is no configuration of Bao`;
      throw new ImportFailure({ file, place: { line, column: 1 }, message });
    }
  }
}

/** The first place where the text is no C, within a node. */
export function firstError(node: CNode): CNode | undefined {
  if (!node.hasError) return undefined;
  let found: CNode | undefined = node.isError || node.isMissing ? node : undefined;
  for (let inner: CNode | undefined = node; inner !== undefined; ) {
    const next: CNode | undefined = inner.children.find(
      (child): child is CNode => child?.hasError === true || child?.isMissing === true,
    );
    if (next?.isError || next?.isMissing) found = next;
    inner = next;
  }
  return found;
}
