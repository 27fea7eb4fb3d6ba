import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Done } from '@remio/virtio-device';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type FileHost, FileStorage } from './file-storage.js';

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

const open = (path: string, host?: FileHost): FileStorage => {
  const opened = FileStorage.open(path, false, host);
  if (!opened.ok) throw new Error(opened.error);
  return opened.value;
};

const ended = (run: (done: Done) => void): Promise<boolean> => new Promise(run);

it('a write of more buffers than the system takes at once is whole', async () => {
  const path = image(4096 * 512);
  const disk = open(path);
  const data = Array.from({ length: 3000 }, (_, n) => new Uint8Array(512).fill(n % 251));
  expect(await ended((done) => disk.write(512, data, done))).toBe(true);
  expect(Buffer.compare(readFileSync(path).subarray(512, 512 + 3000 * 512), Buffer.concat(data))).toBe(0);
  await disk.close();
});

it('zeros are written where the file system cannot make a range zero', async () => {
  const path = image(3 << 20);
  writeFileSync(path, new Uint8Array(3 << 20).fill(7));
  const refuses: FileHost = {
    canPunchHoles: () => true,
    punchHole: (_, __, ___, done) => done(false),
    zeroRange: (_, __, ___, done) => done(false),
  };
  for (const [host, unmap] of [
    [{}, true],
    [refuses, true],
    [refuses, false],
  ] as const) {
    writeFileSync(path, new Uint8Array(3 << 20).fill(7));
    const disk = open(path, host);
    expect(await ended((done) => disk.writeZeroes(512, (2 << 20) + 512, unmap, done))).toBe(true);
    const content = readFileSync(path);
    expect([content[511], content[512], content[(2 << 20) + 1023], content[(2 << 20) + 1024]]).toEqual([7, 0, 0, 7]);
    expect(disk.discard === undefined).toBe(host !== refuses);
    await disk.close();
  }
});

it('tells of an image that grew or shrank, in whole sectors', async () => {
  const path = image(1024);
  const disk = open(path);
  const seen: number[] = [];
  disk.onResize = () => seen.push(disk.capacity);
  for (const bytes of [2048, 2048, 1000]) {
    truncateSync(path, bytes);
    await new Promise<void>((looked) => disk.refresh(looked));
  }
  expect(seen).toEqual([2048, 512]);
  expect(statSync(path).size).toBe(1000);
  await disk.close();
});

it('what is in memory is read at once, the rest as ever; after a miss others are not tried for a while', async () => {
  const path = image(4096);
  writeFileSync(
    path,
    Uint8Array.from({ length: 4096 }, (_, n) => n % 251),
  );
  let tries = 0;
  const answers: (number | 'absent')[] = [512, 'absent'];
  const disk = open(path, {
    readCached: (_, position, [buffer]) => {
      tries += 1;
      const answer = answers.shift() ?? 'absent';
      if (typeof answer === 'number') buffer?.set(readFileSync(path).subarray(position, position + answer));
      return answer;
    },
  });
  const room = [new Uint8Array(1024), new Uint8Array(512)];
  expect(await ended((done) => disk.read(512, room, done))).toBe(true);
  expect(Buffer.compare(Buffer.concat(room), readFileSync(path).subarray(512, 2048))).toBe(0);
  for (let n = 0; n < 10; n += 1) expect(await ended((done) => disk.read(0, room, done))).toBe(true);
  expect(tries).toBe(2);
  await disk.close();
});

it('an image that is closed to be opened again stays locked, and is opened under that lock', async () => {
  const path = image(512);
  const locked = new Set<number>();
  // As of a process: each descriptor has a lock of its own.
  const host: FileHost = { lock: (fd) => locked.size === 0 && locked.add(fd).size === 1 };
  const first = FileStorage.open(path, false, host);
  if (!first.ok) throw new Error(first.error);
  expect(FileStorage.open(path, false, host)).toMatchObject({ ok: false });
  await first.value.close(true);
  expect(locked.size).toBe(1);
  const second = FileStorage.open(path, false, host);
  if (!second.ok) throw new Error(second.error);
  expect(await new Promise((done) => second.value.write(0, [new Uint8Array(512).fill(9)], done))).toBe(true);
  expect(readFileSync(path)[0]).toBe(9);
  await second.value.close(true);
  // Another file under the same name is another image.
  rmSync(path);
  writeFileSync(path, new Uint8Array(1024));
  locked.clear();
  const third = FileStorage.open(path, false, host);
  expect(third.ok && third.value.capacity).toBe(1024);
  if (third.ok) await third.value.close();
});
