import { existsSync, truncateSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import {
  type Done,
  type Job,
  type LoadReport,
  loadOptionsOf,
  loadOutcome,
  madePlatform,
  type Outcome,
  PointFailed,
  type Role,
  type Settings,
} from '@remio/experiments';
import { LOAD_READY, type LoadOptions, type LoadProgramOptions, type StartMessage } from '@remio/frontend-vm';
import type { RunDirectory } from '@remio/shared-memory';
import type { ModuleRef, RemioDev, Topology } from '@remio/topology';
import { type Deferred, deferred } from '../deferred.js';
import { CommandError } from '../exit-codes.js';
import { RunningPlatform, scratchDirectory } from '../running-platform.js';
import type { Reports } from '../status.js';
import type { ChildEvent } from '../supervisor.js';
import { framesOf, type Look, lookAt, measuredBetween } from './looks.js';

export interface WallRunOptions {
  readonly signal: AbortSignal;
  /** Folder for the processes' logs if the run fails; made then. */
  readonly logs: string;
}

/** Milliseconds that a timer of Node can wait. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;
/** Milliseconds between the moment at which every client is ready and that at which they begin: all have been told by then. */
const HEAD_START_MS = 100;
/** Milliseconds until the end of a process counts as a failure: Ctrl-C in a terminal ends them as well as the command. */
const DOUBT_MS = 100;

/** Makes a run of a point with separate processes on this machine. */
export async function runOnWallClock(job: Job, options: WallRunOptions): Promise<Done> {
  const scratch = scratchDirectory();
  try {
    return { ok: true, outcome: await new WallRun(job, options, scratch).run() };
  } catch (error) {
    // Mistakes of our own are not the point's.
    if (!(error instanceof PointFailed || error instanceof CommandError)) throw error;
    const logs = existsSync(options.logs) ? `; logs: ${options.logs}` : '';
    return { ok: false, reason: `${error.message}${logs}` };
  } finally {
    scratch.remove();
  }
}

class WallRun {
  readonly #settings: Settings;
  readonly #options: WallRunOptions;
  readonly #topology: Topology;
  readonly #roles: ReadonlyMap<string, Role>;
  /** Clients that are not ready, and those that have not ended. */
  readonly #notReady: Set<string>;
  readonly #open: Set<string>;
  readonly #reports = new Map<string, LoadReport>();
  readonly #ready: Deferred<void> = deferred();
  readonly #ended: Deferred<void> = deferred();
  readonly #failed: Deferred<string> = deferred();

  /** @throws PointFailed if the point makes no platform */
  constructor({ settings, seed }: Job, options: WallRunOptions, scratch: RunDirectory) {
    const { topology, roles } = madePlatform(settings);
    this.#settings = settings;
    this.#options = options;
    this.#roles = roles;
    this.#topology = {
      ...topology,
      vms: topology.vms.map((vm) => {
        const load = loadOptionsOf(settings, roles.get(vm.name), vm, seed);
        const remioDevs = vm.remioDevs.map((end) => withDisk(end, settings, scratch));
        return load === undefined ? { ...vm, remioDevs } : { ...vm, remioDevs, program: loadProgram(load) };
      }),
    };
    const clients = topology.vms.filter(({ name }) => this.#isClient(name));
    this.#notReady = new Set(clients.map(({ name }) => name));
    this.#open = new Set(this.#notReady);
  }

  /** @throws PointFailed, CommandError with the reason */
  async run(): Promise<Outcome> {
    const [load = 0] = loadavg();
    const platform = await RunningPlatform.boot({
      topology: this.#topology,
      restart: false,
      failureLogs: this.#options.logs,
      signal: this.#options.signal,
      onReport: (vm, event) => this.#report(vm, event as { readonly kind?: unknown }),
      onChild: (event) => this.#child(event),
    });
    try {
      return await this.#measure(platform, load);
    } catch (error) {
      if (!this.#options.signal.aborted) platform.keepLogs(this.#options.logs);
      throw error;
    } finally {
      await platform.stop();
    }
  }

  async #measure(platform: RunningPlatform, load: number): Promise<Outcome> {
    const { warm_up: warmUp, duration, patience } = this.#settings.measure;
    const late = (open: ReadonlySet<string>, what: string): string => `${some(open)} ${what} after ${patience / 1e9} s`;
    await this.#before(patience, this.#ready.promise, () => late(this.#notReady, 'not ready'));
    const at = now() + HEAD_START_MS * 1e6;
    const message: StartMessage = { kind: 'start', at };
    for (const { name, part } of platform.processes)
      if (part === 'frontend-vm') platform.supervisor.tell(name, message);
    const first = await this.#look(platform, at + warmUp);
    const last = await this.#look(platform, at + warmUp + duration);
    await this.#before(patience, this.#ended.promise, () => late(this.#open, 'at work still'));
    await platform.stopVms();
    const reports = (await platform.query('reports')) as Reports;
    const made = loadOutcome(this.#settings, this.#roles, this.#reports);
    const { accesses, interrupts, ...measured } = measuredBetween(first, last, platform.processes, this.#roles);
    const per = (rate: number): number => (made.throughput === 0 ? 0 : rate / made.throughput);
    return {
      ...made,
      ...measured,
      perOperation: { accesses: per(accesses), interrupts: per(interrupts) },
      frames: framesOf(this.#topology, last.status, reports),
      machineLoad: load,
    };
  }

  /** Looks at the platform at a time. */
  async #look(platform: RunningPlatform, at: number): Promise<Look> {
    await this.#before(Number.POSITIVE_INFINITY, sleepUntil(at), () => '');
    const look = await lookAt(platform);
    // From here on: the time that counts.
    await platform.query('reset-latencies');
    return look;
  }

  /** Waits for something, as long as nothing fails and nobody stops it. @throws PointFailed */
  async #before(ns: number, what: Promise<unknown>, late: () => string): Promise<void> {
    const { signal } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    let stop = (): void => {};
    const over = new Promise<string>((resolve) => {
      if (Number.isFinite(ns)) timer = setTimeout(() => resolve(late()), Math.min(ns / 1e6, TIMEOUT_MS_MAX));
      stop = () => resolve('stopped');
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop);
    });
    const reason = await Promise.race([what.then(() => undefined), this.#failed.promise, over]);
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    if (reason !== undefined) throw new PointFailed(reason);
  }

  #isClient(vm: string): boolean {
    const role = this.#roles.get(vm);
    return role === 'frontend' || role === 'noisy';
  }

  #report(vm: string, event: { readonly kind?: unknown; readonly vcpu?: unknown; readonly reason?: unknown }): void {
    switch (event.kind) {
      case LOAD_READY:
        this.#notReady.delete(vm);
        if (this.#notReady.size === 0) this.#ready.resolve();
        return;
      case 'load':
        this.#reports.set(vm, event as unknown as LoadReport);
        return;
      case 'vcpu-off': {
        const { vcpu, reason } = event;
        // What the topology runs besides may end, or fail, as it likes.
        if (!this.#isClient(vm) && this.#roles.get(vm) !== 'backend') return;
        if (reason !== undefined) this.#failed.resolve(`vCPU ${vcpu} of ${vm} stopped: ${firstLine(String(reason))}`);
        else if (vcpu === 0 && this.#open.delete(vm) && this.#open.size === 0) this.#ended.resolve();
      }
    }
  }

  #child(event: ChildEvent): void {
    if (event.kind !== 'ended') return;
    const reason = `process ${event.name} ended (${event.how})`;
    setTimeout(() => this.#failed.resolve(reason), DOUBT_MS);
  }
}

/** What a frontend runs: it begins with all others. */
const loadProgram = (options: LoadOptions): ModuleRef => ({
  kind: 'builtin',
  name: 'load',
  options: { ...options, start: 'told' } satisfies LoadProgramOptions,
});

/** A device whose image is a sparse file, gone after the run. */
function withDisk(end: RemioDev, { platform }: Settings, scratch: RunDirectory): RemioDev {
  const { device } = end;
  if (device?.kind !== 'builtin' || device.choice.type !== 'block') return end;
  const image = join(scratch.path, `disk${end.bindKey}`);
  writeFileSync(image, '');
  truncateSync(image, platform.disk);
  const options = { ...device.choice.options, image };
  return { ...end, device: { kind: 'builtin', choice: { type: 'block', options } } };
}

const now = (): number => Number(process.hrtime.bigint());

const sleepUntil = (at: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, Math.max(0, Math.ceil((at - now()) / 1e6))));

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';

/** Names of VMs that a message can hold. */
const some = (names: ReadonlySet<string>): string => {
  const shown = [...names].slice(0, 3).join(', ');
  return names.size > 3 ? `${shown} and ${names.size - 3} more` : shown;
};
