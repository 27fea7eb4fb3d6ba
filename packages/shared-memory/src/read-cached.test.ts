import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readCached } from './read-cached.js';

const folder = mkdtempSync(join(tmpdir(), 'remio-'));
afterAll(() => rmSync(folder, { recursive: true }));

it.runIf(process.platform === 'linux')('what was just written is in memory, and goes into the buffers in order', () => {
  const path = join(folder, 'file');
  writeFileSync(
    path,
    Uint8Array.from({ length: 8192 }, (_, n) => n % 251),
  );
  const fd = openSync(path, 'r');
  const memory = new Uint8Array(4096).fill(0xff);
  const buffers = [memory.subarray(100, 200), memory.subarray(1000, 1001), memory.subarray(300, 400)];
  const read = readCached(fd, 512, buffers);
  // Some file systems cannot tell.
  if (read !== 'unsupported') {
    expect(read).toBe(201);
    expect([...memory.subarray(99, 102)]).toEqual([0xff, 512 % 251, 513 % 251]);
    expect([memory[200], memory[1000], memory[300]]).toEqual([0xff, 612 % 251, 613 % 251]);
    expect(readCached(fd, 8192, buffers)).toBe(0);
  }
  closeSync(fd);
  expect(readCached(-1, 0, buffers)).toBe('unsupported');
});
