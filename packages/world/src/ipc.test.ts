import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from '@remio/base';
import { frontendPrograms } from '@remio/frontend-vm';
import { BUILTIN_PROGRAMS, parseTopology } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { World } from './index.js';

const examples = join(import.meta.dirname, '..', '..', '..', 'examples');

/** Runs partitions in virtual time until all have ended; what each reported, and when. */
async function run(name: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const { topology } = parseTopology(readFileSync(join(examples, name), 'utf8'), name, {
    resolve: (path) => path,
    programs: BUILTIN_PROGRAMS,
    files: { exists: () => true, imageProblem: () => undefined, directoryProblem: () => undefined },
  });
  const drivers = frontendPrograms['drivers'];
  assert(topology !== undefined && drivers !== undefined, 'the example is good');
  const reports: Readonly<Record<string, unknown>>[] = [];
  const open = new Set(topology.vms.map((vm) => vm.name));
  const world = World.create({
    topology,
    program: () => drivers({}),
    report: (vm, event, at) => {
      reports.push({ ...event, vm: vm.name, at });
      if (event.kind === 'vcpu-off') open.delete(vm.name);
      if (open.size === 0) world.stop();
    },
    log: () => {},
    until: 10_000_000_000,
  });
  expect(await world.run()).toBe('stopped');
  return reports;
}

describe.each(['aarch64', 'riscv64'])('IPC in virtual time on %s', (arch) => {
  it('partitions exchange every message, at the same times in every run', async () => {
    const reports = await run(`partitions-${arch}.yaml`);
    const exchanges = reports.filter(({ kind }) => kind === 'ipc-exchange');
    expect(exchanges).toHaveLength(4);
    for (const exchange of exchanges) expect(exchange).toMatchObject({ mismatches: 0 });
    expect(exchanges.some(({ doorbells }) => Number(doorbells) > 0)).toBe(true);
    expect(await run(`partitions-${arch}.yaml`)).toEqual(reports);
  });
});
