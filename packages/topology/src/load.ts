import { accessSync, closeSync, constants, existsSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { err, ok, type Result } from '@remio/base';
import { type ParsedBoard, parseBoard } from './board-file.js';
import type { BuildOptions } from './build.js';
import { type Diagnostic, renderDiagnostics } from './diagnostics.js';
import type { TopologyFiles } from './end-context.js';
import { type Fixed, fixText } from './fix.js';
import { type Parsed, parseTopology } from './parse.js';
import { FILE_BYTES_MAX } from './yaml-text.js';

/** Bytes of a sector: images are whole numbers of them. */
const SECTOR = 512;

/** What is wrong with a disk image. */
function imageProblem(path: string, readOnly: boolean): string | undefined {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) return `image ${path} is not a regular file`;
    if (stat.size === 0 || stat.size % SECTOR !== 0) {
      return `image ${path} has ${stat.size} bytes, not a positive multiple of ${SECTOR}`;
    }
    accessSync(path, readOnly ? constants.R_OK : constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    return `image ${path} cannot be used: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** What is wrong with a directory to be shared. */
function directoryProblem(path: string, readOnly: boolean): string | undefined {
  try {
    if (!statSync(path).isDirectory()) return `${path} is not a directory`;
    accessSync(path, constants.R_OK | constants.X_OK | (readOnly ? 0 : constants.W_OK));
    return undefined;
  } catch (error) {
    return `directory ${path} cannot be used: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** What is wrong with a file that should be a text, or its text. */
function readText(path: string): Result<string, FileProblem> {
  let file: number | undefined;
  try {
    // Without waiting: a FIFO would, for a writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(file);
    if (!stat.isFile()) return err({ message: `${path} is not a regular file` });
    if (stat.size > FILE_BYTES_MAX) {
      return err({ message: `${path} has ${stat.size} bytes; a text here has at most ${FILE_BYTES_MAX}` });
    }
    const bytes = readFileSync(file);
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    const zero = text.indexOf('\0');
    if (zero >= 0)
      return err({ message: `${path} is not a text: it has a NUL`, line: text.slice(0, zero).split('\n').length });
    return ok(text);
  } catch (error) {
    if (error instanceof TypeError) return err({ message: `${path} is not a text: it is not UTF-8` });
    return err({ message: `${path} cannot be read: ${error instanceof Error ? error.message : String(error)}` });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

interface FileProblem {
  readonly message: string;
  readonly line?: number;
}

/** Bytes of a Unix socket's path on Linux, without the NUL (unix(7)). */
const SOCKET_PATH_MAX = 107;

/** What is wrong with the path of a Unix socket to be listened on. */
function socketProblem(path: string): string | undefined {
  const bytes = Buffer.byteLength(path);
  if (bytes > SOCKET_PATH_MAX)
    return `socket ${path} has a path of ${bytes} bytes; the system takes ${SOCKET_PATH_MAX}`;
  const directory = dirname(path);
  try {
    if (!statSync(directory).isDirectory()) return `socket ${path} cannot be made: ${directory} is not a directory`;
    accessSync(directory, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return `socket ${path} cannot be made: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** What the host has of files that topologies name. */
export const hostFiles: TopologyFiles = { imageProblem, directoryProblem, socketProblem, exists: existsSync };

export interface LoadOptions {
  /** Images by device name, or for every device under `*`. */
  readonly images?: Readonly<Record<string, string>>;
  /** Names of built-in programs. */
  readonly programs: readonly string[];
  /** As of {@link parseTopology}. */
  readonly filesOf?: readonly string[];
}

/** A topology from a file, and its diagnostics as text. */
export interface Loaded extends Parsed {
  /** The diagnostics as a compiler shows them; empty if there are none. */
  readonly text: string;
}

/** Reads a topology file; paths in it count from where it lies. What is wrong with the file itself is a diagnostic. */
export function loadTopology(file: string, options: LoadOptions): Loaded {
  const read = readText(resolve(file));
  return read.ok ? loaded(parser(file, options)(read.value), read.value) : unreadable(file, read.error);
}

/** A topology of a text that is not (yet) that of the file. */
export const loadTopologyText = (text: string, file: string, options: LoadOptions): Loaded =>
  loaded(parser(file, options)(text), text);

/** A topology file after what can be put right without asking was. */
export interface FixedTopology extends Loaded {
  /** The text, if something in it changed. */
  readonly fixed: string | undefined;
  /** What was put right. */
  readonly applied: readonly Diagnostic[];
}

/** Reads a topology file and makes the changes that its diagnostics propose; the file itself is left alone. */
export function fixTopology(file: string, options: LoadOptions): FixedTopology {
  const read = readText(resolve(file));
  if (!read.ok) return { ...unreadable(file, read.error), fixed: undefined, applied: [] };
  const { text, applied, checked }: Fixed<Parsed> = fixText(read.value, file, parser(file, options));
  return { ...loaded(checked, text), applied, fixed: text === read.value ? undefined : text };
}

/** Reads a board file. */
export function loadBoardFile(file: string): ParsedBoard & { readonly text: string } {
  const read = readText(resolve(file));
  if (!read.ok) return { board: undefined, ...unreadable(file, read.error) };
  const parsed = parseBoard(read.value, file);
  return { ...parsed, text: renderDiagnostics(parsed.diagnostics, read.value) };
}

function loaded(parsed: Parsed, source: string): Loaded {
  return { ...parsed, text: renderDiagnostics(parsed.diagnostics, source) };
}

/** What reading a topology asks of where it lies: paths in it count from there, and so do board files. */
export function placeOfTopology(file: string): Required<Pick<BuildOptions, 'resolve' | 'readText' | 'file' | 'show'>> {
  const path = resolve(file);
  return {
    file: path,
    resolve: (name) => resolve(dirname(path), name),
    readText: (other) => {
      const read = readText(other);
      return read.ok ? read : err(read.error.message);
    },
    // Other files are shown as this one was named: from the working directory, or from the root.
    show: (other) => (isAbsolute(file) ? other : relative('', other)),
  };
}

function parser(file: string, options: LoadOptions) {
  return (text: string): Parsed =>
    parseTopology(text, file, {
      ...placeOfTopology(file),
      files: hostFiles,
      ...options,
    });
}

function unreadable(file: string, { message, line }: FileProblem): Loaded {
  const diagnostic: Diagnostic = {
    severity: 'error',
    rule: 'file',
    file,
    place: { line: line ?? 1, column: 1 },
    path: '',
    message,
    fix: 'name a YAML file',
    excerpt: '',
  };
  return {
    topology: undefined,
    diagnostics: [diagnostic],
    text: `${file}: error[file]: ${message}\n  = fix: ${diagnostic.fix}`,
  };
}

/** Names of the programs that come with Remio. */
export const BUILTIN_PROGRAMS = [
  'dispatcher',
  'drivers',
  'blk-verify',
  'mmio-ping',
  'blk-read',
  'load',
  'idle',
  'hostile',
] as const;

/** `--image NAME=PATH` arguments as {@link LoadOptions.images}. */
export const imagesOf = (given: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=');
      return at < 0 ? ['*', resolve(text)] : [text.slice(0, at), resolve(text.slice(at + 1))];
    }),
  );
