import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hex, ok } from '@remio/base';
import { COST_NAMES, costModel, loadBoard, nanosecondsOf } from '@remio/board';
import { type BaseReader, PARAMETERS, readPlan, shippedNames, textOfTrace } from '@remio/experiments';
import { BUILTIN_PROGRAMS, parseTopology } from '@remio/topology';
import { describe, expect, it } from 'vitest';

const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'experiments.md'), 'utf8');

/** What an experiment keeps of a recording of a topology in which every vCPU read one register. */
function recordingOf(text: string): string {
  const { topology } = parseTopology(text, 'base', {
    resolve: (path) => path,
    programs: BUILTIN_PROGRAMS,
    files: { exists: () => true, imageProblem: () => undefined, directoryProblem: () => undefined },
  });
  return textOfTrace({
    format: 'remio-trace/1',
    timed: true,
    vms: (topology?.vms ?? []).map(({ cpus, remioDevs }) => {
      const first = remioDevs.find(({ type }) => type === 'frontend');
      const accesses = first === undefined ? [] : [{ at: 0, address: hex(first.window.base), width: 4 as const }];
      return { vcpus: cpus.map(() => accesses) };
    }),
  });
}

describe('docs/experiments.md', () => {
  it('has every cost of the model, with its value', () => {
    const board = loadBoard({ name: 'zcu104' });
    if (!board.ok) throw new Error(board.error);
    const model = costModel(board.value);
    const rows = [...page.matchAll(/^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|/gm)].map(([, name, cycles, ns]) => [
      name,
      Number(cycles),
      Math.round(Number(ns)),
    ]);
    expect(rows).toEqual(COST_NAMES.map((name) => [name, model.figures[name].value, nanosecondsOf(model, name)]));
  });

  it('says that all of them are estimates, as long as they are', () => {
    const board = loadBoard({ name: 'zcu104' });
    if (!board.ok) throw new Error(board.error);
    const published = Object.entries(costModel(board.value).figures).filter(([, { basis }]) => basis === 'published');
    expect(published).toEqual([]);
    expect(page).toContain('**No latency of Remote I/O has been published. Every cost below is our estimate**');
  });

  it('names every parameter and every experiment', () => {
    const missing = PARAMETERS.filter((parameter) => !page.includes(`\`${parameter.split('.').at(-1)}\``));
    expect(missing.filter((parameter) => parameter !== 'costs.clock_hz')).toEqual([]);
    expect(shippedNames().filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it('shows experiments that are some', () => {
    // What readers have as their own topology is one of the examples here.
    const base = join(import.meta.dirname, '..', '..', 'examples', 'backend-per-device.yaml');
    // Replays need every device in virtual time, where random bytes come of a seed.
    const text = readFileSync(base, 'utf8').replaceAll('type: entropy', 'type: entropy, seed: 1');
    const readBase: BaseReader = (name, what) =>
      ok({ name, file: base, text: what === 'topology' ? text : recordingOf(text) });
    const examples = [...page.matchAll(/```yaml\n(name: [^`]*)```/g)].map(([, text = '']) => text);
    const plans = examples.map((example) => readPlan(example, 'docs/experiments.md', readBase));
    expect(plans.map(({ plan, text }) => [text, plan?.points.length])).toEqual([
      ['', 6],
      ['', 4],
      ['', 4],
    ]);
  });
});
