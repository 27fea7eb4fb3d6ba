import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import {
  CParser,
  type ImportError,
  type Imported,
  type ImportNote,
  type InputFile,
  importBao,
  importDts,
  SIDECAR_NAME,
  showImport,
} from '@remio/bao';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { readBytes, readInput } from './input-file.js';

export interface ImportOptions {
  readonly output?: string;
  readonly board?: string;
  readonly deviceModel: readonly string[];
  /** A path; `false` for none; `true`: the one beside the first file, if there is one. */
  readonly sidecar: string | boolean;
  readonly json: boolean;
}

/** `remio import bao`: writes the topology that a configuration of Bao describes. */
export async function importFromBao(files: readonly string[], options: ImportOptions): Promise<ExitCode> {
  const read = (file: string, what: string): InputFile => ({ file, text: readInput(file, what) });
  const sources = files.map((file) => read(file, 'a configuration of Bao'));
  const sidecar = sidecarOf(files, options.sidecar);
  const home = dirname(resolve(options.output ?? 'topology.yaml'));
  const base = dirname(resolve(sidecar ?? files[0] ?? '.'));
  const parser = await cParser();
  try {
    const imported = importBao(parser, {
      files: sources,
      deviceModels: options.deviceModel.map((file) => read(file, 'a configuration of bao-virtio-dm')),
      ...(sidecar === undefined ? {} : { sidecar: read(sidecar, 'a sidecar') }),
      ...(options.board === undefined ? {} : { board: options.board }),
      relocate: (path) => (isAbsolute(path) ? path : relative(home, resolve(base, path)).replaceAll('\\', '/')),
    });
    if (!imported.ok) throw refusal(imported.error);
    return finish(imported.value, options);
  } finally {
    parser.dispose();
  }
}

/** `remio import dts`: writes the topology that device trees of VMs show. */
export function importFromTrees(files: readonly string[], options: ImportOptions): ExitCode {
  const imported = importDts({
    files: files.map((file) => ({ file, bytes: readBytes(file, 'a device tree') })),
    ...(options.board === undefined ? {} : { board: options.board }),
    include: (path, from) => {
      const file = join(dirname(from), path);
      return existsSync(file) ? { file, text: readInput(file, 'a device tree') } : undefined;
    },
  });
  if (!imported.ok) throw refusal(imported.error);
  return finish(imported.value, options);
}

/** A file that cannot be imported, as an error of the command. */
export const refusal = (error: ImportError): CommandError => new CommandError(showImport(error, 'error'), EXIT.USAGE);

/** Shows what the import had to say, and writes the topology. */
export function finish({ text, notes }: Imported, { output, json }: ImportOptions): ExitCode {
  for (const note of notes) console.error(json ? JSON.stringify(note) : showImport(note, KINDS[note.kind]));
  if (output === undefined) process.stdout.write(text);
  else {
    try {
      writeFileSync(output, text);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new CommandError(`the topology cannot be written: ${reason}`, EXIT.ENVIRONMENT);
    }
    if (!json) console.log(`${output} is written; \`remio check ${output}\` tells what is wrong with it`);
  }
  return notes.some(({ kind }) => kind === 'wrong') ? EXIT.FAILED : EXIT.OK;
}

const KINDS: Readonly<Record<ImportNote['kind'], string>> = {
  assumed: 'assumed',
  lost: 'not carried',
  wrong: 'wrong',
};

function sidecarOf(files: readonly string[], given: string | boolean): string | undefined {
  if (given === false) return undefined;
  if (typeof given === 'string') return given;
  const beside = join(dirname(files[0] ?? ''), SIDECAR_NAME);
  return existsSync(beside) ? beside : undefined;
}

/** The grammar is WebAssembly: it needs no compiler, and runs wherever Node does. */
function cParser(): Promise<CParser> {
  const { resolve: find } = createRequire(import.meta.url);
  const bytes = (name: string): Uint8Array => new Uint8Array(readFileSync(find(name)));
  return CParser.create(bytes('web-tree-sitter/web-tree-sitter.wasm'), bytes('tree-sitter-c/tree-sitter-c.wasm'));
}
