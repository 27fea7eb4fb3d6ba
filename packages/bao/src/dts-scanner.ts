import type { Place } from '@remio/topology';
import { DT_DEPTH_MAX, type DtPlace, fail } from './dt-tree.js';

const SPACE = /(?:\s+|\/\*[\s\S]*?\*\/|\/\/[^\n]*|^#\s*(?:line\s+)?\d+[^\n]*)*/my;
const DIRECTIVE = /^\s*#\s*(include|define|undef|if|ifdef|ifndef|elif|else|endif|pragma|error)\b(?!\s*[=;])/m;

/** Steps through a source, and says where it is. */
export class DtsScanner {
  readonly file: string;
  readonly #text: string;
  #lines: number[] | undefined;
  #at = 0;

  constructor(text: string, file: string) {
    this.file = file;
    this.#text = text;
    const directive = DIRECTIVE.exec(text);
    if (directive !== null) {
      const at = directive.index + directive[0].search(/\S/);
      fail(
        { file, place: this.#placeAt(at) },
        `#${directive[1]}: run the file through the C preprocessor first: cpp -nostdinc -undef -x assembler-with-cpp`,
      );
    }
    this.#skip();
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  get here(): DtPlace {
    return { file: this.file, place: this.#placeAt(this.#at) };
  }

  /** Takes what matches here, and the space after it. @param pattern sticky */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null || found[0] === '') return undefined;
    this.#at += found[0].length;
    this.#skip();
    return found;
  }

  /** Whether this comes next; it is taken. */
  takes(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    this.#skip();
    return true;
  }

  expect(text: string, what: string): void {
    if (!this.takes(text)) this.fail(`\`${text}\` is expected ${what}`);
  }

  fail(message: string): never {
    const next = this.#text.slice(this.#at, this.#at + 20).split('\n')[0] ?? '';
    return fail(this.here, this.isAtEnd ? `${message}; the file ends here` : `${message}, not \`${next}\``);
  }

  #skip(): void {
    SPACE.lastIndex = this.#at;
    this.#at += SPACE.exec(this.#text)?.[0].length ?? 0;
  }

  #placeAt(offset: number): Place {
    if (this.#lines === undefined) {
      this.#lines = [0];
      for (let at = this.#text.indexOf('\n'); at >= 0; at = this.#text.indexOf('\n', at + 1)) this.#lines.push(at + 1);
    }
    let [low, high] = [0, this.#lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lines[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (this.#lines[low] ?? 0) + 1 };
  }
}

/** Operators by precedence, the loosest first. */
const OPERATORS: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['|'],
  ['^'],
  ['&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/', '%'],
];

const PATTERNS = OPERATORS.map(
  (operators) =>
    new RegExp(`(?:${operators.map((text) => text.replace(/[|^*+]/g, '\\$&')).join('|')})(?![|&<>=])`, 'y'),
);

const NUMBER = /(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*/y;
const CHARACTER = /'(\\?[^'\n])'/y;

/** A number, or an expression in parentheses (Devicetree Specification 0.4, 6.3): 64 bits. */
export function takeNumber(scanner: DtsScanner): bigint | undefined {
  if (scanner.takes('(')) {
    const value = expression(scanner, 1);
    scanner.expect(')', 'after an expression');
    return value;
  }
  const found = scanner.take(NUMBER);
  if (found !== undefined) {
    const digits = found[1] ?? '0';
    if (digits.length > 24) scanner.fail('this number is too large');
    const value = /^0[0-7]+$/.test(digits)
      ? BigInt(`0o${digits.slice(1)}`)
      : /^0\d/.test(digits)
        ? scanner.fail('a number is expected')
        : BigInt(digits);
    return value >> 64n > 0n ? scanner.fail('this number has more than 64 bits') : value;
  }
  const character = scanner.take(CHARACTER)?.[1];
  return character === undefined ? undefined : BigInt(character.codePointAt(character.length - 1) ?? 0);
}

function expression(scanner: DtsScanner, depth: number): bigint {
  const condition = binary(scanner, 0, depth);
  if (!scanner.takes('?')) return condition;
  const yes = expression(scanner, depth + 1);
  scanner.expect(':', 'in a conditional expression');
  const no = expression(scanner, depth + 1);
  return condition !== 0n ? yes : no;
}

function binary(scanner: DtsScanner, level: number, depth: number): bigint {
  const pattern = PATTERNS[level];
  if (pattern === undefined) return unary(scanner, depth);
  let left = binary(scanner, level + 1, depth);
  for (let found = scanner.take(pattern); found !== undefined; found = scanner.take(pattern)) {
    left = BigInt.asUintN(64, applied(scanner, found[0], left, binary(scanner, level + 1, depth)));
  }
  return left;
}

function unary(scanner: DtsScanner, depth: number): bigint {
  if (depth > DT_DEPTH_MAX) scanner.fail('this expression is too deep');
  if (scanner.takes('-')) return BigInt.asUintN(64, -unary(scanner, depth + 1));
  if (scanner.takes('~')) return BigInt.asUintN(64, ~unary(scanner, depth + 1));
  if (scanner.takes('!')) return unary(scanner, depth + 1) === 0n ? 1n : 0n;
  if (scanner.takes('(')) {
    const value = expression(scanner, depth + 1);
    scanner.expect(')', 'after an expression');
    return value;
  }
  return takeNumber(scanner) ?? scanner.fail('a number is expected');
}

function applied(scanner: DtsScanner, operator: string, left: bigint, right: bigint): bigint {
  const flag = (value: boolean): bigint => (value ? 1n : 0n);
  switch (operator) {
    case '||':
      return flag(left !== 0n || right !== 0n);
    case '&&':
      return flag(left !== 0n && right !== 0n);
    case '|':
      return left | right;
    case '^':
      return left ^ right;
    case '&':
      return left & right;
    case '==':
      return flag(left === right);
    case '!=':
      return flag(left !== right);
    case '<=':
      return flag(left <= right);
    case '>=':
      return flag(left >= right);
    case '<':
      return flag(left < right);
    case '>':
      return flag(left > right);
    case '<<':
      return right >= 64n ? 0n : left << right;
    case '>>':
      return right >= 64n ? 0n : left >> right;
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    default:
      if (right === 0n) return scanner.fail('a division by zero');
      return operator === '/' ? left / right : left % right;
  }
}
