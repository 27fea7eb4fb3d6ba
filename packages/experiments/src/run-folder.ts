import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { err, ok } from '@remio/base';
import { makeDirectories } from '@remio/host-io';
import type { BaseReader } from './base/base-topology.js';
import { FRAME_HOPS, type Outcome, PROCESS_GROUPS, type Run } from './outcome.js';
import type { Plan } from './plan.js';
import { platformFile } from './platform.js';
import type { SensitivityFigure } from './sensitivity.js';
import { itemsOf, parseShardNote, type ShardNote } from './shards.js';

/** Files of a folder of results. */
const FILE = {
  experiment: 'experiment.yaml',
  /** Topologies that it starts from: where they came from, and copies of them. */
  bases: 'bases.json',
  environment: 'environment.json',
  /** Of a part of an experiment: which. */
  shard: 'shard.json',
  /** Every run as it ended: what a resumed experiment goes on from. */
  journal: 'journal.jsonl',
  runsJson: 'runs.json',
  runsCsv: 'runs.csv',
  sensitivity: 'sensitivity.json',
  report: 'report.html',
} as const;

/** A topology that an experiment starts from: the name in its file, where it was, and the file's name in `platforms`. */
interface BaseCopy {
  readonly name: string;
  readonly file: string;
  readonly copy: string;
}

/** Where an experiment ran: it decides nothing in virtual time, and everything on the wall clock. */
export interface Environment {
  readonly started: string;
  readonly node: string;
  readonly system: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** It was made at a small size. */
  readonly quick: boolean;
  /** Where the shards ran that were gathered. */
  readonly shards?: readonly Environment[];
}

/** What a folder is made with, besides its plan. */
export interface FolderOptions {
  readonly environment?: Environment;
  /** It is for a part of the runs. */
  readonly shard?: ShardNote;
}

type Entry = { readonly run: Run } | { readonly sensitivity: SensitivityFigure };

/** The folder of one run of an experiment: exact inputs, environment, raw rows, report. */
export class RunFolder {
  readonly path: string;
  readonly runs: Run[] = [];
  readonly sensitivity: SensitivityFigure[] = [];

  private constructor(
    path: string,
    /** Undefined: it has all runs of its experiment. */
    readonly shard: ShardNote | undefined,
  ) {
    this.path = path;
  }

  /** Makes a folder for a plan. @throws Error if it cannot be made */
  static create(path: string, plan: Plan, options: FolderOptions = {}): RunFolder {
    const { environment = environmentNow(false), shard } = options;
    makeDirectories(join(path, 'platforms'));
    if (shard !== undefined) writeFileSync(join(path, FILE.shard), `${JSON.stringify(shard, null, 2)}\n`);
    writeFileSync(join(path, FILE.experiment), plan.text);
    writeFileSync(join(path, FILE.environment), `${JSON.stringify(environment, null, 2)}\n`);
    const bases = plan.bases.map(({ name, file }, n) => ({ name, file, copy: `base-${n}.yaml` }));
    if (bases.length > 0) writeFileSync(join(path, FILE.bases), `${JSON.stringify(bases, null, 2)}\n`);
    bases.forEach(({ copy }, n) => writeFileSync(join(path, 'platforms', copy), plan.bases[n]?.text ?? ''));
    for (const point of itemsOf(plan.points, shard)) {
      const name = `point-${point.id}.json`;
      writeFileSync(join(path, 'platforms', name), `${JSON.stringify(platformFile(point.settings), exact, 2)}\n`);
    }
    writeFileSync(join(path, FILE.journal), '');
    return new RunFolder(path, shard);
  }

  /** Whether a folder is one of results. */
  static is(path: string): boolean {
    return existsSync(join(path, FILE.experiment)) && existsSync(join(path, FILE.journal));
  }

  /** Whether a folder of a shard was begun, and whoever made it was ended before there was anything in it. */
  static isDraft(path: string): boolean {
    return existsSync(join(path, FILE.shard)) && !RunFolder.is(path);
  }

  /** A folder that is there, with what was done so far. @throws Error if it is damaged */
  static open(path: string): RunFolder {
    const note = join(path, FILE.shard);
    const folder = new RunFolder(path, existsSync(note) ? noteIn(note) : undefined);
    for (const line of readFileSync(join(path, FILE.journal), 'utf8').split('\n')) {
      const entry = parsed(line);
      // The last line of a run that was killed may be half written: that run is made again.
      if (entry === undefined) continue;
      if ('run' in entry) folder.runs.push(entry.run);
      else folder.sensitivity.push(entry.sensitivity);
    }
    return folder;
  }

  /** The experiment as it was given. */
  get text(): string {
    return readFileSync(join(this.path, FILE.experiment), 'utf8');
  }

