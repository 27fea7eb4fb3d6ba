import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BaseReader,
  basesBeside,
  type FolderOptions,
  type Plan,
  quickPlan,
  RunFolder,
  readPlan,
  shippedFile,
} from '@remio/experiments';
import { CommandError, EXIT } from './exit-codes.js';

/** Where results go if nothing else is said. */
const RESULTS = 'remio-results';

/** Reads an experiment's file. @throws CommandError if there is none, or with every mistake of it */
export function planOfFile(file: string, quick: boolean): Plan {
  if (!existsSync(file)) {
    const fix =
      shippedFile(file) === undefined ? 'give the path of an experiment' : `write \`remio experiment run ${file}\``;
    throw new CommandError(`there is no file ${file}; ${fix}`, EXIT.USAGE);
  }
  return planOf(readFileSync(file, 'utf8'), file, quick);
}

/** @throws CommandError with every mistake of the file */
function planOf(text: string, file: string, quick: boolean, readBase: BaseReader = basesBeside(file)): Plan {
  const { plan, text: problems } = readPlan(text, file, readBase);
  if (plan === undefined) throw new CommandError(problems, EXIT.USAGE);
  return quick ? quickPlan(plan) : plan;
}

/** The experiment of a folder. @throws CommandError if this version finds a mistake in it */
export const planOfFolder = (folder: RunFolder): Plan =>
  planOf(folder.text, folder.file, folder.environment.quick, folder.readBase);

/** Opens a folder of results. @throws CommandError if it is none */
export function openFolder(path: string): RunFolder {
  if (!RunFolder.is(path)) throw new CommandError(`${path} is no folder of an experiment's results`, EXIT.USAGE);
  try {
    return RunFolder.open(path);
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error), EXIT.USAGE);
  }
}

/** @throws CommandError if it cannot be made */
export function createFolder(path: string, plan: Plan, options: FolderOptions): RunFolder {
  try {
    return RunFolder.create(path, plan, options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${path} cannot be made: ${reason}; choose another by --out`, EXIT.ENVIRONMENT);
  }
}

/** A folder for results that there is not. */
export function freeFolder(name: string): string {
  for (let n = 1; ; n += 1) {
    const path = join(RESULTS, n === 1 ? name : `${name}-${n}`);
    if (!existsSync(path)) return path;
  }
}
