import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { RunningRemio, remio, root } from '../integration/run-remio.js';

const directory = mkdtempSync(join(tmpdir(), 'remio-experiment-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const file = join(directory, 'small.yaml');
const write = (extra = ''): void =>
  writeFileSync(
    file,
    `name: small
title: Small
measure: { warm_up: 1ms, duration: 2ms }
workload: { type: mmio }
sweep: { platform.frontends: [1, 2, 4] }
repetitions: 2
${extra}`,
  );

describe('remio experiment', () => {
  it('makes runs in processes of its own, the same as one process makes; tells where the report is', async () => {
    write();
    const [one, two] = [join(directory, 'one'), join(directory, 'two')];
    const first = await remio('experiment', file, '--out', one, '--parallel', '2');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(first.stdout).toContain(`report: ${join(one, 'report.html')}`);
    const second = await remio('experiment', file, '--out', two, '--parallel', '1', '--json');
    expect(second.code).toBe(0);
    expect(JSON.parse(second.stdout)).toMatchObject({ folder: two, points: [{ failures: [] }, {}, {}] });
    for (const name of ['runs.json', 'runs.csv', 'report.html', 'plots/throughput.svg']) {
      expect(readFileSync(join(one, name), 'utf8')).toBe(readFileSync(join(two, name), 'utf8'));
    }
    const compared = await remio('experiment', 'compare', one, two);
    expect(compared.code).toBe(0);
    expect(compared.stdout).toContain('+0.0%');
  });

  it('is made in shards as well, which gathered are the same; one that is started again goes on', async () => {
    write();
    const [whole, gathered] = [join(directory, 'whole'), join(directory, 'gathered')];
    const shards = ['1/2', '2/2'].map((shard) => ({ shard, out: join(directory, `shard-${shard[0]}`) }));
    const made = await Promise.all([
      remio('experiment', file, '--out', whole, '--parallel', '1'),
      ...shards.map(({ shard, out }) => remio('experiment', file, '--shard', shard, '--out', out, '--parallel', '1')),
    ]);
    expect(made).toMatchObject([{ code: 0 }, { code: 0 }, { code: 0, stdout: expect.stringContaining('shard 2/2') }]);
    const [one = '', two = ''] = shards.map(({ out }) => out);
    const again = await remio('experiment', file, '--shard', '2/2', '--out', two, '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ shard: { index: 2, of: 2 }, points: [{}, {}] });
    expect(readFileSync(join(two, 'journal.jsonl'), 'utf8').trim().split('\n')).toHaveLength(4);
    const [together, lacking, other] = await Promise.all([
      remio('experiment', 'gather', two, one, '--out', gathered),
      remio('experiment', 'gather', two),
      remio('experiment', file, '--shard', '1/2', '--out', two),
    ]);
    expect(together).toMatchObject({ code: 0, stdout: expect.stringContaining(join(gathered, 'report.html')) });
    for (const name of ['runs.json', 'runs.csv', 'report.html', 'plots/throughput.svg']) {
      expect(readFileSync(join(gathered, name), 'utf8')).toBe(readFileSync(join(whole, name), 'utf8'));
    }
    expect(lacking).toMatchObject({ code: 2, stderr: expect.stringContaining('shard 1/2 is missing') });
    expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('is shard 2/2') });
  });

  it('is stopped by Ctrl-C, keeps what is done, and goes on', async () => {
    write('');
    writeFileSync(file, readFileSync(file, 'utf8').replace('duration: 2ms', 'duration: 400ms'));
    const out = join(directory, 'stopped');
    const running = new RunningRemio(['experiment', file, '--out', out, '--parallel', '1']);
    const journal = join(out, 'journal.jsonl');
    while (!existsSync(journal) || readFileSync(journal, 'utf8') === '') await new Promise((go) => setTimeout(go, 20));
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(130);
    expect(stdout).toContain(`go on with: remio experiment --resume ${out}`);
    const before = readFileSync(journal, 'utf8');
    expect(existsSync(join(out, 'report.html'))).toBe(true);
    expect((await remio('experiment', '--resume', out)).code).toBe(0);
    const after = readFileSync(journal, 'utf8');
    expect(after.startsWith(before)).toBe(true);
    expect(after.trim().split('\n')).toHaveLength(6);
  });

  it('runs the example on a topology of its own at a small size', async () => {
    const out = join(directory, 'based');
    const file = join(root, 'examples', 'experiments', 'disk-of-a-platform.yaml');
    const { code, stdout, stderr } = await remio('experiment', file, '--quick', '--out', out, '--json');
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ points: Array(6).fill({ failures: [] }) });
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain(
      'Left out, for the workload does not use them: net0',
    );
  });

  it.each([
    ['a mistake in the file', ['experiment', file], /no parameter platform.frontend[\s\S]*small.yaml:\d+:\d+/],
    ['no file', ['experiment', join(directory, 'none.yaml')], /there is no file/],
    ['an unknown name', ['experiment', 'run', 'none'], /no experiment is called none; there are backend-structure/],
    ['nothing', ['experiment'], /give the file of an experiment/],
    ['a folder that is none', ['experiment', '--resume', directory], /no folder of an experiment/],
    ['a shard beyond the last', ['experiment', file, '--shard', '3/2'], /expected I\/N/],
    ['zero processes', ['experiment', file, '--parallel', '0'], /expected/],
  ])('%s: exit code 2, no stack trace', async (_, args, message) => {
    writeFileSync(file, 'name: small\ntitle: Small\nsweep: { platform.frontend: [1] }\n');
    const { code, stderr } = await remio(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});
