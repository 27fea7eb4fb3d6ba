import type { Place } from '@remio/topology';
import type { CNode, CParser } from './c-parser.js';
import { type CSource, failure, type Macro, type Variable, where } from './c-source.js';
import { ImportFailure } from './problems.js';

/** What an initializer says. */
export type CValue =
  | { readonly kind: 'integer'; readonly value: bigint; readonly at: At }
  | { readonly kind: 'list'; readonly items: readonly CItem[]; readonly at: At }
  /** `VM_IMAGE_OFFSET(name)` or `VM_IMAGE_SIZE(name)`. */
  | { readonly kind: 'image'; readonly name: string; readonly at: At };

export interface CItem {
  /** What it initializes; empty: what comes next. */
  readonly designators: readonly Designator[];
  readonly value: CValue;
  readonly at: At;
}

export type Designator =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly from: bigint; readonly to: bigint };

/** Where something was said. */
export interface At {
  readonly file: string;
  readonly place: Place;
}

/** Bits of a value while it is computed: wider than any field, so that nothing wraps unseen. */
const VALUE_BITS = 4352n;
const MACRO_DEPTH_MAX = 32;
/** Values that may be computed for one configuration: macros that double at each level come to an end. */
const STEPS_MAX = 1_000_000;

const CONSTANTS: Readonly<Record<string, bigint>> = {
  true: 1n,
  false: 0n,
  NULL: 0n,
  REMIO_DEV_FRONTEND: 0n,
  REMIO_DEV_BACKEND: 1n,
};

/** Bytes of types that sizeof is asked of. */
const SIZES: Readonly<Record<string, bigint>> = {
  char: 1n,
  uint8_t: 1n,
  int8_t: 1n,
  uint16_t: 2n,
  uint32_t: 4n,
  int: 4n,
  uint64_t: 8n,
  size_t: 8n,
  long: 8n,
  'unsigned long': 8n,
  paddr_t: 8n,
  vaddr_t: 8n,
};

type Scope = ReadonlyMap<string, CValue>;
const NO_SCOPE: Scope = new Map();

/** Evaluates the initializers of a configuration: the part of C that such files use. */
export class CEvaluator {
  readonly #parser: CParser;
  readonly #macros = new Map<string, Macro>();
  readonly #variables = new Map<string, Variable>();
  readonly #bodies = new Map<string, { readonly node: CNode; readonly source: CSource }>();
  readonly #open: string[] = [];
  #steps = 0;

  constructor(parser: CParser, sources: readonly CSource[]) {
    this.#parser = parser;
    for (const { macros, variables } of sources) {
      for (const [name, macro] of macros) this.#macros.set(name, macro);
      for (const [name, variable] of variables) this.#variables.set(name, variable);
    }
  }

  /** @throws ImportFailure where it is none that a configuration may have */
  variable(name: string): CValue | undefined {
    const variable = this.#variables.get(name);
    return variable === undefined ? undefined : this.#value(variable.value, variable.source, NO_SCOPE);
  }

