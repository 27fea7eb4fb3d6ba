import { HC_REMIO, REMIO_HYP_NOTIFY } from '@remio/arch';
import { assert, type CpuId, type VmId } from '@remio/base';
import { type CostModel, type CostName, costModel, nanosecondsOf } from '@remio/board';
import { type Guest, LOCAL_BUDGET, type Work } from '@remio/guest';
import type { CoreEffect, CoreInput } from '@remio/hypervisor/core';
import { Platform } from '@remio/hypervisor/platform';
import type { HypervisorRecord, VmRecord } from '@remio/protocol';
import type { Topology, Vm } from '@remio/topology';
import {
  type HostLoop,
  privateMemory,
  type RunnableVcpus,
  type TurnScheduler,
  VmHost,
  type VmReport,
} from '@remio/vm-runtime';
import { CpuSchedule, type Ending } from './cpu-schedule.js';
import { HopSums } from './hops.js';
import { type Side, WorldCpu } from './world-cpu.js';

/** What a world is made of. */
export interface WorldOptions {
  readonly topology: Topology;
  /** What a VM runs. */
  program(vm: Vm, world: World): Guest;
  report(vm: Vm, event: VmReport, now: number): void;
  log(vm: Vm, line: string): void;
  /** What everything costs; the board's costs with those of the topology, if absent. */
  readonly costs?: CostModel;
  /** Nanoseconds of virtual time after which the world ends. */
  readonly until?: number;
  /** Events after which it ends: a world in which time stands still. */
  readonly eventsMax?: number;
}

/** How the CPUs of a VM spent their time. Nanoseconds, summed over its CPUs. */
export interface CpuUse {
  readonly vm: string;
  readonly cpus: number;
  readonly guest: number;
  readonly hypervisor: number;
  /** vCPUs were paused by accesses. */
  readonly paused: number;
}

/** Cost of each kind of a guest's work. */
const WORK_COST: Readonly<Record<Work, CostName>> = {
  'register-access': 'register_access',
  'queue-notify': 'queue_notify',
  'device-request': 'device_request',
  'driver-request': 'driver_request',
  'copied-byte': 'copied_byte',
};

const EVENTS_MAX = 2 ** 40;

/**
 * The platform in virtual time: the same hypervisor, seats, programs and devices, on a discrete-event scheduler. Every CPU
 * has a clock of its own, in whole nanoseconds: it does one thing at a time, each step has its cost, and what comes
 * meanwhile waits. A run depends on topology, programs and costs alone.
 *
 * The hypervisor's code runs on the CPU that entered it, as on hardware. What it says to another CPU takes the time of an
 * interrupt between CPUs, and costs the other CPU its handler. Leases do not exist here: every ASK is a hypercall.
 */
export class World {
  readonly topology: Topology;
  readonly costs: CostModel;
  readonly platform: Platform;
  readonly hops: HopSums;
  readonly #schedule: CpuSchedule;
  /** By CPU of the board; undefined: no VM has it. */
  readonly #cpus: readonly (WorldCpu | undefined)[];
  readonly #nanoseconds: Readonly<Record<CostName, number>>;
  /** Backend ends' interrupts: those that must find their way to user space. By VM. */
  readonly #backendIrqs: readonly ReadonlySet<number>[];
  readonly #host: VmHost;
  #armed: number | undefined;
  /** The CPU on which the hypervisor handles a message, within a record of another CPU; undefined: on that one. */
  #via: WorldCpu | undefined;

