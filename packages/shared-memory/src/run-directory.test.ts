import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunDirectory } from './run-directory.js';

let base = '';
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'remio-test-'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** A process that is gone. */
const dead = (): number => spawnSync(process.execPath, ['--version']).pid;

const directory = (name: string, owner?: number): string => {
  const path = join(base, name);
  mkdirSync(path);
  if (owner !== undefined) writeFileSync(join(path, 'owner'), String(owner));
  return path;
};

describe('a run\u2019s directory', () => {
  it('is its owner\u2019s alone, and gone when it is removed', () => {
    const made = RunDirectory.create(base);
    expect(statSync(made.path).mode & 0o777).toBe(0o700);
    made.remove();
    expect(existsSync(made.path)).toBe(false);
  });

  it('is another one for every run of a process', () => {
    expect(new Set([0, 1, 2].map(() => RunDirectory.create(base).path)).size).toBe(3);
  });

  it('is removed by the next start when its owner was killed, whole or half made', () => {
    const gone = dead();
    const stale = [directory(`remio-${gone}-a`, gone), directory(`remio-${gone}-b`)];
    RunDirectory.create(base);
    expect(stale.map(existsSync)).toEqual([false, false]);
  });

  it('is left alone while its owner lives, also before it has said who that is', () => {
    const kept = [directory(`remio-${process.pid}-a`, process.pid), directory(`remio-${process.pid}-b`)];
    expect(RunDirectory.removeStale(base)).toBe(0);
    expect(kept.map(existsSync)).toEqual([true, true]);
  });

  it('is not taken for what others made', () => {
    const others = ['remio-test-x', 'remio-', 'remio-0-x', 'remio-12x', 'other'].map((name) => directory(name, dead()));
    expect(RunDirectory.removeStale(base)).toBe(0);
    expect(others.every(existsSync)).toBe(true);
  });
});
