import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const DIRECTORY = join(import.meta.dirname, '..', 'shipped');

/** Names of the experiments that come with Remio. */
export const shippedNames = (): readonly string[] =>
  readdirSync(DIRECTORY)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
    .sort();

/** The file of a shipped experiment; undefined if there is none of this name. */
export const shippedFile = (name: string): string | undefined =>
  shippedNames().includes(name) ? join(DIRECTORY, `${name}.yaml`) : undefined;

/** The title of an experiment's file. */
export const titleOf = (file: string): string => /^title: *(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
