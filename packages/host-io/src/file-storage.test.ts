import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FileStorage } from './file-storage.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remio-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const image = (bytes: number): string => {
  const path = join(folder, 'disk');
  writeFileSync(path, new Uint8Array(bytes));
  return path;
};

it.each([0, 511, 513])('an image of %i bytes is refused', (bytes) => {
  expect(FileStorage.open(image(bytes), false)).toMatchObject({ ok: false });
});

it('what is no regular file is refused', () => {
  expect(FileStorage.open(folder, true)).toEqual({ ok: false, error: `image ${folder} is not a regular file` });
});

it('buffers are written in order and read back; a transfer that ends early has failed', async () => {
  const path = image(1024);
  const opened = FileStorage.open(path, false);
  if (!opened.ok) throw new Error(opened.error);
  const disk = opened.value;
  const data = [new Uint8Array(512).fill(1), new Uint8Array(512).fill(2)];
  expect(await new Promise((done) => disk.write(0, data, done))).toBe(true);
  expect([readFileSync(path)[511], readFileSync(path)[512]]).toEqual([1, 2]);
  const room = new Uint8Array(512);
  expect(await new Promise((done) => disk.read(512, [room], done))).toBe(true);
  expect(room).toEqual(data[1]);
  expect(await new Promise((done) => disk.read(512, [room, new Uint8Array(512)], done))).toBe(false);
  await disk.close();
});
