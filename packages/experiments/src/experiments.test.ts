import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { afterAll, describe, expect, it } from 'vitest';
import {
  compareRuns,
  execute,
  LocalRunner,
  type Plan,
  quickPlan,
  RunFolder,
  readPlan,
  runPoint,
  sensitivityRows,
  shippedFile,
  shippedNames,
  summarize,
} from './index.js';
import { filesOf } from './testing/folders.js';
import { planOf } from './testing/plans.js';

const directory = mkdtempSync(join(tmpdir(), 'experiments-'));
afterAll(() => rmSync(directory, { recursive: true }));

const SMALL = `name: small
title: Small
platform: { board: synthetic-aarch64 }
workload: { depth: 2, reads: 0.5 }
measure: { warm_up: 1ms, duration: 2ms }
sweep:
  structure:
    one: { platform.backend_cpus: 1 }
    two: { platform.backend_cpus: 2 }
  platform.frontends: [1, 2, 4]
repetitions: 2
conclusion: { compare: structure, at: { platform.frontends: 4 } }
`;

const rowsOf = (folder: RunFolder): string => readFileSync(join(folder.path, 'runs.csv'), 'utf8');

const made = async (name: string, plan: Plan): Promise<RunFolder> => {
  const folder = RunFolder.create(join(directory, name), plan);
  expect(await execute(plan, folder, { runner: new LocalRunner(), sensitivity: false })).toBe(true);
  return folder;
};

