import { backendPrograms } from '@remio/backend-vm';
import { frontendPrograms } from '@remio/frontend-vm';
import type { Topology, Vm } from '@remio/topology';
import { InprocEngine, programOf } from '@remio/vm-runtime';
import { deferred } from '../deferred.js';
import { CommandError, EXIT } from '../exit-codes.js';
import { topologyOf } from '../topology-file.js';
import { type Bench, MiB, median, scratchDisk, showPerSecond, topologyPath } from './bench.js';

/** What frontends do here: nothing but reads, and only all together are timed. */
const pinging = (topology: Topology, options: object): Topology => ({
  ...topology,
  vms: topology.vms.map((vm) =>
    vm.program.name === 'dispatcher' ? vm : { ...vm, program: { ...vm.program, options } },
  ),
});

async function readsPerSecond(topology: Topology, count: number): Promise<number> {
  const table = { ...backendPrograms, ...frontendPrograms };
  const programs = new Map<Vm, Awaited<ReturnType<typeof programOf>>>();
  for (const vm of topology.vms) programs.set(vm, await programOf(vm, table));
  const got = deferred<number | string>();
  const engine = InprocEngine.create(topology, (vm) => programs.get(vm) ?? (() => Promise.resolve()), {
    report: (_, event) => {
      if (event.kind === 'mmio-ping') got.resolve(Number(event['totalNs']));
      if (event.kind === 'vcpu-off' && event['reason'] !== undefined) got.resolve(String(event['reason']));
    },
    log: (vm, line) => console.error(`${vm.name}: ${line}`),
  });
  if (!engine.ok) throw new CommandError(engine.error, EXIT.USAGE);
  engine.value.start();
  const ns = await got.promise;
  await engine.value.stop();
  if (typeof ns === 'string') throw new CommandError(ns, EXIT.FAILED);
  return count / (ns / 1e9);
}

/** The whole path in one process: vCPU, trap decode, core, dispatcher, register model, resume. */
export const inproc: Bench = {
  async measure({ quick, runs, progress }) {
    const count = quick ? 100_000 : 1_000_000;
    const disk = scratchDisk(MiB);
    const rates: number[] = [];
    try {
      const topology = pinging(topologyOf(topologyPath('ping-aarch64'), [disk.path]), {
        count,
        warmUp: 50_000,
        timed: false,
      });
      for (let run = 0; run < runs; run += 1) {
        progress.at(run, 'runs');
        rates.push(await readsPerSecond(topology, count));
      }
    } finally {
      disk.remove();
    }
    return {
      title:
        'remote register reads in one process: vCPU, trap decode, core, dispatcher, register model, resume; median',
      rows: [{ what: 'one vCPU', figure: showPerSecond(median(rates)), bar: '1,000,000/s' }],
      data: { readsPerSecond: median(rates), rates },
    };
  },
};
