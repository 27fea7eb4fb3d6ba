import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import {
  type BaseReader,
  basesBeside,
  compareRuns,
  environmentNow,
  execute,
  METRIC_TEXT,
  type Plan,
  quickPlan,
  RunFolder,
  readPlan,
  shippedFile,
  shippedNames,
  summarize,
  titleOf,
} from '@remio/experiments';
import { sharedMemoryProblem } from '@remio/shared-memory';
import { renderTable, showDuration } from '@remio/telemetry';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { Progress } from './progress.js';
import { WallRunner } from './wall-clock/wall-runner.js';

export interface ExperimentOptions {
  /** The folder of results; made. */
  readonly out?: string;
  /** A folder of results to go on with. */
  readonly resume?: string;
  /** Runs at a time; the cores there are if absent. */
  readonly parallel?: number;
  readonly sensitivity: boolean;
  readonly quick: boolean;
  readonly json: boolean;
}

/** Where results go if nothing else is said. */
const RESULTS = 'remio-results';

/** `remio experiment FILE`: checks an experiment, makes its runs, writes its report. */
export async function experiment(file: string | undefined, options: ExperimentOptions): Promise<ExitCode> {
  const { resume } = options;
  if (resume !== undefined) {
    if (!RunFolder.is(resume)) throw new CommandError(`${resume} is no folder of an experiment's results`, EXIT.USAGE);
    if (file !== undefined)
      throw new CommandError('give a file or --resume, not both: the folder has its own', EXIT.USAGE);
    const folder = RunFolder.open(resume);
    const { quick } = folder.environment;
    const plan = planOfFolder(folder);
    checkWallClock(plan, options);
    if (plan.clock === 'wall') checkMachine(folder);
    return make(plan, folder, { ...options, quick });
  }
  if (file === undefined) {
    throw new CommandError('give the file of an experiment, or `run NAME` (`list` shows the names)', EXIT.USAGE);
  }
  if (!existsSync(file)) {
    const fix =
      shippedFile(file) === undefined ? 'give the path of an experiment' : `write \`remio experiment run ${file}\``;
    throw new CommandError(`there is no file ${file}; ${fix}`, EXIT.USAGE);
  }
  const plan = planOf(readFileSync(file, 'utf8'), file, options.quick);
  checkWallClock(plan, options);
  const path = options.out ?? freeFolder(plan.name);
  if (existsSync(path)) {
    const fix = RunFolder.is(path) ? `go on with it by --resume ${path}, or choose another` : 'choose another';
    throw new CommandError(`${path} is there already; ${fix}`, EXIT.USAGE);
  }
  return make(plan, createFolder(path, plan, options.quick), options);
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
    if (!RunFolder.is(path)) throw new CommandError(`${path} is no folder of an experiment's results`, EXIT.USAGE);
    const folder = RunFolder.open(path);
    const plan = planOfFolder(folder);
    return { plan, summaries: summarize(plan, folder.runs), machine: machineOf(folder) };
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

/** @throws CommandError with every mistake of the file */
function planOf(text: string, file: string, quick: boolean, readBase: BaseReader = basesBeside(file)): Plan {
  const { plan, text: problems } = readPlan(text, file, readBase);
  if (plan === undefined) throw new CommandError(problems, EXIT.USAGE);
  return quick ? quickPlan(plan) : plan;
}

const planOfFolder = (folder: RunFolder): Plan =>
  planOf(folder.text, folder.file, folder.environment.quick, folder.readBase);

/** What tells machines apart whose figures cannot be compared. */
const machineOf = ({ environment: { cpu, cores } }: Pick<RunFolder, 'environment'>): string =>
  `${cpu} with ${cores} cores`;

/** @throws CommandError if a folder of figures of the wall clock is another machine's */
function checkMachine(folder: RunFolder): void {
  const [there, here] = [machineOf(folder), machineOf({ environment: environmentNow(false) })];
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

function createFolder(path: string, plan: Plan, quick: boolean): RunFolder {
  try {
    return RunFolder.create(path, plan, quick);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`${path} cannot be made: ${reason}; choose another by --out`, EXIT.ENVIRONMENT);
  }
}

function freeFolder(name: string): string {
  for (let n = 1; ; n += 1) {
    const path = join(RESULTS, n === 1 ? name : `${name}-${n}`);
    if (!existsSync(path)) return path;
  }
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
    sensitivity: options.sensitivity && !options.quick,
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
  const summaries = summarize(plan, folder.runs);
  const failed = summaries.filter(({ metrics }) => metrics === undefined);
  if (options.json) {
    const points = summaries.map(({ point, metrics, failures: reasons }) => ({
      at: point.at,
      metrics,
      failures: reasons,
    }));
    const plain = (_: string, value: unknown): unknown => (value === Number.POSITIVE_INFINITY ? null : value);
    console.log(JSON.stringify({ folder: folder.path, report: folder.reportFile, points }, plain));
  } else {
    console.log(renderSummary(plan, summaries));
    console.log(`\nreport: ${folder.reportFile}`);
    if (failures > 0) console.log(`${failures} runs failed; the report says why`);
    if (stopped !== undefined) console.log(`stopped; go on with: remio experiment --resume ${folder.path}`);
  }
  if (stopped !== undefined) return stopped === 'SIGINT' ? EXIT.SIGINT : EXIT.SIGTERM;
  return failed.length > 0 ? EXIT.FAILED : EXIT.OK;
}

/** How long it will take, from what it took so far. */
function leftText(spentMs: number, made: number, left: number): string {
  if (made < 2) return 'runs';
  return `runs, ${showDuration(((spentMs * left) / made) * 1e6)} left`;
}

function renderSummary(plan: Plan, summaries: ReturnType<typeof summarize>): string {
  const names = plan.dimensions.map(({ name }) => name);
  const rows = summaries.map(({ point, metrics, failures }) => {
    const at = names.map((name) => String(point.at[name] ?? ''));
    if (metrics === undefined) return [...at, failures.length > 0 ? 'failed' : 'not made', '', '', ''];
    const { throughput } = metrics;
    const margin = Number.isFinite(throughput.margin) ? Math.round(throughput.margin).toLocaleString('en') : '';
    return [
      ...at,
      Math.round(throughput.mean).toLocaleString('en'),
      margin,
      showDuration(metrics.p50.mean),
      showDuration(metrics.p99.mean),
    ];
  });
  return renderTable([[...names, 'operations/s', '±', 'p50', 'p99'], ...rows]);
}
