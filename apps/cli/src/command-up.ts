import { backendPrograms } from '@remio/backend-vm';
import { frontendPrograms } from '@remio/frontend-vm';
import type { GuestProgram } from '@remio/guest';
import { RecordingFile } from '@remio/hypervisor';
import { METRICS_VARIABLE, type MetricsAddress, parseMetricsAddress, showAddress } from '@remio/metrics';
import { showDuration } from '@remio/telemetry';
import { isBackend, type Topology, usesStdio, type Vm } from '@remio/topology';
import { InprocEngine, programOf } from '@remio/vm-runtime';
import { deferred } from './deferred.js';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { type PlatformOptions, RunningPlatform } from './running-platform.js';
import {
  type CountersReport,
  countersOf,
  type DeviceReport,
  type PlatformStatus,
  type Reports,
  renderDevices,
  renderHops,
  renderVms,
} from './status.js';
import { topologyOf } from './topology-file.js';
import { renderWorld, virtualWorld } from './virtual-world.js';

export interface UpOptions {
  readonly image: readonly string[];
  readonly engine: 'processes' | 'inproc' | 'virtual';
  readonly endpoint?: string;
  readonly plaintext?: boolean;
  /** Directory of the secret keys. */
  readonly keys?: string;
  readonly record?: string;
  /** HOST:PORT of the hypervisor's metrics. */
  readonly metrics?: string;
  /** Processes of each kind; at least 1. */
  readonly processes?: number;
  readonly json: boolean;
  /** Stop when every frontend's program has ended. */
  readonly untilDone: boolean;
}

/** Shows something: as JSON, or as text for people. */
type Print = (value: object, text: string) => void;

/** Where a guest's console has standard output, what the command says goes to standard error. */
const printer = (topology: Topology, json: boolean): Print => {
  const show = usesStdio(topology.vms) ? console.error : console.log;
  return (value, text) => show(json ? JSON.stringify(value) : text);
};

/** `remio up`: boots a topology and shows what happens until it is stopped. */
export async function up(file: string, options: UpOptions): Promise<ExitCode> {
  if (options.processes === 0) throw new CommandError('--processes 0: expected at least 1', EXIT.USAGE);
  const topology = topologyOf(file, options.image);
  switch (options.engine) {
    case 'inproc':
      return upInproc(topology, options);
    case 'virtual':
      return upVirtual(topology, options);
    case 'processes':
      return upProcesses(topology, options);
  }
}

/** VMs whose work is not done yet: frontends', and what others drive besides serving devices. */
const openFrontends = (topology: Topology): Set<string> =>
  new Set(topology.vms.filter((vm) => !isBackend(vm) || isDriven(vm)).map((vm) => vm.name));

/** Whether the program that serves a VM's devices drives others besides. */
const isDriven = ({ program, remioDevs, ipcs }: Vm): boolean =>
  program.kind === 'builtin' &&
  program.name === 'dispatcher' &&
  [...remioDevs, ...ipcs].some(({ driver }) => driver !== undefined);

/** What a report says of its VM's work: that it is done, well or not, or that the VM's first vCPU went off. */
function endOf(
  report: { readonly kind?: unknown; readonly vcpu?: unknown },
  vm: Vm | undefined,
): 'work' | 'vcpu' | undefined {
  if (report.kind === 'drivers-ended') return 'work';
  if (report.kind !== 'vcpu-off' || report.vcpu !== 0) return undefined;
  return vm !== undefined && isBackend(vm) ? 'vcpu' : 'work';
}

/** Where metrics are served: the option's address, or the environment's. A port for each process follows the first. */
function metricsFrom(option: string | undefined): MetricsAddress | undefined {
  const text = option ?? process.env[METRICS_VARIABLE] ?? '';
  if (text === '') return undefined;
  const address = parseMetricsAddress(text);
  if (!address.ok) throw new CommandError(address.error, EXIT.USAGE);
  if (address.value.port === 0)
    throw new CommandError('--metrics needs a port: the processes take those that follow', EXIT.USAGE);
  return address.value;
}

