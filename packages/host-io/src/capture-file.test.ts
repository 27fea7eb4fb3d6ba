import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CAPTURED_INBOUND, CAPTURED_OUTBOUND } from '@remio/ethernet';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CaptureFile } from './capture-file.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remio-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Types of the blocks of a capture, in order; fails if the file does not end with a whole block. */
const blockTypes = (path: string): number[] => {
  const bytes = readFileSync(path);
  const types: number[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) types.push(bytes.readUInt32LE(at));
  return types;
};

it('a capture can be read whole at the end of every turn, and describes each interface once', async () => {
  const path = join(folder, 'a.pcapng');
  const opened = CaptureFile.open(path);
  if (!opened.ok) throw new Error(opened.error);
  const capture = opened.value;
  capture.frame('a', [new Uint8Array(60)], CAPTURED_INBOUND);
  await new Promise((resolve) => setImmediate(resolve));
  expect(blockTypes(path)).toEqual([0x0a0d0d0a, 1, 6]);
  capture.frame('b', [new Uint8Array(20), new Uint8Array(41)], CAPTURED_OUTBOUND);
  capture.frame('a', [new Uint8Array(1514)], CAPTURED_INBOUND);
  capture.close();
  expect(blockTypes(path)).toEqual([0x0a0d0d0a, 1, 6, 1, 6, 6]);
  capture.frame('a', [new Uint8Array(60)], CAPTURED_INBOUND);
  expect(blockTypes(path)).toHaveLength(6);
});

it('what cannot be written is said at once', () => {
  expect(CaptureFile.open(join(folder, 'none', 'a.pcapng'))).toMatchObject({
    ok: false,
    error: expect.stringContaining('cannot be written'),
  });
});
