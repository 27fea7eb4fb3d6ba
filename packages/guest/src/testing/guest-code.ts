import type { Arch } from '@remio/arch';
import { assert } from '@remio/base';
import programs from './programs.data.json' with { type: 'json' };

/** Written by tools/guest-code/generate.mjs from the sources in `programs`. */
const CODE: Readonly<Record<string, string>> = programs;

/** A guest program in machine code: the bytes from the first address of its VM's memory on. */
export function guestCode(name: string, arch: Arch): Uint8Array {
  const code = CODE[`${name}.${arch}`];
  assert(code !== undefined, `there is a program ${name} for ${arch}`);
  return Buffer.from(code, 'hex');
}
