import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SharedDirectory } from '@remio/host-io';
import { type DeviceIo, FsDevice, type VirtioDevice } from '@remio/virtio-device';
import { FsMount, VirtioFsDriver } from '@remio/virtio-driver';
import * as spec from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type PairProgram, pair } from '../support/pair.js';

const { structBytes } = spec;

/** Uses a mount; gives what that gives, or why there is none. */
const mounted =
  <T>(use: (mount: FsMount, driver: VirtioFsDriver) => Promise<T>): PairProgram<T | string> =>
  async (cpu, end) => {
    const driver = await VirtioFsDriver.probe(cpu, end, { depth: 2, dataSize: 16 * 1024 });
    if (!driver.ok) return `${driver.error.code} ${driver.error.clause}`;
    const mount = await FsMount.create(driver.value);
    return mount.ok ? use(mount.value, driver.value) : `mount: ${mount.error.code}`;
  };

const said = async (outcome: Promise<{ readonly ok: boolean; readonly error?: { readonly code: string } }>) =>
  (await outcome).error?.code ?? 'ok';

describe('a mount', () => {
  let scratch: string;
  let share: string;
  let device: FsDevice;

  beforeEach(() => {
    scratch = realpathSync(mkdtempSync(join(tmpdir(), 'remio-mount-')));
    share = join(scratch, 'share');
    mkdirSync(join(share, 'd', 'e'), { recursive: true });
    writeFileSync(join(share, 'top'), 'top of the mount');
    writeFileSync(join(share, 'd', 'e', 'f'), 'deep');
    writeFileSync(join(scratch, 'top'), 'outside');
    const directory = SharedDirectory.open(share, false);
    if (!directory.ok) throw new Error(directory.error);
    device = new FsDevice(directory.value, { tag: 'a tag of as many as 36 bytes, and no' });
  });

  afterEach(() => rmSync(scratch, { recursive: true, force: true }));

  const contentOf = (path: string): PairProgram<unknown> =>
    mounted(async (mount) => {
      const read = await mount.readFile(path);
      return read.ok ? Buffer.from(read.value).toString() : read.error.code;
    });

  it.each([
    ['d/e/f', 'd/e/f', 'deep'],
    ['/d//e/./f', '/d//e/./f', 'deep'],
    ['d/e/../../top', 'd/e/../../top', 'top of the mount'],
    ['../../../top', '../../../top', 'top of the mount'],
    ['to-file', 'to-file', 'top of the mount'],
    ['to-directory/f', 'to-directory/f', 'deep'],
    ['absolute', 'absolute', 'top of the mount'],
    ['above', 'above', 'top of the mount'],
    ['d/e/up/top', 'd/e/up/top', 'top of the mount'],
    ['chain-0', 'chain-0', 'top of the mount'],
    ['loop', 'loop', 'ELOOP'],
    ['d/none', 'd/none', 'ENOENT'],
    ['top/x', 'top/x', 'ENOTDIR'],
    ['top/..', 'top/..', 'ENOTDIR'],
    ['d', 'd', 'EISDIR'],
    ['nothing NUL more', 'nothing\0more', 'EINVAL'],
    ['a name of 300 bytes', 'n'.repeat(300), 'ENAMETOOLONG'],
    ['a path of 6000 bytes', 'x/'.repeat(3000), 'ENAMETOOLONG'],
  ])('leads from %s to where it should, and nowhere else', async (_, path, content) => {
    symlinkSync('top', join(share, 'to-file'));
    symlinkSync('./d/e/', join(share, 'to-directory'));
    symlinkSync('/top', join(share, 'absolute'));
    symlinkSync('../../top', join(share, 'above'));
    symlinkSync('../..', join(share, 'd', 'e', 'up'));
    symlinkSync('loop/x', join(share, 'loop'));
    for (let n = 0; n < 39; n += 1) symlinkSync(n === 38 ? 'top' : `chain-${n + 1}`, join(share, `chain-${n}`));
    expect(await pair(device, contentOf(path))).toBe(content);
    // Everything that was looked up was forgotten, everything that was opened was closed.
    expect(device.held).toEqual({ nodes: 0, files: 0 });
  });

  it('makes, writes, renames, links and removes', async () => {
    const outcome = await pair(
      device,
      mounted(async (mount, driver) => {
        const all: string[] = [driver.tag];
        const data = new Uint8Array(50_000).map((_, n) => n % 251);
        all.push(await said(mount.mkdir('new')), await said(mount.mkdir('new')));
        all.push(await said(mount.writeFile('new/a', data)), await said(mount.writeFile('new/a', data.subarray(1))));
        all.push(await said(mount.create('new/a')), await said(mount.rename('new/a', 'd/b')));
        all.push(await said(mount.rename('d/b', 'top', false)), await said(mount.link('d/b', 'new/c')));
        all.push(await said(mount.symlink('c', 'new/l')), await said(mount.unlink('d/b')));
        all.push(await said(mount.rmdir('new')), await said(mount.unlink('d')), await said(mount.mkdir('d/..')));
        all.push(await said(mount.symlink('t'.repeat(5000), 'new/long')));
        const link = await mount.readlink('new/l');
        all.push(link.ok ? link.value : '');
        const read = await mount.readFile('new/l');
        all.push(read.ok && Buffer.from(read.value).equals(data.subarray(1)) ? 'equal' : 'different');
        const list = await mount.list('new');
        all.push(
          list.ok
            ? list.value
                .map(({ name }) => name)
                .sort()
                .join()
            : list.error.code,
        );
        return all;
      }),
    );
    expect(outcome).toEqual([
      ...[
        'a tag of as many as 36 bytes, and no',
        'ok',
        'EEXIST',
        'ok',
        'ok',
        'EEXIST',
        'ok',
        'EEXIST',
        'ok',
        'ok',
        'ok',
      ],
      ...['ENOTEMPTY', 'EISDIR', 'EINVAL', 'ENAMETOOLONG', 'c', 'equal', 'c,l'],
    ]);
    expect(existsSync(join(share, 'd', 'b'))).toBe(false);
    expect(readdirSync(join(share, 'new')).sort()).toEqual(['c', 'l']);
    expect(readFileSync(join(scratch, 'top'), 'utf8')).toBe('outside');
  });

  it('serves tasks that work at the same time, more than there is room for requests', async () => {
    for (let n = 0; n < 12; n += 1) writeFileSync(join(share, `file-${n}`), `${n}`.repeat(20_000));
    const lengths = await pair(
      device,
      mounted((mount) =>
        Promise.all(
          Array.from({ length: 12 }, async (_, n) => {
            const read = await mount.readFile(`file-${n}`);
            return read.ok && Buffer.from(read.value).toString() === `${n}`.repeat(20_000);
          }),
        ),
      ),
    );
    expect(lengths).toEqual(Array.from({ length: 12 }, () => true));
  });

  it('ends its session: the device holds nothing any more', async () => {
    const after = await pair(
      device,
      mounted(async (mount) => {
        await mount.open('top', spec.O_RDONLY);
        const held = device.held;
        await mount.unmount();
        return [held, device.held, await said(mount.stat('top'))];
      }),
    );
    expect(after).toEqual([{ nodes: 1, files: 1 }, { nodes: 0, files: 0 }, 'ENOTCONN']);
  });
});

