import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { type Outcome, type Run, RunFolder, readPlan } from '@remio/experiments';
import { afterAll, describe, expect, it } from 'vitest';
import { RunningRemio, remio, root } from './run-remio.js';

const directory = mkdtempSync(join(tmpdir(), 'remio-wall-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const runsOf = (folder: string): readonly Run[] =>
  JSON.parse(readFileSync(join(folder, 'runs.json'), 'utf8')) as readonly Run[];

const outcomes = (folder: string): readonly Outcome[] => runsOf(folder).flatMap((run) => (run.ok ? [run.outcome] : []));

/** Files of runs of this process's kind that nobody took away. */
const leftBehind = (pid: number | undefined): readonly string[] =>
  ['/dev/shm', tmpdir()].flatMap((base) => readdirSync(base).filter((name) => name.startsWith(`remio-${pid}-`)));

describe('remio experiment on the wall clock', () => {
  it('runs the example at a small size, with the processes of a platform, and leaves nothing of them', async () => {
    const out = join(directory, 'example');
    const file = join(root, 'examples', 'experiments', 'wall-clock.yaml');
    const running = new RunningRemio(['experiment', file, '--quick', '--out', out]);
    const { code, stderr } = await running.ended;
    expect([code, stderr]).toEqual([0, '']);
    const made = outcomes(out);
    expect(made).toHaveLength(4);
    for (const { operations, throughput, latency, perOperation, frames, processes, errors } of made) {
      expect(errors).toBe(0);
      expect(latency.count).toBe(operations);
      expect(operations).toBeGreaterThan(0);
      expect(throughput).toBeCloseTo(operations / 0.5);
      // With four requests in flight, several go with one notification, and are answered with one interrupt.
      expect(perOperation.interrupts).toBeGreaterThan(0);
      expect(perOperation.accesses).toBeGreaterThan(0);
      expect(perOperation.accesses).toBeLessThan(4);
      expect(frames?.in_hypervisor.count).toBeGreaterThan(0);
      expect(frames?.frontend_to_hypervisor.p50).toBeGreaterThan(0);
      const busy = new Map(processes?.map(({ name, group, cpus }) => [name, { group, cpus }]));
      expect(busy.get('hypervisor')?.cpus).toBeGreaterThan(0);
      expect(busy.get('front0')).toMatchObject({ group: 'frontends' });
    }
    const groups = made.map(({ processes }) => processes?.filter(({ group }) => group === 'backends').length);
    expect(groups).toEqual([1, 1, 2, 2]);
    const report = readFileSync(join(out, 'report.html'), 'utf8');
    expect(report).toContain('The figures are this machine’s');
    expect(report).not.toContain('What the conclusion hangs on');
    expect(leftBehind(running.process.pid)).toEqual([]);
  });

  it('reports points whose process ends, or whose clients never get ready, with their logs, and makes the others', async () => {
    const end = "{ console.error('out of order'); process.exit(7); }";
    writeFileSync(join(directory, 'at-boot.mjs'), `export default () => ${end};\n`);
    writeFileSync(join(directory, 'later.mjs'), `export default () => async () => setTimeout(() => ${end}, 300);\n`);
    const platform = (program: string): string => `board: qemu-aarch64-virt
shared_memories: { disk: { size: 1MiB } }
hosts: { guests: [front] }
vms:
  back:
    cpus: 1
    program: ${program}
    remio_devs:
      - { name: disk, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk, base: 0xd0000000 }, device: { type: block, image: disk.img } }
  front:
    cpus: 2
    program: idle
    remio_devs:
      - { name: disk, type: frontend, bind_key: 0, interrupt: 79, window: { base: 0xa003e00 }, shmem: { memory: disk, base: 0xd0000000 } }
`;
    writeFileSync(join(directory, 'good.yaml'), platform('dispatcher'));
    writeFileSync(join(directory, 'never.mjs'), 'export default () => () => new Promise(() => {});\n');
    for (const name of ['at-boot', 'later', 'never']) {
      writeFileSync(join(directory, `${name}.yaml`), platform(`{ module: ${name}.mjs }`));
    }
    const file = join(directory, 'some-end.yaml');
    writeFileSync(
      file,
      `name: some-end
title: Some end
clock: wall
measure: { warm_up: 20ms, duration: 100ms }
repetitions: 1
sweep:
  back:
    at boot: { base: at-boot.yaml }
    later: { base: later.yaml }
    never: { base: never.yaml, measure.patience: 1s }
    good: { base: good.yaml }
`,
    );
    const out = join(directory, 'some-end');
    const { code, stdout, stderr } = await remio('experiment', file, '--out', out);
    expect(code).toBe(1);
    expect(stderr).toContain('back = at boot: back ended before it was ready');
    expect(stderr).toContain('back = later: process back ended (exit code 7)');
    expect(stderr).toContain('back = never: front not ready after 1 s');
    expect(stdout).toContain('3 runs failed; the report says why');
    for (const run of ['point-0-0', 'point-1-0']) {
      expect(readFileSync(join(out, 'logs', run, 'back.log'), 'utf8')).toContain('out of order');
    }
    const [made] = outcomes(out);
    expect(made?.operations).toBeGreaterThan(0);
    // On the host that the topology names, and with both of its vCPUs.
    expect(made?.processes?.find(({ name }) => name === 'guests')).toMatchObject({
      vms: ['front'],
      group: 'frontends',
    });
  });

  it('is stopped by Ctrl-C, which ends every process, and goes on', async () => {
    const file = join(directory, 'long.yaml');
    writeFileSync(
      file,
      'name: long\ntitle: Long\nclock: wall\nworkload: { type: mmio }\nsweep: { platform.frontends: [1, 2] }\nrepetitions: 1\nmeasure: { warm_up: 0ns, duration: 1s }\n',
    );
    const out = join(directory, 'long');
    // In a group of its own, as in a terminal: what ends one ends all.
    const running = new RunningRemio(['experiment', file, '--out', out], { group: true });
    const journal = join(out, 'journal.jsonl');
    while (!existsSync(journal) || readFileSync(journal, 'utf8') === '') await new Promise((go) => setTimeout(go, 20));
    process.kill(-(running.process.pid ?? 0), 'SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(130);
    expect(stdout).toContain(`go on with: remio experiment --resume ${out}`);
    expect(runsOf(out).map(({ point, ok }) => [point, ok])).toEqual([[0, true]]);
    expect(leftBehind(running.process.pid)).toEqual([]);
    expect(() => process.kill(-(running.process.pid ?? 0), 0)).toThrow('ESRCH');
    expect((await remio('experiment', '--resume', out)).code).toBe(0);
    expect(runsOf(out).map(({ point, ok }) => [point, ok])).toEqual([
      [0, true],
      [1, true],
    ]);
  });

  it.each([
    ['costs', 'costs: { trap_entry: 1 }', [], /`costs` are for virtual time[\s\S]*refused.yaml:4:1/],
    ['runs at the same time', '', ['--parallel', '2'], /--parallel 2: runs on the wall clock would measure each other/],
  ])('refuses %s', async (_, extra, options, message) => {
    const file = join(directory, 'refused.yaml');
    const out = join(directory, 'refused');
    writeFileSync(file, `name: refused\ntitle: Refused\nclock: wall\n${extra}\n`);
    const { code, stderr } = await remio('experiment', file, '--out', out, ...options);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync(out)).toBe(false);
  });

  it('takes figures of another clock or another machine for what they are', async () => {
    const folderOf = (clock: 'virtual' | 'wall'): RunFolder => {
      const { plan, text } = readPlan(`name: ${clock}\ntitle: Some\nclock: ${clock}\n`, 'some.yaml');
      assert(plan !== undefined, text);
      return RunFolder.create(join(directory, clock), plan);
    };
    const [virtual, wall] = [folderOf('virtual'), folderOf('wall')];
    const compared = await remio('experiment', 'compare', virtual.path, wall.path);
    expect([compared.code, compared.stderr]).toEqual([2, expect.stringContaining('cannot be compared')]);
    const environment = { ...wall.environment, cpu: 'Cortex-A53' };
    writeFileSync(join(wall.path, 'environment.json'), JSON.stringify(environment));
    const resumed = await remio('experiment', '--resume', wall.path);
    expect([resumed.code, resumed.stderr]).toEqual([2, expect.stringContaining('another machine, Cortex-A53 with')]);
  });
});
