import { readFileSync } from 'node:fs';
import { replay } from '@remio/hypervisor';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';

/** `remio replay`: runs a recording of the core again and compares every effect. */
export function replayFile(file: string, json: boolean): ExitCode {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error), EXIT.USAGE);
  }
  const result = replay(text.split('\n'));
  if (!result.ok) throw new CommandError(`${file}: ${result.error}`, EXIT.USAGE);
  const { steps, difference } = result.value;
  if (json) console.log(JSON.stringify(result.value));
  else if (difference === undefined) console.log(`${steps} steps, the same effects`);
  else {
    console.log(`step ${difference.step} of ${file} has other effects:`);
    console.log(`  recorded ${JSON.stringify(difference.recorded)}`);
    console.log(`  now      ${JSON.stringify(difference.now)}`);
  }
  return difference === undefined ? EXIT.OK : EXIT.FAILED;
}
