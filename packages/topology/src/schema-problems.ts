import type { z } from 'zod';
import { type Path, showPath } from './path.js';
import type { Repair } from './repair.js';
import { similarName } from './similar.js';

/** What is wrong with the shape of a file at one place. */
export interface SchemaProblem {
  readonly path: Path;
  /** Whether the key or the value is wrong. */
  readonly at: 'key' | 'value';
  readonly message: string;
  readonly fix: string;
  readonly repair?: Repair;
  /** Nothing is there. */
  readonly missing?: true;
}

type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodType;

/** Turns what the schema says into what a person can act on. */
export function schemaProblems(issues: readonly Issue[], schema: Schema, data: unknown): readonly SchemaProblem[] {
  const problems = issues.flatMap((issue) => problemsOf(issue, [], schema, data));
  // A field with a slip of the pen is missing as well: one mistake, told once.
  const meant = new Set(
    problems.flatMap(({ path, repair }) =>
      repair?.kind === 'rename' ? showPath([...path.slice(0, -1), repair.key]) : [],
    ),
  );
  return meant.size === 0 ? problems : problems.filter(({ path, missing }) => !missing || !meant.has(showPath(path)));
}

const toPath = (steps: readonly PropertyKey[]): Path =>
  steps.map((step) => (typeof step === 'number' ? step : String(step)));

function problemsOf(issue: Issue, prefix: Path, schema: Schema, data: unknown): readonly SchemaProblem[] {
  const within = toPath(issue.path);
  const path = [...prefix, ...within];
  const value = valueAt(data, within);
  if (issue.code === 'unrecognized_keys') {
    const known = schemasAt(schema, within).flatMap(keysOf);
    return issue.keys.map((key) => unknownKey(path, key, known, Object.keys(value ?? {})));
  }
  if (path.length === 0 && (data === undefined || data === null)) {
    const names = schemasAt(schema, []).flatMap(keysOf);
    return [{ path, at: 'value', message: 'the file says nothing', fix: `write ${names.join(', ')}` }];
  }
  if (value === undefined || value === null) {
    return [
      {
        path,
        at: 'value',
        message: `\`${showPath(path)}\` is missing`,
        fix: `add ${String(path.at(-1) ?? 'it')}`,
        missing: true,
      },
    ];
  }
  if (issue.code === 'invalid_union') {
    const options = schemasAt(schema, within).flatMap((at) => unionOptions(at));
    const chosen = chooseBranch(issue.errors, options, value);
    if (chosen?.kind === 'type') return [unknownType(path, value, chosen.known)];
    if (chosen?.kind === 'branch') {
      return chosen.issues.flatMap((inner) => problemsOf(inner, path, chosen.schema, value));
    }
  }
  const fix =
    issue.code === 'invalid_value'
      ? `choose from ${issue.values.map(String).join(', ')}`
      : 'write a value of this kind';
  const expected = issue.code === 'invalid_value' ? `there is no \`${String(value)}\` here` : plain(issue.message);
  const near = issue.code === 'invalid_value' ? similarName(String(value), issue.values.map(String)) : undefined;
  return [
    {
      path,
      at: 'value',
      message: expected,
      fix: near === undefined ? fix : `write ${near}`,
      ...(near === undefined ? {} : { repair: { kind: 'set', path, value: near } }),
    },
  ];
}

/** The library's own sentences, in our words. */
const plain = (message: string): string =>
  message.replace(/^Invalid input: expected (\w+), received (\w+)$/, (_, expected: string, received: string) => {
    const name = (kind: string): string => KINDS[kind] ?? kind;
    return `expected ${name(expected)}, not ${name(received)}`;
  });

const KINDS: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  string: 'a text',
  bigint: 'an integer',
  boolean: 'true or false',
  number: 'a number that is no integer',
};

