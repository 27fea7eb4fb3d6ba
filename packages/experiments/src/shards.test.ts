import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { afterAll, describe, expect, it } from 'vitest';
import {
  analysisJobs,
  checkShards,
  environmentNow,
  execute,
  type GatheredShard,
  gatheredEnvironment,
  gatherRuns,
  LocalRunner,
  RunFolder,
  runJobs,
  shardAt,
  shardNote,
  writeResults,
} from './index.js';
import { filesOf } from './testing/folders.js';
import { planOf } from './testing/plans.js';

const directory = mkdtempSync(join(tmpdir(), 'shards-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** Some of its points fail: without a slot for a second access, a bring-up of two frontends ends in a fault. */
const SMALL = `name: small
title: Small
platform: { frontends: 2, disk: 1MiB }
measure: { warm_up: 0us, duration: 100us }
sweep:
  platform.slots: [1, 5]
  platform.backend_cpus: [1, 2]
repetitions: 2
conclusion: { compare: platform.backend_cpus, at: { platform.slots: 5 } }
`;

let folders = 0;
interface Made {
  readonly index: number;
  readonly of: number;
  readonly text?: string;
  readonly sensitivity?: boolean;
  readonly quick?: boolean;
  readonly cpu?: string;
}
/** A shard of which nothing is made yet. */
function begun({ index, of, text = SMALL, sensitivity = true, quick = false, cpu = 'a CPU' }: Made): GatheredShard {
  const plan = planOf(text);
  folders += 1;
  const path = join(directory, `shard-${folders}`);
  const note = shardNote(plan, { index, of }, sensitivity);
  const environment = { ...environmentNow(quick), cpu };
  return { folder: RunFolder.create(path, plan, { environment, shard: note }), plan };
}

/** A shard, made. */
async function shard(made: Made): Promise<GatheredShard> {
  const { folder, plan } = begun(made);
  await execute(plan, folder, { runner: new LocalRunner(), sensitivity: folder.shard?.sensitivity ?? true });
  return { folder, plan };
}

const problemsOf = (shards: readonly GatheredShard[]): string => {
  const checked = checkShards(shards);
  return checked.ok ? '' : checked.error.join('\n');
};

/** Where every run was done in one folder, the order of its journal is that in which they ended. */
const resultsOf = (path: string): Readonly<Record<string, string>> => {
  const { '/journal.jsonl': _, ...results } = filesOf(path);
  return results;
};

describe('shards', () => {
  it.each([1, 2, 3, 4])('in %i parts have every run and every run of the analysis once', (of) => {
    const plan = planOf(SMALL);
    const indices = Array.from({ length: of }, (_, n) => n + 1);
    const names = (jobs: readonly { readonly name: string }[]): readonly string[] =>
      jobs.map(({ name }) => name).sort();
    expect(names(indices.flatMap((index) => runJobs(plan, { index, of })))).toEqual(names(runJobs(plan)));
    expect(names(indices.flatMap((index) => analysisJobs(plan, { index, of })))).toEqual(names(analysisJobs(plan)));
  });

  it('differ in size by one point at most, and none has all points with one value', () => {
    const of = 2;
    const dealt = Array.from({ length: 12 }, (_, position) => shardAt(position, of));
    expect(dealt).toEqual([1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1]);
    const sizes = [1, 2, 3, 4, 5].map(
      (index) => Array.from({ length: 13 }, (_, n) => shardAt(n, 5)).filter((n) => n === index).length,
    );
    expect(Math.max(...sizes) - Math.min(...sizes)).toBe(1);
  });

  it('have every repetition of their points', () => {
    const runs = runJobs(planOf(SMALL), { index: 3, of: 3 });
    expect(runs.map(({ point, repetition }) => `${point} ${repetition}`)).toEqual(['2 0', '3 0', '2 1', '3 1']);
  });

  it('write rows, and no report: it would be of a part of the experiment', async () => {
    const { folder } = await shard({ index: 1, of: 3, sensitivity: false });
    const files = Object.keys(resultsOf(folder.path));
    expect(files).toEqual(expect.arrayContaining(['/shard.json', '/runs.csv', '/platforms/point-0.json']));
    expect(files).not.toContain('/report.html');
    expect(files).not.toContain('/platforms/point-1.json');
    expect(RunFolder.open(folder.path).shard).toMatchObject({ index: 1, of: 3 });
  });
});

describe('gathered shards', () => {
  it('are of one machine on the wall clock, and of any in virtual time', () => {
    const text = `${SMALL}clock: wall\n`;
    const onTwo = (made: string): string =>
      problemsOf([begun({ index: 1, of: 2, text: made, cpu: 'one CPU' }), begun({ index: 2, of: 2, text: made })]);
    expect(onTwo(text)).toMatch(/different machines: one CPU with .*, a CPU with .*; figures of the wall clock/);
    expect(onTwo(SMALL)).not.toContain('machines');
  });

  it('are what one run makes, to the byte, with the points that failed, in whatever order they are given', async () => {
    const plan = planOf(SMALL);
    const whole = RunFolder.create(join(directory, 'whole'), plan);
    await execute(plan, whole, { runner: new LocalRunner() });
    const made = [await shard({ index: 2, of: 3 }), await shard({ index: 3, of: 3 }), await shard({ index: 1, of: 3 })];
    const checked = checkShards(made);
    assert(checked.ok, problemsOf(made));
    const environment = gatheredEnvironment(checked.value, environmentNow(false));
    const gathered = RunFolder.create(join(directory, 'gathered'), plan, { environment });
    gatherRuns(checked.value, gathered);
    await writeResults(plan, gathered);
    const files = resultsOf(whole.path);
    expect(files['/runs.csv']).toContain('GuestFault');
    expect(files['/report.html']).toContain('2 of 4 points failed');
    expect(resultsOf(gathered.path)).toEqual(files);
    expect(RunFolder.open(gathered.path).environment.shards).toHaveLength(3);
  });

  it('are refused with one missing, with one twice, and with one that was not finished', async () => {
    const [one, two] = [
      await shard({ index: 1, of: 3, sensitivity: false }),
      begun({ index: 2, of: 3, sensitivity: false }),
    ];
    expect(problemsOf([one, one]).split('\n')).toEqual([
      `${one.folder.path} and ${one.folder.path} are both shard 1/3: leave out one`,
      'shard 2/3 is missing: make it by --shard 2/3',
      'shard 3/3 is missing: make it by --shard 3/3',
    ]);
    expect(problemsOf([one, two])).toContain(
      `${two.folder.path} has 0 of its 2 runs: go on with it by --resume ${two.folder.path}`,
    );
  });

  it.each<[string, Made, RegExp]>([
    [
      'experiments',
      { index: 2, of: 2, text: SMALL.replace('name: small', 'name: other') },
      /experiments: small, other/,
    ],
    ['seeds', { index: 2, of: 2, text: `${SMALL}seed: 7\n` }, /different seeds: 1, 7/],
    ['files', { index: 2, of: 2, text: SMALL.replace('100us', '600us') }, /line 4 .*100us.*`, `.*600us/],
    ['splits', { index: 2, of: 3 }, /splits: of 2 shards, of 3/],
    ['sizes', { index: 2, of: 2, quick: true }, /sizes: whole, small \(--quick\)/],
    ['analyses', { index: 2, of: 2, sensitivity: false }, /analyses of constants: with, without/],
  ])('are refused when they are of different %s', (_, made, message) => {
    const [one, other] = [begun({ index: 1, of: 2 }), begun(made)];
    const problems = problemsOf([one, other]);
    expect(problems).toMatch(message);
    expect(problems).toContain(`${one.folder.path} and ${other.folder.path}`);
  });

  it('are refused when they were made by different versions, or by another than this', () => {
    const one = begun({ index: 1, of: 2 });
    const changed = (change: object): GatheredShard => {
      const { folder, plan } = begun({ index: 2, of: 2 });
      writeFileSync(join(folder.path, 'shard.json'), JSON.stringify({ ...folder.shard, ...change }));
      return { folder: RunFolder.open(folder.path), plan };
    };
    expect(problemsOf([one, changed({ version: '9.0.0' })])).toMatch(/versions of Remio: .*, 9\.0\.0/);
    expect(problemsOf([one, changed({ inputs: 'other' })])).toMatch(/different platforms of one file/);
    expect(problemsOf([changed({ inputs: 'other' })])).toMatch(/gather with what made it/);
  });

  it('are refused with runs that are not theirs, or with a note that nobody can read; so is a whole run', async () => {
    const { folder, plan } = await shard({ index: 1, of: 2, sensitivity: false });
    const journal = join(folder.path, 'journal.jsonl');
    const before = readFileSync(journal, 'utf8');
    appendFileSync(journal, `${before.split('\n', 1)[0]}\n`);
    expect(problemsOf([{ folder: RunFolder.open(folder.path), plan }])).toContain('has runs twice');
    writeFileSync(journal, `${before}{"run":{"point":1,"repetition":0,"ok":false,"reason":""}}\n`);
    expect(problemsOf([{ folder: RunFolder.open(folder.path), plan }])).toContain('another shard’s');
    writeFileSync(join(folder.path, 'shard.json'), '{"index": 1');
    expect(() => RunFolder.open(folder.path)).toThrow(/shard.json does not say which shard this is/);
    const whole = RunFolder.create(join(directory, 'none'), plan);
    expect(problemsOf([{ folder: whole, plan }])).toMatch(/none is no shard/);
  });
});
