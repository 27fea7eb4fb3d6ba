import { lstatSync, readlinkSync, rmSync } from 'node:fs';

/** What is to be removed when this process ends, whichever way it ends by itself. */
const removals = new Set<() => void>();

const atExit = (): void => {
  for (const remove of removals) remove();
};

/**
 * Removes something when this process ends, or earlier when the function that it returns is called. What a kill leaves
 * behind is removed by the next one that wants its place.
 */
export function removeAtExit(remove: () => void): () => void {
  if (removals.size === 0) process.once('exit', atExit);
  removals.add(remove);
  return () => {
    if (removals.delete(remove)) remove();
    if (removals.size === 0) process.off('exit', atExit);
  };
}

/** Removes a file, if it is there. */
export const removeFile = (path: string): void => rmSync(path, { force: true });

/** Removes a symbolic link, if it still leads where it did. */
export function removeLink(path: string, target: string): void {
  if (linkTarget(path) === target) removeFile(path);
}

/** Where a symbolic link leads; undefined if there is nothing, `null` if there is something else. */
export function linkTarget(path: string): string | null | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null;
  } catch {
    return undefined;
  }
}
