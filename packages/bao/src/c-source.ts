import type { Place } from '@remio/topology';
import { type CNode, type CParser, firstError } from './c-parser.js';
import { ImportFailure } from './problems.js';

/** A `#define`. */
export interface Macro {
  readonly name: string;
  readonly parameters: readonly string[] | undefined;
  readonly body: string;
  readonly place: Place;
  readonly file: string;
}

/** A variable at the top of a file, with its initializer. */
export interface Variable {
  readonly name: string;
  readonly value: CNode;
  readonly source: CSource;
}

/** A file of C: what a configuration is made of in it. */
export interface CSource {
  readonly file: string;
  readonly text: string;
  /** Paths of images, by name. */
  readonly images: ReadonlyMap<string, string>;
  readonly macros: ReadonlyMap<string, Macro>;
  readonly variables: ReadonlyMap<string, Variable>;
  /** Conditions that were taken for false or true as nothing defines what they ask for. */
  readonly undefinedNames: ReadonlyMap<string, Place>;
  readonly includes: readonly string[];
  /** Where all of it counts as standing: the body of a macro is a text of its own. */
  readonly origin?: Place;
}

export const placeOf = (node: CNode): Place => ({
  line: node.startPosition.row + 1,
  column: node.startPosition.column + 1,
});

/** Headers of Bao: what they define is built in. */
const BAO_HEADERS = /^[<"](config|platform|vm|bao|plat\/platform|plat\/[a-z_]+)\.h[>"]$/;

/** Reads a file. @throws ImportFailure where it is no C */
export function readSource(parser: CParser, file: string, text: string): CSource {
  const images = new Map<string, string>();
  const macros = new Map<string, Macro>();
  const variables = new Map<string, Variable>();
  const undefinedNames = new Map<string, Place>();
  const includes: string[] = [];
  const plain = withoutStatements(text, images);
  const root = parser.parse(plain, file);
  const source: CSource = { file, text: plain, images, macros, variables, undefinedNames, includes };

  const take = (node: CNode): void => {
    switch (node.type) {
      case 'preproc_include': {
        const path = node.childForFieldName('path')?.text ?? '';
        if (!BAO_HEADERS.test(path)) includes.push(path);
        return;
      }
      case 'preproc_def':
      case 'preproc_function_def':
        takeMacro(node, file, macros);
        return;
      case 'preproc_ifdef': {
        const name = node.childForFieldName('name')?.text ?? '';
        const wantsDefined = node.child(0)?.text === '#ifdef';
        const isDefined = macros.has(name);
        takeBranch(node, wantsDefined === isDefined);
        // What defines the name itself only says what it is where nobody said otherwise.
        if (!isDefined && !macros.has(name)) undefinedNames.set(name, placeOf(node));
        return;
      }
      case 'preproc_if':
        throw failure(
          source,
          node,
          'conditions of the preprocessor are not evaluated; run the file through `cpp` first',
        );
      case 'declaration':
        for (const declarator of node.childrenForFieldName('declarator')) {
          if (declarator?.type !== 'init_declarator') continue;
          const value = declarator.childForFieldName('value');
          const name = nameOf(declarator.childForFieldName('declarator'));
          if (value === null || name === undefined) continue;
          const error = firstError(node);
          if (error !== undefined) throw failure(source, error, syntaxMessage(error));
          variables.set(name, { name, value, source });
        }
        return;
      default:
    }
  };
  const takeBranch = (node: CNode, taken: boolean): void => {
    const alternative = node.childForFieldName('alternative');
    if (!taken) {
      if (alternative !== null) for (const child of alternative.namedChildren) if (child !== null) take(child);
      return;
    }
    for (const child of node.namedChildren) {
      if (child !== null && child.id !== alternative?.id) take(child);
    }
  };
  for (let child = root.firstNamedChild; child !== null; child = child.nextNamedSibling) take(child);

  const error = variables.size === 0 ? firstError(root) : undefined;
  if (error !== undefined) throw failure(source, error, syntaxMessage(error));
  return source;
}

const syntaxMessage = (error: CNode): string =>
  error.isMissing ? `this is no C: \`${error.type}\` is missing` : 'this is no C, or it ends too early';

/** Where a node stands, for people. */
export const where = (source: CSource, node: CNode): Place => source.origin ?? placeOf(node);

export const failure = (source: CSource, node: CNode, message: string): ImportFailure =>
  new ImportFailure({ file: source.file, place: where(source, node), message });

function takeMacro(node: CNode, file: string, macros: Map<string, Macro>): void {
  const name = node.childForFieldName('name')?.text;
  if (name === undefined) return;
  const parameters = node.childForFieldName('parameters');
  const body = (node.childForFieldName('value')?.text ?? '')
    .replace(/\\\r?\n/g, ' ')
    .replace(/\/\*.*?\*\/|\/\/.*$/gs, ' ');
  macros.set(name, {
    name,
    parameters:
      parameters === null
        ? undefined
        : parameters.namedChildren.flatMap((child) => (child?.type === 'identifier' ? [child.text] : [])),
    body: body.trim(),
    place: placeOf(node),
    file,
  });
}

/** The name that a declarator declares. */
function nameOf(declarator: CNode | null): string | undefined {
  if (declarator === null) return undefined;
  if (declarator.type === 'identifier') return declarator.text;
  return nameOf(declarator.childForFieldName('declarator'));
}

/**
 * Blanks out what only Bao's headers make C of: `VM_IMAGE(name, path)` without a semicolon, and CONFIG_HEADER without a
 * comma. Everything stays at its place.
 */
function withoutStatements(text: string, images: Map<string, string>): string {
  const blank = (matched: string): string => matched.replace(/[^\n]/g, ' ');
  return text
    .replace(
      /^[ \t]*VM_IMAGE[ \t]*\(\s*(\w+)\s*,([^\n]*)\)[ \t]*;?/gm,
      (matched: string, name: string, path: string) => {
        images.set(name, path.trim());
        return blank(matched);
      },
    )
    .replace(/^([ \t]*)CONFIG_HEADER[ \t]*,?[ \t]*$/gm, blank);
}
