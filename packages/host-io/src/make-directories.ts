import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory, and those above it, unless they are there. Not by Node's own recursive `mkdir`: that of Node 20 tries for
 * ever where a directory is there and lets none be made in it, as in /proc.
 * @throws Error of the host, as `mkdirSync` does
 */
export function makeDirectories(path: string): void {
  const above = dirname(path);
  if (above !== path && !existsSync(above)) makeDirectories(above);
  // A file that is in the way is a mistake, a directory is not, whoever made it just now.
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  mkdirSync(path);
}
