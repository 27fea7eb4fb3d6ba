import { join } from 'node:path';
import { Prng } from '@remio/base';
import { renderTable } from '@remio/telemetry';
import type { Topology } from '@remio/topology';
import { deferred } from '../deferred.js';
import { CommandError, EXIT } from '../exit-codes.js';
import type { Progress } from '../progress.js';
import { RunningPlatform, scratchDirectory, writeImage } from '../running-platform.js';

export const MiB = 1024 * 1024;

/** Physical CPU of the host that everything is pinned to where a figure is to repeat. */
export const PINNED_CPU = 0;

/** How a benchmark is run. */
export interface BenchRun {
  readonly quick: boolean;
  /** Times that everything is measured: the medians count. */
  readonly runs: number;
  readonly progress: Progress;
}

/** One figure beside its floor. */
export interface BenchRow {
  readonly what: string;
  /** Ours and the floor's, for people; the floor is absent where there is none. */
  readonly figure: string;
  readonly floor?: string;
  /** Ours to the floor's, median of the runs. */
  readonly ratio?: number;
  /** What is to be reached, in the words of the table. */
  readonly bar?: string;
}

export interface BenchResult {
  /** What was measured, and how. */
  readonly title: string;
  readonly rows: readonly BenchRow[];
  readonly notes?: readonly string[];
  /** For programs. */
  readonly data: object;
}

/** A benchmark: measures our figure and a floor in turns, in the same run. */
export interface Bench {
  measure(run: BenchRun): Promise<BenchResult>;
}

export function renderBench({ title, rows, notes = [] }: BenchResult): string {
  const table = renderTable([
    ['', 'measured', 'floor', 'ratio', 'bar'],
    ...rows.map(({ what, figure, floor = '', ratio, bar = '' }) => [
      what,
      figure,
      floor,
      ratio === undefined ? '' : ratio.toFixed(2),
      bar,
    ]),
  ]);
  return [title, table, ...notes].join('\n');
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

export const ratioList = (ratios: readonly number[]): string => ratios.map((ratio) => ratio.toFixed(2)).join(', ');

/** So many a second, for people. */
export const showPerSecond = (rate: number): string => `${Math.round(rate).toLocaleString('en')}/s`;

export const topologyPath = (name: string): string =>
  join(import.meta.dirname, '..', '..', '..', '..', 'deploy', 'topologies', `${name}.yaml`);

/** A disk of random bytes, and what removes it. */
export function scratchDisk(bytes: number): { readonly path: string; remove(): void } {
  const scratch = scratchDirectory();
  const path = join(scratch.path, 'disk.img');
  const content = new Uint8Array(bytes);
  new Prng(1).fill(content);
  writeImage(path, content);
  return { path, remove: () => scratch.remove() };
}

type Report = Readonly<Record<string, number>>;

/** Boots a topology as processes and waits for `count` reports of one kind. */
export async function reportsOf(
  topology: Topology,
  kind: string,
  count: number,
  options: { readonly hostCpu?: number; readonly processes?: number } = {},
): Promise<readonly Report[]> {
  const over = deferred<string | undefined>();
  const reports: Report[] = [];
  const platform = await RunningPlatform.boot({
    topology,
    ...options,
    onReport: (vm, event) => {
      const report = event as { readonly kind?: string; readonly reason?: string };
      if (report.kind === kind) reports.push(event as Report);
      if (reports.length === count) over.resolve(undefined);
      if (report.kind === 'vcpu-off' && report.reason !== undefined) over.resolve(`${vm}: ${report.reason}`);
    },
  });
  try {
    const failure = await over.promise;
    if (failure !== undefined) throw new CommandError(failure, EXIT.FAILED);
    return reports;
  } finally {
    await platform.stop();
  }
}