  #value(node: CNode, source: CSource, scope: Scope): CValue {
    this.#steps += 1;
    if (this.#steps > STEPS_MAX)
      throw failure(source, node, 'the configuration has more values than a board could hold');
    const at: At = { file: source.file, place: where(source, node) };
    const integer = (value: bigint): CValue => {
      const width = value < 0n ? -value : value;
      if (width >> VALUE_BITS > 0n) throw failure(source, node, 'this number is too large');
      return { kind: 'integer', value, at };
    };
    const inner = (field: string): CNode => {
      const child = node.childForFieldName(field);
      if (child === null) throw failure(source, node, 'this is no C');
      return child;
    };
    const number = (child: CNode): bigint => this.#integer(this.#value(child, source, scope));
    switch (node.type) {
      case 'initializer_list':
        return { kind: 'list', items: this.#items(node, source, scope), at };
      case 'compound_literal_expression':
      case 'cast_expression':
        return this.#value(inner('value'), source, scope);
      case 'parenthesized_expression': {
        const child = node.namedChildren.find((candidate) => candidate !== null && candidate.type !== 'comment');
        if (!child) throw failure(source, node, 'this is no C');
        return this.#value(child, source, scope);
      }
      case 'number_literal':
        return integer(literal(node, source));
      case 'char_literal':
        return integer(BigInt(node.text.codePointAt(1) ?? 0));
      case 'true':
      case 'false':
      case 'null':
        return integer(node.type === 'true' ? 1n : 0n);
      case 'identifier':
        return this.#name(node, source, scope);
      case 'pointer_expression':
        // &x: where one is meant, an array of one will do.
        return node.child(0)?.text === '&'
          ? { kind: 'list', items: [{ designators: [], value: this.#value(inner('argument'), source, scope), at }], at }
          : unsupported(node, source);
      case 'unary_expression':
        return integer(unary(inner('operator').text, number(inner('argument')), node, source));
      case 'binary_expression': {
        const left = inner('left');
        // `(size_t)-1` and `(size_t)&x` read as subtractions: C knows types, its grammar does not.
        if (isTypeInParentheses(left)) {
          return integer(unary(inner('operator').text, number(inner('right')), node, source));
        }
        return integer(binary(inner('operator').text, number(left), number(inner('right')), node, source));
      }
      case 'conditional_expression':
        return this.#value(inner(number(inner('condition')) === 0n ? 'alternative' : 'consequence'), source, scope);
      case 'sizeof_expression': {
        const type =
          node.childForFieldName('type')?.text ?? node.childForFieldName('value')?.text.replace(/^\(|\)$/g, '');
        const size = SIZES[type ?? ''];
        return size === undefined ? unsupported(node, source) : integer(size);
      }
      case 'call_expression':
        return this.#call(node, source, scope, at);
      default:
        return unsupported(node, source);
    }
  }

  #items(node: CNode, source: CSource, scope: Scope): readonly CItem[] {
    const items: CItem[] = [];
    for (let child = node.firstNamedChild; child !== null; child = child.nextNamedSibling) {
      if (child.type === 'comment') continue;
      const at: At = { file: source.file, place: where(source, child) };
      if (child.type.startsWith('preproc')) {
        throw failure(source, child, 'a condition within the configuration; run the file through `cpp` first');
      }
      if (child.type !== 'initializer_pair') {
        items.push({ designators: [], value: this.#value(child, source, scope), at });
        continue;
      }
      const value = child.childForFieldName('value');
      if (value === null) throw failure(source, child, 'this is no C');
      const designators = child.childrenForFieldName('designator').flatMap((designator): readonly Designator[] => {
        if (designator === null) return [];
        const index = (at: number): bigint => {
          const expression = designator.namedChild(at);
          if (expression === null) throw failure(source, designator, 'this is no C');
          return this.#integer(this.#value(expression, source, scope));
        };
        switch (designator.type) {
          case 'field_designator':
            return [{ kind: 'field', name: designator.namedChild(0)?.text ?? '' }];
          case 'subscript_designator':
            return [{ kind: 'index', from: index(0), to: index(0) }];
          case 'subscript_range_designator':
            return [{ kind: 'index', from: index(0), to: index(1) }];
          default:
            throw failure(source, designator, 'this is no designator that a configuration has');
        }
      });
      items.push({ designators, value: this.#value(value, source, scope), at });
    }
    return items;
  }

  #name(node: CNode, source: CSource, scope: Scope): CValue {
    const name = node.text;
    const bound = scope.get(name);
    if (bound !== undefined) return bound;
    const macro = this.#macros.get(name);
    if (macro !== undefined && macro.parameters === undefined) return this.#expand(macro, [], node, source);
    const constant = CONSTANTS[name];
    if (constant !== undefined)
      return { kind: 'integer', value: constant, at: { file: source.file, place: where(source, node) } };
    const variable = this.#variables.get(name);
    if (variable !== undefined) {
      return this.#within(name, node, source, () => this.#value(variable.value, variable.source, NO_SCOPE));
    }
    throw failure(
      source,
      node,
      `nothing here defines ${name}; name the file that does after this one, or write its value`,
    );
  }

  #call(node: CNode, source: CSource, scope: Scope, at: At): CValue {
    const callee = node.childForFieldName('function');
    const given = node.childForFieldName('arguments')?.namedChildren.filter((child) => child?.type !== 'comment') ?? [];
    const argument = (n: number): CValue => {
      const child = given[n];
      if (!child) throw failure(source, node, `${callee?.text ?? 'this'} has too few arguments`);
      return this.#value(child, source, scope);
    };
    // `(size_t)(x)` reads as a call.
    if (callee !== null && isTypeInParentheses(callee)) return argument(0);
    const name = callee?.text ?? '';
    const macro = this.#macros.get(name);
    if (macro?.parameters !== undefined) {
      return this.#expand(
        macro,
        macro.parameters.map((_, n) => argument(n)),
        node,
        source,
      );
    }
    const field = (fieldName: string, value: CValue): CItem => ({
      designators: [{ kind: 'field', name: fieldName }],
      value,
      at,
    });
    const image = (): CValue => ({ kind: 'image', name: given[0]?.text ?? '', at });
    const flag = (value: bigint): CValue => ({ kind: 'integer', value, at });
    switch (name) {
      case 'VM_IMAGE_OFFSET':
      case 'VM_IMAGE_SIZE':
        return image();
      case 'VM_IMAGE_BUILTIN':
        return {
          kind: 'list',
          items: [field('base_addr', argument(1)), field('load_addr', image()), field('size', image())],
          at,
        };
      case 'VM_IMAGE_LOADED':
        return {
          kind: 'list',
          items: [
            field('base_addr', argument(0)),
            field('load_addr', argument(1)),
            field('size', argument(2)),
            field('separately_loaded', flag(1n)),
          ],
          at,
        };
      default:
        throw failure(source, node, `nothing here defines ${name}(); name the file that does, or write its value`);
    }
  }

  #expand(macro: Macro, given: readonly CValue[], node: CNode, source: CSource): CValue {
    return this.#within(macro.name, node, source, () => {
      const body = this.#body(macro);
      const scope = new Map((macro.parameters ?? []).map((name, n): [string, CValue] => [name, given[n] as CValue]));
      return this.#value(body.node, body.source, scope);
    });
  }

  #within(name: string, node: CNode, source: CSource, evaluate: () => CValue): CValue {
    if (this.#open.length >= MACRO_DEPTH_MAX || this.#open.includes(name)) {
      throw failure(source, node, `${name} is defined by itself, or by too many others`);
    }
    this.#open.push(name);
    const value = evaluate();
    this.#open.pop();
    return value;
  }

