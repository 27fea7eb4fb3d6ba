import { err, ok, type Result } from '@remio/base';
import { analysisJobs, figureKey, runJobs, runKey } from './execute.js';
import type { Plan } from './plan.js';
import type { Environment, RunFolder } from './run-folder.js';
import { inputsDigest, remioVersion, type ShardNote, showShard } from './shards.js';

/** The folder of a shard, and the experiment in it. */
export interface GatheredShard {
  readonly folder: RunFolder;
  readonly plan: Plan;
}

type Noted = GatheredShard & { readonly note: ShardNote; readonly path: string };

/** Most lines that are told of one kind of mistake. */
const TOLD_MAX = 10;

/** What makes figures of the wall clock comparable: the machine. */
export const machineOf = ({ cpu, cores }: Pick<Environment, 'cpu' | 'cores'>): string => `${cpu} with ${cores} cores`;

/**
 * Whether shards are those of one experiment, all of them, each once and whole.
 * @param shards one and more
 * @returns what is wrong with which folder, and what helps
 */
export function checkShards(shards: readonly GatheredShard[]): Result<readonly GatheredShard[], readonly string[]> {
  const noted: Noted[] = [];
  const problems: string[] = [];
  for (const { folder, plan } of shards) {
    if (folder.shard === undefined) problems.push(`${folder.path} is no shard: it has all runs of ${plan.name}`);
    else noted.push({ folder, plan, note: folder.shard, path: folder.path });
  }
  const [first] = noted;
  if (problems.length > 0 || first === undefined) return err(problems);
  for (const other of noted.slice(1)) {
    const difference = differenceOf(first, other);
    if (difference !== undefined) problems.push(difference);
  }
  // Which are missing cannot be said of shards that do not belong together.
  if (problems.length > 0) return err(problems);
  const { note, plan } = first;
  if (note.version !== remioVersion() || note.inputs !== inputsDigest(plan)) {
    return err([
      `${first.path} was made by Remio ${note.version}, this is ${remioVersion()}: gather with what made it`,
    ]);
  }
  const byIndex = new Map<number, Noted>();
  for (const shard of noted) {
    const same = byIndex.get(shard.note.index);
    if (same === undefined) byIndex.set(shard.note.index, shard);
    else problems.push(`${same.path} and ${shard.path} are both shard ${showShard(shard.note)}: leave out one`);
  }
  const lacking = Array.from({ length: note.of }, (_, n) => n + 1).filter((index) => !byIndex.has(index));
  problems.push(
    ...some(lacking.map((index) => `shard ${index}/${note.of} is missing: make it by --shard ${index}/${note.of}`)),
    ...noted.flatMap(wholeness),
  );
  if (problems.length > 0) return err(problems);
  return ok([...noted].sort((a, b) => a.note.index - b.note.index));
}

/** What keeps two shards from being of one experiment; undefined: nothing. */
function differenceOf(a: Noted, b: Noted): string | undefined {
  const differ = (what: string, ofA: string | number, ofB: string | number): string =>
    `${a.path} and ${b.path} are of different ${what}: ${ofA}, ${ofB}`;
  if (a.plan.name !== b.plan.name) return differ('experiments', a.plan.name, b.plan.name);
  if (a.plan.seed !== b.plan.seed) return differ('seeds', a.plan.seed, b.plan.seed);
  if (a.plan.text !== b.plan.text) {
    const { line, ofA, ofB } = firstDifference(a.plan.text, b.plan.text);
    return differ('files', `line ${line} of experiment.yaml is \`${ofA}\``, `\`${ofB}\``);
  }
  for (const base of a.plan.bases) {
    const other = b.plan.bases.find(({ name }) => name === base.name)?.text ?? '';
    if (other === base.text) continue;
    const { line, ofA, ofB } = firstDifference(base.text, other);
    return differ('topologies', `line ${line} of ${base.name} is \`${ofA}\``, `\`${ofB}\``);
  }
  if (a.folder.environment.quick !== b.folder.environment.quick) {
    const size = ({ folder }: Noted): string => (folder.environment.quick ? 'small (--quick)' : 'whole');
    return differ('sizes', size(a), size(b));
  }
  if (a.note.of !== b.note.of) return differ('splits', `of ${a.note.of} shards`, `of ${b.note.of}`);
  if (a.note.version !== b.note.version) return differ('versions of Remio', a.note.version, b.note.version);
  if (a.note.inputs !== b.note.inputs) {
    return `${a.path} and ${b.path} were made by versions of Remio that make different platforms of one file`;
  }
  if (a.note.sensitivity !== b.note.sensitivity) {
    const analysis = ({ note }: Noted): string => (note.sensitivity ? 'with' : 'without (--no-sensitivity)');
    return differ('analyses of constants', analysis(a), analysis(b));
  }
  const [there, here] = [machineOf(a.folder.environment), machineOf(b.folder.environment)];
  if (a.plan.clock === 'wall' && there !== here) {
    return `${differ('machines', there, here)}; figures of the wall clock are those of one machine`;
  }
  return undefined;
}

function firstDifference(a: string, b: string): { readonly line: number; readonly ofA: string; readonly ofB: string } {
  const [linesA, linesB] = [a.split('\n'), b.split('\n')];
  const at = linesA.findIndex((line, n) => line !== linesB[n]);
  const n = at === -1 ? linesA.length : at;
  return { line: n + 1, ofA: linesA[n] ?? '', ofB: linesB[n] ?? '' };
}

/** What a shard has too little, or too much of. */
function wholeness({ folder, plan, note, path }: Noted): readonly string[] {
  const expected = {
    runs: new Set(runJobs(plan, note).map(runKey)),
    figures: new Set(analysisJobs(plan, note, note.sensitivity).map(figureKey)),
  };
  const made = { runs: folder.runs.map(runKey), figures: folder.sensitivity.map(figureKey) };
  const has = [...made.runs, ...made.figures].length;
  const foreign = [
    ...made.runs.filter((key) => !expected.runs.has(key)),
    ...made.figures.filter((key) => !expected.figures.has(key)),
  ];
  const known = new Set(made.runs).size + new Set(made.figures).size;
  if (foreign.length > 0 || known < has) {
    const what = known < has ? 'runs twice' : 'runs that are another shard’s';
    return [`${path} has ${what}: its journal was changed; make shard ${showShard(note)} anew`];
  }
  const wanted = expected.runs.size + expected.figures.size;
  if (has === wanted) return [];
  return [`${path} has ${has} of its ${wanted} runs: go on with it by --resume ${path}`];
}

const some = (lines: readonly string[]): readonly string[] =>
  lines.length <= TOLD_MAX ? lines : [...lines.slice(0, TOLD_MAX), `and ${lines.length - TOLD_MAX} more`];

/** Where gathered shards ran; on the wall clock they all ran on one machine. */
export function gatheredEnvironment(shards: readonly GatheredShard[], here: Environment): Environment {
  const environments = shards.map(({ folder }) => folder.environment);
  const [first = here] = environments;
  const of = shards[0]?.plan.clock === 'wall' ? first : { ...here, quick: first.quick };
  return { ...of, shards: environments };
}

/** Puts the runs of shards into a folder, in the order in which one run makes them. */
export function gatherRuns(shards: readonly GatheredShard[], into: RunFolder): void {
  const runs = shards.flatMap(({ folder }) => folder.runs);
  for (const run of runs.sort((a, b) => a.repetition - b.repetition || a.point - b.point)) into.addRun(run);
  for (const { folder } of shards) for (const figure of folder.sensitivity) into.addSensitivity(figure);
}
