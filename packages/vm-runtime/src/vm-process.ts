import { setTimeout as sleep } from 'node:timers/promises';
import { type CpuId, err, ok, type Result } from '@remio/base';
import type { GuestProgram } from '@remio/guest';
import { keptFile, sharedFile } from '@remio/hypervisor';
import { type MetricsAddress, MetricsEndpoint, type Scrape, showAddress } from '@remio/metrics';
import type { HypervisorRecord, VmKind, VmRecord, VmTransport } from '@remio/protocol';
import { leaveRegion, mapRegion, regionPlace } from '@remio/shared-memory';
import { Latency } from '@remio/telemetry';
import type { SharedMemory, Topology, Vm } from '@remio/topology';
import { type AttachError, Connection, type ConnectionHandler, type Loss, type PeerKeys } from '@remio/transport';
import { hostLoop } from './host-loop.js';
import { type ProgramTable, programOf } from './program-of.js';
import { VmHost, type VmReport } from './vm-host.js';
import { VmMetrics } from './vm-metrics.js';

const PROGRAM_FAILED = 1;
export const USAGE_ERROR = 2;
export const ENVIRONMENT_ERROR = 3;
/** Milliseconds between reports for observers. */
const REPORT_MS = 1000;
/** Milliseconds in which ZeroMQ's own thread sends the goodbye. */
export const GOODBYE_MS = 20;
/** Milliseconds for which a process waits for another hypervisor, where the topology says so, and pauses between its tries. */
const RECONNECT_MS = 60_000;
const RECONNECT_PAUSE_MS = 100;
/** Milliseconds in which what devices had begun has ended, or never will. */
const RELEASE_MS = 10_000;

/** VMs that a process asks for: by name, or any that is free of a kind. */
export type Claim = readonly string[] | VmKind;

