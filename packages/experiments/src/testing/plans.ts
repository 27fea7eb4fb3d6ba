import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { type Plan, readPlan } from '../plan.js';

/** The plan of an experiment that a test knows to be good. */
export function planOf(text: string): Plan {
  const { plan, text: problems } = readPlan(text, 'test.yaml');
  assert(plan !== undefined, problems);
  return plan;
}

/** What the files of a folder have, by path, but for where and when they were made. */
export const filesOf = (path: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== 'environment.json')
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((file) => [file.slice(path.length), readFileSync(file, 'utf8')]),
  );
