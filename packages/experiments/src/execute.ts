import type { Run } from './outcome.js';
import type { Plan } from './plan.js';
import { type Done, type Job, RunPool } from './pool.js';
import { reportHtml } from './report/html.js';
import { plotsOf } from './report/plots.js';
import type { RunFolder } from './run-folder.js';
import { PointFailed, runPoint } from './run-point.js';
import { type SensitivityFigure, type SensitivityJob, sensitivityJobs, sensitivityRows } from './sensitivity.js';
import { itemsOf, type Shard } from './shards.js';
import { metricOf, summarize } from './summary.js';

/** Makes runs: in processes of their own, or in this one. */
export interface Runner {
  run<J extends Job>(jobs: readonly J[], done: (job: J, result: Done) => void): Promise<void>;
  stop(): void;
}

/** Makes runs one after the other in this process. */
export class LocalRunner implements Runner {
  #stopped = false;

  async run<J extends Job>(jobs: readonly J[], done: (job: J, result: Done) => void): Promise<void> {
    for (const job of jobs) {
      if (this.#stopped) return;
      done(job, await this.#make(job));
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #make({ settings, seed, factors }: Job): Promise<Done> {
    try {
      return { ok: true, outcome: await runPoint(settings, seed, factors) };
    } catch (error) {
      if (!(error instanceof PointFailed)) throw error;
      return { ok: false, reason: error.message };
    }
  }
}

/** A run of a point. */
export interface PointJob extends Job {
  readonly point: number;
  readonly repetition: number;
}

export interface ExecuteOptions {
  readonly runner?: Runner;
  readonly parallel?: number;
  /** Whether constants are halved and doubled. */
  readonly sensitivity?: boolean;
  readonly signal?: AbortSignal;
  /** Told how far it is, and of failures. */
  progress?(done: number, total: number, failed: string | undefined): void;
}

/**
 * Makes every run that a folder does not have yet, and writes rows and report of what there is; of a shard's runs, the rows.
 * @returns false if it was stopped before all were made
 */
export async function execute(plan: Plan, folder: RunFolder, options: ExecuteOptions = {}): Promise<boolean> {
  const runner = options.runner ?? new RunPool(options.parallel ?? 1);
  const stop = (): void => runner.stop();
  options.signal?.addEventListener('abort', stop);
  const [runs, constants] = [runJobs(plan, folder.shard), analysisJobs(plan, folder.shard, options.sensitivity)];
  const jobs = missing(runs, folder.runs, runKey);
  const analysis = missing(constants, folder.sensitivity, figureKey);
  const total = runs.length + constants.length;
  let count = total - jobs.length - analysis.length;
  const tell = (result: Done, what: string): void => {
    count += 1;
    options.progress?.(count, total, result.ok ? undefined : `${what}: ${result.reason}`);
  };
  options.progress?.(count, total, undefined);
  await runner.run(jobs, (job, result) => {
    const { point, repetition } = job;
    const run: Run = { point, repetition, ...result };
    folder.addRun(run);
    tell(result, whereOf(plan, point));
  });
  if (options.signal?.aborted !== true) {
    await runner.run(analysis, (job, result) => {
      const { constant, factor, value } = job;
      // A constant with which the platform does not work any more says nothing about the conclusion.
      const figure = result.ok && plan.conclusion !== undefined ? metricOf(result.outcome, plan.conclusion.metric) : 0;
      folder.addSensitivity({ constant, factor, value, figure });
      tell(result, `${constant ?? 'no constant'} × ${factor}`);
    });
  }
  options.signal?.removeEventListener('abort', stop);
  await writeResults(plan, folder);
  return options.signal?.aborted !== true;
}

/** Writes rows, plots and report of what a folder has; of a shard no report, which would be of a part of the experiment. */
export async function writeResults(plan: Plan, folder: RunFolder): Promise<void> {
  const summaries = summarize(plan, folder.runs);
  const order = new Map(sensitivityJobs(plan).map((job, n) => [figureKey(job), n]));
  const placeOf = (figure: SensitivityFigure): number => order.get(figureKey(figure)) ?? 0;
  const figures = folder.sensitivity.sort((a, b) => placeOf(a) - placeOf(b));
  folder.writeRows(plan);
  if (folder.shard !== undefined) return;
  const rows = plan.conclusion === undefined ? [] : sensitivityRows(figures, plan.conclusion.metric);
  const plots = await plotsOf(plan, summaries);
  folder.writeReport(reportHtml(plan, summaries, rows, plots, folder.environment), plots);
}

/** Names a run of the analysis among those of its experiment. */
export const figureKey = ({ constant, factor, value }: SensitivityFigure | SensitivityJob): string =>
  `${constant ?? ''} ${factor} ${value}`;

/** Names a run among those of its experiment. */
export const runKey = ({ point, repetition }: Pick<PointJob, 'point' | 'repetition'>): string =>
  `${point} ${repetition}`;

/** Runs of an experiment, or of a shard of it: every repetition of a point is one shard's. */
export function runJobs(plan: Plan, shard?: Shard): readonly PointJob[] {
  const points = itemsOf(plan.points, shard);
  // All points once before any is repeated: what is there when somebody stops it is the whole picture, coarsely.
  return Array.from({ length: plan.repetitions }, (_, repetition) =>
    points.map(({ id, settings }) => ({
      name: `point-${id}-${repetition}`,
      point: id,
      repetition,
      settings,
      seed: plan.seed + repetition,
      factors: {},
    })),
  ).flat();
}

/** Runs of the analysis of constants, of an experiment or a shard of it; none, if it is left out. */
export const analysisJobs = (plan: Plan, shard?: Shard, sensitivity = true): readonly SensitivityJob[] =>
  sensitivity ? itemsOf(sensitivityJobs(plan), shard) : [];

const missing = <J, M>(jobs: readonly J[], made: readonly M[], key: (item: J | M) => string): readonly J[] => {
  const known = new Set(made.map(key));
  return jobs.filter((job) => !known.has(key(job)));
};

const whereOf = (plan: Plan, point: number): string =>
  Object.entries(plan.points[point]?.at ?? {})
    .map(([name, value]) => `${name} = ${value}`)
    .join(', ') || plan.name;