  /** Finds the topologies that it started from as they were then, whatever became of their files. */
  get readBase(): BaseReader {
    return (name) => {
      const file = join(this.path, FILE.bases);
      const bases = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as readonly BaseCopy[]) : [];
      const base = bases.find((candidate) => candidate.name === name);
      if (base === undefined) return err(`${this.path} has no copy of ${name}`);
      return ok({ name, file: base.file, text: readFileSync(join(this.path, 'platforms', base.copy), 'utf8') });
    };
  }

  /** Where it was made. */
  get environment(): Environment {
    return JSON.parse(readFileSync(join(this.path, FILE.environment), 'utf8')) as Environment;
  }

  /** Where the logs of runs that fail on the wall clock go. */
  get logs(): string {
    return join(this.path, 'logs');
  }

  get file(): string {
    return join(this.path, FILE.experiment);
  }

  get reportFile(): string {
    return join(this.path, FILE.report);
  }

  addRun(run: Run): void {
    this.runs.push(run);
    this.#journal({ run });
  }

  addSensitivity(sensitivity: SensitivityFigure): void {
    this.sensitivity.push(sensitivity);
    this.#journal({ sensitivity });
  }

  /** Writes the raw rows, in order: the same runs give the same bytes. */
  writeRows(plan: Plan): void {
    const runs = [...this.runs].sort((a, b) => a.point - b.point || a.repetition - b.repetition);
    const rows = runs.map((run) => ({ at: plan.points[run.point]?.at ?? {}, ...run }));
    writeFileSync(join(this.path, FILE.runsJson), `${JSON.stringify(rows, null, 1)}\n`);
    writeFileSync(join(this.path, FILE.runsCsv), csvOf(plan, runs));
    writeFileSync(join(this.path, FILE.sensitivity), `${JSON.stringify(this.sensitivity, null, 1)}\n`);
  }

  writeReport(html: string, plots: readonly { readonly name: string; readonly svg: string }[]): void {
    makeDirectories(join(this.path, 'plots'));
    for (const { name, svg } of plots) writeFileSync(join(this.path, 'plots', `${name}.svg`), svg);
    writeFileSync(this.reportFile, html);
  }

  #journal(entry: Entry): void {
    appendFileSync(join(this.path, FILE.journal), `${JSON.stringify(entry)}\n`);
  }
}

/** @throws Error with the file */
function noteIn(file: string): ShardNote {
  try {
    return parseShardNote(readFileSync(file, 'utf8'));
  } catch {
    throw new Error(`${file} does not say which shard this is; make the shard anew`);
  }
}

function parsed(line: string): Entry | undefined {
  if (line === '') return undefined;
  try {
    return JSON.parse(line) as Entry;
  } catch {
    return undefined;
  }
}

/** This machine. */
export const environmentNow = (quick: boolean): Environment => ({
  started: new Date().toISOString(),
  node: process.version,
  system: `${process.platform} ${release()} ${process.arch}`,
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryBytes: totalmem(),
  quick,
});

/** Numbers for JSON: what a double cannot hold, as text in hexadecimal. */
const exact = (_: string, value: unknown): unknown =>
  typeof value !== 'bigint'
    ? value
    : value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : `0x${value.toString(16)}`;

/** CPUs' worth of time of the processes of a group; nothing in virtual time. */
const cpusOf = ({ processes }: Outcome, group: string): number | '' =>
  processes?.reduce((sum, process) => sum + (process.group === group ? process.cpus : 0), 0) ?? '';

const HOP_COLUMNS = ['trap', 'interrupt', 'queue', 'service', 'return'] as const;

/** Rows for spreadsheets and scripts: a line a run. Times are nanoseconds. */
function csvOf(plan: Plan, runs: readonly Run[]): string {
  const names = plan.dimensions.map(({ name }) => name);
  const head = [
    ...names,
    'repetition',
    'ok',
    'reason',
    'throughput_per_s',
    'operations',
    'bytes',
    'errors',
    'mean_ns',
    'p50_ns',
    'p90_ns',
    'p99_ns',
    'p99.9_ns',
    'max_ns',
    'accesses_per_operation',
    'interrupts_per_operation',
    ...HOP_COLUMNS.map((hop) => `hop_${hop}_ns`),
    'backend_busy',
    ...FRAME_HOPS.map((hop) => `${hop}_p50_ns`),
    ...PROCESS_GROUPS.map((group) => `${group.replaceAll(' ', '_')}_cpus`),
    'machine_load',
    'faults',
    'events',
  ];
  const lines = runs.map((run) => {
    const at = names.map((name) => plan.points[run.point]?.at[name] ?? '');
    if (!run.ok) return [...at, run.repetition, false, run.reason];
    const { outcome } = run;
    const { latency, perOperation, hops } = outcome;
    const backends = outcome.use?.find(({ group }) => group === 'backends');
    return [
      ...at,
      run.repetition,
      true,
      '',
      outcome.throughput,
      outcome.operations,
      outcome.bytes,
      outcome.errors,
      latency.mean,
      latency.p50,
      latency.p90,
      latency.p99,
      latency['p99.9'],
      latency.max,
      perOperation.accesses,
      perOperation.interrupts,
      ...HOP_COLUMNS.map((hop) => hops?.[hop] ?? ''),
      backends === undefined ? '' : backends.guest + backends.hypervisor,
      ...FRAME_HOPS.map((hop) => outcome.frames?.[hop].p50 ?? ''),
      ...PROCESS_GROUPS.map((group) => cpusOf(outcome, group)),
      outcome.machineLoad ?? '',
      outcome.faults,
      outcome.events ?? '',
    ];
  });
  return `${[head, ...lines].map((line) => line.map(cell).join(',')).join('\n')}\n`;
}

const cell = (value: unknown): string => {
  const text = String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
