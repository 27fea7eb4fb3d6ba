import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPlan } from '@remio/experiments';
import { BUILTIN_PROGRAMS, parseTopology, starTopology } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { validationBoards, validationExample } from '../support/validation-set.js';

const folder = join(import.meta.dirname, '..', '..', 'examples');
const all = readdirSync(folder, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.yaml'))
  .sort();
const isExperiment = (name: string): boolean => name.startsWith('experiments');
const files = all.filter((name) => !isExperiment(name));

describe('the validation set', () => {
  it('has every board that exists, and no other', () => {
    const boards = validationBoards().map(({ name }) => join('validation', `${name}.yaml`));
    expect(files.filter((name) => name.startsWith('validation'))).toEqual(boards.sort());
  });

  it.each(validationBoards())(
    '$name: as it is written (`npx vitest run test/tidy/examples.test.ts -u` writes it)',
    async (board) => {
      await expect(validationExample(board)).toMatchFileSnapshot(join(folder, 'validation', `${board.name}.yaml`));
    },
  );
});

it('the star is what `remio generate star` prints', async () => {
  const star = starTopology({ arch: 'aarch64', frontends: 64, vcpus: 1, perBackend: 64, work: 'rng', amount: 4096 });
  await expect(star).toMatchFileSnapshot(join(folder, 'star-64.yaml'));
});

describe.each(files)('%s', (name) => {
  it('is good, without a warning', () => {
    const text = readFileSync(join(folder, name), 'utf8');
    const { topology, diagnostics } = parseTopology(text, name, {
      resolve: (path) => path,
      files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
      programs: BUILTIN_PROGRAMS,
    });
    expect(diagnostics).toEqual([]);
    expect(topology?.vms.length).toBeGreaterThan(0);
  });

  it('says at its top what it shows, and is in the table', () => {
    const [first = '', second = ''] = readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .filter((line) => !line.startsWith('# yaml-language-server'));
    expect(`${first} ${second}`).toMatch(/^# \S.*/);
    const page = join(folder, 'README.md');
    const row = name.startsWith('validation') ? '`validation/' : `[${name}](${name})`;
    expect(readFileSync(page, 'utf8')).toContain(row);
  });
});

describe.each(all.filter(isExperiment))('%s', (name) => {
  const file = join(folder, name);

  it('is an experiment, with the topologies that it starts from', () => {
    const { plan, text } = readPlan(readFileSync(file, 'utf8'), file);
    expect(text).toBe('');
    expect(plan?.points.length).toBeGreaterThan(1);
  });

  it('says at its top what it shows and which command runs it, and is in the table', () => {
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(/^# \S/);
    expect(text).toContain(`npm run remio -- experiment examples/${name}`);
    expect(readFileSync(join(folder, 'README.md'), 'utf8')).toContain(`[${name}](${name})`);
  });
});
