import type { Arch } from '@remio/arch';
import { assert, type CpuId, guestAddress, type VmId } from '@remio/base';
import {
  type Completion,
  type Guest,
  type GuestDeviceEnd,
  type GuestIpc,
  type GuestVm,
  type MachineContext,
  ProgramSeat,
  type Seat,
  SymbolTable,
} from '@remio/guest';
import { type GuestMemory, LocalMemory } from '@remio/guest-memory';
import { LeaseTable } from '@remio/hypervisor/lease';
import type { HypervisorRecord, VmTransport } from '@remio/protocol';
import type { Topology, Vm } from '@remio/topology';
import { DeviceMemories } from './device-memories.js';
import type { HostLoop } from './host-loop.js';
import { type Vcpu, VcpuRunner } from './vcpu-runner.js';

/** Plain data that a program or the runtime tells whoever watches the platform. */
export interface VmReport {
  readonly kind: string;
  readonly [field: string]: unknown;
}

/** What a host of VMs needs from its process. */
export interface VmHostOptions {
  readonly topology: Topology;
  /** VMs of this process, with what each runs. */
  readonly vms: readonly { readonly vm: Vm; readonly program: Guest }[];
  /** The memory behind a shared memory of the topology, where this process shares it. */
  shared(id: number): ArrayBuffer | SharedArrayBuffer;
  /** The memory of a backend's end that outlives its VM's process; undefined: there is none. */
  readonly kept?: (vm: Vm, dm: number) => ArrayBuffer | undefined;
  /** Where this process has it ({@link DeviceMemoriesHost.place}); absent: all VMs share all of it. */
  readonly place?: (id: number) => string;
  /** The way to the hypervisor. */
  readonly transport: VmTransport;
  readonly loop: HostLoop;
  log(vm: Vm, line: string): void;
  /**
   * Whether ASKs and completions are answered from leases. They save messages between processes; in one process, and where
   * the time that real hardware would take is at stake, every call is made.
   */
  readonly leases?: boolean;
}

/** The VMs that one process runs: their vCPUs, memories, leases and timers. */
export class VmHost {
  readonly #options: VmHostOptions;
  readonly #runner: VcpuRunner;
  readonly #seats: Seat[] = [];
  /** By index of the vCPU. */
  readonly #cpus: CpuId[] = [];
  /** By VM of the topology. */
  readonly #leases: (LeaseTable | undefined)[];
  /** By CPU of the board: index of the vCPU in the runner. */
  readonly #index: (number | undefined)[];
  /** By index of the vCPU: what takes its timer back. */
  readonly #timers: ((() => void) | undefined)[] = [];
  /** By VM: what gives back what it has of the host. */
  readonly #releases = new Map<VmId, ((again: boolean) => Promise<void>)[]>();
  /** By VM: what tells what only observers want to know. */
  readonly #observers = new Map<VmId, (() => void)[]>();
  /** By VM of the topology. */
  readonly #incarnations: number[] = [];
  /** By VM of the topology: counts what ended a life of its process. */
  readonly #lives: number[] = [];
  readonly #memories: DeviceMemories;
  #stopped = false;

