import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { canPunchHoles, punchHole, zeroRange } from './file-room.js';

const folder = mkdtempSync(join(tmpdir(), 'remio-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SIZE = 1 << 20;

/** An open file without holes. */
const file = (name: string): { readonly path: string; readonly fd: number } => {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(SIZE).fill(7));
  return { path, fd: openSync(path, 'r+') };
};

it.runIf(process.platform === 'linux')('a hole gives room back, keeps the size, and reads as zeros', async () => {
  const { path, fd } = file('hole');
  if (!canPunchHoles(fd, SIZE)) return;
  const before = statSync(path);
  expect(before.size).toBe(SIZE);
  expect(await new Promise((done) => punchHole(fd, 4096, SIZE - 8192, done))).toBe(true);
  expect(statSync(path).blocks).toBeLessThan(before.blocks);
  const content = readFileSync(path);
  expect(content.length).toBe(SIZE);
  expect([content[4095], content[4096], content[SIZE - 4097], content[SIZE - 4096]]).toEqual([7, 0, 0, 7]);
  expect(await new Promise((done) => punchHole(-1, 0, 4096, done))).toBe(false);
  closeSync(fd);
});

it.runIf(process.platform === 'linux')('a range of zeros keeps its room', async () => {
  const { path, fd } = file('zero');
  const before = statSync(path).blocks;
  if (await new Promise((done) => zeroRange(fd, 512, 8192, done))) {
    const content = readFileSync(path);
    expect([content[511], content[512], content[8703], content[8704]]).toEqual([7, 0, 0, 7]);
    expect(statSync(path).blocks).toBeGreaterThanOrEqual(before);
  }
  closeSync(fd);
});
