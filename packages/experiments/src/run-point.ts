import { dispatcher } from '@remio/backend-vm';
import { costModel } from '@remio/board';
import { type LoadOptions, load, type StartGate } from '@remio/frontend-vm';
import type { GuestProgram } from '@remio/guest';
import { Histogram } from '@remio/telemetry/histogram';
import type { Topology, Vm } from '@remio/topology';
import { BlockDevice, type VirtioDevice } from '@remio/virtio-device';
import { type CpuUse, HOPS, type Hop, Medium, ModelStorage, SparseBytes, World } from '@remio/world';
import { chargedRegisters } from './charged-registers.js';
import type { Settings } from './language.js';
import { type Latencies, type Outcome, useBetween } from './outcome.js';
import { BACKEND, FRONTEND, NOISY, platformOf } from './platform.js';

/** Costs of a point, each multiplied by a factor: for the analysis of what a conclusion hangs on. */
export type Factors = Readonly<Record<string, number>>;

/** Nanoseconds of virtual time after which a point has failed. */
const UNTIL = 1000e9;
/** Events after which it has. */
const EVENTS_MAX = 500_000_000;
/** Nanoseconds between the moment at which every client is ready and that at which they begin. */
const HEAD_START = 100_000;

/** Why a point has no outcome: something for people to read. */
export class PointFailed extends Error {
  override readonly name = 'PointFailed';
}

/**
 * Runs a point in virtual time. A function of its arguments alone.
 * @throws PointFailed with the reason
 */
export async function runPoint(settings: Settings, seed: number, factors: Factors = {}): Promise<Outcome> {
  const { topology, problems } = platformOf(settings);
  if (topology === undefined) throw new PointFailed(problems.join('; '));
  return new PointRun(topology, settings, seed, factors).run();
}

/** What a frontend reports at the end. */
interface LoadReport {
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  readonly latency: string;
}

class PointRun {
  readonly #settings: Settings;
  readonly #seed: number;
  readonly #world: World;
  /** Frontends that have not reported. */
  readonly #open: Set<string>;
  readonly #reports = new Map<string, LoadReport>();
  readonly #media: Medium[] = [];
  #failure: string | undefined;
  #before: Snapshot | undefined;
  #after: Snapshot | undefined;

  constructor(topology: Topology, settings: Settings, seed: number, factors: Factors) {
    this.#settings = settings;
    this.#seed = seed;
    const model = costModel(topology.board, topology.costs);
    const figures = Object.fromEntries(
      Object.entries(model.figures).map(([name, figure]) => [
        name,
        { ...figure, value: figure.value * (factors[name] ?? 1) },
      ]),
    ) as typeof model.figures;
    const clients = topology.vms.filter((vm) => !vm.name.startsWith(BACKEND));
    this.#open = new Set(clients.map(({ name }) => name));
    const gate = this.#gate(clients.reduce((sum, vm) => sum + vm.cpus.length, 0));
    const { medium } = settings;
    const scaled = {
      ...medium,
      latency: medium.latency * (factors['medium.latency'] ?? 1),
      bandwidth: medium.bandwidth / (factors['medium.byte'] ?? 1),
    };
    this.#world = World.create({
      topology,
      costs: { ...model, figures },
      until: UNTIL,
      eventsMax: EVENTS_MAX,
      program: (vm, world) => (vm.name.startsWith(BACKEND) ? this.#backend(world, scaled) : this.#client(vm, gate)),
      report: (vm, event) => {
        if (event.kind === 'load') this.#reports.set(vm.name, event as unknown as LoadReport);
        if (event.kind !== 'vcpu-off') return;
        const reason = event['reason'];
        if (reason !== undefined)
          this.#fail(`vCPU ${event['vcpu']} of ${vm.name} stopped: ${firstLine(String(reason))}`);
        if (event['vcpu'] === 0 && this.#open.delete(vm.name) && this.#open.size === 0) this.#world.stop();
      },
      log: (vm, line) => this.#fail(`${vm.name}: ${firstLine(line)}`),
    });
  }

  async run(): Promise<Outcome> {
    const ending = await this.#world.run();
    if (this.#failure !== undefined) throw new PointFailed(this.#failure);
    if (this.#open.size > 0) {
      const missing = [...this.#open].slice(0, 3).join(', ');
      const what = {
        idle: 'everybody waits for something that cannot happen any more',
        'time-limit': `it took more than ${UNTIL / 1e9} s of virtual time`,
        'event-limit': `more than ${EVENTS_MAX} events happened`,
        stopped: 'it was stopped',
      }[ending];
      throw new PointFailed(`${what}; ${this.#open.size} frontends did not finish (${missing})`);
    }
    return this.#outcome();
  }

  #fail(reason: string): void {
    this.#failure ??= reason;
    this.#world.stop();
  }

  #client(vm: Vm, gate: StartGate): GuestProgram {
    const { workload, noisy, measure } = this.#settings;
    const { type, depth, think, rate, size, pattern, reads } = vm.name.startsWith(NOISY) ? noisy : workload;
    const options: LoadOptions = {
      type,
      depth,
      think,
      rate,
      size,
      pattern,
      reads,
      warmUp: measure.warm_up,
      duration: measure.duration,
      seed: this.#seed * 8192 + vm.id,
    };
    return load(options, gate);
  }

