import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CpuId, err, ok, type Result } from '@remio/base';
import type { GuestProgram, ProgramFactory } from '@remio/guest';
import { logger, peerKeys, sharedFile } from '@remio/hypervisor';
import {
  METRICS_VARIABLE,
  type MetricsAddress,
  MetricsEndpoint,
  parseMetricsAddress,
  type Scrape,
  showAddress,
} from '@remio/metrics';
import { type HypervisorRecord, VM_KINDS, type VmKind, type VmRecord, type VmTransport } from '@remio/protocol';
import { mapRegion, regionPlace } from '@remio/shared-memory';
import { Latency } from '@remio/telemetry';
import { hostNeeds, kindOf, type SharedMemory, type Topology, topologyOfProcess, type Vm } from '@remio/topology';
import { Connection, type ConnectionHandler, type PeerKeys, peerKeyFile } from '@remio/transport';
import { hostLoop } from './host-loop.js';
import { VmHost, type VmReport } from './vm-host.js';
import { VmMetrics } from './vm-metrics.js';

/** Built-in programs by name, made from `program.options`. */
export type ProgramTable = Readonly<Record<string, (options: object) => GuestProgram>>;

const PROGRAM_FAILED = 1;
const USAGE_ERROR = 2;
const ENVIRONMENT_ERROR = 3;
/** Milliseconds between reports for observers. */
const REPORT_MS = 1000;
/** Milliseconds in which ZeroMQ's own thread sends the goodbye. */
const GOODBYE_MS = 20;

/**
 * The program of a VM: a built-in one, or the default export of a user's module.
 * @throws Error that says what is missing
 */
export async function programOf(vm: Vm, table: ProgramTable): Promise<GuestProgram> {
  const { kind, name, options } = vm.program;
  if (kind === 'module') {
    const module = (await import(name)) as { readonly default?: ProgramFactory };
    if (typeof module.default !== 'function') throw new Error(`${name} has no default export that makes a program`);
    return module.default(options);
  }
  const make = Object.hasOwn(table, name) ? table[name] : undefined;
  if (make === undefined) throw new Error(`program ${name} of VM ${vm.name} does not run in this process`);
  return make(options as object);
}

/** VMs that a process asks for: by name, or any that is free of a kind. */
type Claim = readonly string[] | VmKind;

