import { parseArgs } from 'node:util';
import type { CpuId } from '@remio/base';
import type { GuestProgram, ProgramFactory } from '@remio/guest';
import { sharedFile } from '@remio/hypervisor';
import type { VmRecord, VmTransport } from '@remio/protocol';
import { mapRegion } from '@remio/shared-memory';
import { Latency } from '@remio/telemetry';
import { type Topology, topologyOfProcess, type Vm } from '@remio/topology';
import { Connection } from '@remio/transport';
import { pino } from 'pino';
import { hostLoop } from './host-loop.js';
import { VmHost, type VmReport } from './vm-host.js';

/** Built-in programs by name, made from `program.options`. */
export type ProgramTable = Readonly<Record<string, (options: object) => GuestProgram>>;

const USAGE_ERROR = 2;
const ENVIRONMENT_ERROR = 3;
/** Milliseconds between reports for observers. */
const REPORT_MS = 1000;

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

/** The `main` of a process that runs VMs: takes its arguments, attaches, and runs until it is stopped. */
export async function runVmProcess(name: string, programs: ProgramTable): Promise<void> {
  const { values } = parseArgs({
    options: {
      topology: { type: 'string' },
      checked: { type: 'string' },
      vm: { type: 'string', multiple: true, default: [] },
      connect: { type: 'string' },
      'run-dir': { type: 'string' },
      image: { type: 'string', multiple: true, default: [] },
    },
  });
  // Whoever started this process was killed, perhaps while it was loading.
  process.on('disconnect', () => process.exit(ENVIRONMENT_ERROR));
  if (process.connected === false) process.exit(ENVIRONMENT_ERROR);
  const log = pino({ name }, pino.destination({ dest: 2, sync: true }));
  const { connect, 'run-dir': runDirectory } = values;
  if (
    (values.topology ?? values.checked) === undefined ||
    connect === undefined ||
    runDirectory === undefined ||
    values.vm.length === 0
  ) {
    fail(USAGE_ERROR, `usage: ${name} --topology FILE --vm NAME --connect ENDPOINT --run-dir DIR [--image NAME=PATH]`);
  }
  const topology = topologyOfProcess(values);
  if (typeof topology === 'string') fail(USAGE_ERROR, topology);
  const vms: { readonly vm: Vm; readonly program: GuestProgram }[] = [];
  for (const wanted of values.vm) {
    const vm = topology.vms.find((candidate) => candidate.name === wanted);
    if (vm === undefined) {
      fail(
        USAGE_ERROR,
        `${topology.file} has no VM ${wanted}; it has ${topology.vms.map((other) => other.name).join(', ')}`,
      );
    }
    try {
      vms.push({ vm, program: await programOf(vm, programs) });
    } catch (error) {
      fail(USAGE_ERROR, error instanceof Error ? error.message : String(error));
    }
  }
  const process_ = new VmProcess(topology, vms, runDirectory, (level, fields, message) => log[level](fields, message));
  const attached = await process_.attach(connect);
  if (attached !== undefined) fail(ENVIRONMENT_ERROR, attached);
  const stop = (): void => {
    process_.stop('stopped');
    // ZeroMQ's own thread still has the goodbye to send.
    setTimeout(() => process.exit(0), 20);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.send?.('ready');
}

function fail(code: number, message: string): never {
  console.error(message);
  process.exit(code);
}

type Log = (level: 'info' | 'warn' | 'error', fields: object, message: string) => void;

/** VMs, their host and their connection. */
class VmProcess implements VmTransport {
  readonly #topology: Topology;
  readonly #vms: readonly { readonly vm: Vm; readonly program: GuestProgram }[];
  readonly #runDirectory: string;
  readonly #log: Log;
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
  readonly #early: VmRecord[] = [];
  #connection: Connection | undefined;
  #host: VmHost | undefined;

  constructor(
    topology: Topology,
    vms: readonly { readonly vm: Vm; readonly program: GuestProgram }[],
    runDirectory: string,
    log: Log,
  ) {
    this.#topology = topology;
    this.#vms = vms;
    this.#runDirectory = runDirectory;
    this.#log = log;
    this.#trappedAt = new Float64Array(topology.board.cpus.length);
  }

  /** Maps memory, makes the machines and attaches; returns why it cannot. */
  async attach(endpoint: string): Promise<string | undefined> {
    const shared = new Map<number, ArrayBuffer>();
    for (const { vm } of this.#vms) {
      for (const { shmem } of [...vm.remioDevs, ...vm.ipcs]) {
        if (shared.has(shmem.id)) continue;
        // An IPC object may show its VM less than there is.
        const size = this.#topology.sharedMemories[shmem.id]?.size ?? shmem.size;
        const mapped = mapRegion(sharedFile(this.#runDirectory, shmem.id), size);
        if (!mapped.ok) return mapped.error;
        shared.set(shmem.id, mapped.value);
      }
    }
    const host = new VmHost({
      topology: this.#topology,
      vms: this.#vms,
      shared: (id) => shared.get(id) ?? new ArrayBuffer(0),
      transport: this,
      loop: hostLoop,
      log: (vm, line) => this.#log('info', { vm: vm.name }, line),
    });
    this.#host = host;
    const names = this.#vms.map(({ vm }) => vm.name);
    const attached = await Connection.attach(endpoint, this.#topology.digest, names, {
      onRecords: (records, arrivedAt, transit) => {
        if (this.#arrivedAt === 0) this.#arrivedAt = arrivedAt;
        if (transit > 0) this.#transit.record(transit);
        for (const record of records) {
          if (record.kind === 'resume' || record.kind === 'fault') {
            this.#roundTrip.record(arrivedAt - (this.#trappedAt[record.cpu] ?? arrivedAt));
          }
          host.receive(record);
        }
      },
      onSent: (sentAt) => this.#sent(sentAt),
      onLost: (reason) => {
        this.#log('error', {}, `lost the hypervisor: ${reason}`);
        process.exit(ENVIRONMENT_ERROR);
      },
    });
    if (!attached.ok) return `VM ${names.join(', ')} cannot attach at ${endpoint}: ${attached.error.reason}`;
    this.#connection = attached.value;
    // What the vCPUs said while the answer to HELLO was on its way to us.
    for (const record of this.#early.splice(0)) attached.value.send(record);
    attached.value.flush();
    setInterval(() => this.#observe(), REPORT_MS).unref();
    return undefined;
  }

  stop(reason: string): void {
    // The process ends: the system closes what its VMs have open.
    void this.#host?.stop();
    this.#connection?.detach(reason);
  }

  send(record: VmRecord): void {
    if (record.kind === 'trap') this.#trapped.push(record.cpu);
    if (this.#connection === undefined) this.#early.push(record);
    else this.#connection.send(record);
  }

  flushSoon(): void {
    this.#connection?.flushSoon();
  }

  report(vm: string, event: VmReport): void {
    if (event.kind === 'vcpu-off') this.#reportLatencies();
    this.#connection?.report(vm, event);
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
    this.#connection?.report(first.vm.name, {
      kind: 'latency',
      fromHypervisor: this.#transit.summary(),
      turn: this.#turn.summary(),
      roundTrip: this.#roundTrip.summary(),
      frames: this.#connection.frames,
    });
  }
}
