import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { renderDiagnostics } from './diagnostics.js';
import { type Parsed, parseTopology } from './parse.js';

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

/**
 * Reads a topology file; paths in it count from where it lies.
 * @throws Error when the file cannot be read
 */
export function loadTopology(file: string, options: LoadOptions): Loaded {
  const path = resolve(file);
  const source = readFileSync(path, 'utf8');
  const parsed = parseTopology(source, path, {
    resolve: (name) => resolve(dirname(path), name),
    files: { imageProblem, directoryProblem, exists: existsSync },
    ...options,
  });
  return { ...parsed, text: renderDiagnostics(parsed.diagnostics, source) };
}

/** Names of the programs that come with Remio. */
export const BUILTIN_PROGRAMS = ['dispatcher', 'drivers', 'blk-verify', 'mmio-ping', 'blk-read', 'idle'] as const;

/** `--image NAME=PATH` arguments as {@link LoadOptions.images}. */
export const imagesOf = (given: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=');
      return at < 0 ? ['*', resolve(text)] : [text.slice(0, at), resolve(text.slice(at + 1))];
    }),
  );
