import type { LabelsOf, MetricOf, Scrape } from '@remio/metrics';
import type { Vm } from '@remio/topology';
import type { VmReport } from './vm-host.js';

/** What a driver found out, summed over its runs. Any report may have these fields. */
interface Findings {
  verifiedBytes: number;
  mismatches: number;
  failed: number;
  /** Runs that ended with nothing wrong. */
  rounds: number;
}

/** An end of a device, as reports tell of it. */
interface EndState {
  readonly vm: string;
  readonly device: string;
  state: 'starting' | 'working' | 'ended' | 'failed';
  failures: number;
  readonly findings: Findings;
  /** The newest report of what a backend's device counts. */
  counters: VmReport | undefined;
}

/** Metrics of a queue, by the field of a backend's report. */
const QUEUE_COUNTERS: Readonly<Record<string, Extract<MetricOf<'counter'>, `remio_queue_${string}`>>> = {
  notifications: 'remio_queue_notifications_total',
  requests: 'remio_queue_chains_total',
  readBytes: 'remio_queue_read_bytes_total',
  writtenBytes: 'remio_queue_written_bytes_total',
  interrupts: 'remio_queue_interrupts_total',
  rejected: 'remio_queue_rejected_total',
  latched: 'remio_queue_latched_total',
};

/**
 * What the VMs of a process tell of themselves: made from the reports of their programs, which come seldom. Reports are
 * whatever a program says; what is no number counts as nothing.
 */
export class VmMetrics {
  readonly #vms: readonly Vm[];
  readonly #ends = new Map<string, EndState>();
  /** VMs whose backends serve. */
  readonly #serving = new Set<string>();

  constructor(vms: readonly Vm[]) {
    this.#vms = vms;
  }

  /** Takes a report of a VM's program. */
  report(vm: string, event: VmReport): void {
    if (event.kind === 'serving') this.#serving.add(vm);
    if (typeof event['device'] !== 'string') return;
    const end = this.#end(vm, event['device']);
    switch (event.kind) {
      case 'counters':
        end.counters = event;
        return;
      case 'driver-failed':
        end.state = 'failed';
        end.failures += 1;
        return;
      case 'driver-ended':
        end.state = 'ended';
        return;
      default:
        end.state = 'working';
        addFindings(end.findings, event);
    }
  }

  /** Why the process cannot do its work yet; undefined: it can. */
  notReady(): string | undefined {
    for (const vm of this.#vms) {
      const backend = vm.remioDevs.some(({ type }) => type === 'backend');
      if (backend && vm.program.name === 'dispatcher' && !this.#serving.has(vm.name)) {
        return `VM ${vm.name} does not serve its devices yet`;
      }
      for (const { type, name, driver } of vm.remioDevs) {
        if (type !== 'frontend' || driver === undefined) continue;
        const state = this.#ends.get(keyOf(vm.name, name))?.state ?? 'starting';
        if (state === 'starting') return `VM ${vm.name} has not brought ${name} up yet`;
        if (state === 'failed') return `the driver of ${name} in VM ${vm.name} has failed`;
      }
    }
    return undefined;
  }

  /** Adds what the VMs have told, to an answer to Prometheus. */
  collect(scrape: Scrape): void {
    for (const vm of this.#vms) {
      for (const { type, name } of vm.remioDevs) {
        const end = this.#end(vm.name, name);
        if (type === 'backend') this.#collectBackend(scrape, end);
        else this.#collectFrontend(scrape, end);
      }
    }
  }

  #collectBackend(scrape: Scrape, { vm, device, counters }: EndState): void {
    const labels = { vm, device };
    scrape.gauge('remio_device_serving', labels, this.#serving.has(vm) ? 1 : 0);
    if (counters === undefined) return;
    scrape.gauge('remio_device_needs_reset', labels, counters['needsReset'] === true ? 1 : 0);
    scrape.count('remio_device_resets_total', labels, amount(counters['resets']));
    for (const [counter, value] of fieldsOf(counters['model'])) {
      scrape.count('remio_device_model_total', { ...labels, counter }, amount(value));
    }
    const queues: readonly unknown[] = Array.isArray(counters['queues']) ? counters['queues'] : [];
    for (const [index, queue] of queues.entries()) {
      const of: LabelsOf<'remio_queue_depth'> = { ...labels, queue: String(index) };
      for (const [field, value] of fieldsOf(queue)) {
        const name = Object.hasOwn(QUEUE_COUNTERS, field) ? QUEUE_COUNTERS[field] : undefined;
        if (name !== undefined) scrape.count(name, of, amount(value));
        else if (field === 'inFlight') scrape.gauge('remio_queue_depth', of, amount(value));
      }
    }
  }

  #collectFrontend(scrape: Scrape, { vm, device, state, failures, findings }: EndState): void {
    const labels = { vm, device };
    scrape.gauge('remio_driver_up', labels, state === 'working' ? 1 : 0);
    scrape.count('remio_driver_failures_total', labels, failures);
    scrape.count('remio_verified_bytes_total', labels, findings.verifiedBytes);
    scrape.count('remio_verified_rounds_total', labels, findings.rounds);
    scrape.count('remio_mismatches_total', labels, findings.mismatches);
    scrape.count('remio_io_errors_total', labels, findings.failed);
  }

  #end(vm: string, device: string): EndState {
    const key = keyOf(vm, device);
    const known = this.#ends.get(key);
    if (known !== undefined) return known;
    const findings = { verifiedBytes: 0, mismatches: 0, failed: 0, rounds: 0 };
    const made: EndState = { vm, device, state: 'starting', failures: 0, findings, counters: undefined };
    this.#ends.set(key, made);
    return made;
  }
}

/** Names of VMs and devices have no spaces. */
const keyOf = (vm: string, device: string): string => `${vm} ${device}`;

function addFindings(findings: Findings, event: VmReport): void {
  if (event['verifiedBytes'] === undefined) return;
  const wrong = amount(event['mismatches']) + amount(event['failed']);
  findings.verifiedBytes += amount(event['verifiedBytes']);
  findings.mismatches += amount(event['mismatches']);
  findings.failed += amount(event['failed']);
  if (wrong === 0) findings.rounds += 1;
}

const amount = (value: unknown): number => (typeof value === 'number' && value >= 0 ? value : 0);

const fieldsOf = (value: unknown): readonly (readonly [string, unknown])[] =>
  typeof value === 'object' && value !== null ? Object.entries(value) : [];
