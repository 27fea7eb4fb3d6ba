import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseVector, type RunMode, runVector } from '@remio/hypervisor/conformance';
import { describe, expect, it } from 'vitest';

const folder = join(import.meta.dirname, '..', 'vectors', 'remio');
const files = readdirSync(folder).filter((file) => file.endsWith('.json'));

const MODES: readonly (readonly [string, RunMode])[] = (['reference', 'hardened'] as const).flatMap((profile) => [
  [`${profile}, core alone`, { profile, abi: false, lease: false }] as const,
  [`${profile}, through the ABI`, { profile, abi: true, lease: false }] as const,
  [`${profile}, with leases`, { profile, abi: true, lease: true }] as const,
]);

describe.each(MODES)('%s', (_, mode) => {
  it.each(files)('%s', (file) => {
    const vector = parseVector(readFileSync(join(folder, file), 'utf8'));
    if (!vector.ok) throw new Error(vector.error);
    const outcome = runVector(vector.value, mode);
    if (mode.profile === 'reference') expect(outcome).toEqual({ status: 'passed' });
    else expect(outcome).not.toMatchObject({ status: 'failed' });
  });
});
