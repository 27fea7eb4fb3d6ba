import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

describe.each(['processes', 'inproc'] as const)('engine %s', (engine) => {
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

  it('record what the core does, and a replay has the same effects', async () => {
    const recording = join(scratch, 'recording.jsonl');
    const images = ['--image', `disk0=${copy('rec0.img')}`, '--image', `disk1=${copy('rec1.img')}`];
    expect((await remio('up', topology('demo-aarch64'), '--until-done', '--record', recording, ...images)).code).toBe(
      0,
    );
    expect(await remio('replay', recording)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+ steps, the same effects$/),
    });
    const lines = readFileSync(recording, 'utf8').split('\n');
    const at = lines.findIndex((line) => line.includes('"kind":"resume"'));
    lines[at] = (lines[at] ?? '').replace('"kind":"resume"', '"kind":"pause"');
    writeFileSync(recording, lines.join('\n'));
    expect(await remio('replay', recording)).toMatchObject({ code: 1, stdout: expect.stringContaining(`step ${at} `) });
  });

  it('lose nothing of a register read when the backend is killed under it', async () => {
    const running = new RunningRemio([
      'up',
      topology('ping-aarch64'),
      '--until-done',
      '--json',
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
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
    'leave nothing behind after %s, at whatever moment',
    async (signal) => {
      for (let round = 0; round < 4; round += 1) {
        const running = new RunningRemio([
          'up',
          topology('demo-riscv64'),
          '--json',
          '--image',
          copy(`stop-${signal}.img`),
        ]);
        const pids: number[] = [];
        // Rounds end after the first, second, … process has started.
        for (const name of ['hypervisor', 'backend', 'guest0', 'guest1'].slice(0, round + 1)) {
          const line = await running.line((text) => text.includes(`"started","name":"${name}"`));
          pids.push((JSON.parse(line) as { readonly pid: number }).pid);
        }
        const parent = running.process.pid ?? 0;
        const start = Date.now();
        running.process.kill(signal);
        await running.ended;
        const gone = (): boolean =>
          pids.every((pid) => !existsSync(`/proc/${pid}`)) &&
          !readdirSync('/dev/shm').some((entry) => entry.startsWith(`remio-${parent}-`));
        while (!gone()) {
          expect(Date.now() - start, 'milliseconds until nothing is left').toBeLessThan(10_000);
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    },
  );
});

describe('mistakes of the operator', () => {
  it('a wrong topology: place, rule and fix, exit code 2, no stack trace', async () => {
    const file = join(scratch, 'wrong.yaml');
    writeFileSync(file, 'board: qemu-aarch64-virt\nvms:\n  a:\n    cpus: 9\n    program: idle\n');
    const ended = await remio('check', file);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain(`${file}:4:11: error[cpu-taken]`);
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