  /** A macro's body, parsed as an initializer. */
  #body(macro: Macro): { readonly node: CNode; readonly source: CSource } {
    const parsed = this.#bodies.get(macro.name);
    if (parsed !== undefined) return parsed;
    const text = `int x = ${macro.body};`;
    const root = this.#parser.parse(text, macro.file);
    const node = root.firstNamedChild?.childForFieldName('declarator')?.childForFieldName('value') ?? null;
    if (node === null || root.hasError) {
      const message = `${macro.name} stands for no value that a configuration may have`;
      throw new ImportFailure({ file: macro.file, place: macro.place, message });
    }
    const source: CSource = {
      file: macro.file,
      text,
      images: new Map(),
      macros: new Map(),
      variables: new Map(),
      undefinedNames: new Map(),
      includes: [],
      origin: macro.place,
    };
    const body = { node, source };
    this.#bodies.set(macro.name, body);
    return body;
  }

  #integer(value: CValue): bigint {
    if (value.kind === 'integer') return value.value;
    throw new ImportFailure({ ...value.at, message: 'a number is expected here' });
  }
}

const unsupported = (node: CNode, source: CSource): never => {
  const text = node.text.slice(0, 40).replace(/\s+/g, ' ');
  throw failure(source, node, `\`${text}\` is more C than a configuration may have; write the value`);
};

/** Whether this is `(type)`, which C's grammar cannot tell from `(variable)`. */
const isTypeInParentheses = (node: CNode): boolean =>
  node.type === 'parenthesized_expression' && /^\(\s*(unsigned|signed|\w+_t|int|long|char)\s*\)$/.test(node.text);

function literal(node: CNode, source: CSource): bigint {
  // The grammar takes a sign for a part of the number.
  const [, sign = '', digits = ''] = /^([-+]?)(.*)$/.exec(node.text.replace(/'/g, '')) ?? [];
  const text = digits.replace(/[uUlL]+$/, '');
  const signed = (value: bigint): bigint => (sign === '-' ? -value : value);
  if (/^0[xX][0-9a-fA-F]+$/.test(text) || /^0[bB][01]+$/.test(text) || /^(0|[1-9][0-9]*)$/.test(text)) {
    if (text.length > 1300) throw failure(source, node, 'this number is too large');
    return signed(BigInt(text));
  }
  if (/^0[0-7]+$/.test(text)) return signed(BigInt(`0o${text.slice(1)}`));
  throw failure(source, node, `${node.text.slice(0, 40)} is no whole number`);
}

function unary(operator: string, value: bigint, node: CNode, source: CSource): bigint {
  switch (operator) {
    case '-':
      return -value;
    case '+':
      return value;
    case '~':
      return BigInt.asUintN(64, ~value);
    case '!':
      return value === 0n ? 1n : 0n;
    default:
      throw failure(source, node, `there is no ${operator} in configurations`);
  }
}

function binary(operator: string, left: bigint, right: bigint, node: CNode, source: CSource): bigint {
  const flag = (value: boolean): bigint => (value ? 1n : 0n);
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
    case '%':
      if (right === 0n) throw failure(source, node, 'a division by zero');
      return operator === '/' ? left / right : left % right;
    case '<<':
    case '>>':
      if (right < 0n || right >= VALUE_BITS) throw failure(source, node, `a shift by ${right} bits`);
      return operator === '<<' ? left << right : left >> right;
    case '&':
      return left & right;
    case '|':
      return left | right;
    case '^':
      return left ^ right;
    case '&&':
      return flag(left !== 0n && right !== 0n);
    case '||':
      return flag(left !== 0n || right !== 0n);
    case '==':
      return flag(left === right);
    case '!=':
      return flag(left !== right);
    case '<':
      return flag(left < right);
    case '>':
      return flag(left > right);
    case '<=':
      return flag(left <= right);
    case '>=':
      return flag(left >= right);
    default:
      throw failure(source, node, `there is no ${operator} in configurations`);
  }
}
