import { backendPrograms, deviceMaker, dispatcher } from '@remio/backend-vm';
import { costModel } from '@remio/board';
import { drive, frontendPrograms, isDriven, load, type StartGate } from '@remio/frontend-vm';
import type { GuestDeviceEnd, GuestProgram } from '@remio/guest';
import type { DeviceRef, Topology, Vm } from '@remio/topology';
import { BlockDevice, ConsoleDevice, NetDevice, type VirtioDevice } from '@remio/virtio-device';
import { programOf } from '@remio/vm-runtime';
import {
  type CpuUse,
  EchoLine,
  EchoPort,
  HOPS,
  type Hop,
  Link,
  Medium,
  ModelStorage,
  SparseBytes,
  World,
} from '@remio/world';
import type { Role } from './base/with-workload.js';
import { chargedRegisters } from './charged-registers.js';
import { loadOptionsOf, mediumSeed } from './clients.js';
import type { Settings } from './language.js';
import { type LoadReport, loadOutcome } from './load-reports.js';
import { type Outcome, useBetween } from './outcome.js';
import { type Platform, platformOf } from './platform.js';

/** Costs of a point, each multiplied by a factor: for the analysis of what a conclusion hangs on. */
export type Factors = Readonly<Record<string, number>>;

/** Events after which a point has failed. */
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
  const platform = madePlatform(settings);
  const programs = await otherPrograms(platform);
  return new PointRun(platform, programs, settings, seed, factors).run();
}

/** A platform that can be made. */
type Made = Platform & { readonly topology: Topology };

/** The topology of a point, with what its VMs are. @throws PointFailed if something does not fit */
export function madePlatform(settings: Settings): Made {
  const platform = platformOf(settings);
  const { topology, problems } = platform;
  if (topology === undefined) throw new PointFailed(problems.map(({ message }) => message).join('; '));
  return { ...platform, topology };
}

/** What VMs run that make no load and serve nothing: what their topology says. */
async function otherPrograms({ topology, roles }: Made): Promise<ReadonlyMap<string, GuestProgram>> {
  const programs = new Map<string, GuestProgram>();
  for (const vm of topology.vms) {
    const serves = vm.program.kind === 'builtin' && vm.program.name === 'dispatcher';
    const role = roles.get(vm.name);
    if (serves || (role !== 'other' && role !== 'backend')) continue;
    try {
      programs.set(vm.name, await programOf(vm, { ...backendPrograms, ...frontendPrograms }));
    } catch (error) {
      throw new PointFailed(error instanceof Error ? error.message : String(error));
    }
  }
  return programs;
}

class PointRun {
  readonly #settings: Settings;
  readonly #roles: ReadonlyMap<string, Role>;
  readonly #seed: number;
  readonly #world: World;
  /** Frontends that have not reported. */
  readonly #open: Set<string>;
  readonly #reports = new Map<string, LoadReport>();
  readonly #media: Medium[] = [];
  #failure: string | undefined;
  #before: Snapshot | undefined;
  #after: Snapshot | undefined;

  constructor(
    { topology, roles }: Made,
    programs: ReadonlyMap<string, GuestProgram>,
    settings: Settings,
    seed: number,
    factors: Factors,
  ) {
    this.#settings = settings;
    this.#roles = roles;
    this.#seed = seed;
    const model = costModel(topology.board, topology.costs);
    const figures = Object.fromEntries(
      Object.entries(model.figures).map(([name, figure]) => [
        name,
        { ...figure, value: figure.value * (factors[name] ?? 1) },
      ]),
    ) as typeof model.figures;
    const clients = topology.vms.filter((vm) => this.#load(vm) !== undefined);
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
      until: settings.measure.patience,
      eventsMax: EVENTS_MAX,
      program: (vm, world) => {
        const options = this.#load(vm);
        if (options !== undefined) return load(options, gate);
        return programs.get(vm.name) ?? this.#backend(world, scaled);
      },
      report: (vm, event) => {
        if (event.kind === 'load') this.#reports.set(vm.name, event as unknown as LoadReport);
        if (event.kind !== 'vcpu-off' || roles.get(vm.name) === 'other') return;
        const reason = event['reason'];
        if (reason !== undefined)
          this.#fail(`vCPU ${event['vcpu']} of ${vm.name} stopped: ${firstLine(String(reason))}`);
        if (event['vcpu'] === 0 && this.#open.delete(vm.name) && this.#open.size === 0) this.#world.stop();
      },
      log: (vm, line) => {
        if (roles.get(vm.name) !== 'other') this.#fail(`${vm.name}: ${firstLine(line)}`);
      },
    });
  }

