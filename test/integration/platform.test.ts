import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningRemio, remio, reportsOf, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
const topology = (name: string): string => join(root, 'deploy', 'topologies', `${name}.yaml`);
const MiB = 1024 * 1024;
let disk: Uint8Array;

/** A copy of the disk for a device to write to. */
const copy = (name: string): string => {
  const path = join(scratch, name);
  writeFileSync(path, disk);
  return path;
};

beforeAll(() => {
  disk = new Uint8Array(4 * MiB);
  new Prng(7).fill(disk);
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

describe.each(['processes', 'inproc', 'virtual'] as const)('engine %s', (engine) => {
  it.each(['demo-aarch64', 'demo-riscv64', 'demo-aarch64-smp', 'demo-riscv64-smp'])(
    '%s: every disk is read whole, and every block reads back as written',
    async (name) => {
      const images = ['disk0', 'disk1'].map((device) => `${device}=${copy(`${engine}-${name}-${device}.img`)}`);
      const ended = await remio(
        ...['up', topology(name), '--engine', engine, '--until-done', '--json'],
        ...images.flatMap((image) => ['--image', image]),
      );
      expect(ended.stderr).toBe('');
      expect(ended.code).toBe(0);
      const sha256 = createHash('sha256').update(disk).digest('hex');
      const reports = reportsOf(ended, 'blk-verify');
      expect(reports.map((report) => report['device']).sort()).toEqual(['disk0', 'disk1']);
      for (const report of reports) {
        expect(report).toMatchObject({ sha256, mismatches: 0, failed: 0, bytes: disk.length });
      }
    },
  );
});

describe('virtual time', () => {
  it('is the same whenever it runs, and has nothing to do with the host’s', async () => {
    const once = () =>
      remio('up', topology('ping-riscv64'), '--engine', 'virtual', '--until-done', '--image', copy('virtual.img'));
    const [first, second] = [await once(), await once()];
    expect(first.code).toBe(0);
    expect(second).toEqual(first);
  });

  it('refuses devices that talk to the host, by name', async () => {
    const { code, stderr } = await remio('up', topology('lan-aarch64'), '--engine', 'virtual');
    expect(code).toBe(2);
    expect(stderr).toMatch(/is a net device, which talks to the host: .*--engine inproc/);
  });

  it('refuses a memory that goes by the memory service: it knows of one host only', async () => {
    const far = join(scratch, 'far.yaml');
    const text = readFileSync(topology('ping-riscv64'), 'utf8');
    writeFileSync(far, text.replace(/(disk0: \{ size: \w+)/, '$1, via: service'));
    const { code, stderr } = await remio('up', far, '--engine', 'virtual', '--image', copy('far.img'));
    expect(code).toBe(2);
    expect(stderr).toMatch(/shared memory disk0 goes by the memory service.*`via`/);
  });
});

describe('processes', () => {
  it('talk over tcp as over ipc', async () => {
    const ended = await remio(
      ...['up', topology('ping-aarch64'), '--until-done', '--json'],
      ...['--endpoint', 'tcp://127.0.0.1:47811', '--image', copy('tcp.img')],
    );
    expect(ended.code).toBe(0);
    expect(reportsOf(ended, 'mmio-ping')).toHaveLength(1);
  });

  it('exchange exactly four frames for one remote access', async () => {
    const ended = await remio('up', topology('ping-riscv64'), '--until-done', '--json', '--image', copy('frames.img'));
    const last = ended.stdout.split('\n').find((line) => line.startsWith('{"status"'));
    const { status } = JSON.parse(last ?? '{}') as {
      readonly status: {
        readonly frames: { readonly received: number; readonly sent: number };
        readonly vms: readonly { readonly traps: number }[];
      };
    };
    // Bring-up costs a few frames besides: the interrupt controller's registers, and the ends of vCPUs.
    const accesses = 11_000;
    const beside = status.frames.received + status.frames.sent - 4 * accesses;
    expect(beside).toBeGreaterThanOrEqual(0);
    expect(beside).toBeLessThan(30);
  });

  it('lose nothing of a register read when the backend is killed under it', async () => {
    const running = new RunningRemio([
      'up',
      topology('ping-aarch64'),
      '--until-done',
      '--json',
      '--record',
      join(scratch, 'kill.json'),
      '--image',
      copy('kill.img'),
    ]);
    const started = JSON.parse(await running.line((line) => line.includes('"started","name":"backend"'))) as {
      readonly pid: number;
    };
    await running.line((line) => line.includes('"endpoint"'));
    process.kill(started.pid, 'SIGKILL');
    const ended = await running.ended;
    expect(ended.code).toBe(0);
    expect(reportsOf(ended, 'attached').map((report) => report['incarnation'])).toContain(2);
    expect(reportsOf(ended, 'mmio-ping')).toMatchObject([{ count: 10_000 }]);
    // The loss is an input as well.
    expect(readFileSync(join(scratch, 'kill.json'), 'utf8')).toContain('"do":"vm-lost"');
    expect(await remio('replay', join(scratch, 'kill.json'))).toMatchObject({ code: 0 });
  });
});

describe.each(['processes', 'inproc'] as const)('a recording, engine %s', (engine) => {
  /** Records a whole run of a topology, in a profile. */
  const record = async (profile: string, recording: string): Promise<void> => {
    const file = join(scratch, `${engine}-${profile}.yaml`);
    const yaml = readFileSync(topology('demo-riscv64'), 'utf8');
    writeFileSync(file, yaml.replace(/^board:/m, `profile: ${profile}\nboard:`));
    const images = ['disk0', 'disk1'].flatMap((name) => ['--image', `${name}=${copy(`rec-${name}.img`)}`]);
    const ended = await remio('up', file, '--engine', engine, '--until-done', '--record', recording, ...images);
    expect(ended.code).toBe(0);
  };

  it('of profile hardened has the same effects when it runs again, and any other is told', async () => {
    const recording = join(scratch, `${engine}-hardened.json`);
    await record('hardened', recording);
    expect(await remio('replay', recording)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+ steps, the same effects$/),
    });
    const text = readFileSync(recording, 'utf8');
    const lines = text.split('\n');
    const read = lines.findIndex((line) => /"do":"deliver".*"regs":{"x/.test(line));
    const step = read - lines.indexOf('"steps":[') - 1;
    writeFileSync(
      recording,
      lines.with(read, (lines[read] ?? '').replace(/"regs":{"x\d+"/, '"regs":{"x1"')).join('\n'),
    );
    expect(await remio('replay', recording)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining(`step ${step}, regs`),
    });
    // Whoever recorded was killed in the midst of a line.
    writeFileSync(recording, text.slice(0, text.length / 2));
    expect(await remio('replay', recording)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+ steps, the same effects; the recording was cut off there$/),
    });
    // The reference has other request ids.
    expect(await remio('conform', recording)).toMatchObject({ code: 1, stdout: expect.stringContaining('hardened') });
  });

  it('of profile reference is a vector as others are', async () => {
    const recording = join(scratch, `${engine}-reference.json`);
    await record('reference', recording);
    expect(await remio('replay', recording)).toMatchObject({ code: 0 });
    for (const lease of [[], ['--lease']]) {
      expect(await remio('conform', recording, ...lease)).toMatchObject({ code: 0, stdout: '1 passed, 0 failed' });
    }
    const vector = JSON.parse(readFileSync(recording, 'utf8')) as {
      readonly format: string;
      readonly steps: readonly { readonly do: string }[];
    };
    expect(vector.format).toBe('remio-vectors/1');
    expect([...new Set(vector.steps.map((step) => step.do))].sort()).toEqual(['deliver', 'hvc', 'mmio', 'start']);
  });
});

describe('mistakes of the operator', () => {
  it('a wrong topology: place, rule and fix, exit code 2, no stack trace', async () => {
    const file = join(scratch, 'wrong.yaml');
    writeFileSync(file, 'board: qemu-aarch64-virt\nvms:\n  a:\n    cpus: 9\n    program: idle\n');
    const ended = await remio('check', file);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain(`${file}:4:11: error[cpu-oversubscribed]`);
    expect(ended.stdout).toContain('fix: ');
    expect(ended.stdout + ended.stderr).not.toMatch(/\n\s+at /);
  });

  it.each([
    ['a missing file', ['up', 'nowhere.yaml'], 'there is no file nowhere.yaml'],
    [
      'an odd-sized image',
      ['up', 'deploy/topologies/ping-aarch64.yaml', '--image', 'package.json'],
      'not a positive multiple of 512',
    ],
    ['a missing image', ['up', 'deploy/topologies/ping-aarch64.yaml', '--image', 'none.img'], 'cannot be used'],
    ['an unknown command', ['fly'], 'unknown command'],
    ['a recording that is none', ['replay', 'package.json'], 'package.json: '],
    ['a missing recording', ['replay', 'none.json'], "open 'none.json'; give the path of a vector"],
  ])('%s: exit code 2', async (_, args, text) => {
    const ended = await remio(...args);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(text);
    expect(ended.stderr).not.toMatch(/\n\s+at /);
  });

  it.each(['processes', 'inproc'])(
    'one image for two writable disks, engine %s: refused, exit code 1',
    async (engine) => {
      const ended = await remio(
        'up',
        topology('demo-aarch64'),
        '--engine',
        engine,
        '--until-done',
        '--image',
        copy('one.img'),
      );
      expect(ended.code).toBe(1);
      expect(ended.stdout).toContain('give each writable disk an image of its own');
    },
  );

  it('an endpoint in use: exit code 3 and a clear message; the platform that has it goes on', async () => {
    const endpoint = ['--endpoint', 'tcp://127.0.0.1:47812', '--json'];
    const first = new RunningRemio([
      'up',
      topology('ping-aarch64'),
      '--until-done',
      ...endpoint,
      '--image',
      copy('first.img'),
    ]);
    await first.line((line) => line.includes('"endpoint"'));
    const second = await remio('up', topology('ping-aarch64'), ...endpoint, '--image', copy('second.img'));
    expect(second.code).toBe(3);
    expect(second.stderr).toContain('cannot be bound');
    expect((await first.ended).code).toBe(0);
  });

  it('a vector that was tampered with: the first step that differs, exit code 1', async () => {
    const file = join(scratch, 'tampered.json');
    const good = readFileSync(join(root, 'test', 'vectors', 'remio', 'a64-basic-read.json'), 'utf8');
    writeFileSync(file, good.replace('"ret":0', '"ret":-1'));
    const ended = await remio('conform', file);
    expect(ended).toMatchObject({ code: 1, stdout: expect.stringContaining('step 4, ret') });
    expect(ended.stdout).toContain('0 passed, 1 failed');
  });
});
