import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RULES } from './index.js';

const page = readFileSync(join(import.meta.dirname, '..', '..', '..', '..', 'docs', 'hardening.md'), 'utf8');
const rows = [...page.matchAll(/^\| (H-[A-Z-]+) \| ([^|]*) \|/gm)].map(([, rule = '', hazards = '']) => [
  rule,
  hazards.split(', '),
]);

describe('docs/hardening.md', () => {
  it('has a row for every rule of the core, with its hazards, and no others', () => {
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(Object.entries(RULES).map(([rule, { hazards }]) => [rule, [...hazards]])),
    );
  });
});