  async run(): Promise<Outcome> {
    const ending = await this.#world.run();
    if (this.#failure !== undefined) throw new PointFailed(this.#failure);
    if (this.#open.size > 0) {
      const missing = [...this.#open].slice(0, 3).join(', ');
      const what = {
        idle: 'everybody waits for something that cannot happen any more',
        'time-limit': `it took more than ${this.#settings.measure.patience / 1e9} s of virtual time`,
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

  #load(vm: Vm): ReturnType<typeof loadOptionsOf> {
    return loadOptionsOf(this.#settings, this.#roles.get(vm.name), vm, this.#seed);
  }

  #backend(world: World, options: Settings['medium']): GuestProgram {
    const { platform, medium, link } = this.#settings;
    const others = deviceMaker();
    const make = (end: GuestDeviceEnd): Promise<VirtioDevice> => {
      // The runtime hands over the topology's own record, which was checked when the topology was read.
      const device = end.options as DeviceRef | undefined;
      if (device?.kind !== 'builtin') return others(end);
      const { choice } = device;
      // Whatever is at the other end sends everything back.
      if (choice.type === 'net')
        return Promise.resolve(new NetDevice(new EchoPort(new Link(world, link)), choice.options));
      if (choice.type === 'console') {
        const ports = choice.options.ports.map(({ name, console }) => ({
          ...(name === undefined ? {} : { name }),
          console,
          source: new EchoLine(new Link(world, link)),
        }));
        return Promise.resolve(new ConsoleDevice(ports));
      }
      if (choice.type !== 'block') return others(end);
      const [shared] = this.#media;
      const mine =
        options.shared && shared !== undefined
          ? shared
          : new Medium(world, options, mediumSeed(this.#seed, this.#media.length));
      this.#media.push(mine);
      const { options: block } = choice;
      const storage = new ModelStorage(world, new SparseBytes(platform.disk), mine, medium.copies, block.readOnly);
      return Promise.resolve(new BlockDevice(storage, block));
    };
    return dispatcher(make, chargedRegisters(world), { wanted: isDriven, run: drive });
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
      if (this.#roles.get(vm.name) !== 'frontend') continue;
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
    const made = loadOutcome(this.#settings, this.#roles, this.#reports);
    const per = (total: number): number => (made.operations === 0 ? 0 : total / made.operations);
    const { platform, topology } = this.#world;
    const accesses = (after?.accesses ?? 0) - (before?.accesses ?? 0);
    const hop = (name: Hop): number =>
      accesses === 0 ? 0 : ((after?.hops[name] ?? 0) - (before?.hops[name] ?? 0)) / accesses;
    return {
      ...made,
      perOperation: {
        accesses: per(counted((counts) => counts.accesses)),
        interrupts: per(counted((counts) => counts.notifications)),
      },
      hops: Object.fromEntries(HOPS.map((name) => [name, hop(name)])) as Record<Hop, number>,
      accesses,
      use: useBetween(before?.use ?? [], after?.use ?? [], duration, (vm) => GROUP[this.#roles.get(vm) ?? 'other']),
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

const GROUP: Readonly<Record<Role, string>> = {
  frontend: 'frontends',
  noisy: 'noisy frontends',
  backend: 'backends',
  other: 'others',
};

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';