/** A reply: what follows the header, or an error as it stands in the header, or bytes of any kind. */
type Answer = Uint8Array | number | { readonly raw: Uint8Array };

const entryOut = (values: Partial<spec.StructOf<typeof spec.FUSE_ENTRY_OUT>>): Uint8Array =>
  structBytes(spec.FUSE_ENTRY_OUT, { nodeid: 5n, ...values });
const REGULAR = entryOut({ mode: spec.S_IFREG | 0o644, size: 8n });
const OPENED = structBytes(spec.FUSE_OPEN_OUT, { fh: 1n });
const INIT = { major: 7, minor: 31, max_write: 1 << 20 };

/** A file system device that answers what it likes. */
class Liar implements VirtioDevice {
  readonly deviceId = spec.DEVICE_ID_FILE_SYSTEM;
  readonly features = 0n;
  readonly queueCount = 2;
  readonly queueSizeMax = 16;
  readonly config = new Uint8Array(spec.FS_CONFIG_SIZE);
  #io: DeviceIo | undefined;

  constructor(
    private readonly says: (opcode: number, unique: bigint) => Answer | 'broken',
    tag = 'liar',
    queues = 1,
  ) {
    this.config.set(Buffer.from(tag, 'latin1'));
    spec.structView(this.config).setUint32(spec.FS_CONFIG_NUM_REQUEST_QUEUES, queues, true);
  }

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(index: number): void {
    const io = this.#io;
    const queue = io?.queues[index];
    if (io === undefined || queue === undefined) return;
    for (let popped = queue.pop(); popped.kind === 'chain'; popped = queue.pop()) {
      const written = this.#answer(io, popped.chain);
      if (written === 'broken') io.broken(index, { code: 'made-up', clause: '2.1.2', detail: 'of its own accord' });
      else queue.push(popped.chain.head, written);
    }
    io.used(index);
  }

