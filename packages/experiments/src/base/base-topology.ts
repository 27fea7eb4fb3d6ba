import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { err, ok, type Result } from '@remio/base';
import {
  BUILTIN_PROGRAMS,
  hostFiles,
  type Parsed,
  parseTopology,
  placeOfTopology,
  renderDiagnostics,
} from '@remio/topology';
import { parse, stringify } from 'yaml';
import { readTrace, textOfTrace } from '../trace.js';
import { isMapping } from './topology-path.js';

/** A topology file that an experiment starts from. */
export interface BaseFile {
  /** As the experiment names it. */
  readonly name: string;
  /** Absolute path: other files that it names count from there. */
  readonly file: string;
  readonly text: string;
}

/** Finds the topology or recording that an experiment names, or says why it cannot. */
export type BaseReader = (name: string, what: 'topology' | 'recording') => Result<BaseFile, string>;

/** Bytes of a recording, at most. */
const RECORDING_BYTES_MAX = 256 * 1024 * 1024;

/** Of a recording an experiment keeps the accesses alone. */
function readRecording(name: string, file: string): Result<BaseFile, string> {
  try {
    const { size } = statSync(file);
    if (size > RECORDING_BYTES_MAX) {
      return err(
        `${file} has ${size} bytes; a recording here has at most ${RECORDING_BYTES_MAX}: record a shorter time`,
      );
    }
    const trace = readTrace(name, readFileSync(file, 'utf8'));
    return trace.ok ? ok({ name, file, text: textOfTrace(trace.value) }) : trace;
  } catch (error) {
    return err(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Reads the topologies that an experiment's file names: paths count from where it lies. */
export const basesBeside =
  (experiment: string): BaseReader =>
  (name, what) => {
    const file = resolve(dirname(experiment), name);
    if (!existsSync(file)) return err(`there is no file ${file}; give the path of a ${what}, from this file`);
    if (what === 'recording') return readRecording(name, file);
    const text = placeOfTopology(file).readText(file);
    return text.ok ? ok({ name, file, text: text.value }) : text;
  };

/** A topology before it is built: its file's name, and its text. */
export interface RawTopology {
  readonly file: string;
  readonly text: string;
}

/** Checks a topology of an experiment as any other is; its disks need not be there, for it gets others. */
export const parseRaw = ({ file, text }: RawTopology): Parsed =>
  parseTopology(text, file, {
    ...placeOfTopology(file),
    programs: BUILTIN_PROGRAMS,
    files: { ...hostFiles, imageProblem: () => undefined },
  });

/**
 * The data of a topology that is good by itself. Integers are bigint.
 * @returns otherwise what is wrong with it, as a compiler shows it
 */
export function dataOfBase(base: BaseFile): Result<unknown, string> {
  const { diagnostics } = parseTopology(base.text, base.name, {
    ...placeOfTopology(base.file),
    programs: BUILTIN_PROGRAMS,
    // What the experiment leaves out needs nothing of the host.
    files: {
      ...hostFiles,
      imageProblem: () => undefined,
      directoryProblem: () => undefined,
      socketProblem: () => undefined,
    },
  });
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  return errors.length > 0 ? err(renderDiagnostics(errors, base.text)) : ok(dataOf(base.text));
}

export const dataOf = (text: string): unknown => parse(text, { intAsBigInt: true });
export const textOf = (data: unknown): string => stringify(data, { aliasDuplicateObjects: false });

/** The entries of a mapping under a name; none if there is no such thing. */
export const entriesOf = (
  data: unknown,
  name: string,
): readonly (readonly [string, Readonly<Record<string, unknown>>])[] => {
  const section = isMapping(data) ? data[name] : undefined;
  if (!isMapping(section)) return [];
  return Object.entries(section).flatMap(([key, value]) => (isMapping(value) ? [[key, value] as const] : []));
};
