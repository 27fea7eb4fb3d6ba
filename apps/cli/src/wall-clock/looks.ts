import type { FrameHop, FrameHops, ProcessGroup, ProcessUse, Role } from '@remio/experiments';
import type { LatencySummary } from '@remio/telemetry';
import { isBackend, type Topology } from '@remio/topology';
import type { Placed } from '../placement.js';
import type { RunningPlatform } from '../running-platform.js';
import type { LatencyReport, PlatformStatus, Reports } from '../status.js';
import { cpuTimeOf } from './process-times.js';

/** A look at a platform that runs: what was counted so far. */
export interface Look {
  /** Nanoseconds of the monotonic clock. */
  readonly at: number;
  /** Nanoseconds of CPU time by name of the process. */
  readonly cpu: ReadonlyMap<string, number>;
  readonly status: PlatformStatus;
}

export async function lookAt(platform: RunningPlatform): Promise<Look> {
  const at = Number(process.hrtime.bigint());
  const cpu = new Map<string, number>();
  for (const [name, pid] of platform.supervisor.pids()) cpu.set(name, cpuTimeOf(pid) ?? 0);
  return { at, cpu, status: (await platform.query('status')) as PlatformStatus };
}

/** What happened between two looks. */
interface Measured {
  /** By the frontends that are measured, a second: remote accesses, and interrupts that they were sent. */
  readonly accesses: number;
  readonly interrupts: number;
  /** Since the boot. */
  readonly faults: number;
  readonly processes: readonly ProcessUse[];
}

export function measuredBetween(
  first: Look,
  last: Look,
  processes: readonly Placed[],
  roles: ReadonlyMap<string, Role>,
): Measured {
  const duration = last.at - first.at;
  const rate = (of: (look: Look) => number): number => ((of(last) - of(first)) * 1e9) / duration;
  const counted = (what: 'accesses' | 'notifications') => (look: Look) =>
    look.status.vms
      .filter(({ name }) => roles.get(name) === 'frontend')
      .flatMap(({ devices }) => devices)
      .reduce((sum, device) => sum + device[what], 0);
  const groups = new Map(processes.map((process) => [process.name, groupOf(process, roles)]));
  return {
    accesses: rate(counted('accesses')),
    interrupts: rate(counted('notifications')),
    faults: last.status.vms.reduce((sum, vm) => sum + vm.faults, 0),
    processes: [...last.cpu].map(
      ([name, time]): ProcessUse => ({
        name,
        group: groups.get(name) ?? 'hypervisor',
        vms: processes.find((process) => process.name === name)?.vms.map((vm) => vm.name) ?? [],
        cpus: (time - (first.cpu.get(name) ?? 0)) / duration,
      }),
    ),
  };
}

/** What the VMs of a process do. */
function groupOf({ part, vms }: Placed, roles: ReadonlyMap<string, Role>): ProcessGroup {
  if (part === 'backend-vm') return 'backends';
  const only = (role: Role): boolean => vms.every(({ name }) => roles.get(name) === role);
  return only('noisy') ? 'noisy frontends' : only('other') ? 'others' : 'frontends';
}

/** How long messages between processes took, hop by hop: medians over VMs, weighted with their frames. */
export function framesOf(topology: Topology, status: PlatformStatus, reports: Reports): FrameHops {
  const backends = new Set(topology.vms.filter(isBackend).map(({ name }) => name));
  const toHypervisor = (serves: boolean): FrameHop =>
    together(status.vms.filter(({ name }) => backends.has(name) === serves).map((vm) => vm.toHypervisor));
  const reported = (serves: boolean, which: keyof LatencyReport): FrameHop =>
    together(
      Object.entries(reports).flatMap(([name, kinds]) => {
        const latency = kinds['latency'] as LatencyReport | undefined;
        return backends.has(name) === serves && latency !== undefined ? [latency[which]] : [];
      }),
    );
  return {
    frontend_to_hypervisor: toHypervisor(false),
    in_hypervisor: together([status.turn]),
    hypervisor_to_backend: reported(true, 'fromHypervisor'),
    in_backend: reported(true, 'turn'),
    backend_to_hypervisor: toHypervisor(true),
    hypervisor_to_frontend: reported(false, 'fromHypervisor'),
    round_trip: reported(false, 'roundTrip'),
  };
}

function together(summaries: readonly LatencySummary[]): FrameHop {
  const count = summaries.reduce((sum, summary) => sum + summary.count, 0);
  const mean = (of: 'p50' | 'p99'): number =>
    count === 0 ? 0 : summaries.reduce((sum, summary) => sum + summary[of] * summary.count, 0) / count;
  return { count, p50: mean('p50'), p99: mean('p99') };
}
