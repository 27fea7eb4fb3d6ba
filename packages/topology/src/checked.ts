import { readFileSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import { BUILTIN_PROGRAMS, imagesOf, loadTopology } from './load.js';
import type { Topology } from './types.js';

/**
 * Writes a topology that passed every check, for the other processes of a run: they need not read and check it again, and
 * a process that is started anew gets what the others have, whatever became of the file meanwhile.
 */
export const writeChecked = (path: string, topology: Topology): void =>
  writeFileSync(path, serialize(topology), { mode: 0o600 });

/** What a process of the platform is told of its topology. */
export interface TopologyArguments {
  /** A topology file. */
  readonly topology?: string | undefined;
  /** What {@link writeChecked} wrote, instead: whoever gives it has checked it. */
  readonly checked?: string | undefined;
  /** `NAME=PATH`, for `topology`. */
  readonly image: readonly string[];
  /** VMs of the process: of others, it needs no files. */
  readonly vm?: readonly string[];
}

/**
 * The topology of a process.
 * @returns what is wrong with it, as text, if it cannot be used
 * @throws Error when a file cannot be read
 */
export function topologyOfProcess(given: TopologyArguments): Topology | string {
  if (given.checked !== undefined) return deserialize(readFileSync(given.checked)) as Topology;
  if (given.topology === undefined) return 'no topology: expected --topology FILE';
  const { topology, text } = loadTopology(given.topology, {
    images: imagesOf(given.image),
    programs: BUILTIN_PROGRAMS,
    filesOf: given.vm ?? [],
  });
  return topology ?? text;
}
