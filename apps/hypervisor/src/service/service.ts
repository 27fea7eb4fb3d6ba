import { openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { assert, type CpuId, err, ok, type Result, type VmId } from '@remio/base';
import { type MetricsAddress, MetricsEndpoint, type Scrape, showAddress } from '@remio/metrics';
import type { VmKind, VmRecord } from '@remio/protocol';
import { createRegion, lockFile, roomProblem } from '@remio/shared-memory';
import { Latency } from '@remio/telemetry';
import { hostNeeds, kindOf, type Topology } from '@remio/topology';
import {
  type HypervisorKeys,
  hostTime,
  Listener,
  type ListenerHandler,
  type Peer,
  type Rejection,
  SessionRoutes,
} from '@remio/transport';
import { Platform, type PlatformEvent } from '../platform/index.js';
import { RecordingFile } from '../recording/index.js';
import { collectHypervisor } from './metrics.js';
import { Refusals } from './refusals.js';

/** What a hypervisor process needs. */
export interface ServiceOptions {
  readonly topology: Topology;
  /** `ipc://…` or `tcp://…` */
  readonly endpoint: string;
  /** Where shared memories lie, one file each; absent: none are made. */
  readonly runDirectory?: string;
  /** File that gets every input of the core and its effects, as a vector. */
  readonly record?: string;
  /** Lets in only who has one of these keys; absent: whoever reaches the endpoint. */
  readonly keys?: HypervisorKeys;
  /** Where metrics and health are served; absent: nowhere. */
  readonly metrics?: MetricsAddress;
  log(level: 'info' | 'warn' | 'error', fields: object, message: string): void;
}

const SHARED_FILE = /^(shmem-\d+|device-\d+-\d+)$/;

/** Name of the file of a shared memory in the run directory. */
export const sharedFile = (runDirectory: string, id: number): string => join(runDirectory, `shmem-${id}`);

/** Name of the file in which a backend's end keeps what outlives its process. */
export const keptFile = (runDirectory: string, vm: VmId, dm: number): string =>
  join(runDirectory, `device-${vm}-${dm}`);

/** Milliseconds in which processes that lost their hypervisor have ended, and given their memory back. */
const RELEASE_MS = 6_000;

/**
 * Takes a run directory for this process, and removes the memories of one that was killed: whoever still maps them keeps
 * what it has, and nobody finds them any more. Tells how many there were.
 */
function claimRunDirectory(path: string): Result<number, string> {
  try {
    // Held until the process ends.
    const lock = openSync(join(path, 'hypervisor.lock'), 'w', 0o600);
    if (!lockFile(lock)) return err(`another hypervisor uses ${path}; give this one a directory of its own`);
    const left = readdirSync(path).filter((name) => SHARED_FILE.test(name));
    for (const name of left) rmSync(join(path, name));
    return ok(left.length);
  } catch (error) {
    return err(`run directory ${path} cannot be used: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** A file of memory that processes share. */
interface SharedFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Shared memories that are mapped, and what backends keep that go on where a lost one stopped. */
function filesOf(topology: Topology, directory: string): readonly SharedFile[] {
  const mapped = topology.sharedMemories.filter(({ via }) => via !== 'service');
  const kept = topology.vms.flatMap((vm) =>
    vm.remioDevs.flatMap(({ dm, resume }) =>
      resume === undefined ? [] : [{ path: keptFile(directory, vm.id, dm), size: resume }],
    ),
  );
  return [...mapped.map(({ id, size }) => ({ path: sharedFile(directory, id), size })), ...kept];
}

/**
 * Waits until there is room for shared memories.
 * @param patience milliseconds
 * @throws Error that says where there is none
 */
async function haveRoom(directory: string, files: readonly SharedFile[], patience: number): Promise<void> {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  for (const start = performance.now(); ; ) {
    const problem = roomProblem(directory, bytes);
    if (problem === undefined) return;
    if (performance.now() - start >= patience) throw new Error(problem);
    await sleep(100);
  }
}

/** The hypervisor as a process: the platform on one side, peers on the other. */
export class HypervisorService {
  readonly #options: ServiceOptions;
  readonly #platform: Platform;
  readonly #routes = new SessionRoutes();
  readonly #incarnations: number[];
  /** Time of frames on their way here, by VM. */
  readonly #transit: readonly Latency[];
  /** Time from a frame's arrival to that of the first that it caused being sent. */
  readonly #turn = new Latency();
  /** Newest report of each kind, by VM. */
  readonly #reports = new Map<string, Map<string, unknown>>();
  readonly #rules = new Map<string, number>();
  readonly #coreEvents = new Map<string, number>();
  readonly #refusals: Refusals;
  #metrics: MetricsEndpoint | undefined;
  readonly #recording: RecordingFile | undefined;
  #deadlineTimer: NodeJS.Timeout | undefined;

  private constructor(options: ServiceOptions) {
    this.#options = options;
    const { topology } = options;
    this.#refusals = new Refusals((text, vms) =>
      options.log('warn', vms.length === 0 ? {} : { vm: vms.join(', ') }, text),
    );
    this.#incarnations = topology.vms.map(() => 0);
    this.#transit = topology.vms.map(() => new Latency());
    this.#recording =
      options.record === undefined
        ? undefined
        : RecordingFile.create(options.record, topology, (message) => options.log('error', {}, message));
    const platform = Platform.create(topology, {
      send: (record) => this.#routes.send(record),
      onEvent: (event) => this.#event(event),
      ...(this.#recording === undefined ? {} : { onStep: this.#recording.onStep }),
    });
    // The topology's check lets nothing through that the core refuses.
    assert(platform.ok, `the core refuses the topology: ${platform.ok ? '' : platform.error.code}`);
    this.#platform = platform.value;
  }

  /**
   * Makes the shared memories, brings the platform up and takes peers.
   * @throws Error that says what the host lacks
   */
  static async start(options: ServiceOptions): Promise<HypervisorService> {
    const { topology, runDirectory } = options;
    if (runDirectory !== undefined) {
      const claimed = claimRunDirectory(runDirectory);
      if (!claimed.ok) throw new Error(claimed.error);
      const files = filesOf(topology, runDirectory);
      await haveRoom(runDirectory, files, claimed.value > 0 ? RELEASE_MS : 0);
      for (const { path, size } of files) {
        const made = createRegion(path, size);
        if (!made.ok) throw new Error(made.error);
      }
    }
    const service = new HypervisorService(options);
    const handler: ListenerHandler = {
      admit: (vms) => service.#admit(vms),
      choose: (kind, among) => service.#choose(kind, among),
      onAttached: (peer) => service.#attached(peer),
      onRecords: (peer, records, arrivedAt, transit) => service.#records(peer, records, arrivedAt, transit),
      onTurn: (turnNs) => service.#turn.record(turnNs),
      onReport: (_, vm, event) => service.#report(vm, event),
      onQuery: (what, argument) => service.#query(what, argument),
      onLost: (peer, reason) => service.#lost(peer, reason),
      onRefused: (reason, vms) => service.#refusals.add(reason, vms, hostTime()),
    };
    service.#routes.listener = await Listener.bind(options.endpoint, topology.digest, handler, options.keys);
    if (options.metrics !== undefined) await service.#serveMetrics(options.metrics);
    options.log('info', { endpoint: options.endpoint, topology: topology.name }, 'the hypervisor is up');
    return service;
  }

  async stop(): Promise<void> {
    clearTimeout(this.#deadlineTimer);
    this.#metrics?.close();
    this.#routes.listener?.close();
    this.#recording?.close();
  }

  /** Writes what was recorded so far: the process ends otherwise than by {@link stop}. */
  flushRecording(): void {
    this.#recording?.flush();
  }

  async #serveMetrics(address: MetricsAddress): Promise<void> {
    const endpoint = await MetricsEndpoint.listen(address, {
      collect: (scrape) => this.#collect(scrape),
      notReady: () => this.#notReady(),
    });
    if (!endpoint.ok) {
      await this.stop();
      throw new Error(endpoint.error);
    }
    this.#metrics = endpoint.value;
    this.#options.log('info', { address: showAddress(endpoint.value.address) }, 'metrics are served');
  }

  #collect(scrape: Scrape): void {
    collectHypervisor(scrape, {
      topology: this.#options.topology,
      platform: this.#platform,
      incarnations: this.#incarnations,
      transit: this.#transit,
      turn: this.#turn,
      rules: this.#rules,
      coreEvents: this.#coreEvents,
      refusedPeers: this.#refusals.count,
      frames: this.#routes.listener?.frames,
      waiting: (vm) => this.#routes.waiting(vm.id),
      now: hostTime(),
    });
  }

  #notReady(): string | undefined {
    const absent = this.#options.topology.vms.filter((vm) => !this.#platform.attached(vm.id)).map(({ name }) => name);
    return absent.length === 0 ? undefined : `no process runs ${absent.join(', ')}`;
  }

  #admit(vms: readonly string[]): { readonly code: 'unknown-vm' | 'vm-taken'; readonly reason: string } | undefined {
    if (new Set(vms).size !== vms.length) return { code: 'vm-taken', reason: 'a VM is claimed twice in one HELLO' };
    for (const name of vms) {
      const vm = this.#options.topology.vms.find((candidate) => candidate.name === name);
      if (vm === undefined) {
        const names = this.#options.topology.vms.map((candidate) => candidate.name).join(', ');
        return { code: 'unknown-vm', reason: `the topology has no VM ${name}; it has ${names}` };
      }
      if (this.#routes.sessionOf(vm.id) !== undefined) {
        return { code: 'vm-taken', reason: `VM ${name} is run by another process` };
      }
      if (this.#options.topology.profile === 'reference' && (this.#incarnations[vm.id] ?? 0) > 0) {
        return { code: 'vm-taken', reason: `VM ${name} was lost, and the reference cannot start a VM again` };
      }
    }
    return undefined;
  }

  /** The first VM of a kind that nobody runs. Those that use something of their host are claimed by name only. */
  #choose(kind: VmKind, among?: ReadonlySet<string>): readonly string[] | Rejection {
    const all = this.#options.topology.vms.filter(
      (vm) => kindOf(vm) === kind && hostNeeds(vm).length === 0 && among?.has(vm.name) !== false,
    );
    const free = all.find(({ name }) => this.#admit([name]) === undefined);
    if (free !== undefined) return [free.name];
    const names = all.map(({ name }) => name).join(', ');
    const any = among === undefined ? 'that any process may claim' : 'that any process with their keys may claim';
    const reason =
      all.length === 0
        ? `the topology has no ${kind} VM ${any}`
        : `the topology has ${all.length} ${kind} VMs ${any} (${names}), and all are run by others`;
    return { code: 'none-free', reason };
  }

  #attached(peer: Peer): void {
    for (const name of peer.vms) {
      const vm = this.#vm(name);
      if (vm === undefined) continue;
      const incarnation = (this.#incarnations[vm] ?? 0) + 1;
      this.#incarnations[vm] = incarnation;
      this.#routes.claim(vm, peer.session);
      this.#options.log('info', { vm: name, incarnation }, 'a process attached');
      this.#routes.listener?.broadcast(name, { kind: 'attached', incarnation });
    }
    // Only when every VM of the process has its session may records flow.
    for (const vm of this.#options.topology.vms) {
      if (peer.vms.includes(vm.name)) this.#platform.attach(vm.id, this.#incarnations[vm.id] ?? 1);
    }
    this.#armDeadline();
  }

  #records(peer: Peer, records: readonly VmRecord[], arrived: number, transit: number): void {
    for (const record of records) {
      if (this.#routes.sessionOf(record.vm) !== peer.session) {
        this.#routes.listener?.cut(peer.session, `a record for VM ${record.vm}, which it has not claimed`);
        return;
      }
      const handled = this.#platform.handle(record, arrived);
      if (!handled.ok) {
        this.#refusals.count += 1;
        this.#options.log('warn', { vm: peer.vms.join(', ') }, `cut off: ${handled.error.detail}`);
        this.#routes.listener?.cut(peer.session, handled.error.detail);
        return;
      }
    }
    const [first] = records;
    if (transit > 0 && first !== undefined) this.#transit[first.vm]?.record(transit);
    if (this.#options.topology.hasDeadlines) this.#armDeadline();
  }

  #report(vm: string, event: unknown): void {
    if (typeof event === 'object' && event !== null && 'kind' in event && typeof event.kind === 'string') {
      const kinds = this.#reports.get(vm) ?? new Map<string, unknown>();
      kinds.set('device' in event ? `${event.kind}:${String(event.device)}` : event.kind, event);
      this.#reports.set(vm, kinds);
    }
    this.#routes.listener?.broadcast(vm, event);
  }

  #query(what: string, argument: unknown): unknown {
    switch (what) {
      case 'status':
        return this.#status();
      case 'reports':
        return Object.fromEntries([...this.#reports].map(([vm, kinds]) => [vm, Object.fromEntries(kinds)]));
      case 'reset-latencies':
        this.#turn.reset();
        for (const latency of this.#transit) latency.reset();
        return true;
      case 'shared-memory': {
        // Whatever a peer sent: a value that names no shared memory is answered null.
        const id = typeof argument === 'object' && argument !== null && 'id' in argument ? argument.id : undefined;
        const memory = this.#options.topology.sharedMemories.find((candidate) => candidate.id === id);
        const directory = this.#options.runDirectory;
        return memory === undefined || directory === undefined || memory.via === 'service'
          ? null
          : { path: sharedFile(directory, memory.id), size: memory.size };
      }
      default:
        return { error: `no query is called ${what}` };
    }
  }

  #status(): object {
    const { topology } = this.#options;
    return {
      topology: topology.name,
      profile: topology.profile,
      board: topology.board.name,
      frames: this.#routes.listener?.frames,
      rules: Object.fromEntries(this.#rules),
      turn: this.#turn.summary(),
      vms: topology.vms.map((vm) => ({
        name: vm.name,
        attached: this.#platform.attached(vm.id),
        incarnation: this.#incarnations[vm.id],
        ...this.#platform.vmStats(vm.id),
        toHypervisor: this.#transit[vm.id]?.summary(),
        devices: vm.remioDevs.map((end, dm) => ({
          name: end.name,
          type: end.type,
          ...this.#platform.deviceStats(vm.id)[dm],
        })),
      })),
    };
  }

  #lost(peer: Peer, reason: string): void {
    for (const name of peer.vms) {
      const vm = this.#options.topology.vms.find((candidate) => candidate.name === name);
      if (vm === undefined || this.#routes.sessionOf(vm.id) !== peer.session) continue;
      this.#routes.release(vm.id);
      this.#platform.lost(vm.id);
      this.#options.log('warn', { vm: name }, `the process is gone: ${reason}`);
      this.#routes.listener?.broadcast(name, { kind: 'lost', reason });
    }
  }

  #event(event: PlatformEvent): void {
    if (event.kind === 'rule') this.#rules.set(event.rule, (this.#rules.get(event.rule) ?? 0) + 1);
    else if (event.kind === 'core') {
      const { code } = event.event;
      this.#coreEvents.set(code, (this.#coreEvents.get(code) ?? 0) + 1);
      this.#options.log('warn', { ...event.event, ...this.#placeOf(event.event.cpu) }, 'core event');
    } else if (event.kind !== 'power') {
      const { kind, ...fields } = event;
      this.#options.log('warn', { ...fields, ...this.#placeOf(event.cpu) }, kind);
    }
  }

  /** A CPU for the log: the VM's name, and which of its vCPUs it is. */
  #placeOf(cpu: CpuId): object {
    const vm = this.#options.topology.vms.find(({ cpus }) => cpus.includes(cpu));
    return vm === undefined ? { cpu } : { vm: vm.name, vcpu: vm.cpus.indexOf(cpu), cpu };
  }

  #armDeadline(): void {
    clearTimeout(this.#deadlineTimer);
    const deadline = this.#platform.nextDeadline();
    if (deadline === undefined) return;
    this.#deadlineTimer = setTimeout(
      () => {
        this.#platform.tick(hostTime());
        this.#routes.flush();
        this.#armDeadline();
      },
      Math.max(0, Math.ceil((deadline - hostTime()) / 1e6)),
    );
  }

  #vm(name: string): VmId | undefined {
    return this.#options.topology.vms.find((candidate) => candidate.name === name)?.id;
  }
}
