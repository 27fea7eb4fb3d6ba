import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import {
  compareRuns,
  environmentNow,
  execute,
  METRIC_TEXT,
  machineOf,
  type Plan,
  RunFolder,
  type Shard,
  shardNote,
  shippedFile,
  shippedNames,
  showShard,
  summarize,
  titleOf,
} from '@remio/experiments';
import { sharedMemoryProblem } from '@remio/shared-memory';
import { renderTable, showDuration } from '@remio/telemetry';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { createFolder, freeFolder, openFolder, planOfFile, planOfFolder } from './experiment-folders.js';
import { tellResults } from './experiment-summary.js';
import { Progress } from './progress.js';
import { WallRunner } from './wall-clock/wall-runner.js';

export interface ExperimentOptions {
  /** The folder of results; made. */
  readonly out?: string;
  /** A folder of results to go on with. */
  readonly resume?: string;
  /** The part of the runs to make; all of them if absent. */
  readonly shard?: Shard;
  /** Runs at a time; the cores there are if absent. */
  readonly parallel?: number;
  readonly sensitivity: boolean;
  readonly quick: boolean;
  readonly json: boolean;
}

/** `remio experiment FILE`: checks an experiment, makes its runs, writes its report. */
export async function experiment(file: string | undefined, options: ExperimentOptions): Promise<ExitCode> {
  const { resume, shard } = options;
  if (resume !== undefined) {
    const folder = openFolder(resume);
    const also = file !== undefined ? 'a file' : shard !== undefined ? '--shard' : undefined;
    if (also !== undefined) {
      throw new CommandError(`give ${also} or --resume, not both: the folder has its own`, EXIT.USAGE);
    }
    const { quick } = folder.environment;
    const plan = planOfFolder(folder);
    checkWallClock(plan, options);
    if (plan.clock === 'wall') checkMachine(folder);
    return make(plan, folder, { ...options, quick });
  }
  if (file === undefined) {
    throw new CommandError('give the file of an experiment, or `run NAME` (`list` shows the names)', EXIT.USAGE);
  }
  const plan = planOfFile(file, options.quick);
  checkWallClock(plan, options);
  if (shard !== undefined) return makeShard(plan, shard, options);
  const path = options.out ?? freeFolder(plan.name);
  if (existsSync(path)) throw new CommandError(`${path} is there already; ${fixFor(path)}`, EXIT.USAGE);
  return make(plan, createFolder(path, plan, { environment: environmentNow(options.quick) }), options);
}

/** What to do about a path that is taken. */
const fixFor = (path: string): string =>
  RunFolder.is(path) ? `go on with it by --resume ${path}, or choose another` : 'choose another';

/**
 * Makes a shard; what of it is there is not made again, so that whoever was ended and is started again goes on.
 * @throws CommandError if there is no such shard, or its folder is something else's
 */
function makeShard(plan: Plan, shard: Shard, options: ExperimentOptions): Promise<ExitCode> {
  if (shard.of > plan.points.length) {
    const points = plan.points.length === 1 ? 'is one point' : `are ${plan.points.length} points`;
    throw new CommandError(
      `--shard ${showShard(shard)}: there ${points}; split it into ${plan.points.length} at most`,
      EXIT.USAGE,
    );
  }
  const path = options.out ?? freeFolder(`${plan.name}-${shard.index}-of-${shard.of}`);
  const note = shardNote(plan, shard, options.sensitivity && !options.quick);
  const environment = environmentNow(options.quick);
  if (!existsSync(path) || RunFolder.isDraft(path)) {
    return make(plan, createFolder(path, plan, { environment, shard: note }), options);
  }
  const folder = RunFolder.is(path) ? openFolder(path) : undefined;
  if (JSON.stringify(folder?.shard) !== JSON.stringify(note)) {
    const what = folder?.shard === undefined ? 'something else' : `shard ${showShard(folder.shard)}, made otherwise`;
    throw new CommandError(`${path} is there already, and is ${what}; choose another by --out`, EXIT.USAGE);
  }
  if (plan.clock === 'wall' && folder !== undefined) checkMachine(folder);
  return make(plan, folder ?? createFolder(path, plan, { environment, shard: note }), options);
}

/** `remio experiment run NAME`: one of those that come with Remio. */
export function shippedExperiment(name: string, options: ExperimentOptions): Promise<ExitCode> {
  const file = shippedFile(name);
  if (file === undefined) {
    throw new CommandError(`no experiment is called ${name}; there are ${shippedNames().join(', ')}`, EXIT.USAGE);
  }
  return experiment(file, options);
}

/** `remio experiment list` */
export function listExperiments(json: boolean): void {
  const all = shippedNames().map((name) => ({
    name,
    title: titleOf(shippedFile(name) ?? ''),
    file: shippedFile(name),
  }));
  console.log(json ? JSON.stringify(all) : all.map(({ name, title }) => `${name.padEnd(20)}${title}`).join('\n'));
}

