import { cpSync, existsSync } from 'node:fs';
import { checkShards, environmentNow, gatheredEnvironment, gatherRuns, writeResults } from '@remio/experiments';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { createFolder, freeFolder, openFolder, planOfFolder } from './experiment-folders.js';
import { tellResults } from './experiment-summary.js';

export interface GatherOptions {
  /** The folder of results; made. */
  readonly out?: string;
  readonly json: boolean;
}

/** `remio experiment gather DIR...`: makes of the shards of an experiment what one run of it would have made. */
export async function gatherShards(paths: readonly string[], options: GatherOptions): Promise<ExitCode> {
  const shards = paths.map((path) => {
    const folder = openFolder(path);
    return { folder, plan: planOfFolder(folder) };
  });
  const checked = checkShards(shards);
  if (!checked.ok) throw new CommandError(checked.error.join('\n'), EXIT.USAGE);
  const [first] = checked.value;
  if (first === undefined) throw new CommandError('give the folders of the shards', EXIT.USAGE);
  const { plan } = first;
  const out = options.out ?? freeFolder(plan.name);
  if (existsSync(out)) throw new CommandError(`${out} is there already; choose another by --out`, EXIT.USAGE);
  const folder = createFolder(out, plan, { environment: gatheredEnvironment(checked.value, environmentNow(false)) });
  gatherRuns(checked.value, folder);
  for (const { folder: shard } of checked.value) {
    if (existsSync(shard.logs)) cpSync(shard.logs, folder.logs, { recursive: true });
  }
  await writeResults(plan, folder);
  return tellResults(plan, folder, options.json);
}
