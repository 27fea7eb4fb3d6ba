import { isBackend, type Topology } from '@remio/topology';
import { deferred } from '../deferred.js';
import { CommandError, EXIT } from '../exit-codes.js';
import { RunningPlatform } from '../running-platform.js';
import type { PlatformStatus } from '../status.js';
import { cpuTimeOf } from '../wall-clock/process-times.js';
import { type Bench, median, ratioList } from './bench.js';
import { star } from './star.js';

/** VMs in all; the first is what the others are compared with. */
const SIZES = [10, 100, 1000] as const;
const QUICK_SIZES = [10, 1000] as const;
/** vCPUs that read at the same time, each of a VM of its own, whatever the size; the other VMs have brought up a driver. */
const IN_FLIGHT = 8;
/** Milliseconds before it is measured, for compilers, and while it is. */
const WARM_UP_MS = 1500;
const MEASURED_MS = 3000;

const readersOf = (topology: Topology): ReadonlySet<string> =>
  new Set(
    topology.vms
      .filter((vm) => !isBackend(vm))
      .slice(-IN_FLIGHT)
      .map(({ name }) => name),
  );

/** The last VMs read without end; the others are as they were. */
function withReaders(topology: Topology, readers: ReadonlySet<string>): Topology {
  const program = {
    kind: 'builtin',
    name: 'mmio-ping',
    // A warm-up keeps no times.
    options: { warmUp: Number.MAX_SAFE_INTEGER },
  } as const;
  return { ...topology, vms: topology.vms.map((vm) => (readers.has(vm.name) ? { ...vm, program } : vm)) };
}

/** Nanoseconds of CPU time for each trap, by process. */
interface Cost {
  readonly traps: number;
  readonly total: number;
  readonly byProcess: Readonly<Record<string, number>>;
}

/** What a trap costs among so many VMs. */
async function costAmong(vms: number, quick: boolean): Promise<Cost> {
  const plain = star(vms, 'rng', 64);
  const readers = readersOf(plain);
  const topology = withReaders(plain, readers);
  const over = deferred<string | undefined>();
  let open = topology.vms.filter((vm) => !isBackend(vm) && !readers.has(vm.name)).length;
  const platform = await RunningPlatform.boot({
    topology,
    processes: 1,
    onReport: (vm, event) => {
      const { kind, reason } = event as { readonly kind?: string; readonly reason?: string };
      if (kind === 'rng') open -= 1;
      if (open === 0) over.resolve(undefined);
      if (kind === 'vcpu-off' && reason !== undefined) over.resolve(`${vm}: ${reason}`);
    },
  });
  try {
    const failure = await over.promise;
    if (failure !== undefined) throw new CommandError(failure, EXIT.FAILED);
    return await measured(platform, readers, quick);
  } finally {
    await platform.stop();
  }
}

async function measured(platform: RunningPlatform, readers: ReadonlySet<string>, quick: boolean): Promise<Cost> {
  const traps = async (): Promise<number> =>
    ((await platform.query('status')) as PlatformStatus).vms
      .filter(({ name }) => readers.has(name))
      .reduce((sum, vm) => sum + vm.traps, 0);
  const cpu = (): ReadonlyMap<string, number> =>
    new Map([...platform.supervisor.pids()].map(([name, pid]) => [name, cpuTimeOf(pid) ?? 0]));
  await pause(quick ? WARM_UP_MS / 3 : WARM_UP_MS);
  // What the questions cost is outside.
  const trapsBefore = await traps();
  const before = cpu();
  await pause(quick ? MEASURED_MS / 3 : MEASURED_MS);
  const after = cpu();
  const count = (await traps()) - trapsBefore;
  const byProcess = Object.fromEntries(
    [...after].map(([name, time]) => [name, (time - (before.get(name) ?? 0)) / count]),
  );
  return { traps: count, total: Object.values(byProcess).reduce((sum, time) => sum + time, 0), byProcess };
}

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const show = (nanoseconds: number): string => `${(nanoseconds / 1000).toFixed(1)} us`;

/** What a trap costs among many VMs, in CPU time of all processes. */
export const scale: Bench = {
  async measure({ quick, runs, progress }) {
    const sizes = quick ? QUICK_SIZES : SIZES;
    const costs = sizes.map(() => [] as Cost[]);
    for (let run = 0; run < (quick ? 1 : runs); run += 1) {
      for (const [n, size] of sizes.entries()) {
        progress.at(run, 'runs');
        costs[n]?.push(await costAmong(size, quick));
      }
    }
    const floors = costs[0] ?? [];
    const rows = sizes.map((vms, n) => {
      const own = costs[n] ?? [];
      const ratios = own.map(({ total }, run) => total / (floors[run]?.total ?? total));
      return { vms, cost: median(own.map(({ total }) => total)), ratios, ratio: median(ratios), runs: own };
    });
    return {
      title:
        'CPU time of all processes for a remote register read, 8 vCPUs reading, the other VMs with drivers up and idle; the ' +
        'ratio is to 10 VMs; medians',
      rows: rows.map(({ vms, cost, ratio }) => ({
        what: `${vms} VMs`,
        figure: show(cost),
        floor: show(rows[0]?.cost ?? 0),
        ratio,
        ...(vms === 1000 ? { bar: 'at most 1.3' } : {}),
      })),
      notes: rows.slice(1).map(({ vms, ratios }) => `ratios of the runs, ${vms} VMs: ${ratioList(ratios)}`),
      data: rows,
    };
  },
};