  reset(done: () => void): void {
    done();
  }

  #answer({ memory }: DeviceIo, { readable, writable }: Chain): number | 'broken' {
    const [request, reply] = [readable[0], writable[0]];
    if (request === undefined || reply === undefined) return 0;
    const { opcode, unique } = spec.readStruct(
      spec.FUSE_IN_HEADER,
      spec.structView(memory.bytes(request.offset, request.length)),
      0,
    );
    const answer = this.says(opcode, unique);
    if (answer === 'broken') return answer;
    const payload = answer instanceof Uint8Array ? answer : new Uint8Array(0);
    const error = typeof answer === 'number' ? answer : 0;
    const bytes =
      typeof answer === 'object' && 'raw' in answer
        ? answer.raw
        : Buffer.concat([structBytes(spec.FUSE_OUT_HEADER, { len: 16 + payload.length, error, unique }), payload]);
    memory.bytes(reply.offset, Math.min(reply.length, bytes.length)).set(bytes.subarray(0, reply.length));
    return bytes.length;
  }
}

const attrOut = (values: Partial<spec.StructOf<typeof spec.FUSE_ATTR_OUT>>): Uint8Array =>
  structBytes(spec.FUSE_ATTR_OUT, { mode: spec.S_IFREG, ...values });
const header = (values: Partial<spec.StructOf<typeof spec.FUSE_OUT_HEADER>>): { readonly raw: Uint8Array } => ({
  raw: structBytes(spec.FUSE_OUT_HEADER, values),
});
const dirent = (name: string, values: Partial<spec.StructOf<typeof spec.FUSE_DIRENT>> = {}): Uint8Array => {
  const room = spec.fuseDirentSize(name.length) - spec.FUSE_DIRENT.size;
  const bytes = structBytes(spec.FUSE_DIRENT, { off: 1n, namelen: name.length, type: 8, ...values }, true, room);
  bytes.set(Buffer.from(name), spec.FUSE_DIRENT.size);
  return bytes;
};

/** What each request is answered with, unless a case says otherwise. */
const HONEST: Readonly<Record<number, Answer>> = {
  [spec.FUSE_INIT]: structBytes(spec.FUSE_INIT_OUT, INIT),
  [spec.FUSE_LOOKUP]: REGULAR,
  [spec.FUSE_GETATTR]: attrOut({ size: 8n }),
  [spec.FUSE_READLINK]: Buffer.from('elsewhere'),
  [spec.FUSE_SETATTR]: attrOut({}),
  [spec.FUSE_OPEN]: OPENED,
  [spec.FUSE_OPENDIR]: OPENED,
  [spec.FUSE_READ]: new Uint8Array(8),
  [spec.FUSE_WRITE]: structBytes(spec.FUSE_WRITE_OUT, { size: 8 }),
  [spec.FUSE_READDIR]: new Uint8Array(0),
  [spec.FUSE_RELEASE]: 0,
  [spec.FUSE_RELEASEDIR]: 0,
};

type Use = (mount: FsMount) => Promise<unknown>;
const stat: Use = (mount) => said(mount.stat('file'));
const read: Use = (mount) => said(mount.readFile('file'));
const write: Use = (mount) => said(mount.writeFile('file', new Uint8Array(8)));
const list: Use = (mount) => said(mount.list('/'));

