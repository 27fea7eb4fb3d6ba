import { type LatencySummary, renderTable, showDuration } from '@remio/telemetry';

/** What the hypervisor answers to `status`. */
export interface PlatformStatus {
  readonly topology: string;
  readonly profile: string;
  readonly board: string;
  readonly frames: { readonly received: number; readonly sent: number };
  readonly rules: Readonly<Record<string, number>>;
  readonly turn: LatencySummary;
  readonly vms: readonly {
    readonly name: string;
    readonly attached: boolean;
    readonly incarnation: number;
    readonly traps: number;
    readonly hypercalls: number;
    readonly interrupts: number;
    readonly faults: number;
    readonly losses: number;
    readonly toHypervisor: LatencySummary;
    readonly devices: readonly {
      readonly name: string;
      readonly type: string;
      readonly accesses: number;
      readonly completions: number;
      readonly notifications: number;
    }[];
  }[];
}

/** What a VM's process reports of its latencies. */
export interface LatencyReport {
  readonly fromHypervisor: LatencySummary;
  readonly turn: LatencySummary;
  readonly roundTrip: LatencySummary;
}

export type Reports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

const cells = (summary: LatencySummary | undefined): readonly string[] =>
  summary === undefined || summary.count === 0
    ? ['-', '-', '-', '0']
    : [showDuration(summary.p50), showDuration(summary.p99), showDuration(summary.max), String(summary.count)];

/** The VMs and what they did. */
export const renderVms = (status: PlatformStatus): string =>
  renderTable([
    ['VM', 'state', 'traps', 'hypercalls', 'interrupts', 'faults', 'losses'],
    ...status.vms.map((vm) => [
      vm.name,
      vm.attached ? 'running' : 'no process',
      String(vm.traps),
      String(vm.hypercalls),
      String(vm.interrupts),
      String(vm.faults),
      String(vm.losses),
    ]),
  ]);

/** Where the time of a remote access goes, hop by hop, for one frontend and its backend. */
export function renderHops(status: PlatformStatus, reports: Reports, frontend: string, backend: string): string {
  const vm = (name: string) => status.vms.find((candidate) => candidate.name === name);
  const latency = (name: string) => reports[name]?.['latency'] as LatencyReport | undefined;
  return renderTable([
    ['hop', 'p50', 'p99', 'max', 'frames'],
    [`${frontend} to hypervisor`, ...cells(vm(frontend)?.toHypervisor)],
    ['in the hypervisor', ...cells(status.turn)],
    [`hypervisor to ${backend}`, ...cells(latency(backend)?.fromHypervisor)],
    [`in ${backend}`, ...cells(latency(backend)?.turn)],
    [`${backend} to hypervisor`, ...cells(vm(backend)?.toHypervisor)],
    [`hypervisor to ${frontend}`, ...cells(latency(frontend)?.fromHypervisor)],
    ['whole MMIO round trip', ...cells(latency(frontend)?.roundTrip)],
  ]);
}
