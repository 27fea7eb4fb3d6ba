import { assert, type Result, type VmId } from '@remio/base';
import type { Guest } from '@remio/guest';
import { Platform, type PlatformEvent, type PlatformHost } from '@remio/hypervisor/platform';
import type { HypervisorTransport, VmTransport } from '@remio/protocol';
import type { Topology, Vm } from '@remio/topology';
import { type HostLoop, hostLoop } from './host-loop.js';
import { VmHost, type VmReport } from './vm-host.js';

/** What an in-process platform tells. */
export interface InprocEvents {
  report(vm: Vm, event: VmReport): void;
  log(vm: Vm, line: string): void;
  platform?(event: PlatformEvent): void;
  onStep?: PlatformHost['onStep'];
}

/** How an in-process platform runs. */
export interface InprocOptions {
  /** The memory behind a shared memory; an array of this process if absent. */
  readonly shared?: (id: number) => ArrayBuffer | SharedArrayBuffer;
  /** Time for the VMs, and when they run; absent: the host's own. */
  readonly loop?: HostLoop;
}

/**
 * The whole platform in one process, without sockets: the same hypervisor, seats, programs and devices as the separate
 * processes have, joined by calls. A record is handled when it is sent, so the order of everything is that of the vCPUs'
 * turns.
 */
export class InprocEngine {
  readonly platform: Platform;
  readonly #host: VmHost;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #incarnation = 1;

  private constructor(platform: Platform, host: VmHost) {
    this.platform = platform;
    this.#host = host;
  }

  /**
   * Builds the platform; nothing runs before {@link start}.
   * @param program what a VM runs
   */
  static create(
    topology: Topology,
    program: (vm: Vm) => Guest,
    events: InprocEvents,
    { shared = privateMemory(topology), loop = hostLoop }: InprocOptions = {},
  ): Result<InprocEngine, string> {
    const link = new CallLink(topology, events);
    const platform = Platform.create(topology, {
      leases: false,
      send: (record) => link.hypervisor.send(record),
      ...(events.platform === undefined ? {} : { onEvent: events.platform }),
      ...(events.onStep === undefined ? {} : { onStep: events.onStep }),
    });
    if (!platform.ok) return { ok: false, error: platform.error.code };
    const host = new VmHost({
      topology,
      vms: topology.vms.map((vm) => ({ vm, program: program(vm) })),
      shared,
      place: () => 'this process',
      kept: keptMemory(),
      transport: link.vms,
      loop,
      leases: false,
      log: events.log,
    });
    const engine = new InprocEngine(platform.value, host);
    link.join(platform.value, host, () => engine.armDeadline());
    return { ok: true, value: engine };
  }

  /** Switches every VM on. */
  start(): void {
    for (const vm of this.platform.topology.vms) this.platform.attach(vm.id, this.#incarnation);
  }

  /** A VM's process ends without a word, and another one takes the VM: what it runs begins anew. */
  async crash(name: string): Promise<void> {
    const vm = this.platform.topology.vms[this.vm(name)];
    assert(vm !== undefined, `the topology has a VM ${name}`);
    this.platform.lost(vm.id);
    await this.#host.crash(vm);
    this.#incarnation += 1;
    this.platform.attach(vm.id, this.#incarnation);
  }

  /** Ends everything; settles when files and sockets of the VMs are closed. */
  async stop(): Promise<void> {
    clearTimeout(this.#deadlineTimer);
    await this.#host.stop();
  }

  /** A VM by name; for tests and observers. */
  vm(name: string): VmId {
    const vm = this.platform.topology.vms.find((candidate) => candidate.name === name);
    assert(vm !== undefined, `the topology has a VM ${name}`);
    return vm.id;
  }

  private armDeadline(): void {
    const deadline = this.platform.nextDeadline();
    clearTimeout(this.#deadlineTimer);
    if (deadline === undefined) return;
    const wait = Math.max(0, (deadline - Number(process.hrtime.bigint())) / 1e6);
    this.#deadlineTimer = setTimeout(() => {
      this.platform.tick(Number(process.hrtime.bigint()));
      this.armDeadline();
    }, Math.ceil(wait));
  }
}

/** The way between VMs and hypervisor where both are in one process: a call. */
class CallLink {
  readonly vms: VmTransport;
  readonly hypervisor: HypervisorTransport;
  #platform: Platform | undefined;
  #host: VmHost | undefined;
  #handled: () => void = () => {};

  constructor(topology: Topology, events: InprocEvents) {
    const { hasDeadlines } = topology;
    const byName = new Map(topology.vms.map((vm) => [vm.name, vm]));
    this.vms = {
      send: (record) => {
        // Only deadlines depend on the time of an access.
        const handled = this.#platform?.handle(record, hasDeadlines ? Number(hostLoop.now()) : 0);
        assert(
          handled?.ok === true,
          handled?.ok === false ? `a vCPU of this process did what no hardware does: ${handled.error.detail}` : '',
        );
        if (hasDeadlines) this.#handled();
      },
      flushSoon: () => {},
      report: (name, event) => {
        const vm = byName.get(name);
        if (vm !== undefined) events.report(vm, event);
      },
    };
    this.hypervisor = { send: (record) => this.#host?.receive(record), flush: () => {} };
  }

  /** @param handled called after a record, if anything has a deadline */
  join(platform: Platform, host: VmHost, handled: () => void): void {
    this.#platform = platform;
    this.#host = host;
    this.#handled = handled;
  }
}

/** What devices keep while their VM crashes: made when it is asked for. */
function keptMemory(): (vm: Vm, dm: number) => ArrayBuffer | undefined {
  const made = new Map<string, ArrayBuffer>();
  return (vm, dm) => {
    const key = `${vm.id} ${dm}`;
    const memory = made.get(key) ?? new ArrayBuffer(vm.remioDevs[dm]?.resume ?? 0);
    made.set(key, memory);
    return memory;
  };
}

export const privateMemory = (topology: Topology): ((id: number) => ArrayBuffer) => {
  const buffers = topology.sharedMemories.map((memory) => new ArrayBuffer(memory.size));
  return (id) => {
    const buffer = buffers[id];
    assert(buffer !== undefined, `the topology has shared memory ${id}`);
    return buffer;
  };
};
