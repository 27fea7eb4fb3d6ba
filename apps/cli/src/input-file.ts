import { readFileSync, statSync } from 'node:fs';
import { CommandError, EXIT } from './exit-codes.js';

/** Most bytes of an input: the configuration of a thousand VMs has 3 MB. */
export const INPUT_MAX = 8 * 1024 * 1024;

/**
 * Reads a file that a user named.
 * @throws CommandError if there is none, or it cannot be what it should be
 */
export function readBytes(file: string, what: string): Uint8Array {
  try {
    const { size } = statSync(file);
    if (size > INPUT_MAX) {
      const message = `${file} has ${size} bytes; ${what} has at most ${INPUT_MAX}`;
      throw new CommandError(message, EXIT.USAGE);
    }
    return readFileSync(file);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${file} cannot be read: ${reason}; give the path of ${what}`, EXIT.USAGE);
  }
}

/**
 * Reads a text that a user named.
 * @throws CommandError if there is none, or it is no text
 */
export function readInput(file: string, what: string): string {
  const bytes = readBytes(file, what);
  const text = new TextDecoder('utf-8', { fatal: false }).decode(bytes);
  if (text.includes('\0') || text.includes('\ufffd')) {
    throw new CommandError(`${file} is no text; give the path of ${what}`, EXIT.USAGE);
  }
  return text;
}
