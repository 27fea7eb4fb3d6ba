import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { EXPORT_MARK, type ExportFile, exportBao } from '@remio/bao';
import { makeDirectories } from '@remio/host-io';
import { BUILTIN_PROGRAMS, parseTopology, placeOfTopology, type RuleId, renderDiagnostics } from '@remio/topology';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { readInput } from './input-file.js';

export interface ExportOptions {
  readonly output: string;
  /** For a Bao with wider messages and CPU maps. */
  readonly wide: boolean;
  /** Overwrites files that no export made. */
  readonly force: boolean;
  readonly json: boolean;
}

/** Rules of the check that the export has rules of its own for. */
const EXPORT_TELLS: ReadonlySet<RuleId> = new Set<RuleId>([
  'bind-key-reference',
  'interrupt-reference',
  'cpus-reference',
]);

/** `remio export bao`: writes what a topology is for Bao. Nothing is written unless everything can be. */
export function exportTopology(file: string, options: ExportOptions): ExitCode {
  const text = readInput(file, 'a topology');
  const path = resolve(file);
  const { topology, diagnostics } = parseTopology(text, file, {
    ...placeOfTopology(file),
    // Images and modules need not be here: an export only names them.
    files: {
      imageProblem: () => undefined,
      directoryProblem: () => undefined,
      socketProblem: () => undefined,
      exists: () => true,
    },
    programs: BUILTIN_PROGRAMS,
  });
  // The limits of the reference are the export's to tell.
  const told = diagnostics.filter(({ rule }) => !EXPORT_TELLS.has(rule) || topology === undefined);
  if (topology === undefined) throw new CommandError(renderDiagnostics(told, text), EXIT.USAGE);

  const directory = resolve(options.output);
  const relocate = (name: string): string =>
    isAbsolute(name) ? name : relative(directory, resolve(dirname(path), name)).replaceAll('\\', '/');
  const exported = exportBao(topology, text, { file, label: basename(path), relocate, wide: options.wide });
  if (!exported.ok) throw new CommandError(renderDiagnostics([...told, ...exported.error], text), EXIT.USAGE);
  const warnings = [...told, ...exported.value.warnings];
  if (warnings.length > 0) console.error(`${renderDiagnostics(warnings, text)}\n`);

  const { files } = exported.value;
  writeFiles(directory, files, options.force);
  if (options.json) console.log(JSON.stringify({ directory, files: files.map(({ name }) => name) }));
  else console.log(`${files.length} files in ${options.output}; BUILD.md says what to do with them`);
  return EXIT.OK;
}

/** @throws CommandError where a file of somebody else's stands, or nothing can be written */
function writeFiles(directory: string, files: readonly ExportFile[], force: boolean): void {
  const there = new Set(existsSync(directory) ? readdirSync(directory) : []);
  const foreign = files.filter(({ name }) => !force && there.has(name) && !isOurs(join(directory, name)));
  if (foreign.length > 0) {
    const names = foreign.map(({ name }) => name).join(', ');
    const message = `${directory} has files that no export made: ${names}; choose another directory, or --force`;
    throw new CommandError(message, EXIT.USAGE);
  }
  try {
    makeDirectories(directory);
    for (const { name, text } of files) writeFileSync(join(directory, name), text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the export cannot be written: ${reason}`, EXIT.ENVIRONMENT);
  }
}

/** Whether an export made a file. */
const isOurs = (path: string): boolean => readFileSync(path, 'utf8').slice(0, 500).includes(EXPORT_MARK);