describe('an experiment', () => {
  it('gives the same bytes whenever it runs: rows, histograms, plots and report', async () => {
    const [one, two] = [await made('one', planOf(SMALL)), await made('two', planOf(SMALL))];
    const files = filesOf(one.path);
    expect(filesOf(two.path)).toEqual(files);
    expect(Object.keys(files)).toEqual(
      expect.arrayContaining(['/report.html', '/runs.csv', '/runs.json', '/plots/throughput.svg', '/plots/hops.svg']),
    );
    expect(rowsOf(one).trim().split('\n')).toHaveLength(1 + 6 * 2);
    // Nothing is fetched from anywhere.
    expect(readFileSync(one.reportFile, 'utf8')).not.toMatch(/(src|href)="?http/);
  });

  it('goes on where it was stopped, and ends as if it had not been', async () => {
    const plan = planOf(SMALL);
    const whole = await made('whole', plan);
    const folder = RunFolder.create(join(directory, 'stopped'), plan);
    const stopping = new AbortController();
    const done = await execute(plan, folder, {
      runner: new LocalRunner(),
      sensitivity: false,
      signal: stopping.signal,
      progress: (count) => {
        if (count === 5) stopping.abort();
      },
    });
    expect([done, folder.runs.length]).toEqual([false, 5]);
    // Killed while it was writing.
    writeFileSync(join(folder.path, 'journal.jsonl'), '{"run":{"point":5,"repe', { flag: 'a' });
    const again = RunFolder.open(folder.path);
    await execute(planOf(again.text), again, { runner: new LocalRunner(), sensitivity: false });
    const { '/journal.jsonl': _, ...files } = filesOf(folder.path);
    const { '/journal.jsonl': __, ...expected } = filesOf(whole.path);
    expect(files).toEqual(expected);
  });

  it('reports a point that fails with its reason, and makes the others', async () => {
    // Without a slot for a second access, a bring-up of two frontends ends in a fault.
    const plan = planOf(`name: failing
title: Failing
platform: { frontends: 4 }
measure: { warm_up: 1ms, duration: 1ms }
sweep: { platform.slots: [1, 5] }
repetitions: 1
`);
    const folder = await made('failing', plan);
    const [bad, good] = summarize(plan, folder.runs);
    expect(bad?.failures[0]).toMatch(/^front\d: vCPU 0 stopped: GuestFault/);
    expect(good?.metrics?.throughput.mean).toBeGreaterThan(0);
    expect(readFileSync(folder.reportFile, 'utf8')).toContain('1 of 2 points failed');
  });

  it('compares with another run of itself, point by point', async () => {
    const plan = planOf(SMALL);
    const faster = planOf(SMALL.replace('workload:', 'medium: { latency: 20us }\nworkload:'));
    const [slow, fast] = await Promise.all(
      [plan, faster].map(async (one, n) => {
        const folder = await made(`compare${n}`, one);
        return { plan: one, summaries: summarize(one, folder.runs) };
      }),
    );
    assert(slow !== undefined && fast !== undefined, 'both ran');
    const { points, unmatched } = compareRuns(slow, fast);
    expect([points.length, unmatched]).toEqual([6, 0]);
    const single = points.find(({ at }) => at['structure'] === 'one' && at['platform.frontends'] === 1);
    const throughput = single?.changes.find(({ metric }) => metric === 'throughput');
    expect(throughput?.difference.relative).toBeGreaterThan(0.5);
    for (const { changes } of compareRuns(slow, slow).points) {
      for (const { difference } of changes) expect(difference).toMatchObject({ mean: 0, clear: false });
    }
  });
});

describe('virtual time, as theory has it', () => {
  const point = (extra: string): Plan['points'][number] => {
    const [first] = planOf(`name: one
title: One
measure: { warm_up: 1ms, duration: 10ms }
${extra}`).points;
    assert(first !== undefined, 'there is one point');
    return first;
  };

  it('more frontends do more together, until the backend’s CPU is full: then only latency grows', async () => {
    const outcomes = [];
    for (const frontends of [1, 2, 4, 16, 32]) {
      const { settings } = point(`platform: { frontends: ${frontends} }\nworkload: { type: mmio }`);
      outcomes.push(await runPoint(settings, 1));
    }
    const throughputs = outcomes.map(({ throughput }) => throughput);
    expect([...throughputs].sort((a, b) => a - b)).toEqual(throughputs);
    const latencies = outcomes.map(({ latency }) => latency.p50);
    expect([...latencies].sort((a, b) => a - b)).toEqual(latencies);
    const busy = outcomes.at(-1)?.use?.find(({ group }) => group === 'backends');
    expect((busy?.guest ?? 0) + (busy?.hypervisor ?? 0)).toBeGreaterThan(0.99);
    // Little's law: as many are in flight as there are frontends.
    const last = outcomes.at(-1);
    expect(((last?.throughput ?? 0) * (last?.latency.mean ?? 0)) / 1e9).toBeCloseTo(32, -1);
  });

  it('an open loop gets the rate that it asks for, below saturation', async () => {
    const { settings } = point('workload: { rate: 3000, depth: 32 }\n');
    const { throughput } = await runPoint(
      { ...settings, measure: { ...settings.measure, warm_up: 5e6, duration: 200e6 } },
      1,
    );
    expect(Math.abs(throughput / 3000 - 1)).toBeLessThan(0.15);
  });

  it('a cost that is doubled makes it slower, by as much as it is met', async () => {
    const { settings } = point('workload: { type: mmio }');
    const [before, after] = [await runPoint(settings, 1), await runPoint(settings, 1, { register_access: 2 })];
    expect(after.latency.p50 - before.latency.p50).toBeGreaterThan(19_000);
    expect(after.latency.p50 - before.latency.p50).toBeLessThan(21_000);
  });
});

describe('what a conclusion hangs on', () => {
  it('tells a change that turns it from one that does not', () => {
    const figure = (constant: string | undefined, factor: number, a: number, b: number) => [
      { constant, factor, value: 'a', figure: a },
      { constant, factor, value: 'b', figure: b },
    ];
    const rows = sensitivityRows(
      [
        ...figure(undefined, 1, 100, 90),
        ...figure('trap_entry', 2, 99, 90),
        ...figure('ipi_latency', 2, 60, 90),
        ...figure('inject', 2, 89.5, 90),
      ],
      'throughput',
    );
    expect(rows.map(({ constant, turned }) => [constant, turned])).toEqual([
      [undefined, false],
      ['ipi_latency', true],
      ['inject', false],
      ['trap_entry', false],
    ]);
  });
});

describe('bad input', () => {
  const base = 'name: bad\ntitle: Bad\n';
  it.each([
    [
      'an unknown parameter',
      'sweep: { platform.frontend: [1] }',
      /no parameter platform.frontend; .*\n *--> test.yaml:3:10/,
    ],
    ['a negative rate', 'workload: { rate: -5 }', /`workload.rate`: expected a rate.*\n *--> test.yaml:3:19/],
    ['an unknown field', 'workload: { dept: 5 }', /no field `dept` here\n *--> test.yaml:3:13/],
    [
      'a value out of range, in a sweep',
      'sweep:\n  workload.depth: [1, 0]',
      /`workload.depth`: .*\n *--> test.yaml:4:23/,
    ],
    [
      'a board that is too small',
      'platform: { board: zcu104, frontends: 8 }',
      /front3 wants 1 CPU.*\n *--> test.yaml:3:1/,
    ],
    [
      'a sweep that cannot fit',
      'platform: { board: zcu104 }\nsweep:\n  platform.frontends: [1, 9]',
      /platform.frontends = 9: .*\n *--> test.yaml:5:27/,
    ],
    ['a wrong type', 'repetitions: many', /`repetitions`: .*\n *--> test.yaml:3:14/],
    [
      'a conclusion over nothing',
      'conclusion: { compare: structure }',
      /no dimension structure; it has none\n *--> test.yaml:3:24/,
    ],
    ['what is no YAML', 'sweep: [', /not YAML: .*\n *--> test.yaml:/],
  ])('%s: refused, with its place', (_, text, message) => {
    const { plan, text: problems } = readPlan(`${base}${text}\n`, 'test.yaml');
    expect(plan).toBeUndefined();
    expect(problems).toMatch(message);
  });
});

describe('the experiments that come with Remio', () => {
  it.each(shippedNames())('%s is sound, and small enough for a quick look', (name) => {
    const file = shippedFile(name) ?? '';
    const { plan, text } = readPlan(readFileSync(file, 'utf8'), file);
    assert(plan !== undefined, text);
    expect(plan.name).toBe(name);
    const quick = quickPlan(plan);
    expect(quick.points.length).toBeGreaterThan(0);
    expect(quick.points.length).toBeLessThanOrEqual(12);
    expect(quick.points.every(({ settings }) => settings.platform.frontends <= 64)).toBe(true);
  });
});