/** `remio experiment compare A B`: what changed between two folders of results. */
export function compareExperiments(from: string, to: string, json: boolean): ExitCode {
  const [before, after] = [from, to].map((path) => {
    const folder = openFolder(path);
    if (folder.shard !== undefined) {
      const fix = 'put the shards together first, by `remio experiment gather`';
      throw new CommandError(`${path} is shard ${showShard(folder.shard)}; ${fix}`, EXIT.USAGE);
    }
    const plan = planOfFolder(folder);
    return { plan, summaries: summarize(plan, folder.runs), machine: machineOf(folder.environment) };
  });
  if (before === undefined || after === undefined) return EXIT.USAGE;
  if (before.plan.clock !== after.plan.clock) {
    const what = `${from} is of the ${before.plan.clock} clock, ${to} of the ${after.plan.clock} clock`;
    throw new CommandError(`${what}: their figures cannot be compared`, EXIT.USAGE);
  }
  if (before.plan.clock === 'wall' && before.machine !== after.machine) {
    console.error(`these are figures of two machines: ${before.machine}; ${after.machine}`);
  }
  const { points, unmatched } = compareRuns(before, after);
  if (json) {
    console.log(
      JSON.stringify({ points, unmatched }, (_, value) => (value === Number.POSITIVE_INFINITY ? null : value)),
    );
    return EXIT.OK;
  }
  const names = before.plan.dimensions.map(({ name }) => name);
  const rows = points.flatMap(({ at, changes }) =>
    changes.map(({ metric, from: a, to: b, difference }) => {
      const show = (value: number): string =>
        metric === 'throughput' ? `${Math.round(value).toLocaleString('en')}/s` : showDuration(value);
      const margin = Number.isFinite(difference.margin) ? ` ± ${show(difference.margin)}` : '';
      const change = `${difference.relative >= 0 ? '+' : ''}${(difference.relative * 100).toFixed(1)}%`;
      return [
        ...names.map((name) => String(at[name] ?? '')),
        METRIC_TEXT[metric],
        show(a),
        show(b),
        change,
        `${show(Math.abs(difference.mean))}${margin}`,
        difference.clear ? 'yes' : 'no',
      ];
    }),
  );
  console.log(renderTable([[...names, 'of', from, to, 'change', 'difference', 'clear'], ...rows]));
  console.log('\n“clear”: the 95% confidence interval of the difference does not contain 0.');
  if (unmatched > 0) console.log(`${unmatched} points are in one of them only, or failed in one.`);
  return EXIT.OK;
}

/** @throws CommandError if a folder of figures of the wall clock is another machine's */
function checkMachine(folder: RunFolder): void {
  const [there, here] = [machineOf(folder.environment), machineOf(environmentNow(false))];
  if (there === here) return;
  const what = `${folder.path} has figures of another machine, ${there}; this is ${here}`;
  throw new CommandError(`${what}: go on there, or begin anew`, EXIT.USAGE);
}

/** @throws CommandError if runs on the wall clock cannot be made here, or would have to share the machine that they measure */
function checkWallClock({ clock }: Plan, { parallel }: ExperimentOptions): void {
  if (clock !== 'wall') return;
  const problem = sharedMemoryProblem('write `clock: virtual`');
  if (problem !== undefined) throw new CommandError(problem, EXIT.ENVIRONMENT);
  if (parallel === undefined || parallel === 1) return;
  const why = 'runs on the wall clock would measure each other';
  throw new CommandError(`--parallel ${parallel}: ${why}; they are made one after the other`, EXIT.USAGE);
}

async function make(plan: Plan, folder: RunFolder, options: ExperimentOptions): Promise<ExitCode> {
  const stopping = new AbortController();
  let stopped: NodeJS.Signals | undefined;
  const stop = (signal: NodeJS.Signals): void => {
    stopped = signal;
    stopping.abort();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  let progress: Progress | undefined;
  const began = performance.now();
  let first: number | undefined;
  let failures = 0;
  await execute(plan, folder, {
    ...(plan.clock === 'wall' ? { runner: new WallRunner(folder.logs) } : {}),
    parallel: options.parallel ?? availableParallelism(),
    sensitivity: folder.shard?.sensitivity ?? (options.sensitivity && !options.quick),
    signal: stopping.signal,
    progress: (done, total, failed) => {
      progress ??= new Progress(total, options);
      first ??= done;
      if (failed !== undefined) {
        failures += 1;
        progress.clear();
        // The rest of what is known of it is in the folder's journal.
        console.error(failed.split('\n', 1)[0]);
      }
      progress.at(done, leftText(performance.now() - began, done - first, total - done));
    },
  });
  progress?.clear();
  const answer = tellResults(plan, folder, options.json);
  if (!options.json) {
    if (failures > 0)
      console.log(`${failures} runs failed; ${folder.shard === undefined ? 'the report' : 'runs.csv'} says why`);
    if (stopped !== undefined) console.log(`stopped; go on with: remio experiment --resume ${folder.path}`);
  }
  if (stopped !== undefined) return stopped === 'SIGINT' ? EXIT.SIGINT : EXIT.SIGTERM;
  return answer;
}

/** How long it will take, from what it took so far. */
function leftText(spentMs: number, made: number, left: number): string {
  if (made < 2) return 'runs';
  return `runs, ${showDuration(((spentMs * left) / made) * 1e6)} left`;
}
