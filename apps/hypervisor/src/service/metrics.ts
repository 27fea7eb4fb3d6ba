import type { Scrape } from '@remio/metrics';
import type { Latency } from '@remio/telemetry';
import type { RemioDev, Topology, Vm } from '@remio/topology';
import type { Platform } from '../platform/index.js';

/** What the hypervisor's process has counted. */
export interface HypervisorCounts {
  readonly topology: Topology;
  readonly platform: Platform;
  /** By VM. */
  readonly incarnations: readonly number[];
  readonly transit: readonly Latency[];
  readonly turn: Latency;
  readonly rules: ReadonlyMap<string, number>;
  readonly coreEvents: ReadonlyMap<string, number>;
  readonly refusedPeers: number;
  readonly frames: { readonly received: number; readonly sent: number } | undefined;
  /** Records that wait for the process of a VM. */
  waiting(vm: Vm): number;
  /** Nanoseconds on the clock that accesses are timed with. */
  readonly now: number;
}

const NS_PER_S = 1e9;

/** Both ends of a device. */
interface DevicePair {
  readonly frontend: Vm;
  readonly backend: Vm;
  readonly end: RemioDev;
  /** The frontend's dm_id is `end.dm`. */
  readonly labels: { readonly device: string; readonly backend: string; readonly frontend: string };
}

/** Devices whose two ends are of the topology. */
const pairsOf = (topology: Topology): readonly DevicePair[] =>
  topology.vms.flatMap((frontend) =>
    frontend.remioDevs.flatMap((end) => {
      const backend = topology.vms.find(({ remioDevs }) =>
        remioDevs.some(({ type, bindKey }) => type === 'backend' && bindKey === end.bindKey),
      );
      if (end.type !== 'frontend' || backend === undefined) return [];
      return [{ frontend, backend, end, labels: { device: end.name, backend: backend.name, frontend: frontend.name } }];
    }),
  );

/** Adds what the hypervisor's process has counted, to an answer to Prometheus. */
export function collectHypervisor(scrape: Scrape, counts: HypervisorCounts): void {
  const { topology } = counts;
  for (const vm of topology.vms) collectVm(scrape, counts, vm);
  for (const pair of pairsOf(topology)) collectDevice(scrape, counts, pair);
  for (const [rule, count] of counts.rules) scrape.count('remio_rules_total', { rule }, count);
  for (const [code, count] of counts.coreEvents) scrape.count('remio_core_events_total', { code }, count);
  scrape.count('remio_peers_refused_total', {}, counts.refusedPeers);
  scrape.count('remio_frames_total', { direction: 'received' }, counts.frames?.received ?? 0);
  scrape.count('remio_frames_total', { direction: 'sent' }, counts.frames?.sent ?? 0);
  scrape.latency('remio_hop_seconds', { hop: 'in_hypervisor', vm: '' }, counts.turn);
}

function collectVm(scrape: Scrape, counts: HypervisorCounts, vm: Vm): void {
  const { platform } = counts;
  const label = { vm: vm.name };
  const stats = platform.vmStats(vm.id);
  scrape.gauge('remio_vm_attached', label, platform.attached(vm.id) ? 1 : 0);
  scrape.count('remio_vm_restarts_total', label, Math.max(0, (counts.incarnations[vm.id] ?? 0) - 1));
  scrape.count('remio_vm_losses_total', label, stats.losses);
  scrape.count('remio_traps_total', label, stats.traps);
  for (const { op, result, count } of platform.callCounts(vm.id)) {
    scrape.count('remio_hypercalls_total', { ...label, op, result: String(result) }, count);
  }
  scrape.count('remio_interrupts_total', label, stats.interrupts);
  scrape.count('remio_faults_total', label, stats.faults);
  scrape.gauge('remio_records_waiting', label, counts.waiting(vm));
  const transit = counts.transit[vm.id];
  if (transit !== undefined) scrape.latency('remio_hop_seconds', { hop: 'vm_to_hypervisor', ...label }, transit);
}

function collectDevice(scrape: Scrape, counts: HypervisorCounts, { frontend, end, labels }: DevicePair): void {
  const { platform } = counts;
  const stats = platform.deviceStats(frontend.id)[end.dm];
  scrape.count('remio_requests_total', labels, stats?.accesses ?? 0);
  scrape.count('remio_completions_total', labels, stats?.completions ?? 0);
  scrape.count('remio_notifications_total', labels, stats?.notifications ?? 0);
  const { data } = platform.core;
  const index = data.ends[frontend.id]?.[end.dm];
  for (const state of ['pending', 'processing'] as const) {
    const open = data.requests.filter((request) => request.state === state && request.device === index);
    scrape.gauge('remio_requests_open', { ...labels, state }, open.length);
  }
  const waiting = data.cpus.flatMap(({ waiting: access }) =>
    access !== undefined && access.device === index ? [access.now] : [],
  );
  const oldest = waiting.length === 0 ? 0 : counts.now - Math.min(...waiting);
  scrape.gauge('remio_oldest_request_seconds', labels, Math.max(0, oldest) / NS_PER_S);
  if (end.deadline !== undefined) scrape.gauge('remio_deadline_seconds', labels, end.deadline / NS_PER_S);
}
