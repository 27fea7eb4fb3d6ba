import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Result } from '@remio/base';
import type { Found, HostNode } from '@remio/virtio-device';
import { ERRNO, O_EXCL, O_RDWR, O_TRUNC, RENAME_EXCHANGE, RENAME_NOREPLACE } from '@remio/virtio-spec';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SharedDirectory } from './shared-directory.js';
import { descriptorsBelow } from './testing/fuse-rig.js';

const name = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const value = <T>(result: Result<T, unknown>): T => {
  if (!result.ok) throw new Error(`failed: ${String(result.error)}`);
  return result.value;
};
const fails = (errno: number) => ({ ok: false, error: errno });

let scratch: string;
let inside: string;
let outside: string;
let tree: SharedDirectory;

beforeEach(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'remio-share-')));
  inside = join(scratch, 'inside');
  outside = join(scratch, 'outside');
  mkdirSync(inside);
  mkdirSync(outside);
  writeFileSync(join(outside, 'secret'), 'outside');
  tree = value(SharedDirectory.open(inside, false));
});

afterEach(async () => {
  await tree.close();
  rmSync(scratch, { recursive: true, force: true });
});

const lookup = async (path: string): Promise<Found> => {
  let directory = tree.root;
  const parts = path.split('/');
  for (const part of parts.slice(0, -1)) directory = value(await tree.lookup(directory, name(part))).node;
  return value(await tree.lookup(directory, name(parts.at(-1) ?? '')));
};

const contentOf = async (node: HostNode): Promise<string> => {
  const file = value(await tree.open(node, 0));
  const room = new Uint8Array(64);
  const length = value(await tree.read(file, 0, [room]));
  tree.release(file);
  return Buffer.from(room.subarray(0, length)).toString();
};

describe('a name that does not stay in its directory', () => {
  // Of the host, only what the test made itself is named: were the rule broken, `rename` would really move it.
  it.each(['..', '.', '', 'a/b', 'ABSOLUTE', '../outside', 'a\0b'])(
    '%j is refused by every operation',
    async (path) => {
      const wrong = path === 'ABSOLUTE' ? outside : path;
      mkdirSync(join(inside, 'a'));
      writeFileSync(join(inside, 'file'), 'x');
      const { root } = tree;
      const file = await lookup('file');
      const outcomes = [
        await tree.lookup(root, name(wrong)),
        await tree.makeDirectory(root, name(wrong), 0o755),
        await tree.makeSymlink(root, name(wrong), name('target')),
        await tree.link(file.node, root, name(wrong)),
        await tree.unlink(root, name(wrong)),
        await tree.removeDirectory(root, name(wrong)),
        await tree.rename(root, name('file'), root, name(wrong), 0),
        await tree.rename(root, name(wrong), root, name('new'), 0),
        await tree.create(root, name(wrong), 0o644, O_RDWR),
      ];
      expect(outcomes).toEqual(outcomes.map(() => fails(ERRNO.EINVAL)));
      expect(readdirSync(scratch).sort()).toEqual(['inside', 'outside']);
      expect(readdirSync(inside).sort()).toEqual(['a', 'file']);
    },
  );
});