  #backend(world: World, options: Settings['medium']): GuestProgram {
    const { platform, medium, workload, noisy } = this.#settings;
    const depth = Math.max(workload.depth, noisy.depth);
    const queueSize = Math.min(1024, 2 ** Math.ceil(Math.log2(4 * depth)));
    const make = (): Promise<VirtioDevice> => {
      const [shared] = this.#media;
      const mine =
        options.shared && shared !== undefined
          ? shared
          : new Medium(world, options, this.#seed * 8192 + 4096 + this.#media.length);
      this.#media.push(mine);
      const storage = new ModelStorage(world, new SparseBytes(platform.disk), mine, medium.copies);
      return Promise.resolve(new BlockDevice(storage, { queues: platform.vcpus, queueSize }));
    };
    return dispatcher(make, chargedRegisters(world));
  }

  /** Lets every client begin at the same time, and looks at the world when what counts begins and ends. */
  #gate(clients: number): StartGate {
    const { warm_up: warmUp, duration } = this.#settings.measure;
    const waiting: ((start: number) => void)[] = [];
    return {
      ready: (now) =>
        new Promise((resolve) => {
          waiting.push(resolve);
          if (waiting.length < clients) return;
          const start = now + HEAD_START;
          this.#world.observeAt(start + warmUp, () => {
            this.#before = this.#snapshot();
          });
          this.#world.observeAt(start + warmUp + duration, () => {
            this.#after = this.#snapshot();
          });
          for (const go of waiting) go(start);
        }),
    };
  }

  #snapshot(): Snapshot {
    const { hops, platform, topology } = this.#world;
    const counts = { accesses: 0, notifications: 0 };
    for (const vm of topology.vms) {
      if (!vm.name.startsWith(FRONTEND)) continue;
      for (const device of platform.deviceStats(vm.id)) {
        counts.accesses += device.accesses;
        counts.notifications += device.notifications;
      }
    }
    return { use: this.#world.use(), hops: { ...hops.total }, accesses: hops.count, counts };
  }

  #outcome(): Outcome {
    const { duration } = this.#settings.measure;
    const before = this.#before;
    const after = this.#after;
    const counted = (of: (counts: Snapshot['counts']) => number): number =>
      after === undefined || before === undefined ? 0 : of(after.counts) - of(before.counts);
    const measured = [...this.#reports].filter(([name]) => name.startsWith(FRONTEND)).map(([, report]) => report);
    const noise = [...this.#reports].filter(([name]) => name.startsWith(NOISY)).map(([, report]) => report);
    const sum = (of: (report: LoadReport) => number): number =>
      measured.reduce((total, report) => total + of(report), 0);
    const operations = sum((report) => report.operations);
    const per = (total: number): number => (operations === 0 ? 0 : total / operations);
    const { platform, topology } = this.#world;
    const accesses = (after?.accesses ?? 0) - (before?.accesses ?? 0);
    const hop = (name: Hop): number =>
      accesses === 0 ? 0 : ((after?.hops[name] ?? 0) - (before?.hops[name] ?? 0)) / accesses;
    return {
      duration,
      operations,
      bytes: sum((report) => report.bytes),
      errors: sum((report) => report.errors),
      throughput: (operations * 1e9) / duration,
      latency: latencies(measured),
      ...(noise.length === 0
        ? {}
        : {
            noisy: {
              throughput: (noise.reduce((total, report) => total + report.operations, 0) * 1e9) / duration,
              latency: latencies(noise),
            },
          }),
      perOperation: {
        accesses: per(counted((counts) => counts.accesses)),
        interrupts: per(counted((counts) => counts.notifications)),
      },
      hops: Object.fromEntries(HOPS.map((name) => [name, hop(name)])) as Record<Hop, number>,
      accesses,
      use: useBetween(before?.use ?? [], after?.use ?? [], duration, groupOf),
      faults: topology.vms.reduce((total, vm) => total + platform.vmStats(vm.id).faults, 0),
      events: this.#world.happened,
    };
  }
}

/** A look at the world. */
interface Snapshot {
  readonly use: readonly CpuUse[];
  readonly hops: Readonly<Record<Hop, number>>;
  readonly accesses: number;
  /** What the devices of the measured frontends did: accesses, interrupts raised. */
  readonly counts: { readonly accesses: number; readonly notifications: number };
}

const groupOf = (vm: string): string =>
  vm.startsWith(BACKEND) ? 'backends' : vm.startsWith(NOISY) ? 'noisy frontends' : 'frontends';

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

function latencies(reports: readonly LoadReport[]): Latencies {
  const all = Histogram.create();
  for (const report of reports) all.add(Histogram.decode(report.latency));
  return {
    count: all.count,
    mean: all.mean,
    p50: all.at(50),
    p90: all.at(90),
    p99: all.at(99),
    'p99.9': all.at(99.9),
    max: all.max,
    histogram: all.encode(),
  };
}
