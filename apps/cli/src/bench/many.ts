import { readFileSync } from 'node:fs';
import { showDuration } from '@remio/telemetry';
import type { Topology } from '@remio/topology';
import { deferred } from '../deferred.js';
import { CommandError, EXIT } from '../exit-codes.js';
import { RunningPlatform } from '../running-platform.js';
import { topologyOf } from '../topology-file.js';
import { type Bench, MiB, median } from './bench.js';
import { starFile } from './star.js';

/** VMs in all: backends are some of them. */
const SIZES = [2, 100, 1000] as const;

const guestsOf = (topology: Topology): number =>
  topology.vms.filter((vm) => vm.remioDevs.some((end) => end.type === 'frontend')).length;

interface Booted {
  readonly platform: RunningPlatform;
  readonly vms: number;
  /** Nanoseconds from reading the file until every frontend has made its report. */
  readonly ns: number;
}

/** Boots a star until every frontend has reported. */
async function boot(file: string, kind: string): Promise<Booted> {
  const start = process.hrtime.bigint();
  const topology = topologyOf(file, [], 'quiet');
  const over = deferred<string | undefined>();
  let open = guestsOf(topology);
  const platform = await RunningPlatform.boot({
    topology,
    onReport: (vm, event) => {
      const report = event as { readonly kind?: string; readonly reason?: string };
      if (report.kind === kind) open -= 1;
      if (report.kind === 'vcpu-off' && report.reason !== undefined) over.resolve(`${vm}: ${report.reason}`);
      if (open === 0) over.resolve(undefined);
    },
  });
  const failure = await over.promise;
  const ns = Number(process.hrtime.bigint() - start);
  if (failure !== undefined) {
    await platform.stop();
    throw new CommandError(failure, EXIT.FAILED);
  }
  return { platform, vms: topology.vms.length, ns };
}

/** Proportional set size of a process in bytes: what it shares with others is counted once in all. */
const pssOf = (pid: number): number =>
  1024 * Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);

/** From the topology's file to the first completed I/O of every VM. */
export const bootBench: Bench = {
  async measure({ quick, runs, progress }) {
    const measured = SIZES.map((size) => ({ size, times: [] as number[] }));
    for (let run = 0; run < runs; run += 1) {
      for (const { size, times } of measured) {
        progress.at(run, 'runs');
        const { file, remove } = starFile(size, 'rng', 64);
        try {
          const { platform, ns } = await boot(file, 'rng');
          await platform.stop();
          times.push(ns);
        } finally {
          remove();
        }
      }
      if (quick) break;
    }
    return {
      title: 'from a topology file to 64 random bytes in every frontend, drivers brought up; medians',
      rows: measured.map(({ size, times }) => ({
        what: `${size} VMs`,
        figure: showDuration(median(times)),
        ...(size === 1000 ? { bar: 'under 10 s' } : {}),
      })),
      data: measured.map(({ size, times }) => ({ vms: size, ns: median(times), times })),
    };
  },
};

/** What VMs cost that do nothing, and what a trap costs among many. */
export const memoryBench: Bench = {
  async measure() {
    const rows: { readonly vms: number; readonly bytes: number; readonly processes: number }[] = [];
    for (const size of [10, 100, 1000]) {
      const { file, remove } = starFile(size, 'rng', 64);
      try {
        const { platform, vms } = await boot(file, 'rng');
        const pids = [...platform.supervisor.pids().values()];
        rows.push({ vms, bytes: pids.reduce((sum, pid) => sum + pssOf(pid), 0), processes: pids.length });
        await platform.stop();
      } finally {
        remove();
      }
    }
    const { perProcess, perVm } = shares(rows);
    return {
      title: 'memory of all processes but this one (proportional set size), drivers up and idle, one device a frontend',
      rows: rows.map(({ vms, bytes, processes }) => ({
        what: `${vms} VMs in ${processes} processes`,
        figure: `${(bytes / MiB).toFixed(0)} MiB`,
        ...(vms === 1000 ? { bar: 'under 2 GiB' } : {}),
      })),
      notes: [
        `each further VM, with its device and the backend’s share: ${(perVm / 1024).toFixed(0)} KiB; ` +
          `each further process: ${(perProcess / MiB).toFixed(0)} MiB`,
      ],
      data: { rows, perProcess, perVm },
    };
  },
};

/**
 * What of the memory goes with the number of processes, and what with that of VMs: from the smallest star, where each VM
 * has a process, and the largest. Between two large ones lie processes as well, since further backends are some.
 */
function shares(rows: readonly { readonly vms: number; readonly bytes: number; readonly processes: number }[]): {
  readonly perProcess: number;
  readonly perVm: number;
} {
  const [few] = rows;
  const many = rows.at(-1);
  if (few === undefined || many === undefined) return { perProcess: 0, perVm: 0 };
  const determinant = few.processes * many.vms - many.processes * few.vms;
  return {
    perProcess: (few.bytes * many.vms - many.bytes * few.vms) / determinant,
    perVm: (many.bytes * few.processes - few.bytes * many.processes) / determinant,
  };
}