async function upProcesses(topology: Topology, options: UpOptions): Promise<ExitCode> {
  const metrics = metricsFrom(options.metrics);
  const print = printer(topology, options.json);
  const open = openFrontends(topology);
  const over = deferred<ExitCode>();
  let failed = false;
  let ending = false;
  const stopping = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    over.resolve(signal === 'SIGINT' ? EXIT.SIGINT : EXIT.SIGTERM);
    stopping.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const boot: PlatformOptions = {
    topology,
    signal: stopping.signal,
    ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
    ...(options.plaintext === undefined ? {} : { plaintext: options.plaintext }),
    ...(options.keys === undefined ? {} : { keys: options.keys }),
    ...(options.record === undefined ? {} : { record: options.record }),
    ...(metrics === undefined ? {} : { metrics }),
    ...(options.processes === undefined ? {} : { processes: options.processes }),
    onReport: (vm, event) => {
      const report = event as { readonly kind?: unknown; readonly vcpu?: unknown; readonly reason?: unknown };
      // Shown when everything is over.
      if (ending || report.kind === 'latency' || report.kind === 'counters') return;
      print({ vm, event }, `${vm}: ${JSON.stringify(event)}`);
      const ended = endOf(
        report,
        topology.vms.find(({ name }) => name === vm),
      );
      if (ended === undefined) return;
      if (report.reason !== undefined) failed = true;
      // Without its backend, no frontend will ever be done.
      const hopeless = failed && ended === 'vcpu';
      if (ended === 'work') open.delete(vm);
      if (options.untilDone && (hopeless || open.size === 0)) over.resolve(failed ? EXIT.FAILED : EXIT.OK);
    },
    onChild: (event) => {
      print(
        event,
        `${event.name}: ${event.kind} (process ${event.pid})${event.kind === 'ended' ? ` ${event.how}` : ''}`,
      );
      if (event.kind === 'ended' && event.name === 'hypervisor' && !event.restarts) over.resolve(EXIT.ENVIRONMENT);
    },
  };
  const platform = await RunningPlatform.boot(boot).catch((error: unknown) => {
    if (!stopping.signal.aborted) throw error;
  });
  // Stopped while it was booting.
  if (platform === undefined) return over.promise;
  print({ endpoint: platform.endpoint }, `${topology.name} is up at ${platform.endpoint}; Ctrl-C stops it`);
  for (const [name, address] of platform.metrics) {
    const url = `http://${showAddress(address)}/metrics`;
    print({ name, metrics: url }, `${name}: metrics at ${url}`);
  }
  const code = await over.promise;
  ending = true;
  try {
    if (code !== EXIT.ENVIRONMENT) {
      const status = (await platform.query('status')) as PlatformStatus;
      await platform.stopVms();
      const reports = (await platform.query('reports')) as Reports;
      const parts = [renderVms(status), renderDevices(countersOf(reports)), hopsOf(topology, status, reports)];
      print({ status, reports }, `\n${parts.filter((part) => part !== '').join('\n\n')}`);
    }
  } catch (error) {
    // Ctrl-C in a terminal reaches the hypervisor as well, and it may be gone before it has answered.
    if (!stopping.signal.aborted) throw error;
  } finally {
    await platform.stop();
  }
  return code;
}

/** The hops of the first frontend. */
function hopsOf(topology: Topology, status: PlatformStatus, reports: Reports): string {
  for (const vm of topology.vms) {
    const end = vm.remioDevs.find((candidate) => candidate.type === 'frontend');
    const backend = topology.vms.find((other) =>
      other.remioDevs.some((candidate) => candidate.type === 'backend' && candidate.bindKey === end?.bindKey),
    );
    if (end !== undefined && backend !== undefined) return renderHops(status, reports, vm.name, backend.name);
  }
  return '';
}

/** What each VM of a topology runs, by name. @throws CommandError if a module gives none */
async function programsOf(topology: Topology): Promise<ReadonlyMap<string, GuestProgram>> {
  const table = { ...backendPrograms, ...frontendPrograms };
  const programs = new Map<string, GuestProgram>();
  for (const vm of topology.vms) {
    try {
      programs.set(vm.name, await programOf(vm, table));
    } catch (error) {
      throw new CommandError(error instanceof Error ? error.message : String(error), EXIT.USAGE);
    }
  }
  return programs;
}

