import { type ChildProcess, spawn } from 'node:child_process';
import { open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { backendPrograms } from '@remio/backend-vm';
import { Prng } from '@remio/base';
import { frontendPrograms } from '@remio/frontend-vm';
import { renderTable, showDuration } from '@remio/telemetry';
import type { Topology, Vm } from '@remio/topology';
import { InprocEngine, programOf } from '@remio/vm-runtime';
import { benchNbd } from './bench-nbd.js';
import { deferred } from './deferred.js';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { Progress } from './progress.js';
import { RunningPlatform, scratchDirectory, writeImage } from './running-platform.js';
import { topologyOf } from './topology-file.js';

export const BENCHES = ['mmio', 'inproc', 'block', 'nbd'] as const;

export interface BenchOptions {
  readonly quick: boolean;
  readonly json: boolean;
}

/** Physical CPU of the host that everything is pinned to where a figure is to repeat. */
const PINNED_CPU = 0;
const MiB = 1024 * 1024;

/** `remio bench`: figures as ratios against a floor that is measured in the same run. */
export async function bench(what: string, options: BenchOptions): Promise<ExitCode> {
  switch (what) {
    case 'mmio':
      return benchMmio(options);
    case 'inproc':
      return benchInproc(options);
    case 'block':
      return benchBlock(options);
    case 'nbd':
      return benchNbd(options);
    default:
      throw new CommandError(`no benchmark is called ${what}; there are ${BENCHES.join(', ')}`, EXIT.USAGE);
  }
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

export const topologyPath = (name: string): string =>
  join(import.meta.dirname, '..', '..', '..', 'deploy', 'topologies', `${name}.yaml`);

/** A disk of random bytes, and what removes it. */
export function scratchDisk(bytes: number): { readonly path: string; remove(): void } {
  const scratch = scratchDirectory();
  const path = join(scratch.path, 'disk.img');
  const content = new Uint8Array(bytes);
  new Prng(1).fill(content);
  writeImage(path, content);
  return { path, remove: () => scratch.remove() };
}

const withOptions = (topology: Topology, options: object): Topology => ({
  ...topology,
  vms: topology.vms.map((vm) =>
    vm.program.name === 'dispatcher' ? vm : { ...vm, program: { ...vm.program, options } },
  ),
});

/** Boots a topology as processes and waits for one kind of report. */
async function reportOf(topology: Topology, kind: string, hostCpu?: number): Promise<Readonly<Record<string, number>>> {
  const got = deferred<Readonly<Record<string, number>> | string>();
  const platform = await RunningPlatform.boot({
    topology,
    ...(hostCpu === undefined ? {} : { hostCpu }),
    onReport: (vm, event) => {
      const report = event as { readonly kind?: string; readonly reason?: string };
      if (report.kind === kind) got.resolve(event as Readonly<Record<string, number>>);
      if (report.kind === 'vcpu-off' && report.reason !== undefined) got.resolve(`${vm}: ${report.reason}`);
    },
  });
  try {
    const report = await got.promise;
    if (typeof report === 'string') throw new CommandError(report, EXIT.FAILED);
    return report;
  } finally {
    await platform.stop();
  }
}

/** The same chain of processes without our code: the median round trip in nanoseconds. */
async function floor(count: number): Promise<number> {
  const scratch = scratchDirectory();
  const endpoint = `ipc://${join(scratch.path, 'floor.sock')}`;
  const children: ChildProcess[] = [];
  const start = (role: string): ChildProcess => {
    const entry = join(import.meta.dirname, 'floor.js');
    const args = ['-c', String(PINNED_CPU), process.execPath, entry, role, endpoint, String(count)];
    const child = spawn('taskset', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    children.push(child);
    return child;
  };
  const ready = (child: ChildProcess): Promise<unknown> =>
    new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', () => reject(new CommandError('a process of the floor ended early', EXIT.ENVIRONMENT)));
      child.once('error', (error) => reject(new CommandError(`taskset: ${error.message}`, EXIT.ENVIRONMENT)));
    });
  try {
    await ready(start('hub'));
    await ready(start('back'));
    const result = (await ready(start('front'))) as { readonly p50: number };
    return result.p50;
  } finally {
    for (const child of children) child.kill('SIGKILL');
    scratch.remove();
  }
}

async function benchMmio({ quick, json }: BenchOptions): Promise<ExitCode> {
  const runs = quick ? 3 : 5;
  const progress = new Progress(runs, { json });
  const disk = scratchDisk(MiB);
  const ratios: number[] = [];
  const floors: number[] = [];
  const ours: number[] = [];
  try {
    const topology = topologyOf(topologyPath('ping-aarch64'), [disk.path]);
    for (let run = 0; run < runs; run += 1) {
      progress.at(run, 'runs');
      const under = await floor(quick ? 2000 : 5000);
      const { p50Ns = 0 } = await reportOf(topology, 'mmio-ping', PINNED_CPU);
      floors.push(under);
      ours.push(p50Ns);
      ratios.push(p50Ns / under);
    }
  } finally {
    progress.clear();
    disk.remove();
  }
  const result = { ratio: median(ratios), ratios, floorNs: median(floors), roundTripNs: median(ours), frames: 4 };
  if (json) console.log(JSON.stringify(result));
  else {
    console.log('one remote register read across three processes, all pinned to one core; medians');
    console.log(
      renderTable([
        ['', 'p50', 'ratio'],
        ['floor: four 64-byte ZeroMQ messages', showDuration(result.floorNs), '1.00'],
        ['remote register read (four frames)', showDuration(result.roundTripNs), result.ratio.toFixed(2)],
      ]),
    );
    console.log(`ratios of the runs: ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}`);
  }
  return EXIT.OK;
}

async function benchInproc({ quick, json }: BenchOptions): Promise<ExitCode> {
  const runs = quick ? 3 : 5;
  const progress = new Progress(runs, { json });
  const disk = scratchDisk(MiB);
  const rates: number[] = [];
  try {
    const count = quick ? 100_000 : 300_000;
    const topology = withOptions(topologyOf(topologyPath('ping-aarch64'), [disk.path]), {
      count,
      warmUp: 50_000,
      timed: false,
    });
    const table = { ...backendPrograms, ...frontendPrograms };
    for (let run = 0; run < runs; run += 1) {
      progress.at(run, 'runs');
      const programs = new Map<Vm, Awaited<ReturnType<typeof programOf>>>();
      for (const vm of topology.vms) programs.set(vm, await programOf(vm, table));
      const got = deferred<number | string>();
      const engine = InprocEngine.create(topology, (vm) => programs.get(vm) ?? (() => Promise.resolve()), {
        report: (_, event) => {
          if (event.kind === 'mmio-ping') got.resolve(Number(event['totalNs']));
          if (event.kind === 'vcpu-off' && event['reason'] !== undefined) got.resolve(String(event['reason']));
        },
        log: (vm, line) => console.error(`${vm.name}: ${line}`),
      });
      if (!engine.ok) throw new CommandError(engine.error, EXIT.USAGE);
      engine.value.start();
      const ns = await got.promise;
      await engine.value.stop();
      if (typeof ns === 'string') throw new CommandError(ns, EXIT.FAILED);
      rates.push(count / (ns / 1e9));
    }
  } finally {
    progress.clear();
    disk.remove();
  }
  const rate = median(rates);
  if (json) console.log(JSON.stringify({ readsPerSecond: rate, rates }));
  else
    console.log(
      `in one process: ${Math.round(rate).toLocaleString('en')} remote register reads a second (median of ${rates.length})`,
    );
  return EXIT.OK;
}

/** Sequential 1 MiB reads of a file in the page cache, 32 in flight, into plain buffers: bytes per second. */
async function plainReads(path: string, total: number): Promise<number> {
  const file = await openFile(path, 'r');
  const { size } = await file.stat();
  const start = process.hrtime.bigint();
  let issued = 0;
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      const buffer = Buffer.alloc(MiB);
      while (issued < total) {
        const position = issued % size;
        issued += MiB;
        await file.read(buffer, 0, MiB, position);
      }
    }),
  );
  const rate = total / (Number(process.hrtime.bigint() - start) / 1e9);
  await file.close();
  return rate;
}

