import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { remio, reportsOf } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

describe('a star of a hundred frontends', () => {
  it('runs in a handful of processes, and every guest reads what its device gives', async () => {
    const generated = await remio('generate', 'star', '--frontends', '100', '--arch', 'riscv64', '--per-backend', '40');
    expect(generated).toMatchObject({ code: 0, stderr: '' });
    const file = join(scratch, 'star.yaml');
    writeFileSync(file, generated.stdout);
    const ended = await remio('up', file, '--processes', '2', '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const reports = reportsOf(ended, 'rng');
    expect(reports.length).toBe(100);
    // Every device has the same seed.
    expect(new Set(reports.map(({ sha256 }) => sha256)).size).toBe(1);
    const started = ended.stdout.split('\n').filter((line) => line.includes('"kind":"started"'));
    expect(started.length).toBe(5);
  });

  it.each([
    ['--frontends', '0', 'expected a number from 1 to'],
    ['--frontends', 'many', 'expected a whole number'],
    ['--per-backend', '5000', 'expected a number from 1 to 900'],
  ])('%s %s: says what is wrong, exit code 2', async (option, value, message) => {
    const ended = await remio('generate', 'star', '--frontends', '4', option, value);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(message);
  });
});
