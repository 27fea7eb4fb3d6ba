import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeDirectories } from './index.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-directories-'));
afterAll(() => rmSync(scratch, { recursive: true }));

describe('directories', () => {
  it('are made with those above them, and may be there already', () => {
    const path = join(scratch, 'a', 'b', 'c');
    for (const _ of ['first', 'again']) makeDirectories(path);
    expect(statSync(path).isDirectory()).toBe(true);
  });

  it('are not made where a file is in the way', () => {
    writeFileSync(join(scratch, 'file'), '');
    expect(() => makeDirectories(join(scratch, 'file'))).toThrow('EEXIST');
    expect(() => makeDirectories(join(scratch, 'file', 'below'))).toThrow('ENOTDIR');
  });

  it('are refused where none can be made, at once', () => {
    expect(() => makeDirectories('/proc/remio/results')).toThrow(/ENOENT|EACCES|EPERM|EROFS/);
  });
});