  private constructor(options: WorldOptions) {
    const { topology } = options;
    this.topology = topology;
    this.costs = options.costs ?? costModel(topology.board, topology.costs);
    this.#nanoseconds = Object.fromEntries(
      Object.keys(this.costs.figures).map((name) => [name, nanosecondsOf(this.costs, name as CostName)]),
    ) as Record<CostName, number>;
    const limits = { until: options.until ?? Number.MAX_SAFE_INTEGER, eventsMax: options.eventsMax ?? EVENTS_MAX };
    this.#schedule = new CpuSchedule(limits, (cpu) => this.#nanoseconds[cpu.paused ? this.#standby() : 'wake_wfi']);
    this.hops = new HopSums((vm, dm) => this.#toBackend(vm, dm));
    const cpus: (WorldCpu | undefined)[] = topology.board.cpus.map(() => undefined);
    for (const vm of topology.vms) for (const cpu of vm.cpus) cpus[cpu] = new WorldCpu(cpu, vm);
    this.#cpus = cpus;
    this.#backendIrqs = topology.vms.map(
      (vm) => new Set(vm.remioDevs.filter(({ type }) => type === 'backend').map(({ interrupt }) => Number(interrupt))),
    );
    const platform = Platform.create(topology, {
      leases: false,
      send: (record) => this.#toVm(record),
      onStep: (input, effects) => this.#stepped(input, effects),
    });
    // The topology's check lets nothing through that the core refuses.
    assert(platform.ok, `the core refuses the topology: ${platform.ok ? '' : platform.error.code}`);
    this.platform = platform.value;
    const byName = new Map(topology.vms.map((vm) => [vm.name, vm]));
    this.#host = new VmHost({
      topology,
      vms: topology.vms.map((vm) => ({ vm, program: options.program(vm, this) })),
      shared: privateMemory(topology),
      transport: {
        send: (record) => this.#toHypervisor(record),
        flushSoon: () => {},
        report: (name, event) => {
          const vm = byName.get(name);
          if (vm !== undefined) options.report(vm, event, this.now);
        },
      },
      loop: this.#loopOfHost(),
      log: options.log,
      leases: false,
    });
  }

  /** Builds the world; nothing happens before {@link run}. */
  static create(options: WorldOptions): World {
    return new World(options);
  }

  /** Nanoseconds of virtual time. */
  get now(): number {
    return this.#schedule.now;
  }

  /** Events that happened. */
  get happened(): number {
    return this.#schedule.happened;
  }

  /** How the CPUs of every VM spent their time so far. */
  use(): readonly CpuUse[] {
    return this.topology.vms.map((vm) => {
      const cpus = vm.cpus.flatMap((cpu) => this.#cpus[cpu] ?? []);
      const sum = (of: (cpu: WorldCpu) => number): number => cpus.reduce((total, cpu) => total + of(cpu), 0);
      return {
        vm: vm.name,
        cpus: cpus.length,
        guest: sum((cpu) => cpu.busy.guest),
        hypervisor: sum((cpu) => cpu.busy.hypervisor),
        paused: sum((cpu) => cpu.pausedFor + (cpu.paused ? this.#schedule.time - cpu.pausedSince : 0)),
      };
    });
  }

  /** Switches every VM on, and lets happen what happens until {@link stop}, a limit, or the end of all events. */
  async run(): Promise<Ending> {
    const ending = await this.#schedule.run(() => {
      for (const vm of this.topology.vms) this.platform.attach(vm.id, 1);
    });
    await this.#host.stop();
    return ending;
  }

  /** Ends the world after what happens now. */
  stop(): void {
    this.#schedule.stop();
  }

  /**
   * A device of the board has done something for the CPU that runs now, and interrupts it at a time.
   * @param work the part of the interrupt handler that knows the device
   */
  interruptAt(time: number, work: () => void): void {
    const cpu = this.#schedule.current;
    assert(cpu !== undefined, 'a device works for the CPU that runs now');
    this.#schedule.arrive(cpu, Math.max(time, this.now), {
      wakes: true,
      guest: true,
      run: () => {
        this.#charge('trap_entry', 'hypervisor');
        this.#charge('inject', 'hypervisor');
        this.#charge('trap_exit', 'hypervisor');
        this.#charge('guest_interrupt', 'guest');
        work();
      },
    });
  }

  /** Looks at the world at a time; nothing in it notices. */
  observeAt(time: number, look: () => void): void {
    this.#schedule.at(time, look);
  }

  /** The CPU that runs now has done some work of its guest's. */
  spent(work: Work, amount = 1): void {
    const name = WORK_COST[work];
    this.#schedule.pay(amount === 1 ? this.#nanoseconds[name] : nanosecondsOf(this.costs, name, amount), 'guest');
  }

  #standby(): CostName {
    return this.costs.standby === 'wfi' ? 'wake_wfi' : 'wake_firmware';
  }

  #charge(name: CostName, side: Side): void {
    this.#schedule.pay(this.#nanoseconds[name], side);
  }

  // --- from guests to the hypervisor and back

  #toHypervisor(record: VmRecord): void {
    if (record.kind === 'memory' || record.kind === 'memory-place') return;
    const cpu = this.#cpu(record.cpu);
    assert(cpu === this.#schedule.current, 'a vCPU stops in a task of its own CPU');
    if (record.kind === 'trap') {
      cpu.trappedAt = this.now;
      this.#charge('trap_entry', 'hypervisor');
    } else if (record.kind === 'hypercall') this.#charge('hypercall', 'hypervisor');
    cpu.next.push({ wakes: false, guest: false, run: () => this.#handle(cpu, record) });
  }

  #handle(cpu: WorldCpu, record: VmRecord): void {
    this.#charge('core_step', 'hypervisor');
    this.#via = undefined;
    if (record.kind === 'trap') {
      // Until something lets it go on, perhaps within this very step.
      cpu.paused = true;
      cpu.pausedSince = this.now;
    }
    const handled = this.platform.handle(record, this.now);
    assert(handled.ok, handled.ok ? '' : `a vCPU did what no hardware does: ${handled.error.detail}`);
    if (this.topology.hasDeadlines) this.#armDeadline();
  }

  #toVm(record: HypervisorRecord): void {
    // No requests are sent ahead, and in a modelled world VMs share their memories, as on a board.
    if ('dm' in record) return;
    const cpu = this.#cpu(record.cpu);
    switch (record.kind) {
      case 'result':
        cpu.next.push({ wakes: false, guest: true, run: () => this.#host.receive(record) });
        return;
      case 'resume':
      case 'fault':
        this.#reach(cpu, () => {
          this.#charge('trap_exit', 'hypervisor');
          cpu.paused = false;
          cpu.pausedFor += this.now - cpu.pausedSince;
          this.hops.resumed(cpu.id, this.now);
          this.#host.receive(record);
        });
        return;
      case 'irq': {
        const backend = this.#backendIrqs[record.vm]?.has(record.irq) === true;
        this.#reach(cpu, () => {
          this.#charge('inject', 'hypervisor');
          this.#charge('guest_interrupt', 'guest');
          if (backend) this.#charge('backend_interrupt', 'guest');
          this.#host.receive(record);
        });
        return;
      }
      case 'cpu-on':
        this.#signal(cpu, () => this.#host.receive(record));
        return;
      case 'cpu-off':
      case 'timer':
        this.#host.receive(record);
        return;
    }
  }

  /**
   * Does something on a CPU: on the one that runs now, at once; on another, by an interrupt. A message goes to the CPU that
   * is to be notified, and what its handler has for yet another CPU goes on from there.
   */
  #reach(cpu: WorldCpu, run: () => void): void {
    const via = this.#via ?? this.#schedule.current;
    const handled = (): void => {
      this.#charge('ipi_handler', 'hypervisor');
      run();
    };
    if (cpu === this.#schedule.current && via === cpu) cpu.next.push({ wakes: false, guest: true, run });
    else if (via === undefined || via === cpu || via === this.#schedule.current) this.#signal(cpu, handled);
    else {
      this.#signal(via, () => {
        this.#charge('ipi_handler', 'hypervisor');
        this.#signal(cpu, handled);
      });
    }
  }

  /** The hypervisor interrupts another CPU, which enters it. */
  #signal(cpu: WorldCpu, run: () => void): void {
    const sent = this.#schedule.current !== undefined;
    this.#charge('ipi_send', 'hypervisor');
    this.#schedule.arrive(cpu, this.now + (sent ? this.#nanoseconds.ipi_latency : 0), {
      wakes: true,
      guest: true,
      run,
    });
  }

  #stepped(input: CoreInput, effects: readonly CoreEffect[]): void {
    this.#via = input.kind === 'deliver' ? this.#cpu(input.cpu) : undefined;
    if (input.kind === 'hypercall' && input.call.nr === HC_REMIO && input.call.op === REMIO_HYP_NOTIFY) {
      this.#charge('backend_notify', 'guest');
    }
    this.hops.step(input, effects, this.now, (cpu) => this.#cpu(cpu).trappedAt);
  }

  /** What lies between a request and the end of its ASK, if the backend's CPUs sleep. */
  #toBackend(vm: VmId, dm: number): number {
    const message = ['ipi_send', 'ipi_latency', 'wake_wfi', 'ipi_handler'] as const;
    const interrupt = ['inject', 'guest_interrupt', 'backend_interrupt', 'hypercall', 'core_step'] as const;
    const backend = this.topology.vms[vm];
    // Messages go to the VM's first CPU; the devices are dealt out to all of them.
    const position = backend?.remioDevs.filter((end) => end.type === 'backend' && end.dm < dm).length ?? 0;
    const forwarded = backend !== undefined && position % backend.cpus.length !== 0;
    const sum = (names: readonly CostName[]): number =>
      names.reduce((total, name) => total + this.#nanoseconds[name], 0);
    return sum(message) * (forwarded ? 2 : 1) + sum(interrupt);
  }

  #armDeadline(): void {
    const deadline = this.platform.nextDeadline();
    if (deadline === undefined || (this.#armed !== undefined && this.#armed <= deadline)) return;
    this.#armed = deadline;
    this.#schedule.at(Math.ceil(deadline), () => {
      this.#armed = undefined;
      this.#via = undefined;
      this.platform.tick(this.#schedule.time);
      this.#armDeadline();
    });
  }

  // --- what the VMs' host asks for

  #loopOfHost(): HostLoop {
    return {
      now: () => BigInt(this.now),
      wakeAt: (time, cpu, work) => this.#timer(this.#cpu(cpu), Number(time), work),
      scheduler: (vcpus) => this.#scheduler(vcpus),
      defer: (id, work, idle) => {
        const cpu = this.#cpu(id);
        this.#schedule.queue(cpu, {
          wakes: false,
          guest: true,
          run: () => {
            if (idle) this.#charge('ring_look', 'guest');
            work();
          },
        });
      },
      spent: (work, amount) => this.spent(work, amount),
    };
  }

  #timer(cpu: WorldCpu, time: number, work: () => void): () => void {
    let cancelled = false;
    this.#schedule.arrive(cpu, Math.max(time, this.now), {
      wakes: true,
      guest: true,
      run: () => {
        if (cancelled) return;
        this.#charge('inject', 'hypervisor');
        this.#charge('guest_interrupt', 'guest');
        work();
      },
    });
    return () => {
      cancelled = true;
    };
  }

  #scheduler(vcpus: RunnableVcpus): TurnScheduler {
    let running = false;
    const run = (cpu: CpuId): void => {
      running = true;
      vcpus.run(cpu);
      running = false;
    };
    return {
      schedule: (id) => {
        const cpu = this.#cpu(id);
        if (cpu === this.#schedule.current && !running) run(id);
        else if (cpu === this.#schedule.current) {
          // Its budget ended.
          cpu.inbox.push({
            wakes: false,
            guest: true,
            run: () => {
              this.#schedule.pay(Math.round((LOCAL_BUDGET * 1e9) / this.costs.clock.value), 'guest');
              run(id);
            },
          });
        } else {
          // Another vCPU of its VM interrupts it.
          this.#signal(cpu, () => {
            this.#charge('inject', 'hypervisor');
            this.#charge('guest_interrupt', 'guest');
            run(id);
          });
        }
      },
    };
  }

  #cpu(id: CpuId): WorldCpu {
    const cpu = this.#cpus[id];
    assert(cpu !== undefined, 'the CPU is of a VM');
    return cpu;
  }
}
