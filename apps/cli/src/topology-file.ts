import { existsSync } from 'node:fs';
import { BUILTIN_PROGRAMS, imagesOf, type Loaded, loadTopology, type Topology } from '@remio/topology';
import { CommandError, EXIT } from './exit-codes.js';

/**
 * Reads a topology for a command; warnings go to standard error.
 * @param warnings `quiet` for topologies that the command made itself
 * @throws CommandError with every diagnostic, if there are errors
 */
export function topologyOf(
  file: string,
  images: readonly string[] = [],
  warnings: 'shown' | 'quiet' = 'shown',
): Topology {
  const loaded = readTopology(file, images);
  if (loaded.topology === undefined) throw new CommandError(loaded.text, EXIT.USAGE);
  if (loaded.text !== '' && warnings === 'shown') console.error(`${loaded.text}\n`);
  return loaded.topology;
}

/** @throws CommandError if there is no such file */
export function readTopology(file: string, images: readonly string[] = []): Loaded {
  requireFile(file);
  return loadTopology(file, { images: imagesOf(images), programs: BUILTIN_PROGRAMS });
}

/** @throws CommandError if there is no such file */
export function requireFile(file: string): void {
  if (!existsSync(file)) throw new CommandError(`there is no file ${file}; give the path of a topology`, EXIT.USAGE);
}