describe('a symbolic link', () => {
  beforeEach(() => {
    symlinkSync(join(outside, 'secret'), join(inside, 'absolute'));
    symlinkSync('../outside', join(inside, 'relative'));
  });

  it('is found as what it is, and tells its target', async () => {
    const { node, attributes } = await lookup('absolute');
    expect(attributes.mode & 0o170000).toBe(0o120000);
    expect(Buffer.from(value(await tree.readlink(node))).toString()).toBe(join(outside, 'secret'));
  });

  it('is followed neither to a file nor to a directory', async () => {
    const absolute = await lookup('absolute');
    const relative = await lookup('relative');
    expect(await tree.open(absolute.node, 0)).toEqual(fails(ERRNO.ELOOP));
    expect(await tree.openDirectory(relative.node)).toEqual(fails(ERRNO.ENOTDIR));
    expect(await tree.lookup(relative.node, name('secret'))).toEqual(fails(ERRNO.ENOTDIR));
    expect(await tree.create(relative.node, name('new'), 0o644, O_RDWR)).toEqual(fails(ERRNO.ENOTDIR));
    expect(await tree.unlink(relative.node, name('secret'))).toEqual(fails(ERRNO.ENOTDIR));
    expect(readdirSync(outside)).toEqual(['secret']);
  });

  it('is not written through by a create of its name, with O_TRUNC or without', async () => {
    expect(await tree.create(tree.root, name('absolute'), 0o644, O_RDWR | O_TRUNC)).toEqual(fails(ERRNO.EEXIST));
    symlinkSync(join(outside, 'new'), join(inside, 'dangling'));
    expect(await tree.create(tree.root, name('dangling'), 0o644, O_RDWR)).toEqual(fails(ERRNO.EEXIST));
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('outside');
    expect(readdirSync(outside)).toEqual(['secret']);
  });

  it('gets times and names of its own: nothing reaches its target', async () => {
    const { node } = await lookup('absolute');
    const before = statSync(join(outside, 'secret'), { bigint: true });
    value(await tree.change(node, { mtime: { seconds: 5n, nanoseconds: 7 } }));
    value(await tree.link(node, tree.root, name('second')));
    await tree.change(node, { mode: 0o777 });
    await tree.change(node, { size: 0 });
    expect(lstatSync(join(inside, 'absolute'), { bigint: true }).mtimeNs).toBe(5_000_000_007n);
    expect(readlinkSync(join(inside, 'second'))).toBe(join(outside, 'secret'));
    const after = statSync(join(outside, 'secret'), { bigint: true });
    expect([after.mtimeNs, after.mode, after.size, after.nlink]).toEqual([
      before.mtimeNs,
      before.mode,
      before.size,
      before.nlink,
    ]);
  });
});

describe('a directory that others change meanwhile', () => {
  it('is never left, while it is swapped for a link to the outside again and again', async () => {
    mkdirSync(join(inside, 'd'));
    writeFileSync(join(inside, 'd', 'secret'), 'inside');
    symlinkSync(outside, join(inside, 'link'));
    const swap = `
      const { renameSync } = require('node:fs');
      const { workerData: at } = require('node:worker_threads');
      for (;;) {
        renameSync(at + '/d', at + '/kept'); renameSync(at + '/link', at + '/d');
        renameSync(at + '/d', at + '/link'); renameSync(at + '/kept', at + '/d');
      }`;
    const worker = new Worker(swap, { eval: true, workerData: inside });
    const seen = { directory: 0, link: 0, naive: 0 };
    while (seen.directory < 100 || seen.link < 100 || seen.naive < 1) {
      const d = await tree.lookup(tree.root, name('d'));
      if (!d.ok) {
        expect(d.error).toBe(ERRNO.ENOENT);
        continue;
      }
      const secret = await tree.lookup(d.value.node, name('secret'));
      if (secret.ok) {
        seen.directory += 1;
        expect(await contentOf(secret.value.node)).toBe('inside');
        tree.release(secret.value.node);
      } else {
        seen.link += 1;
        expect(secret.error).toBe(ERRNO.ENOTDIR);
      }
      tree.release(d.value.node);
      // Whoever walks paths is led outside.
      try {
        if (readFileSync(join(inside, 'd', 'secret'), 'utf8') === 'outside') seen.naive += 1;
      } catch {
        // At this moment there was no `d`.
      }
    }
    await worker.terminate();
  });

  it('stays the directory that was looked up, whatever has its name now', async () => {
    mkdirSync(join(inside, 'd'));
    writeFileSync(join(inside, 'd', 'a'), 'first');
    const held = await lookup('d');
    rmSync(join(inside, 'd'), { recursive: true });
    symlinkSync(outside, join(inside, 'd'));
    expect(await tree.lookup(held.node, name('secret'))).toEqual(fails(ERRNO.ENOENT));
    expect(await tree.create(held.node, name('new'), 0o644, O_RDWR)).toEqual(fails(ERRNO.ENOENT));
    expect(readdirSync(outside)).toEqual(['secret']);
  });
});

