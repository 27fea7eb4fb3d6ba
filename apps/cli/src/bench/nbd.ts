import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deferred } from '../deferred.js';
import { CommandError, EXIT } from '../exit-codes.js';
import { copyImage, RunningPlatform, scratchDirectory } from '../running-platform.js';
import { topologyOf } from '../topology-file.js';
import { type Bench, MiB, median, ratioList, scratchDisk, topologyPath } from './bench.js';

const DISK = 64 * MiB;
/** Milliseconds between looks whether the floor's server listens, and how many of them. */
const LOOK_MS = 20;
const LOOKS_MAX = 500;

/** What fio does to a server, and the ratio that is the bar. */
interface Workload {
  readonly what: string;
  readonly args: readonly string[];
  /** The figure of fio's job that counts. */
  readonly figure: 'iops' | 'bw_bytes';
  readonly show: (figure: number) => string;
  readonly bar: number;
}

const WORKLOADS: readonly Workload[] = [
  {
    what: '4 KiB random reads',
    args: ['--rw=randread', '--bs=4k'],
    figure: 'iops',
    show: (figure) => `${Math.round(figure).toLocaleString('en')} IOPS`,
    bar: 0.4,
  },
  {
    what: '1 MiB sequential reads',
    args: ['--rw=read', '--bs=1m'],
    figure: 'bw_bytes',
    show: (figure) => `${Math.round(figure / MiB)} MiB/s`,
    bar: 0.5,
  },
];

const run = promisify(execFile);

/** One workload with 32 requests in flight on one connection. */
async function fio(uri: string, { args, figure }: Workload, seconds: number): Promise<number> {
  const { stdout } = await run('fio', [
    ...['--name=bench', '--ioengine=nbd', `--uri=${uri}`, '--iodepth=32', `--size=${DISK}`, '--time_based'],
    ...[`--ramp_time=1`, `--runtime=${seconds}`, '--output-format=json', ...args],
  ]);
  const { jobs } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
    readonly jobs: readonly { readonly read: Readonly<Record<string, number>> }[];
  };
  return jobs[0]?.read[figure] ?? 0;
}

/** @throws CommandError that says what to install */
async function requirePrograms(): Promise<void> {
  for (const program of ['fio', 'nbdkit']) {
    await run(program, ['--version']).catch(() => {
      throw new CommandError(`${program} is not installed; on Debian: apt install fio nbdkit`, EXIT.ENVIRONMENT);
    });
  }
}

/** Starts `nbdkit file`, which has no VM in between. */
async function startFloor(socket: string, image: string): Promise<ChildProcess> {
  const child = spawn('nbdkit', ['--foreground', '--exit-with-parent', '-U', socket, 'file', image], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  for (let looks = 0; !existsSync(socket); looks += 1) {
    if (looks === LOOKS_MAX || child.exitCode !== null) {
      child.kill();
      throw new CommandError('nbdkit does not listen', EXIT.ENVIRONMENT);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return child;
}

/** Boots the topology that exports a disk, and waits until it listens. */
async function startExport(folder: string, image: string): Promise<RunningPlatform> {
  const file = join(folder, 'nbd.yaml');
  writeFileSync(file, readFileSync(topologyPath('nbd-aarch64'), 'utf8').replace('port: 10809', 'port: 0'));
  const listens = deferred<string | undefined>();
  const platform = await RunningPlatform.boot({
    topology: topologyOf(file, [image]),
    onReport: (vm, event) => {
      const report = event as { readonly kind?: string; readonly reason?: string };
      if (report.kind === 'nbd') listens.resolve(undefined);
      if (report.kind === 'vcpu-off') listens.resolve(`${vm}: ${report.reason ?? 'ended'}`);
    },
  });
  const failure = await listens.promise;
  if (failure === undefined) return platform;
  await platform.stop();
  throw new CommandError(failure, EXIT.FAILED);
}

/** A disk over NBD against a server of files, with the same clients in the same run. */
export const nbd: Bench = {
  async measure({ quick, runs, progress }) {
    await requirePrograms();
    const seconds = quick ? 3 : 6;
    const disk = scratchDisk(DISK);
    const scratch = scratchDirectory();
    const copy = join(scratch.path, 'floor.img');
    copyImage(disk.path, copy);
    const measured = WORKLOADS.map((workload) => ({
      ...workload,
      workload,
      floors: [] as number[],
      ours: [] as number[],
      ratios: [] as number[],
    }));
    let floor: ChildProcess | undefined;
    let platform: RunningPlatform | undefined;
    try {
      floor = await startFloor(join(scratch.path, 'floor.sock'), copy);
      platform = await startExport(scratch.path, disk.path);
      for (let run = 0; run < runs; run += 1) {
        for (const { workload, floors, ours, ratios } of measured) {
          progress.at(run, 'runs');
          const under = await fio(`nbd+unix:///?socket=${join(scratch.path, 'floor.sock')}`, workload, seconds);
          const rate = await fio(`nbd+unix:///?socket=${join(scratch.path, 'nbd.sock')}`, workload, seconds);
          floors.push(under);
          ours.push(rate);
          ratios.push(rate / under);
        }
      }
    } finally {
      await platform?.stop();
      floor?.kill();
      disk.remove();
      scratch.remove();
    }
    return {
      title: 'fio, nbd engine, 32 in flight on one connection; the floor: nbdkit file; medians',
      rows: measured.map(({ what, bar, show, floors, ours, ratios }) => ({
        what,
        figure: show(median(ours)),
        floor: show(median(floors)),
        ratio: median(ratios),
        bar: `at least ${bar}`,
      })),
      notes: measured.map(({ what, ratios }) => `ratios of the runs, ${what}: ${ratioList(ratios)}`),
      data: measured.map(({ what, bar, floors, ours, ratios }) => ({
        what,
        bar,
        floor: median(floors),
        rate: median(ours),
        ratio: median(ratios),
        ratios,
      })),
    };
  },
};