/** The `main` of a process that runs VMs: takes its arguments, attaches, and runs until it is stopped. */
export async function runVmProcess(name: string, programs: ProgramTable): Promise<void> {
  const { values } = parseArgs({
    options: {
      topology: { type: 'string' },
      checked: { type: 'string' },
      vm: { type: 'string', multiple: true, default: [] },
      claim: { type: 'string' },
      connect: { type: 'string' },
      keys: { type: 'string' },
      'run-dir': { type: 'string' },
      image: { type: 'string', multiple: true, default: [] },
      metrics: { type: 'string' },
    },
  });
  // Whoever started this process was killed, perhaps while it was loading.
  process.on('disconnect', () => process.exit(ENVIRONMENT_ERROR));
  if (process.connected === false) process.exit(ENVIRONMENT_ERROR);
  const log = logger(name);
  const { connect, 'run-dir': runDirectory } = values;
  const claim = claimOf(values.vm, values.claim);
  if ((values.topology ?? values.checked) === undefined || connect === undefined || claim === undefined) {
    fail(
      USAGE_ERROR,
      `usage: ${name} --topology FILE (--vm NAME | --claim ${VM_KINDS.join('|')}) --connect ENDPOINT [--keys DIR] [--run-dir DIR] [--image NAME=PATH] [--metrics HOST:PORT]`,
    );
  }
  const metrics = metricsAddress(values.metrics);
  const topology = topologyOfProcess(values);
  if (typeof topology === 'string') fail(USAGE_ERROR, topology);
  if (typeof claim !== 'string') {
    const unknown = claim.find((wanted) => !topology.vms.some((vm) => vm.name === wanted));
    if (unknown !== undefined) {
      const names = topology.vms.map((other) => other.name).join(', ');
      fail(USAGE_ERROR, `${topology.file} has no VM ${unknown}; it has ${names}`);
    }
  }
  const keys = values.keys === undefined ? undefined : keysOf(topology, claim, values.keys);
  if (keys?.ok === false) fail(USAGE_ERROR, keys.error);
  const process_ = new VmProcess(topology, runDirectory, (level, fields, message) => log[level](fields, message));
  const failure =
    (await process_.serveMetrics(metrics)) ??
    (await process_.attach(connect, claim, keys?.value)) ??
    (await process_.run(programs));
  if (failure !== undefined) {
    process_.stop(failure.reason);
    setTimeout(() => fail(failure.code, failure.reason), GOODBYE_MS);
    return;
  }
  const stop = (): void => {
    process_.stop('stopped');
    setTimeout(() => process.exit(0), GOODBYE_MS);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.send?.('ready');
}

function claimOf(vms: readonly string[], kind: string | undefined): Claim | undefined {
  if (vms.length > 0) return kind === undefined ? vms : undefined;
  return VM_KINDS.find((each) => each === kind);
}

/** Keys of a process: those of its VMs, or, if it takes any VM of a kind, those that are in the directory. */
function keysOf(topology: Topology, claim: Claim, directory: string): Result<PeerKeys, string> {
  if (typeof claim !== 'string') return peerKeys(topology, claim, directory);
  const claimable = topology.vms.filter((vm) => kindOf(vm) === claim && hostNeeds(vm).length === 0);
  const names = claimable.map(({ name }) => name).filter((name) => existsSync(join(directory, peerKeyFile(name))));
  if (names.length > 0) return peerKeys(topology, names, directory);
  return err(
    `${directory} has the key of no ${claim} that any process may claim; such files are ${peerKeyFile('NAME')}`,
  );
}

function metricsAddress(option: string | undefined): MetricsAddress | undefined {
  const text = option ?? process.env[METRICS_VARIABLE] ?? '';
  if (text === '') return undefined;
  const address = parseMetricsAddress(text);
  if (!address.ok) fail(USAGE_ERROR, address.error);
  return address.value;
}

function fail(code: number, message: string): never {
  console.error(message);
  process.exit(code);
}

type Log = (level: 'info' | 'warn' | 'error', fields: object, message: string) => void;

/** Why the process cannot go on. */
interface Failure {
  readonly code: number;
  readonly reason: string;
}

const environment = (reason: string): Failure => ({ code: ENVIRONMENT_ERROR, reason });

/** VMs, their host and their connection. */
class VmProcess implements VmTransport {
  readonly #topology: Topology;
  /** Where shared memories lie; undefined: this process can share none. */
  readonly #runDirectory: string | undefined;
  readonly #log: Log;
  /** Those that this process runs, once it has them. */
  #vms: readonly Vm[] = [];
  /** Time of the hypervisor's frames on their way here. */
  readonly #transit = new Latency();
  /** Time from a frame's arrival to that of what it caused being sent. */
  readonly #turn = new Latency();
  /** Time from a trap to the vCPU going on. */
  readonly #roundTrip = new Latency();
  readonly #trappedAt: Float64Array;
  /** CPUs whose trap leaves with the next frame. */
  #trapped: CpuId[] = [];
  #arrivedAt = 0;
  #reported = 0;
  #connection: Connection | undefined;
  #host: VmHost | undefined;
  /** What the hypervisor said before there was a host. */
  readonly #early: HypervisorRecord[] = [];
  #metrics: VmMetrics | undefined;
  #endpoint: MetricsEndpoint | undefined;

  constructor(topology: Topology, runDirectory: string | undefined, log: Log) {
    this.#topology = topology;
    this.#runDirectory = runDirectory;
    this.#log = log;
    this.#trappedAt = new Float64Array(topology.board.cpus.length);
  }

  /** Serves metrics and health, if that is wanted; returns why it cannot. */
  async serveMetrics(address: MetricsAddress | undefined): Promise<Failure | undefined> {
    if (address === undefined) return undefined;
    const endpoint = await MetricsEndpoint.listen(address, {
      collect: (scrape) => this.#collect(scrape),
      notReady: () => this.#metrics?.notReady() ?? (this.#host === undefined ? 'it runs no VM yet' : undefined),
    });
    if (!endpoint.ok) return environment(endpoint.error);
    this.#endpoint = endpoint.value;
    this.#log('info', { address: showAddress(endpoint.value.address) }, 'metrics are served');
    return undefined;
  }

  /** Connects and claims VMs; returns why it cannot. */
  async attach(endpoint: string, claim: Claim, keys: PeerKeys | undefined): Promise<Failure | undefined> {
    const handler: ConnectionHandler = {
      onRecords: (records, arrivedAt, transit) => {
        if (this.#arrivedAt === 0) this.#arrivedAt = arrivedAt;
        if (transit > 0) this.#transit.record(transit);
        const host = this.#host;
        for (const record of records) {
          if (record.kind === 'resume' || record.kind === 'fault') {
            this.#roundTrip.record(arrivedAt - (this.#trappedAt[record.cpu] ?? arrivedAt));
          }
          if (host === undefined) this.#early.push(record);
          else host.receive(record);
        }
      },
      onSent: (sentAt) => this.#sent(sentAt),
      onLost: (reason) => {
        this.#log('error', {}, `lost the hypervisor: ${reason}`);
        process.exit(ENVIRONMENT_ERROR);
      },
    };
    const attached = await Connection.attach(endpoint, this.#topology.digest, claim, handler, keys);
    if (!attached.ok) {
      const what = typeof claim === 'string' ? `a ${claim}` : `VM ${claim.join(', ')}`;
      return environment(`${what} cannot attach at ${endpoint}: ${attached.error.reason}`);
    }
    this.#connection = attached.value;
    const { vms } = attached.value;
    this.#vms = this.#topology.vms.filter(({ name }) => vms.includes(name));
    if (typeof claim === 'string') this.#log('info', { vm: vms.join(', ') }, 'the hypervisor gave this process a VM');
    return undefined;
  }

  /**
   * Maps the memory of the VMs, makes their machines and lets them run; returns why it cannot. The memory is that of the
   * hypervisor which has welcomed this process: files of one that is gone may lie there until then.
   */
  async run(programs: ProgramTable): Promise<Failure | undefined> {
    const shared = new Map<number, ArrayBuffer>();
    const places = new Map<number, string>();
    for (const vm of this.#vms) {
      for (const { shmem } of [...vm.remioDevs, ...vm.ipcs]) {
        const { id } = shmem;
        const memory = this.#topology.sharedMemories[id];
        if (shared.has(id) || memory === undefined || memory.via === 'service') continue;
        const mapped = this.#map(memory);
        const mustMap = memory.via === 'mapping' || vm.ipcs.some((ipc) => ipc.shmem.id === id);
        if (!mapped.ok && mustMap) return environment(mapped.error);
        if (!mapped.ok) {
          this.#log('info', { vm: vm.name, memory: memory.name }, `the memory service is used: ${mapped.error}`);
          continue;
        }
        shared.set(id, mapped.value.buffer);
        places.set(id, mapped.value.place);
      }
    }
    const hosted: { readonly vm: Vm; readonly program: GuestProgram }[] = [];
    for (const vm of this.#vms) {
      try {
        hosted.push({ vm, program: await programOf(vm, programs) });
      } catch (error) {
        return { code: USAGE_ERROR, reason: error instanceof Error ? error.message : String(error) };
      }
    }
    if (this.#endpoint !== undefined) this.#metrics = new VmMetrics(this.#vms);
    const host = new VmHost({
      topology: this.#topology,
      vms: hosted,
      shared: (id) => shared.get(id) ?? new ArrayBuffer(0),
      place: (id) => places.get(id) ?? '',
      transport: this,
      loop: hostLoop,
      log: (vm, line) => this.#log('info', { vm: vm.name }, line),
    });
    this.#host = host;
    for (const record of this.#early.splice(0)) host.receive(record);
    setInterval(() => this.#observe(), REPORT_MS).unref();
    return undefined;
  }

  /** Maps a memory that other processes share. An IPC object may show its VM less than there is. */
  #map({ id, name, size }: SharedMemory): Result<{ readonly buffer: ArrayBuffer; readonly place: string }, string> {
    if (this.#runDirectory === undefined) {
      return err(`shared memory ${name} cannot be mapped without --run-dir, the hypervisor\u2019s on the same host`);
    }
    const path = sharedFile(this.#runDirectory, id);
    const mapped = mapRegion(path, size);
    return mapped.ok ? ok({ buffer: mapped.value, place: regionPlace(path) }) : mapped;
  }

  stop(reason: string): void {
    // The process ends: the system closes what its VMs have open.
    void this.#host?.stop();
    this.#endpoint?.close();
    this.#connection?.detach(reason);
  }

  send(record: VmRecord): void {
    if (record.kind === 'trap') this.#trapped.push(record.cpu);
    this.#connection?.send(record);
  }

  flushSoon(): void {
    this.#connection?.flushSoon();
  }

  report(vm: string, event: VmReport): void {
    if (event.kind === 'vcpu-off') this.#reportLatencies();
    this.#metrics?.report(vm, event);
    this.#connection?.report(vm, event);
    if (event.kind === 'vcpu-off' && event['vcpu'] === 0 && event['reason'] !== undefined) this.#failed(vm);
  }

  /**
   * The program of a VM failed. Whoever holds a channel to this process has been told, and decides; an engine of containers
   * knows only processes: it starts this one anew.
   */
  #failed(vm: string): void {
    if (process.send !== undefined) return;
    this.#log('error', { vm }, 'the program failed, and this process ends');
    this.stop('its program failed');
    setTimeout(() => process.exit(PROGRAM_FAILED), GOODBYE_MS);
  }

  #collect(scrape: Scrape): void {
    // What programs count by themselves, they report when asked.
    this.#host?.observe();
    this.#metrics?.collect(scrape);
    // Times are those of the process: of its first VM, if it has several.
    const vm = this.#vms[0]?.name ?? '';
    scrape.latency('remio_hop_seconds', { hop: 'hypervisor_to_vm', vm }, this.#transit);
    scrape.latency('remio_hop_seconds', { hop: 'in_vm', vm }, this.#turn);
    scrape.latency('remio_hop_seconds', { hop: 'round_trip', vm }, this.#roundTrip);
  }

  #sent(sentAt: number): void {
    for (const cpu of this.#trapped) this.#trappedAt[cpu] = sentAt;
    if (this.#trapped.length > 0) this.#trapped = [];
    if (this.#arrivedAt === 0) return;
    this.#turn.record(sentAt - this.#arrivedAt);
    this.#arrivedAt = 0;
  }

  #observe(): void {
    this.#reportLatencies();
    this.#host?.observe();
  }

  #reportLatencies(): void {
    const [first] = this.#vms;
    if (first === undefined || this.#transit.count === this.#reported) return;
    this.#reported = this.#transit.count;
    this.#connection?.report(first.name, {
      kind: 'latency',
      fromHypervisor: this.#transit.summary(),
      turn: this.#turn.summary(),
      roundTrip: this.#roundTrip.summary(),
      frames: this.#connection.frames,
    });
  }
}
