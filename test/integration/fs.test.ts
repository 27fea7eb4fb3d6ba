import { createHash } from 'node:crypto';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { remio, reportsOf, root } from './run-remio.js';

const topology = join(root, 'deploy', 'topologies', 'fs.yaml');

let scratch: string;
let share: string;
let data: string;

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'remio-fs-'));
  [share, data] = [join(scratch, 'share'), join(scratch, 'data')];
  mkdirSync(join(share, 'sub', 'deeper'), { recursive: true });
  mkdirSync(data);
  writeFileSync(join(share, 'hello.txt'), 'hello from the host\n');
  const random = new Uint8Array(300_001);
  new Prng(3).fill(random);
  writeFileSync(join(share, 'sub', 'deeper', 'random.bin'), random);
  writeFileSync(join(share, 'empty'), '');
  writeFileSync(join(share, 'ünïcode – name'), 'x');
  for (let n = 0; n < 150; n += 1) writeFileSync(join(data, `entry-${n}-${'y'.repeat(n)}`), `${n}`);
  // What lies outside, and ways that would lead there.
  writeFileSync(join(scratch, 'secret'), 'secret');
  symlinkSync('../secret', join(share, 'relative'));
  symlinkSync(join(scratch, 'secret'), join(share, 'absolute'));
  symlinkSync('/', join(share, 'sub', 'root'));
  symlinkSync('../hello.txt', join(share, 'sub', 'inside'));
  symlinkSync('loop', join(share, 'loop'));
});

afterEach(() => rmSync(scratch, { recursive: true, force: true }));

interface Listed {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** Every regular file below a directory of the host, as the guest reports it. */
function listing(directory: string, below = ''): Listed[] {
  return readdirSync(join(directory, below)).flatMap((name): Listed[] => {
    const path = below === '' ? name : `${below}/${name}`;
    const stat = lstatSync(join(directory, path));
    if (stat.isDirectory()) return listing(directory, path);
    if (!stat.isFile()) return [];
    const bytes = readFileSync(join(directory, path));
    return [{ path, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }];
  });
}

const byPath = (files: unknown): readonly Listed[] =>
  [...(files as readonly Listed[])].sort((a, b) => (a.path < b.path ? -1 : 1));

describe.each(['processes', 'inproc'])('virtio-fs (5.11), engine %s', (engine) => {
  it('a guest lists, reads, writes and renames in a directory of the host, and nothing leads out of it', async () => {
    const before = listing(share);
    const ended = await remio(
      ...['up', topology, '--engine', engine, '--until-done', '--json'],
      ...['--image', `share=${share}`, '--image', `data=${data}`],
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const report = reportsOf(ended, 'fs-check').find(({ device }) => device === 'share') ?? {};
    expect(byPath(report['found'])).toEqual(byPath(before));
    expect(report).toMatchObject({ tag: 'share', mismatches: 0, readOnly: false });

    // The guest walks links itself: within the mount they lead somewhere, or nowhere, and never out of it.
    const links = report['links'] as readonly { readonly path: string; readonly leads: string }[];
    expect(Object.fromEntries(links.map(({ path, leads }) => [path, leads]))).toEqual({
      relative: 'ENOENT',
      absolute: 'ENOENT',
      loop: 'ELOOP',
      'sub/root': 'ok',
      'sub/inside': 'ok',
    });
    expect(new Set(Object.values(report['escapes'] as object))).toEqual(new Set(['ENOENT']));
    expect(new Set(Object.values(report['names'] as object))).toEqual(new Set(['EINVAL']));

    // What the guest wrote is what the host has.
    const guest = join(share, 'guest');
    expect(byPath(report['written'])).toEqual(byPath(listing(share, 'guest')));
    expect(readdirSync(guest).sort()).toEqual([...Array.from({ length: 8 }, (_, n) => `file-${n}`), 'link', 'second']);
    expect(readlinkSync(join(guest, 'link'))).toBe('file-0');
    expect(statSync(join(guest, 'second')).ino).toBe(statSync(join(guest, 'file-0')).ino);
    expect(statSync(join(guest, 'file-0')).size).toBe(131_072);
    const prng = new Prng(1);
    for (let n = 0; n < 8; n += 1) {
      const bytes = new Uint8Array(262_144);
      prng.fill(bytes);
      expect(readFileSync(join(guest, `file-${n}`)).equals(n === 0 ? bytes.subarray(0, 131_072) : bytes)).toBe(true);
    }
    expect(readFileSync(join(scratch, 'secret'), 'utf8')).toBe('secret');
    expect(byPath(listing(share)).filter(({ path }) => !path.startsWith('guest/'))).toEqual(byPath(before));

    const readOnly = reportsOf(ended, 'fs-check').find(({ device }) => device === 'data') ?? {};
    expect(readOnly).toMatchObject({ tag: 'data', readOnly: true, written: [] });
    expect(byPath(readOnly['found'])).toEqual(byPath(listing(data)));
    expect(existsSync(join(data, 'guest'))).toBe(false);
  });

  it('a share that is a link into a host directory is that directory, and hard links are one file', async () => {
    symlinkSync(share, join(scratch, 'alias'));
    linkSync(join(share, 'hello.txt'), join(share, 'again'));
    const ended = await remio(
      ...['up', topology, '--engine', engine, '--until-done', '--json'],
      ...['--image', `share=${join(scratch, 'alias')}`, '--image', `data=${data}`],
    );
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const report = reportsOf(ended, 'fs-check').find(({ device }) => device === 'share') ?? {};
    expect(byPath(report['written'])).toEqual(byPath(listing(share, 'guest')));
  });
});

describe('mistakes of the operator', () => {
  it.each([
    ['no directory', 'none', 'cannot be used'],
    ['a file', 'secret', 'is not a directory'],
  ])('%s: place, rule and fix, exit code 2', async (_, name, text) => {
    const images = ['--image', `share=${join(scratch, name)}`, '--image', `data=${data}`];
    const ended = await remio('check', topology, ...images);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain('error[directory]');
    expect(ended.stdout).toContain(text);
    expect(ended.stdout).toContain('pass --image NAME=DIRECTORY');
  });
});
