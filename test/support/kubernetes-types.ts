import { join } from 'node:path';
import ts from 'typescript';

/** An object of a Kubernetes file. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
}

const root = join(import.meta.dirname, '..', '..');

/** Modules of kubernetes-types, which are generated from Kubernetes' OpenAPI description, by API version. */
const MODULES: Readonly<Record<string, string>> = {
  v1: 'kubernetes-types/core/v1',
  'apps/v1': 'kubernetes-types/apps/v1',
  'batch/v1': 'kubernetes-types/batch/v1',
  'networking.k8s.io/v1': 'kubernetes-types/networking/v1',
};

/**
 * Checks objects against Kubernetes' schemas: each is given to the TypeScript compiler as a literal of its type, so a field
 * that there is not, one that is missing and a value of another type are errors.
 * @returns an error a line, with the object and what the compiler says
 */
export function schemaProblems(objects: readonly KubernetesObject[]): readonly string[] {
  const problems: string[] = [];
  const known = objects.filter(({ apiVersion, kind }) => {
    if (MODULES[apiVersion] === undefined) problems.push(`${kind}: there is no ${apiVersion}`);
    return MODULES[apiVersion] !== undefined;
  });
  const lines = known.map((object, n) => {
    const type = `import(${JSON.stringify(MODULES[object.apiVersion])}).${object.kind}`;
    // The types leave optional what every file needs.
    const whole = `Required<Pick<${type}, 'apiVersion' | 'kind' | 'metadata'>>`;
    return `export const object${n}: ${type} & ${whole} = ${JSON.stringify(object)};`;
  });
  const file = join(root, 'kubernetes-objects.ts');
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    types: [],
    lib: ['lib.es2022.d.ts'],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile, readFile } = host;
  const text = lines.join('\n');
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? text : readFile(name));
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest);
  const program = ts.createProgram([file], options, host);
  for (const { messageText, start, file: where } of ts.getPreEmitDiagnostics(program)) {
    const line = where === undefined || start === undefined ? -1 : where.getLineAndCharacterOfPosition(start).line;
    const object = where?.fileName === file ? known[line] : undefined;
    const what = object === undefined ? (where?.fileName ?? '') : `${object.kind} ${object.metadata.name}`;
    problems.push(`${what}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
  }
  return problems;
}
