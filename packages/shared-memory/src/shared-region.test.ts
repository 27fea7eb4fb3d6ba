import { mkdtempSync, readFileSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { afterAll, expect, it } from 'vitest';
import { createRegion, leaveRegion, mapRegion } from './shared-region.js';

const folder = mkdtempSync(join(tmpdir(), 'remio-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SIZE = 1 << 16;

it.runIf(process.platform === 'linux')(
  'a region that was left has nothing of its file any more, and another file can take its place under the same views',
  () => {
    const [old, next] = [join(folder, 'old'), join(folder, 'next')];
    expect(createRegion(old, SIZE).ok).toBe(true);
    const mapped = mapRegion(old, SIZE);
    assert(mapped.ok, 'a new region can be mapped');
    const view = new Uint8Array(mapped.value);
    view[5] = 1;
    leaveRegion(mapped.value);
    expect(view[5]).toBe(0);
    view[5] = 2;
    expect(readFileSync(old)[5]).toBe(1);
    unlinkSync(old);
    expect(createRegion(next, SIZE).ok).toBe(true);
    expect(mapRegion(next, SIZE, mapped.value)).toEqual({ ok: true, value: mapped.value });
    expect(view[5]).toBe(0);
    view[5] = 3;
    expect(readFileSync(next)[5]).toBe(3);
  },
);
