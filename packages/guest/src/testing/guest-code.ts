import { readFileSync } from 'node:fs';
import type { Arch } from '@remio/arch';
import { assert } from '@remio/base';

/** Written by tools/guest-code/generate.mjs from the sources in `programs`. Beside this file, where TypeScript is run from its sources. */
const FILE = new URL('programs.data.json', import.meta.url);

/** A guest program in machine code: the bytes from the first address of its VM's memory on. */
export function guestCode(name: string, arch: Arch): Uint8Array {
  const programs = JSON.parse(readFileSync(FILE, 'utf8')) as Readonly<Record<string, string>>;
  const code = programs[`${name}.${arch}`];
  assert(code !== undefined, `there is a program ${name} for ${arch}`);
  return Buffer.from(code, 'hex');
}