describe('what lies behind a mount or a link of the kernel', () => {
  it('is not part of the tree: another file system', async () => {
    const whole = value(SharedDirectory.open('/', true));
    expect(await whole.lookup(whole.root, name('proc'))).toEqual(fails(ERRNO.EXDEV));
    await whole.close();
  });

  it('is not reached through a descriptor link', async () => {
    const self = value(SharedDirectory.open('/proc/self', true));
    const cwd = value(await self.lookup(self.root, name('cwd')));
    expect(await self.openDirectory(cwd.node)).toEqual(fails(ERRNO.ENOTDIR));
    expect(await self.lookup(cwd.node, name('package.json'))).toEqual(fails(ERRNO.ENOTDIR));
    self.release(cwd.node);
    await self.close();
  });
});

describe('files', () => {
  it('are made, opened, written and read at positions, in several buffers', async () => {
    const { found, file } = value(await tree.create(tree.root, name('new'), 0o640, O_RDWR | O_EXCL));
    expect(found.attributes.mode & 0o7777).toBe(0o640);
    expect(value(await tree.write(file, 3, [name('abc'), name('def')]))).toBe(6);
    expect(readFileSync(join(inside, 'new'), 'latin1')).toBe('\0\0\0abcdef');
    const room = [new Uint8Array(4), new Uint8Array(8)];
    expect(value(await tree.read(file, 4, room))).toBe(5);
    expect(Buffer.concat(room).toString('latin1')).toBe('bcdef\0\0\0\0\0\0\0');
    expect(await tree.create(tree.root, name('new'), 0o640, O_RDWR | O_EXCL)).toEqual(fails(ERRNO.EEXIST));
    const again = value(await tree.create(tree.root, name('new'), 0o600, O_RDWR | O_TRUNC));
    expect(again.found.identity).toBe(found.identity);
    expect(statSync(join(inside, 'new'))).toMatchObject({ size: 0 });
    expect(value(await tree.change(found.node, { size: 5 })).size).toBe(5n);
    value(await tree.allocate(file, 0, 0, 8192));
    expect(statSync(join(inside, 'new')).size).toBe(8192);
    value(await tree.sync(file, true));
  });

  it('have one identity under several names', async () => {
    writeFileSync(join(inside, 'a'), 'x');
    linkSync(join(inside, 'a'), join(inside, 'b'));
    const [a, b] = [await lookup('a'), await lookup('b')];
    expect(a.identity).toBe(b.identity);
    expect(a.attributes.nlink).toBe(2);
  });

  it('are not even opened to look at them if they are no regular files', async () => {
    execFileSync('mkfifo', [join(inside, 'fifo')]);
    expect(await tree.create(tree.root, name('fifo'), 0o644, 1)).toEqual(fails(ERRNO.EEXIST));
    expect(await tree.create(tree.root, name('.'), 0o644, 1)).toEqual(fails(ERRNO.EINVAL));
  });

  it('have times to the nanosecond, before 1970 too', async () => {
    writeFileSync(join(inside, 'a'), 'x');
    const { node } = await lookup('a');
    const changed = value(await tree.change(node, { atime: { seconds: -2n, nanoseconds: 999_999_999 }, mtime: 'now' }));
    expect([changed.atime, changed.atimensec]).toEqual([-2n, 999_999_999]);
    expect(changed.mtime).toBeGreaterThan(1_000_000_000n);
  });

  it('keep their names apart when a rename must not replace, and exchange them', async () => {
    writeFileSync(join(inside, 'a'), 'A');
    writeFileSync(join(inside, 'b'), 'B');
    const { root } = tree;
    expect(await tree.rename(root, name('a'), root, name('b'), RENAME_NOREPLACE)).toEqual(fails(ERRNO.EEXIST));
    value(await tree.rename(root, name('a'), root, name('b'), RENAME_EXCHANGE));
    expect(readFileSync(join(inside, 'a'), 'utf8')).toBe('B');
    value(await tree.rename(root, name('a'), root, name('b'), 0));
    expect(readdirSync(inside)).toEqual(['b']);
    expect(readFileSync(join(inside, 'b'), 'utf8')).toBe('B');
  });
});

