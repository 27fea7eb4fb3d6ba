import { writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { makeDirectories } from '@remio/host-io';
import { CommandError, EXIT } from '../exit-codes.js';
import type { RenderedFile } from './plan.js';

/** Writes files into a directory, and tells which. @throws CommandError if they cannot be written */
export function writeRendered(
  files: readonly RenderedFile[],
  { output: directory, json }: { readonly output: string; readonly json: boolean },
): void {
  const output = resolve(directory);
  try {
    for (const { name, text } of files) {
      const path = join(output, name);
      makeDirectories(dirname(path));
      writeFileSync(path, text);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the files cannot be written: ${reason}`, EXIT.ENVIRONMENT);
  }
  const names = files.map(({ name }) => name);
  console.log(json ? JSON.stringify({ output, files: names }) : `${names.join(', ')} in ${output}`);
}