/** Ends the process, and says why. */
export function fail(code: number, message: string): never {
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

/** What a process needs to take its VMs and run them. */
interface Start {
  readonly endpoint: string;
  readonly claim: Claim;
  readonly keys: PeerKeys | undefined;
  readonly programs: ProgramTable;
}

/** Why a hypervisor did not take this process that another one, or the same one soon, may take. */
const PASSING: ReadonlySet<AttachError['code']> = new Set(['unreachable', 'vm-taken', 'none-free']);

/** VMs, their host and their connection. */
export class VmProcess implements VmTransport {
  readonly #topology: Topology;
  /** Where shared memories lie; undefined: this process can share none. */
  readonly #runDirectory: string | undefined;
  readonly #start: Start;
  readonly #log: Log;
  /** What is mapped, by file: it stays where it is, whatever hypervisor it is of. */
  readonly #regions = new Map<string, ArrayBuffer>();
  /** Why the hypervisor that this process had is lost; undefined: it has one, or none yet. */
  #lost: string | undefined;
  /** Whether its VMs run, or are on their way to. */
  #booted = false;
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
  #early: HypervisorRecord[] = [];
  #metrics: VmMetrics | undefined;
  #endpoint: MetricsEndpoint | undefined;

  constructor(topology: Topology, runDirectory: string | undefined, start: Start, log: Log) {
    this.#topology = topology;
    this.#runDirectory = runDirectory;
    this.#start = start;
    this.#log = log;
    this.#trappedAt = new Float64Array(topology.board.cpus.length);
  }

  /** Serves metrics and health, if that is wanted; returns why it cannot. */
  async serveMetrics(address: MetricsAddress | undefined): Promise<Failure | undefined> {
    if (address === undefined) return undefined;
    const endpoint = await MetricsEndpoint.listen(address, {
      collect: (scrape) => this.#collect(scrape),
      notReady: () =>
        this.#lost !== undefined
          ? 'it waits for another hypervisor'
          : (this.#metrics?.notReady() ?? (this.#host === undefined ? 'it runs no VM yet' : undefined)),
    });
    if (!endpoint.ok) return environment(endpoint.error);
    this.#endpoint = endpoint.value;
    this.#log('info', { address: showAddress(endpoint.value.address) }, 'metrics are served');
    return undefined;
  }

  /** Takes its VMs and lets them run; returns why it cannot. */
  async boot(): Promise<Failure | undefined> {
    const attached = await this.#attach();
    if (!attached.ok) return environment(this.#refusal(attached.error));
    const failure = await this.#run();
    if (failure !== undefined) return failure;
    setInterval(() => this.#observe(), REPORT_MS).unref();
    this.#booted = true;
    if (this.#lost !== undefined) void this.#bootAnew(this.#lost);
    return undefined;
  }

  /** The process ends: says why, to whoever is there to hear it. */
  giveUp({ code, reason }: Failure): void {
    this.stop(reason);
    setTimeout(() => fail(code, reason), GOODBYE_MS);
  }

  /**
   * The hypervisor is lost, and all that it knew of the VMs: they end here, and begin anew when there is another one. What
   * the devices had begun ends first, and their memory is given back: the next hypervisor makes it.
   */
  async #bootAnew(reason: string): Promise<void> {
    this.#booted = false;
    this.#log('warn', { reason, seconds: RECONNECT_MS / 1000 }, 'lost the hypervisor; waiting for another');
    const released = await Promise.race([
      this.#host?.stop(true).then(() => true),
      sleep(RELEASE_MS, false, { ref: false }),
    ]);
    if (released === false) {
      this.giveUp(environment(`what the devices had begun did not end within ${RELEASE_MS / 1000} s`));
      return;
    }
    this.#host = undefined;
    this.#metrics = undefined;
    for (const region of this.#regions.values()) leaveRegion(region);
    const failure = await this.#bootAtAnother();
    if (failure !== undefined) this.giveUp(failure);
    else this.#log('info', { vm: this.#vms.map(({ name }) => name).join(', ') }, 'another hypervisor has taken it');
  }

  async #bootAtAnother(): Promise<Failure | undefined> {
    for (const start = performance.now(); ; await sleep(RECONNECT_PAUSE_MS)) {
      const attached = await this.#attach();
      if (attached.ok) {
        const failure = await this.#run();
        if (failure !== undefined) return failure;
        this.#booted = true;
        // This one may be lost by now as well.
        if (this.#lost !== undefined) void this.#bootAnew(this.#lost);
        return undefined;
      }
      const over = performance.now() - start > RECONNECT_MS;
      if (over || !PASSING.has(attached.error.code)) return environment(this.#refusal(attached.error));
    }
  }

  /** What became of the session. */
  #onLost(reason: string, loss: Loss): void {
    if (loss === 'cut-off' || this.#topology.onHypervisorLoss === 'stop') {
      this.#log('error', {}, `lost the hypervisor: ${reason}`);
      process.exit(ENVIRONMENT_ERROR);
    }
    this.#lost = reason;
    if (this.#booted) void this.#bootAnew(reason);
  }

  #refusal({ reason }: AttachError): string {
    const { claim, endpoint } = this.#start;
    const what = typeof claim === 'string' ? `a ${claim}` : `VM ${claim.join(', ')}`;
    return `${what} cannot attach at ${endpoint}: ${reason}`;
  }

  /** Connects and claims VMs. */
  async #attach(): Promise<Result<void, AttachError>> {
    const { endpoint, claim, keys } = this.#start;
    this.#early = [];
    this.#arrivedAt = 0;
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
      goesOn: () => this.#host?.going ?? false,
      onSent: (sentAt) => this.#sent(sentAt),
      onLost: (reason, loss) => this.#onLost(reason, loss),
    };
    const attached = await Connection.attach(endpoint, this.#topology.digest, claim, handler, keys);
    if (!attached.ok) return attached;
    this.#lost = undefined;
    this.#connection = attached.value;
    const { vms } = attached.value;
    this.#vms = this.#topology.vms.filter(({ name }) => vms.includes(name));
    if (typeof claim === 'string') this.#log('info', { vm: vms.join(', ') }, 'the hypervisor gave this process a VM');
    return ok(undefined);
  }

  /**
   * Maps the memory of the VMs, makes their machines and lets them run; returns why it cannot. The memory is that of the
   * hypervisor which has welcomed this process: files of one that is gone may lie there until then.
   */
  async #run(): Promise<Failure | undefined> {
    const { programs } = this.#start;
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
      kept: (vm, dm) => this.#kept(vm, dm),
      transport: this,
      loop: hostLoop,
      log: (vm, line) => this.#log('info', { vm: vm.name }, line),
    });
    this.#host = host;
    for (const record of this.#early.splice(0)) host.receive(record);
    return undefined;
  }

  /** Maps a memory that other processes share. An IPC object may show its VM less than there is. */
  #map({ id, name, size }: SharedMemory): Result<{ readonly buffer: ArrayBuffer; readonly place: string }, string> {
    if (this.#runDirectory === undefined) {
      return err(`shared memory ${name} cannot be mapped without --run-dir, the hypervisor\u2019s on the same host`);
    }
    const path = sharedFile(this.#runDirectory, id);
    const mapped = this.#region(path, size);
    return mapped.ok ? ok({ buffer: mapped.value, place: regionPlace(path) }) : mapped;
  }

  /** The memory in which a backend's end keeps what outlives this process. */
  #kept(vm: Vm, dm: number): ArrayBuffer | undefined {
    const size = vm.remioDevs[dm]?.resume ?? 0;
    const mapped =
      this.#runDirectory === undefined
        ? err('it needs --run-dir, the hypervisor\u2019s on the same host')
        : this.#region(keptFile(this.#runDirectory, vm.id, dm), size);
    if (mapped.ok) return mapped.value;
    const device = vm.remioDevs[dm]?.name;
    this.#log('warn', { vm: vm.name, device }, `the device starts over when its backend is lost: ${mapped.error}`);
    return undefined;
  }

  #region(path: string, size: number): Result<ArrayBuffer, string> {
    const mapped = mapRegion(path, size, this.#regions.get(path));
    if (mapped.ok) this.#regions.set(path, mapped.value);
    return mapped;
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
