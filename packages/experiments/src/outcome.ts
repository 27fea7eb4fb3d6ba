import type { CpuUse, Hop } from '@remio/world';

/** Latencies of one run, in nanoseconds. */
export interface Latencies {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly 'p99.9': number;
  readonly max: number;
  /** All of them, as a compressed HDR histogram in base64. */
  readonly histogram: string;
}

/** What one run of a point gave. Plain data. */
export interface Outcome {
  /** Nanoseconds that count. */
  readonly duration: number;
  /** Operations that ended in them, of all frontends that are measured. */
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  /** Operations a second. */
  readonly throughput: number;
  readonly latency: Latencies;
  /** What the measured frontends did besides, if anything. */
  readonly beside?: { readonly throughput: number; readonly latency: Latencies };
  /** Of the noisy frontends, if there are any. */
  readonly noisy?: { readonly throughput: number; readonly latency: Latencies };
  /** Per operation: remote register accesses, interrupts that the backend raised. */
  readonly perOperation: { readonly accesses: number; readonly interrupts: number };
  /** Nanoseconds of one access, on average, by hop; virtual time only. */
  readonly hops?: Readonly<Record<Hop, number>>;
  /** Remote accesses in the time that counts; virtual time only. */
  readonly accesses?: number;
  /** By kind of VM: shares of the CPUs' time, 0 to 1; virtual time only. */
  readonly use?: readonly GroupUse[];
  /** Each process's CPU time; wall clock only. */
  readonly processes?: readonly ProcessUse[];
  /** How long messages between processes took, by hop; wall clock only. */
  readonly frames?: FrameHops;
  /** The machine's load average of a minute before the run; wall clock only. */
  readonly machineLoad?: number;
  /** Accesses that ended as faults. */
  readonly faults: number;
  /** Things that happened in virtual time, from the start on. */
  readonly events?: number;
}

/** How the CPUs of VMs of a kind spent their time: shares. */
export interface GroupUse {
  readonly group: string;
  readonly cpus: number;
  readonly guest: number;
  readonly hypervisor: number;
  readonly paused: number;
  readonly idle: number;
}

/** The hypervisor, and processes by what their VMs do. */
export const PROCESS_GROUPS = ['hypervisor', 'backends', 'frontends', 'noisy frontends', 'others'] as const;
export type ProcessGroup = (typeof PROCESS_GROUPS)[number];

/** What a process took of the machine. */
export interface ProcessUse {
  readonly name: string;
  readonly group: ProcessGroup;
  readonly vms: readonly string[];
  /** CPUs' worth of time: 1 is one CPU all the time. */
  readonly cpus: number;
}

/** Hops of messages between processes, in the order of a remote access, and the whole of it. */
export const FRAME_HOPS = [
  'frontend_to_hypervisor',
  'in_hypervisor',
  'hypervisor_to_backend',
  'in_backend',
  'backend_to_hypervisor',
  'hypervisor_to_frontend',
  'round_trip',
] as const;

/** Nanoseconds of one hop. */
export interface FrameHop {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
}

export type FrameHops = Readonly<Record<(typeof FRAME_HOPS)[number], FrameHop>>;

/** A point's run: its outcome, or why there is none. */
export type Run =
  | { readonly point: number; readonly repetition: number; readonly ok: true; readonly outcome: Outcome }
  | { readonly point: number; readonly repetition: number; readonly ok: false; readonly reason: string };

/** The use of CPUs between two looks at them. */
export function useBetween(
  before: readonly CpuUse[],
  after: readonly CpuUse[],
  duration: number,
  groupOf: (vm: string) => string,
): readonly GroupUse[] {
  const groups = new Map<string, { cpus: number; guest: number; hypervisor: number; paused: number }>();
  after.forEach((use, n) => {
    const name = groupOf(use.vm);
    const group = groups.get(name) ?? { cpus: 0, guest: 0, hypervisor: 0, paused: 0 };
    group.cpus += use.cpus;
    group.guest += use.guest - (before[n]?.guest ?? 0);
    group.hypervisor += use.hypervisor - (before[n]?.hypervisor ?? 0);
    group.paused += use.paused - (before[n]?.paused ?? 0);
    groups.set(name, group);
  });
  return [...groups].map(([group, { cpus, guest, hypervisor, paused }]) => {
    const whole = cpus * duration;
    const share = (ns: number): number => Math.min(1, Math.max(0, ns / whole));
    // What the hypervisor does on a paused vCPU's CPU is counted once.
    const busy = share(guest) + share(hypervisor);
    const stopped = Math.min(share(paused), 1 - Math.min(1, busy));
    return {
      group,
      cpus,
      guest: share(guest),
      hypervisor: share(hypervisor),
      paused: stopped,
      idle: Math.max(0, 1 - busy - stopped),
    };
  });
}
