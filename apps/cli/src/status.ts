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
    /** IPC hypercalls that rang. */
    readonly doorbells: number;
    readonly interrupts: number;
    readonly faults: number;
    readonly losses: number;
    readonly vcpus: readonly { readonly traps: number; readonly hypercalls: number; readonly interrupts: number }[];
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

/** What a backend reports of one of its devices. */
export interface CountersReport {
  readonly device: string;
  readonly resets: number;
  readonly configChanges: number;
  /** DEVICE_NEEDS_RESET is set. */
  readonly needsReset: boolean;
  readonly queues: readonly {
    readonly vcpu: number;
    readonly notifications: number;
    readonly requests: number;
    readonly readBytes: number;
    readonly writtenBytes: number;
    readonly rejected: number;
    readonly interrupts: number;
    readonly latched: number;
  }[];
  /** What each vCPU of the backend did for the device. */
  readonly vcpus: readonly { readonly notifications: number; readonly notifies: number }[];
  /** What the model counts by itself. */
  readonly model?: Readonly<Record<string, number>>;
}

/** A device's report, and the VM that serves it. */
export interface DeviceReport {
  readonly vm: string;
  readonly report: CountersReport;
}

export type Reports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

const cells = (summary: LatencySummary | undefined): readonly string[] =>
  summary === undefined || summary.count === 0
    ? ['-', '-', '-', '0']
    : [showDuration(summary.p50), showDuration(summary.p99), showDuration(summary.max), String(summary.count)];

/** The VMs and what they did. */
export const renderVms = (status: PlatformStatus): string =>
  renderTable([
    ['VM', 'state', 'traps', 'hypercalls', 'doorbells', 'interrupts', 'faults', 'losses'],
    ...status.vms.map((vm) => [
      vm.name,
      vm.attached ? 'running' : 'no process',
      String(vm.traps),
      String(vm.hypercalls),
      String(vm.doorbells),
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

/** The newest report of every device. */
export const countersOf = (reports: Reports): readonly DeviceReport[] =>
  Object.entries(reports).flatMap(([vm, kinds]) =>
    Object.entries(kinds).flatMap(([kind, report]) =>
      kind.startsWith('counters:') ? [{ vm, report: report as CountersReport }] : [],
    ),
  );

/** More devices than a screen has lines for are not shown. */
const DEVICES_SHOWN = 32;

/** What devices and their queues did; queues that nobody used are left out. */
export function renderDevices(all: readonly DeviceReport[]): string {
  if (all.length === 0) return '';
  const devices = all.slice(0, DEVICES_SHOWN);
  const rows = devices.flatMap(({ report }) => {
    const used = [...report.queues.entries()].filter(
      ([, { requests, notifications, rejected, latched }]) => requests + notifications + rejected + latched > 0,
    );
    return used.map(([index, queue]) => [
      report.device,
      String(index),
      String(queue.vcpu),
      String(queue.requests),
      showBytes(queue.readBytes),
      showBytes(queue.writtenBytes),
      String(queue.notifications),
      String(queue.interrupts),
      String(queue.rejected),
      String(queue.latched),
    ]);
  });
  const table = renderTable([
    ['device', 'queue', 'vCPU', 'requests', 'read', 'written', 'notifications', 'interrupts', 'rejected', 'latched'],
    ...rows,
  ]);
  const notes = devices.flatMap(({ report: { device, needsReset, model } }) => {
    const counts = Object.entries(model ?? {}).filter(([, count]) => count > 0);
    return [
      ...(needsReset ? [`${device} needs a reset`] : []),
      ...(counts.length === 0 ? [] : [`${device}: ${counts.map(([name, count]) => `${name} ${count}`).join(', ')}`]),
    ];
  });
  const more = all.length - devices.length;
  return [table, ...notes, ...(more > 0 ? [`and ${more} devices more: --json has them all`] : [])].join('\n');
}

/** Bytes, in the largest unit of which there is one at least. */
function showBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}