function unknownKey(path: Path, key: string, known: readonly string[], present: readonly string[]): SchemaProblem {
  const free = known.filter((name) => !present.includes(name));
  const near = similarName(key, free);
  const at = [...path, key];
  const others = known.length === 0 ? 'remove it' : `remove it; here there are ${[...new Set(known)].join(', ')}`;
  return {
    path: at,
    at: 'key',
    message: `there is no field \`${key}\` here`,
    fix: near === undefined ? others : `write ${near}`,
    ...(near === undefined ? {} : { repair: { kind: 'rename', path: at, key: near } }),
  };
}

function unknownType(path: Path, value: object, known: readonly string[]): SchemaProblem {
  const written = String((value as { readonly type?: unknown }).type);
  const at = [...path, 'type'];
  const near = similarName(written, known);
  return {
    path: at,
    at: 'value',
    message: `there is no \`${written}\` here; there are ${known.join(', ')}`,
    fix: near === undefined ? `choose one of them` : `write ${near}`,
    ...(near === undefined ? {} : { repair: { kind: 'set', path: at, value: near } }),
  };
}

type Chosen =
  | { readonly kind: 'branch'; readonly issues: readonly Issue[]; readonly schema: Schema }
  | { readonly kind: 'type'; readonly known: readonly string[] };

/**
 * The alternative that was meant: the one whose `type` is written, or the one that takes a map with the keys that are
 * there. Undefined if that cannot be said: then the union's own words are best.
 */
function chooseBranch(
  errors: readonly (readonly Issue[])[],
  options: readonly Schema[],
  value: unknown,
): Chosen | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const branches = options.flatMap((schema, n) => {
    const issues = errors[n];
    return issues === undefined || shapeOf(schema) === undefined ? [] : [{ schema, issues, type: typeOf(schema) }];
  });
  const typed = branches.filter(({ type }) => type !== undefined);
  if ('type' in value && typed.length > 0) {
    const match = typed.find(({ type }) => type === value.type);
    if (match !== undefined) return { kind: 'branch', ...match };
    return { kind: 'type', known: typed.flatMap(({ type }) => type ?? []) };
  }
  const keys = Object.keys(value);
  const taking = branches.filter(
    ({ schema, type }) => type === undefined && keys.some((key) => keysOf(schema).includes(key)),
  );
  const [first] = taking;
  return taking.length === 1 && first !== undefined ? { kind: 'branch', ...first } : undefined;
}

/** What is at a path of the data; undefined if nothing is. */
function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[step];
  }
  return value;
}

// --- looking into schemas

interface Definition {
  readonly type: string;
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly element?: Schema;
  readonly valueType?: Schema;
  readonly innerType?: Schema;
  readonly in?: Schema;
  readonly options?: readonly Schema[];
  readonly values?: readonly unknown[];
}

const definition = (schema: Schema): Definition => schema._zod.def as Definition;

/** Without what only wraps: optional, transformed. */
function unwrap(schema: Schema): Schema {
  const { innerType, in: input, type } = definition(schema);
  if (innerType !== undefined) return unwrap(innerType);
  return type === 'pipe' && input !== undefined ? unwrap(input) : schema;
}

/** Every alternative of a schema that is at a path. */
function schemasAt(schema: Schema, path: Path): readonly Schema[] {
  const here = unwrap(schema);
  const [step, ...rest] = path;
  if (step === undefined) return [here];
  const { shape, element, valueType, options } = definition(here);
  if (options !== undefined) return options.flatMap((option) => schemasAt(option, path));
  const next = shape === undefined ? (element ?? valueType) : Object.hasOwn(shape, step) ? shape[step] : undefined;
  return next === undefined ? [] : schemasAt(next, rest);
}

const unionOptions = (schema: Schema): readonly Schema[] => definition(unwrap(schema)).options ?? [];

const shapeOf = (schema: Schema): Readonly<Record<string, Schema>> | undefined => definition(unwrap(schema)).shape;

const keysOf = (schema: Schema): readonly string[] => Object.keys(shapeOf(schema) ?? {});

/** The literal that an alternative has as its `type`. */
function typeOf(schema: Schema): string | undefined {
  const type = shapeOf(schema)?.['type'];
  const value = type === undefined ? undefined : definition(unwrap(type)).values?.[0];
  return typeof value === 'string' ? value : undefined;
}