async function benchBlock({ quick, json }: BenchOptions): Promise<ExitCode> {
  const runs = quick ? 3 : 5;
  const progress = new Progress(runs, { json });
  const disk = scratchDisk(64 * MiB);
  const ratios: number[] = [];
  const floors: number[] = [];
  const ours: number[] = [];
  let kicks = 0;
  let interrupts = 0;
  try {
    const topology = topologyOf(topologyPath('bench-block'), [disk.path]);
    for (let run = 0; run < runs; run += 1) {
      progress.at(run, 'runs');
      await plainReads(disk.path, 2048 * MiB);
      const under = await plainReads(disk.path, 8192 * MiB);
      const report = await reportOf(topology, 'blk-read');
      const rate = (report['bytes'] ?? 0) / ((report['ns'] ?? 1) / 1e9);
      kicks = (report['notifications'] ?? 0) / (report['requests'] ?? 1);
      interrupts = (report['interrupts'] ?? 0) / (report['requests'] ?? 1);
      floors.push(under);
      ours.push(rate);
      ratios.push(rate / under);
    }
  } finally {
    progress.clear();
    disk.remove();
  }
  const show = (rate: number): string => `${(rate / MiB).toFixed(0)} MiB/s`;
  const result = { ratio: median(ratios), ratios, floor: median(floors), rate: median(ours), kicks, interrupts };
  if (json) console.log(JSON.stringify(result));
  else {
    console.log('sequential 1 MiB reads from the page cache, 32 in flight; medians');
    console.log(
      renderTable([
        ['', 'throughput', 'ratio'],
        ['floor: 32 fs.read into plain buffers', show(result.floor), '1.00'],
        ['virtio-blk across processes', show(result.rate), result.ratio.toFixed(2)],
      ]),
    );
    console.log(`per request: ${kicks.toFixed(2)} trapped notifications, ${interrupts.toFixed(2)} interrupts`);
  }
  return EXIT.OK;
}
