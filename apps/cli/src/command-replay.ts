import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { bigintAsHex, renderMismatch, runVectorFile } from './vector-file.js';

/** `remio replay`: runs a recording of the core again, in the profile in which it was made, and compares every effect. */
export async function replayFile(file: string, json: boolean): Promise<ExitCode> {
  const result = await runVectorFile(file, (profile) => ({ profile, abi: false, lease: false }));
  if (!result.ok) throw new CommandError(`${file}: ${result.error}`, EXIT.USAGE);
  const { outcome, steps, whole } = result.value;
  if (json) console.log(JSON.stringify({ ...outcome, steps, whole }, bigintAsHex));
  else if (outcome.status === 'failed') console.log(renderMismatch(file, outcome.mismatch));
  else console.log(`${steps} steps, the same effects${whole ? '' : '; the recording was cut off there'}`);
  return outcome.status === 'failed' ? EXIT.FAILED : EXIT.OK;
}
