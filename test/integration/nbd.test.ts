import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, skipsWithout } from './programs.js';
import { RunningRemio, root } from './run-remio.js';

const MiB = 1 << 20;
const DISK = 64 * MiB;
const scratch = mkdtempSync(join(tmpdir(), 'remio-nbd-'));
const image = join(scratch, 'disk.img');
const path = (name: string): string => join(scratch, name);

/** What the driver reports when it listens. */
interface Listening {
  readonly addresses: readonly string[];
}

/** A platform whose frontend exports `image`. */
class Exporting {
  readonly remio: RunningRemio;
  readonly unix: string;
  tcp = '';

  private constructor(engine: string) {
    // The socket lies beside the topology.
    const topology = path('nbd.yaml');
    const text = readFileSync(join(root, 'deploy', 'topologies', 'nbd-aarch64.yaml'), 'utf8');
    writeFileSync(topology, text.replace('port: 10809', 'port: 0'));
    this.remio = new RunningRemio(['up', topology, '--engine', engine, '--json', '--image', image]);
    this.unix = `nbd+unix:///disk0?socket=${path('nbd.sock')}`;
  }

  static async start(engine: 'processes' | 'inproc'): Promise<Exporting> {
    const platform = new Exporting(engine);
    const line = await platform.remio.line((text) => text.includes('"kind":"nbd"'));
    const { event } = JSON.parse(line) as { readonly event: Listening };
    const address = event.addresses.find((candidate) => candidate.startsWith('tcp:')) ?? '';
    platform.tcp = `nbd://${address.slice(4)}/disk0`;
    return platform;
  }

  /** Ends the platform; the image is whole then. */
  async stop(): Promise<void> {
    this.remio.process.kill('SIGTERM');
    await this.remio.ended;
  }
}

const expectWell = async (program: string, ...args: readonly string[]): Promise<string> => {
  const ended = await run(program, ...args);
  expect(ended, `${program} ${args.join(' ')}`).toMatchObject({ code: 0 });
  return ended.stdout;
};

/** Random bytes with a hole in the middle. */
function writeDisk(file: string, seed: number): void {
  const bytes = new Uint8Array(DISK);
  new Prng(seed).fill(bytes.subarray(0, 20 * MiB));
  new Prng(seed + 1).fill(bytes.subarray(40 * MiB));
  writeFileSync(file, bytes);
}

const sameBytes = (a: string, b: string): boolean => Buffer.compare(readFileSync(a), readFileSync(b)) === 0;

const skip = skipsWithout('NBD with real clients', 'nbdinfo', 'nbdcopy', 'qemu-img', 'fio', 'mkfs.ext4', 'e2fsck');
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.skipIf(skip).each(['processes', 'inproc'] as const)('a disk over NBD, engine %s', (engine) => {
  let platform: Exporting;
  beforeAll(async () => {
    writeDisk(image, 1);
    platform = await Exporting.start(engine);
  });
  afterAll(async () => {
    await platform.stop();
    expect(existsSync(path('nbd.sock'))).toBe(false);
  });

  it('nbdinfo: size, name and everything that the device can do, on the Unix socket and over TCP', async () => {
    for (const uri of [platform.unix, platform.tcp]) {
      const info = JSON.parse(await expectWell('nbdinfo', '--json', uri)) as {
        readonly protocol: string;
        readonly structured: boolean;
        readonly exports: readonly Readonly<Record<string, unknown>>[];
      };
      expect(info).toMatchObject({ protocol: 'newstyle-fixed', structured: true });
      expect(info.exports[0]).toMatchObject({
        'export-name': 'disk0',
        'export-size': DISK,
        is_read_only: false,
        can_flush: true,
        can_fua: true,
        can_trim: true,
        can_zero: true,
        can_df: true,
        can_multi_conn: true,
        block_size_minimum: 512,
        block_size_preferred: 4096,
      });
    }
    expect(await expectWell('nbdinfo', '--list', platform.tcp)).toContain('export="disk0"');
  });

  it('nbdcopy out of it and into it, with several connections: equal bytes', async () => {
    await expectWell('nbdcopy', platform.unix, path('out.img'));
    expect(sameBytes(path('out.img'), image)).toBe(true);
    writeDisk(path('in.img'), 7);
    await expectWell('nbdcopy', '--flush', '--connections=4', path('in.img'), platform.tcp);
    expect(sameBytes(path('in.img'), image)).toBe(true);
  });

  it('nbdcopy one request at a time, without asking for extents: the same', async () => {
    const out = path('simple.img');
    await expectWell('nbdcopy', '--no-extents', '--synchronous', platform.unix, out);
    expect(sameBytes(out, image)).toBe(true);
  });

  it('qemu-img compare: identical, and different after a byte was changed', async () => {
    const other = path('other.img');
    copyFileSync(image, other);
    const compare = ['compare', '-f', 'raw', '-F', 'raw', other, platform.unix];
    expect(await expectWell('qemu-img', ...compare)).toContain('identical');
    const bytes = readFileSync(other);
    bytes[12345] = (bytes[12345] ?? 0) ^ 1;
    writeFileSync(other, bytes);
    expect((await run('qemu-img', ...compare)).code).toBe(1);
  });

  it('qemu-img convert: what is zero becomes a hole of the image', async () => {
    const sparse = path('sparse.img');
    rmSync(sparse, { force: true });
    writeFileSync(sparse, '');
    truncateSync(sparse, DISK);
    const before = statSync(image).blocks;
    await expectWell('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', sparse, platform.unix);
    expect(readFileSync(image).every((byte) => byte === 0)).toBe(true);
    expect(statSync(image).blocks).toBeLessThan(before / 4);
  });

  it('a file system that was copied in is one that e2fsck finds nothing wrong with', async () => {
    const ext4 = path('ext4.img');
    rmSync(ext4, { force: true });
    writeFileSync(ext4, '');
    truncateSync(ext4, DISK);
    await expectWell('mkfs.ext4', '-q', '-F', ext4);
    await expectWell('nbdcopy', '--flush', ext4, platform.unix);
    await expectWell('e2fsck', '-fn', image);
    await expectWell('nbdcopy', platform.unix, path('back.img'));
    await expectWell('e2fsck', '-fn', path('back.img'));
  });

  it('fio: random writes on four jobs, each verified by its checksum', async () => {
    const out = await expectWell(
      'fio',
      ...['--name=verify', '--ioengine=nbd', `--uri=${platform.unix}`, '--rw=randwrite', '--bs=4k'],
      ...['--iodepth=16', '--numjobs=4', '--size=16m', '--offset_increment=16m', '--fsync=64'],
      ...['--verify=crc32c', '--do_verify=1', '--verify_fatal=1', '--verify_state_save=0', '--output-format=json'],
    );
    const { jobs } = JSON.parse(out.slice(out.indexOf('{'))) as {
      readonly jobs: readonly {
        readonly error: number;
        readonly read: { readonly io_bytes: number };
        readonly write: { readonly io_bytes: number };
      }[];
    };
    expect(jobs.map(({ error, read, write }) => [error, read.io_bytes, write.io_bytes])).toEqual(
      Array.from({ length: 4 }, () => [0, 16 * MiB, 16 * MiB]),
    );
  });
});