/** In virtual time: until the work is done, or nothing can happen any more. */
async function upVirtual(topology: Topology, options: UpOptions): Promise<ExitCode> {
  const programs = await programsOf(topology);
  const print = printer(topology, options.json);
  const open = openFrontends(topology);
  let code: ExitCode | undefined;
  const world = virtualWorld(topology, programs, {
    report: (vm, event, now) => {
      if (event.kind === 'counters') return;
      print({ vm: vm.name, now, event }, `${showDuration(now)}  ${vm.name}: ${JSON.stringify(event)}`);
      const ended = endOf(event, vm);
      if (ended === undefined) return;
      if (event['reason'] !== undefined) code = EXIT.FAILED;
      const hopeless = code === EXIT.FAILED && ended === 'vcpu';
      if (ended === 'work') open.delete(vm.name);
      if (options.untilDone && (hopeless || open.size === 0)) world.stop();
    },
    log: (vm, line) => console.error(`${vm.name}: ${line}`),
  });
  const onSignal = (signal: NodeJS.Signals): void => {
    code = signal === 'SIGINT' ? EXIT.SIGINT : EXIT.SIGTERM;
    world.stop();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  const ending = await world.run();
  const use = world.use();
  print(
    { ending, now: world.now, use, hops: { count: world.hops.count, total: world.hops.total } },
    `\n${renderWorld(world)}`,
  );
  if (code !== undefined) return code;
  if (!options.untilDone || open.size === 0) return EXIT.OK;
  console.error(`nothing can happen any more, and ${[...open].join(', ')} did not finish`);
  return EXIT.FAILED;
}

async function upInproc(topology: Topology, options: UpOptions): Promise<ExitCode> {
  const programs = await programsOf(topology);
  const print = printer(topology, options.json);
  const open = openFrontends(topology);
  const over = deferred<ExitCode>();
  process.on('SIGINT', () => over.resolve(EXIT.SIGINT));
  process.on('SIGTERM', () => over.resolve(EXIT.SIGTERM));
  let failed = false;
  const recording = recordingOf(topology, options.record);
  const counters = new Map<string, DeviceReport>();
  const engine = InprocEngine.create(topology, (vm) => programs.get(vm.name) ?? (() => Promise.resolve()), {
    report: (vm, event) => {
      if (event.kind === 'counters') {
        const report = event as unknown as CountersReport;
        counters.set(`${vm.name} ${report.device}`, { vm: vm.name, report });
        return;
      }
      print({ vm: vm.name, event }, `${vm.name}: ${JSON.stringify(event)}`);
      const ended = endOf(event, vm);
      if (ended === undefined) return;
      if (event['reason'] !== undefined) failed = true;
      const hopeless = failed && ended === 'vcpu';
      if (ended === 'work') open.delete(vm.name);
      if (options.untilDone && (hopeless || open.size === 0)) over.resolve(failed ? EXIT.FAILED : EXIT.OK);
    },
    log: (vm, line) => console.error(`${vm.name}: ${line}`),
    ...(recording === undefined ? {} : { onStep: recording.onStep }),
  });
  if (!engine.ok) throw new CommandError(`the core refuses the topology: ${engine.error}`, EXIT.USAGE);
  engine.value.start();
  const keepAlive = setInterval(() => {}, 1000);
  const code = await over.promise;
  clearInterval(keepAlive);
  await engine.value.stop();
  recording?.close();
  const { platform } = engine.value;
  const vms = topology.vms.map(({ id, name }) => ({ name, ...platform.vmStats(id) }));
  const devices = [...counters.values()];
  print({ vms, devices }, `\n${renderDevices(devices)}`);
  return code;
}

function recordingOf(topology: Topology, path: string | undefined): RecordingFile | undefined {
  if (path === undefined) return undefined;
  try {
    return RecordingFile.create(path, topology, (message) => console.error(message));
  } catch (error) {
    throw new CommandError(error instanceof Error ? error.message : String(error), EXIT.USAGE);
  }
}