/** Catalogue B for FUSE: what a device may answer to one request, and what the driver makes of it. */
const CASES: readonly (readonly [
  id: string,
  opcode: number,
  answer: Answer | 'broken' | ((unique: bigint) => Answer),
  use: Use,
  expected: string,
])[] = [
  ['V3 nothing', spec.FUSE_GETATTR, { raw: new Uint8Array(0) }, stat, 'EPROTO'],
  ['V3 a header cut short', spec.FUSE_GETATTR, { raw: new Uint8Array(15) }, stat, 'EPROTO'],
  ['V3 more than there is room for', spec.FUSE_GETATTR, { raw: new Uint8Array(5000) }, stat, 'EPROTO'],
  ['V20 a header that says more', spec.FUSE_GETATTR, (unique) => header({ len: 17, unique }), stat, 'EPROTO'],
  ['V20 a header that says less', spec.FUSE_GETATTR, (unique) => header({ len: 8, unique }), stat, 'EPROTO'],
  [
    'V2 the reply of another request',
    spec.FUSE_GETATTR,
    (unique) => header({ len: 16, unique: unique + 1n }),
    stat,
    'EPROTO',
  ],
  ['V18 an error above 0', spec.FUSE_GETATTR, 5, stat, 'EPROTO'],
  ['V18 an error of -4096', spec.FUSE_GETATTR, -4096, stat, 'EPROTO'],
  ['V18 an error nobody knows', spec.FUSE_GETATTR, -133, stat, 'errno 133'],
  ['V18 EACCES', spec.FUSE_GETATTR, -13, stat, 'EACCES'],
  ['V20 attributes cut short', spec.FUSE_GETATTR, attrOut({}).subarray(1), stat, 'EPROTO'],
  ['V20 an entry cut short', spec.FUSE_LOOKUP, REGULAR.subarray(8), stat, 'EPROTO'],
  ['V20 node 0', spec.FUSE_LOOKUP, entryOut({ nodeid: 0n }), stat, 'ENOENT'],
  ['V20 links for ever', spec.FUSE_LOOKUP, entryOut({ mode: spec.S_IFLNK }), stat, 'ELOOP'],
  ['V12 FUSE 6', spec.FUSE_INIT, structBytes(spec.FUSE_INIT_OUT, { ...INIT, major: 6 }), stat, 'mount: EPROTO'],
  ['V12 FUSE 7.26', spec.FUSE_INIT, structBytes(spec.FUSE_INIT_OUT, { ...INIT, minor: 26 }), stat, 'mount: EPROTO'],
  [
    'V12 writes of nothing',
    spec.FUSE_INIT,
    structBytes(spec.FUSE_INIT_OUT, { ...INIT, max_write: 0 }),
    stat,
    'mount: EPROTO',
  ],
  ['V12 an answer cut short', spec.FUSE_INIT, new Uint8Array(8), stat, 'mount: EPROTO'],
  ['V20 a file of 2^60 bytes', spec.FUSE_GETATTR, attrOut({ size: 2n ** 60n }), read, 'EFBIG'],
  ['V4 fewer bytes than the file has', spec.FUSE_READ, new Uint8Array(3), read, 'ok'],
  ['V20 more written than there was', spec.FUSE_WRITE, structBytes(spec.FUSE_WRITE_OUT, { size: 9 }), write, 'EPROTO'],
  ['V20 nothing written, for ever', spec.FUSE_WRITE, structBytes(spec.FUSE_WRITE_OUT, {}), write, 'EIO'],
  ['V20 an entry cut short', spec.FUSE_READDIR, dirent('name').subarray(0, 20), list, 'EPROTO'],
  ['V20 a name cut short', spec.FUSE_READDIR, dirent('name', { namelen: 0xffff_ffff }), list, 'EPROTO'],
  ['V20 a name that leads elsewhere', spec.FUSE_READDIR, dirent('../x'), list, 'EPROTO'],
  ['V20 no name', spec.FUSE_READDIR, dirent(''), list, 'EPROTO'],
  ['V20 the same entry again and again', spec.FUSE_READDIR, dirent('name'), list, 'ok'],
  ['V16 DEVICE_NEEDS_RESET', spec.FUSE_GETATTR, 'broken', stat, 'EIO'],
];

describe('catalogue B: a file system device that lies', () => {
  it.each(CASES)('%s (opcode %d)', async (_, opcode, answer, use, expected) => {
    const device = new Liar((asked, unique) => {
      if (asked !== opcode) return HONEST[asked] ?? -spec.ERRNO.ENOSYS;
      return typeof answer === 'function' ? answer(unique) : answer;
    });
    expect(await pair(device, mounted(use))).toBe(expected);
  });

  it('V20: entries for ever end', async () => {
    let next = 0n;
    const device = new Liar((opcode) => {
      if (opcode !== spec.FUSE_READDIR) return HONEST[opcode] ?? 0;
      const some: Uint8Array[] = [];
      for (let n = 0; n < 500; n += 1) {
        next += 1n;
        some.push(dirent('n', { off: next }));
      }
      return Buffer.concat(some);
    });
    expect(await pair(device, mounted(list))).toBe('EPROTO');
  });

  it.each([
    ['no tag', '', 1],
    ['a tag that is no text', '\xff\xfe', 1],
    ['no request queue', 'tag', 0],
  ])('V18 (5.11.4): %s', async (_, tag, queues) => {
    expect(await pair(new Liar(() => 0, tag, queues), mounted(stat))).toBe('config 5.11.4');
  });
});