describe('a directory', () => {
  it('is listed in pieces of any size, each entry once, whatever bytes its name has', async () => {
    const names = Array.from({ length: 300 }, (_, n) => `${n}-${'x'.repeat(n % 250)}`);
    for (const entry of names) writeFileSync(join(inside, entry), '');
    writeFileSync(Buffer.concat([Buffer.from(`${inside}/`), Buffer.from([0xff, 0xfe])]), '');
    const directory = value(await tree.openDirectory(tree.root));
    for (const size of [1, 500, 100_000]) {
      const seen: string[] = [];
      for (let from = 0n; ; ) {
        const entries = value(await tree.list(directory, from, size));
        const last = entries.at(-1);
        if (last === undefined) break;
        seen.push(...entries.map((entry) => Buffer.from(entry.name).toString('latin1')));
        from = last.next;
      }
      expect(seen.sort()).toEqual([...names, '\xff\xfe'].sort());
    }
  });

  it('is listed by two at the same time without one disturbing the other', async () => {
    for (let n = 0; n < 100; n += 1) writeFileSync(join(inside, `f${n}`), '');
    const directory = value(await tree.openDirectory(tree.root));
    const all = value(await tree.list(directory, 0n, 100_000));
    const [first, middle] = [all[0], all[50]];
    const [a, b] = await Promise.all([
      tree.list(directory, first?.next ?? 0n, 100_000),
      tree.list(directory, middle?.next ?? 0n, 100_000),
    ]);
    expect([value(a).length, value(b).length]).toEqual([99, 49]);
  });

  it('is made and removed', async () => {
    const made = value(await tree.makeDirectory(tree.root, name('d'), 0o700));
    expect(made.attributes.mode).toBe(0o040700);
    writeFileSync(join(inside, 'd', 'x'), '');
    expect(await tree.removeDirectory(tree.root, name('d'))).toEqual(fails(ERRNO.ENOTEMPTY));
    expect(await tree.unlink(tree.root, name('d'))).toEqual(fails(ERRNO.EISDIR));
    value(await tree.unlink(made.node, name('x')));
    value(await tree.removeDirectory(tree.root, name('d')));
    expect(existsSync(join(inside, 'd'))).toBe(false);
  });
});

it('many operations at once all end, and nothing stays open that was released', async () => {
  for (let n = 0; n < 20; n += 1) writeFileSync(join(inside, `f${n}`), `${n}`);
  const looks = Array.from({ length: 600 }, (_, n) => lookup(`f${n % 20}`));
  for (const [n, { node }] of (await Promise.all(looks)).entries()) {
    if (n < 20) expect(await contentOf(node)).toBe(`${n}`);
    tree.release(node);
  }
  while (descriptorsBelow(inside) > 1) await new Promise((resolve) => setImmediate(resolve));
});

it.each([
  ['nothing', 'none', 'ENOENT'],
  ['a file', 'file', 'ENOTDIR'],
])('%s cannot be shared', (_, at, code) => {
  writeFileSync(join(scratch, 'file'), '');
  expect(SharedDirectory.open(join(scratch, at), true)).toMatchObject({
    ok: false,
    error: expect.stringContaining(code),
  });
});
