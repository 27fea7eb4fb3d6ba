import { createHash } from 'node:crypto';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { err, ok, type Result } from '@remio/base';
import { type Plan, readPlan } from '@remio/experiments';
import { CONTAINER } from './plan.js';

/** Engines that run an experiment's shards. */
export const SWEEP_ENGINES = ['swarm', 'kubernetes'] as const;
export type SweepEngine = (typeof SWEEP_ENGINES)[number];

/** Where results are in a container. */
export const RESULTS = '/var/lib/remio/results';
/** What a run may use: 1,000 VMs take half of it. */
export const RUN_MIB = 1024;
/** What the process may use that has runs made, or gathers. */
export const MAIN_MIB = 256;
/** Most bytes of files that an engine keeps for its services. */
const BYTES_MAX: Readonly<Record<SweepEngine, number>> = { swarm: 500_000, kubernetes: 1_000_000 };

/** A file of the experiment, as it is in every container. */
export interface SweepFile {
  /** Unlike all others’, of letters that any engine takes in names. */
  readonly key: string;
  /** Path from {@link CONTAINER.topologyDirectory}. */
  readonly path: string;
  readonly text: string;
}

export interface SweepOptions {
  readonly shards: number;
  /** Runs at a time in a shard: its CPUs. */
  readonly parallel: number;
  readonly quick: boolean;
  readonly sensitivity: boolean;
}

/** An experiment in shards, whatever engine runs them. */
export interface SweepPlan {
  readonly experiment: Plan;
  /** Its name as engines write names. */
  readonly name: string;
  /** The experiment before the topologies that it names. */
  readonly files: readonly SweepFile[];
  readonly options: SweepOptions;
}

/** Plans an experiment for hosts that have nothing of this one. @returns otherwise what keeps it from running there */
export function planSweep(experiment: Plan, engine: SweepEngine, options: SweepOptions): Result<SweepPlan, string> {
  const { file, clock, points, name } = experiment;
  if (clock === 'wall') {
    return err(`${file} is of the wall clock, whose figures are those of one machine: write \`clock: virtual\``);
  }
  if (options.shards > points.length) {
    return err(
      `${file} has ${points.length} points, too few for ${options.shards} shards: give --shards ${points.length}`,
    );
  }
  const files = filesOf(experiment);
  if (!files.ok) return files;
  const bytes = files.value.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  if (bytes > BYTES_MAX[engine]) {
    return err(`${file} and its topologies have ${bytes} bytes; ${engine} keeps ${BYTES_MAX[engine]} for a job`);
  }
  const slug = name.toLowerCase().replaceAll('_', '-').slice(0, 40).replace(/-+$/, '');
  return ok({ experiment, name: slug, files: files.value, options });
}

/** The files of an experiment, which find each other where they lie in a container. */
function filesOf({ file, text, bases }: Plan): Result<readonly SweepFile[], string> {
  const absolute = bases.find((base) => isAbsolute(base.name));
  if (absolute !== undefined)
    return err(`${file} names ${absolute.name}: name it by a path from the experiment’s file`);
  const all = [{ file: resolve(file), text }, ...bases];
  const top = commonDirectory(all.map((each) => each.file));
  const keys = new Set<string>();
  const files = all.map((each): SweepFile => {
    const plain = basename(each.file).replace(/[^-._a-zA-Z0-9]/g, '-');
    const key = keys.has(plain) ? `${keys.size}-${plain}` : plain;
    keys.add(key);
    return { key, path: relative(top, each.file), text: each.text };
  });
  // Whatever else it could name, a topology names.
  if (bases.length === 0) return ok(files);
  const place = join(CONTAINER.topologyDirectory, files[0]?.path ?? '');
  const there = readPlan(text, place, (name) => {
    const path = resolve(dirname(place), name);
    const found = files.find((each) => join(CONTAINER.topologyDirectory, each.path) === path);
    return found === undefined ? err(`there is no file ${path}`) : ok({ name, file: path, text: found.text });
  });
  if (there.plan !== undefined) return ok(files);
  return err(
    `${there.text}\n${file} runs here only: a shard has the experiment and the topologies that it names, no other file`,
  );
}

function commonDirectory(files: readonly string[]): string {
  const [first = '', ...others] = files.map(dirname);
  let common = first;
  while (
    !others.every((directory) => directory === common || directory.startsWith(common === sep ? sep : `${common}${sep}`))
  ) {
    common = dirname(common);
  }
  return common;
}

/** The command of a shard's container; the engine says which it is. */
export const shardCommand = ({ files, options }: SweepPlan): readonly string[] => [
  'shard',
  String(options.shards),
  RESULTS,
  join(CONTAINER.topologyDirectory, files[0]?.path ?? ''),
  '--parallel',
  String(options.parallel),
  ...(options.quick ? ['--quick'] : []),
  ...(options.sensitivity ? [] : ['--no-sensitivity']),
];

/** The command of the container that waits for all shards, and gathers them. */
export const gatherCommand = ({ options }: SweepPlan): readonly string[] => ['gather', String(options.shards), RESULTS];

/** Every process of a container may use its run's share, whatever Node takes the container's memory to be for. */
export const NODE_OPTIONS = `--max-old-space-size=${RUN_MIB}`;

export const shardMib = ({ options }: SweepPlan): number => MAIN_MIB + options.parallel * RUN_MIB;

/** First line of every file that is made. */
export const sweepMadeBy = (engine: SweepEngine, { experiment, options }: SweepPlan): string => {
  const command = `remio experiment render ${engine} ${basename(experiment.file)} --shards ${options.shards}`;
  return `Made by \`${command}\` for the experiment ${experiment.name}. Do not edit.`;
};

/** A name for contents: other contents have another. */
export const contentName = (name: string, text: string): string =>
  `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
