import { renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CommandError, EXIT } from './exit-codes.js';

/**
 * Replaces a file's text as a whole: whoever reads meanwhile sees the old or the new.
 * @throws CommandError if it cannot be written
 */
export function replaceFile(file: string, text: string): void {
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}.tmp`);
  try {
    writeFileSync(draft, text, { mode: statSync(file).mode, flag: 'wx' });
    renameSync(draft, file);
  } catch (error) {
    try {
      unlinkSync(draft);
    } catch {
      // It was never made.
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${file} cannot be written: ${reason}; make it writable, or copy it`, EXIT.USAGE);
  }
}