  constructor(options: VmHostOptions) {
    this.#options = options;
    this.#leases = options.topology.vms.map(() => undefined);
    this.#index = options.topology.board.cpus.map(() => undefined);
    this.#memories = new DeviceMemories(options.topology.sharedMemories, {
      shared: (id) => options.shared(id),
      ...(options.place === undefined ? {} : { place: options.place }),
      send: (record) => options.transport.send(record),
      flushSoon: () => options.transport.flushSoon(),
      log: options.log,
    });
    const vcpus: Vcpu[] = [];
    for (const hosted of options.vms) {
      const { arch, profile } = options.topology;
      const leases = options.leases === false ? undefined : new LeaseTable(hosted.vm.id, arch, profile);
      this.#leases[hosted.vm.id] = leases;
      for (const [vcpu, seat] of this.#build(hosted.vm, hosted.program).entries()) {
        const cpu = hosted.vm.cpus[vcpu];
        assert(cpu !== undefined, 'a VM has a CPU for each vCPU');
        const index = vcpus.push({ vm: hosted.vm.id, cpu, seat, leases }) - 1;
        this.#index[cpu] = index;
        this.#seats.push(seat);
        this.#cpus.push(cpu);
        seat.onTimer = () => this.#armTimer(index);
      }
    }
    const { transport, loop } = options;
    this.#runner = new VcpuRunner(
      vcpus,
      {
        send: (record) => {
          this.#memories.settle(record.vm);
          transport.send(record);
        },
        onOff: (vm, cpu, reason) => this.#off(vm, cpu, reason),
        indexOf: (cpu) => this.#index[cpu],
      },
      (runnable) =>
        loop.scheduler({
          turn: () => {
            if (this.#stopped) return;
            runnable.turn();
            transport.flushSoon();
          },
          run: (cpu) => {
            if (this.#stopped) return;
            runnable.run(cpu);
            transport.flushSoon();
          },
        }),
    );
  }

  /** Whether vCPUs may ask for something before anything else happens ({@link VcpuRunner.going}). */
  get going(): boolean {
    return this.#runner.going;
  }

  /** Takes what the hypervisor says. Records for VMs of other processes are ignored. */
  receive(record: HypervisorRecord): void {
    switch (record.kind) {
      case 'lease':
        this.#leases[record.vm]?.lease(record);
        return;
      case 'revoke':
        this.#leases[record.vm]?.revoke(record.dm, record.id);
        return;
      case 'memory':
        this.#memories.receive(record);
        return;
      case 'memory-link':
        this.#memories.link(record.vm, record.dm, record.epoch);
        return;
    }
    const index = this.#index[record.cpu];
    const seat = index === undefined ? undefined : this.#seats[index];
    if (index === undefined || seat === undefined) return;
    switch (record.kind) {
      case 'resume': {
        const register = record.register === NO_REGISTER ? undefined : record.register;
        this.#complete(index, { kind: 'access', register, value: record.value, pc: record.pc });
        return;
      }
      case 'fault':
        this.#complete(index, { kind: 'fault', cause: record.cause, address: record.address });
        return;
      case 'result':
        this.#leases[record.vm]?.answered(record.cpu);
        this.#complete(index, { kind: 'hypercall', registers: record.registers, pc: record.pc });
        return;
      case 'irq':
        seat.raise(record.irq);
        return;
      case 'cpu-on':
        if (this.#incarnations[record.vm] !== record.incarnation) this.#memories.announce(record.vm);
        this.#incarnations[record.vm] = record.incarnation;
        this.#runner.start(index, record.entry, record.argument);
        return;
      case 'cpu-off':
        this.#runner.stop(index);
        if (record.reason !== '') this.#tellOff(record.vm, record.cpu, record.reason);
        return;
      case 'timer':
        seat.armTimer(record.deadline);
        this.#armTimer(index);
        return;
    }
  }

  /** Lets the VMs report what only observers want to know. */
  observe(): void {
    for (const observers of this.#observers.values()) for (const tell of observers) tell();
    for (const { vm } of this.#options.vms) {
      for (const { device, counters } of this.#memories.costs(vm.id)) {
        this.#options.transport.report(vm.name, { kind: 'memory-service', device, ...counters });
      }
    }
  }

  /**
   * Ends every vCPU; nothing is sent any more. Settles when what the VMs have of the host was given back, and nothing that
   * they began touches their memory any more.
   * @param again whether this process will run the VMs anew, in another host
   */
  async stop(again = false): Promise<void> {
    this.#stopped = true;
    this.observe();
    for (const seat of this.#seats) seat.stop();
    for (const cancel of this.#timers) cancel?.();
    for (const { vm } of this.#options.vms) this.#endLife(vm.id);
    await Promise.all(this.#options.vms.map(({ vm }) => this.#release(vm.id, again)));
  }

  /**
   * A VM's process ends without a word: nothing that its vCPUs were doing goes on, and nobody is told. Settles when what it
   * had of the host was given back, as a system does for a process; then it may be switched on again.
   */
  async crash(vm: Vm): Promise<void> {
    this.#endLife(vm.id);
    this.#leases[vm.id]?.clear();
    for (const cpu of vm.cpus) {
      const index = this.#index[cpu];
      if (index === undefined) continue;
      this.#runner.stop(index);
      this.#timers[index]?.();
    }
    this.#observers.delete(vm.id);
    await this.#release(vm.id);
    // What ended while it was given back is for nobody either: the next process's rings are not the last one's.
    this.#endLife(vm.id);
  }

  /** Work that a VM deferred is not done any more. */
  #endLife(vm: VmId): void {
    this.#lives[vm] = (this.#lives[vm] ?? 0) + 1;
  }

  async #release(vm: VmId, again = false): Promise<void> {
    const releases = this.#releases.get(vm) ?? [];
    this.#releases.delete(vm);
    await Promise.all(releases.map((release) => release(again)));
  }

  #complete(index: number, completion: Completion): void {
    this.#runner.complete(index, completion);
  }

  #off(vm: VmId, cpu: CpuId, reason: string | undefined): void {
    this.#options.transport.send({ kind: 'off', vm, cpu });
    this.#tellOff(vm, cpu, reason);
  }

  #tellOff(vm: VmId, cpu: CpuId, reason: string | undefined): void {
    const owner = this.#options.topology.vms[vm];
    if (owner === undefined) return;
    const vcpu = owner.cpus.indexOf(cpu);
    if (reason !== undefined) this.#options.log(owner, `vCPU ${vcpu} stopped: ${reason}`);
    this.#options.transport.report(owner.name, { kind: 'vcpu-off', vcpu, ...(reason === undefined ? {} : { reason }) });
  }

  #armTimer(index: number): void {
    this.#timers[index]?.();
    this.#timers[index] = undefined;
    const seat = this.#seats[index];
    const cpu = this.#cpus[index];
    const deadline = seat?.timer;
    if (seat === undefined || cpu === undefined || deadline === undefined) return;
    const { loop } = this.#options;
    this.#timers[index] = loop.wakeAt(deadline, cpu, () => {
      if (seat.timer === undefined) return;
      if (loop.now() < seat.timer) {
        this.#armTimer(index);
        return;
      }
      seat.armTimer(NEVER);
      seat.raise(seat.timerIrq);
    });
  }

  #build(vm: Vm, guest: Guest): readonly Seat[] {
    const { topology } = this.#options;
    const [ram] = vm.memory;
    const symbols = new SymbolTable(ram?.base ?? 0n);
    const ends = vm.remioDevs.map((end): GuestDeviceEnd => {
      const memory = this.#memories.add(vm, end);
      const kept = end.resume === undefined ? undefined : this.#options.kept?.(vm, end.dm);
      return {
        dm: end.dm,
        name: end.name,
        type: end.type,
        bindKey: end.bindKey,
        window: end.window,
        interrupt: end.interrupt,
        get shmem() {
          return memory();
        },
        shmemId: end.shmem.id,
        ring: end.ring,
        ...(end.vcpu === undefined ? {} : { vcpu: end.vcpu }),
        queueVcpus: end.queueVcpus,
        options: end.device ?? end.driver,
        ...(end.repeat === undefined ? {} : { repeat: end.repeat }),
        ...(kept === undefined ? {} : { kept }),
      };
    });
    const ipcs = vm.ipcs.map(
      ({ index, name, shmem, interrupts, driver }): GuestIpc => ({
        index,
        name,
        shmem: new LocalMemory(shmem.base, this.#options.shared(shmem.id), shmem.size),
        interrupts,
        options: driver,
      }),
    );
    const memories: readonly GuestMemory[] = [
      ...ends.map((end) => end.shmem),
      ...ipcs.map((ipc) => ipc.shmem),
      ...vm.memory.map((region) => new LocalMemory(guestAddress(region.base), new ArrayBuffer(region.size))),
    ];
    const machine: MachineContext = {
      arch: topology.arch,
      symbols,
      memories,
      irqc: topology.board.irqc,
      counter: () => this.#options.loop.now(),
      seats: [],
    };
    if (typeof guest !== 'function') return vm.cpus.map((_, index) => guest.seat(machine, index));
    const view = this.#view(vm, topology.arch, ends, ipcs);
    // The boot entry point is the image's first address.
    symbols.add((cpu) => guest(cpu, view));
    return vm.cpus.map((_, index) => {
      const seat = new ProgramSeat(machine, index);
      seat.onUnhandled = (irq) => this.#options.log(vm, `vCPU ${index}: no handler for interrupt ${irq}`);
      return seat;
    });
  }

  #view(vm: Vm, arch: Arch, devices: readonly GuestDeviceEnd[], ipcs: readonly GuestIpc[]): GuestVm {
    const options = this.#options;
    const { loop, transport } = options;
    const incarnations = this.#incarnations;
    const { standby, standbyState: state } = options.topology.board;
    return {
      name: vm.name,
      get incarnation() {
        return incarnations[vm.id] ?? 1;
      },
      arch,
      cpus: vm.cpus.length,
      devices,
      ipcs,
      options: vm.program.options,
      standby: { by: standby, ...(state === undefined ? {} : { state }) },
      hostTime: () => loop.now(),
      report: (event) => transport.report(vm.name, event),
      log: (line) => options.log(vm, line),
      defer: (index, work, idle = false) => {
        const cpu = vm.cpus[index];
        assert(cpu !== undefined, 'the vCPU is of the VM');
        const life = this.#lives[vm.id] ?? 0;
        loop.defer(
          cpu,
          () => {
            if (life === (this.#lives[vm.id] ?? 0)) work();
          },
          idle,
        );
      },
      spent: (work, amount = 1) => loop.spent(work, amount),
      onObserve: (tell) => {
        this.#observers.set(vm.id, [...(this.#observers.get(vm.id) ?? []), tell]);
      },
      onStop: (release) => {
        this.#releases.set(vm.id, [...(this.#releases.get(vm.id) ?? []), release]);
      },
    };
  }
}

/** `register` of a `resume` record that writes none. */
const NO_REGISTER = 255;
/** A timer deadline that never comes. */
const NEVER = 0xffff_ffff_ffff_ffffn;
