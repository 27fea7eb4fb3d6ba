import {
  type BaoCall,
  HC_IPC,
  type HypercallFrame,
  type MmioAccess,
  type MmioTrap,
  SUPERVISOR_SOFTWARE_INTERRUPT,
} from '@remio/arch';
import { assert, type CpuId, cpuId, err, Fifo, ok, type Result, toU64, type VmId } from '@remio/base';
import type { HypervisorRecord, VmRecord } from '@remio/protocol';
import type { Topology } from '@remio/topology';
import { accessFault, decodeHypercall, decodeTrap, encodeBaoResult, extendRead, trapPc } from '../abi/index.js';
import { createIrqController } from '../irqc/index.js';
import { type CoreEffect, type CoreEvent, type CoreInput, RemioCore } from '../remio/index.js';
import { type PowerEffect, serviceCall, VmPower } from '../services/index.js';
import { type CallCount, CallCounts } from './call-counts.js';
import { remioConfigOf } from './config.js';
import { DeviceCounts } from './device-counts.js';
import type { PlatformEvent, PlatformHost, Violation } from './host.js';
import { Interrupts } from './interrupts.js';
import { type Cpu, type Machine, MODE_TEXT, newCpu } from './machine.js';
import { MemoryLinks } from './memory-links.js';
import { type DeviceStats, newVmStats, type VmStats } from './stats.js';

/** `register` of a `resume` record that writes none. */
const NO_REGISTER = 255;

/**
 * The platform: the CPUs and VMs of a topology, as hardware and hypervisor together show them to guests. Takes what
 * vCPUs do (traps, hypercalls), gives what happens to them. Deterministic: time is an argument, and nothing waits.
 *
 * Inter-CPU messages are handled as soon as the step that sent them is over: a CPU that is interrupted while its vCPU
 * is paused, or while its guest runs, enters the hypervisor at once.
 */
export class Platform {
  readonly topology: Topology;
  readonly #core: RemioCore;
  readonly #host: PlatformHost;
  readonly #leases: boolean;
  readonly #cpus: readonly (Cpu | undefined)[];
  readonly #machines: readonly Machine[];
  readonly #memories: MemoryLinks;
  /** By CPU: the core's input that makes it handle its messages. */
  readonly #deliveries: readonly CoreInput[];
  /** By depth of steps within steps: the effects of the step that is acted on. */
  readonly #effects: CoreEffect[][] = [];
  #depth = 0;
  /** CPUs that messages were queued on, in order. */
  readonly #ipis = new Fifo<CpuId>();
  readonly #interrupts: Interrupts;
  readonly #devices: DeviceCounts;
  /** The hypercall that is being executed, and whether its caller waits for the answer. */
  #call:
    | { readonly cpu: Cpu; readonly frame: HypercallFrame; readonly call: BaoCall; readonly answer: boolean }
    | undefined;

  private constructor(topology: Topology, core: RemioCore, host: PlatformHost) {
    this.topology = topology;
    this.#core = core;
    this.#host = host;
    this.#leases = host.leases !== false;
    this.#machines = topology.vms.map((vm) => ({
      id: vm.id,
      cpus: vm.cpus,
      power: new VmPower(vm.cpus.length),
      irqc: createIrqController(topology.board.irqc, vm.cpus.length, topology.profile),
      incarnation: undefined,
      stats: newVmStats(vm.cpus.length),
      calls: new CallCounts(),
    }));
    const cpus: (Cpu | undefined)[] = topology.board.cpus.map(() => undefined);
    for (const machine of this.#machines) {
      machine.stats.vcpus.forEach((stats, vcpu) => {
        const id = machine.cpus[vcpu];
        if (id !== undefined) cpus[id] = newCpu(id, machine, vcpu, stats);
      });
    }
    this.#cpus = cpus;
    this.#deliveries = cpus.map((_, cpu) => ({ kind: 'deliver', cpu: cpuId(cpu) }));
    this.#memories = new MemoryLinks(topology, (record) => this.#send(this.#machine(record.vm), record));
    this.#devices = new DeviceCounts(topology);
    this.#interrupts = new Interrupts(cpus, {
      raise: ({ vm, id, machine }, irq) => this.#send(machine, { kind: 'irq', vm, cpu: id, irq }),
      rule: (rule, cpu) => this.#event({ kind: 'rule', rule, cpu: cpu.id }),
    });
  }

  /** Builds the machine and brings up every VM's Remote I/O ends, on each VM's lowest CPU. */
  static create(topology: Topology, host: PlatformHost): Result<Platform, CoreEvent> {
    const core = RemioCore.create(remioConfigOf(topology), topology.profile);
    if (!core.ok) return err(core.error);
    const platform = new Platform(topology, core.value, host);
    for (const vm of topology.vms) {
      const lowest = vm.cpus[0];
      if (lowest !== undefined) platform.#step({ kind: 'start', cpu: lowest });
    }
    platform.#deliver();
    return ok(platform);
  }

  /** Whether a process runs this VM now. */
  attached(vm: VmId): boolean {
    return this.#machine(vm).incarnation !== undefined;
  }

  /**
   * A process took this VM: its first vCPU starts; requests and interrupts that waited for it follow.
   * @param incarnation greater than every one before
   */
  attach(vm: VmId, incarnation: number): void {
    const machine = this.#machine(vm);
    assert(machine.incarnation === undefined, `VM ${vm} is attached already`);
    machine.incarnation = incarnation;
    this.#step({ kind: 'vm-attached', vm, incarnation });
    const boot = machine.cpus[0];
    const [region] = this.topology.vms[vm]?.memory ?? [];
    if (boot !== undefined) this.#switchOn(machine, boot, region?.base ?? 0n, 0n);
    this.topology.vms[vm]?.remioDevs.forEach((end, dm) => {
      const waiting = end.type === 'backend' ? this.#core.pendingOf(vm, dm) : [];
      for (const { id, addr, op, value, access } of waiting) {
        if (this.#leases) this.#send(machine, { kind: 'lease', vm, dm, id, addr, op, value, width: access.width });
      }
      const notified = machine.cpus[0];
      if (waiting.length > 0 && notified !== undefined) this.#interrupts.inject(this.#cpu(notified), end.interrupt);
    });
    this.#deliver();
  }

  /** The process of this VM is gone. What it had in hand goes back to the list or is dropped, as the core says. */
  lost(vm: VmId): void {
    const machine = this.#machine(vm);
    if (machine.incarnation === undefined) return;
    const { incarnation } = machine;
    machine.incarnation = undefined;
    this.#memories.lost(vm);
    machine.stats.losses += 1;
    machine.power.reset();
    machine.irqc = createIrqController(this.topology.board.irqc, machine.cpus.length, this.topology.profile);
    for (const id of machine.cpus) {
      const cpu = this.#cpu(id);
      cpu.mode = 'off';
      cpu.trap = undefined;
    }
    this.#step({ kind: 'vm-lost', vm, incarnation });
    this.#deliver();
  }

  /** What the devices of a VM did, by dm_id; both ends of a device share one record. */
  deviceStats(vm: VmId): readonly Readonly<DeviceStats>[] {
    return this.#devices.of(vm);
  }

  vmStats(vm: VmId): Readonly<VmStats> {
    return this.#machine(vm).stats;
  }

  /** The hypercalls of a VM, by operation and result. */
  callCounts(vm: VmId): readonly CallCount[] {
    return this.#machine(vm).calls.list();
  }

  /** The core, to look at: for `remio ring`, status and saved state. */
  get core(): Pick<RemioCore, 'data' | 'save'> {
    return this.#core;
  }

  /** The earliest time at which {@link tick} has something to do, in nanoseconds on the shell's clock. */
  nextDeadline(): number | undefined {
    return this.#core.nextDeadline();
  }

  /** Time passed: accesses whose deadline is over end as faults. */
  tick(now: number): void {
    this.#step({ kind: 'tick', now });
    this.#deliver();
  }

  /**
   * Takes what a VM's process says. The caller has checked that the process has claimed `record.vm`.
   * @param now nanoseconds on the shell's clock
   */
  handle(record: VmRecord, now: number): Result<void, Violation> {
    if (record.kind === 'memory' || record.kind === 'memory-place') return this.#memories.handle(record);
    const cpu = this.#cpus[record.cpu];
    if (cpu === undefined || cpu.vm !== record.vm) {
      return err({ vm: record.vm, detail: `CPU ${record.cpu} is not of this VM` });
    }
    // Records that were on their way when the hypervisor stopped the CPU.
    if (cpu.mode === 'halted') return ok(undefined);
    if (record.kind === 'off') {
      cpu.mode = 'off';
      cpu.machine.power.set(cpu.vcpu, 'off');
      this.#event({ kind: 'power', vm: cpu.vm, cpu: record.cpu, on: false });
      return ok(undefined);
    }
    if (cpu.mode !== 'running') {
      return err({
        vm: record.vm,
        detail: `${record.kind} from CPU ${record.cpu}, whose vCPU is ${MODE_TEXT[cpu.mode]}`,
      });
    }
    switch (record.kind) {
      case 'trap':
        if (record.trap.arch !== this.topology.arch)
          return err({ vm: record.vm, detail: `a ${record.trap.arch} trap` });
        this.#trap(cpu, record.trap, now);
        break;
      case 'hypercall':
      case 'posted':
        if (record.frame.arch !== this.topology.arch)
          return err({ vm: record.vm, detail: `a ${record.frame.arch} call` });
        this.#hypercall(cpu, record.frame, record.kind === 'hypercall');
        break;
      case 'asked':
        cpu.machine.calls.leasedAsk();
        this.#step({ kind: 'leased-ask', cpu: record.cpu, id: record.id });
        break;
    }
    this.#deliver();
    return DONE;
  }

  #trap(cpu: Cpu, trap: MmioTrap, now: number): void {
    const { id, machine } = cpu;
    machine.stats.traps += 1;
    cpu.stats.traps += 1;
    cpu.mode = 'access';
    cpu.trap = trap;
    const decoded = decodeTrap(trap, this.topology.profile);
    if (!decoded.ok) {
      this.#event({ kind: 'undecodable', cpu: id, reason: decoded.error.reason });
      cpu.write = decoded.error.write;
      if (this.topology.profile === 'reference') this.#halt(cpu, `undecodable access: ${decoded.error.reason}`);
      else this.#fault(cpu);
      return;
    }
    const { access, step } = decoded.value;
    cpu.write = access.write;
    cpu.nextPc = toU64(trapPc(trap) + (step === 4 ? 4n : 2n));
    cpu.register = undefined;
    if (this.#emulate(machine, cpu, access)) this.#resume(cpu);
    else this.#step({ kind: 'mmio', cpu: id, access, now });
  }

  /** Serves an access to the VM's own interrupt controller; false if the address is not one of its. */
  #emulate(machine: Machine, cpu: Cpu, access: MmioAccess): boolean {
    const served = machine.irqc.mmio(cpu.vcpu, access);
    if (served === undefined) return false;
    if (!access.write) {
      cpu.register = access.register;
      cpu.value = extendRead(served.value, access);
    }
    this.#interrupts.hand(machine, served.deliveries);
    return true;
  }

  #hypercall(cpu: Cpu, frame: HypercallFrame, answer: boolean): void {
    const { id, machine } = cpu;
    machine.stats.hypercalls += 1;
    cpu.stats.hypercalls += 1;
    const call = decodeHypercall(frame);
    if (call.service === 'bao') {
      this.#call = { cpu, frame, call: call.call, answer };
      this.#step({ kind: 'hypercall', cpu: id, call: call.call });
      this.#call = undefined;
      return;
    }
    machine.calls.service();
    const { outcome, effects, rule } = serviceCall(machine.power, this.topology.profile, cpu.vcpu, call, frame);
    if (outcome !== undefined && answer) {
      this.#send(machine, { kind: 'result', vm: cpu.vm, cpu: id, pc: outcome.pc, registers: outcome.registers });
    }
    if (rule !== undefined) this.#event({ kind: 'rule', rule, cpu: id });
    for (const effect of effects) this.#powerEffect(machine, effect);
  }

  #powerEffect(machine: Machine, effect: PowerEffect): void {
    const id = machine.cpus[effect.vcpu];
    if (id === undefined) return;
    switch (effect.kind) {
      case 'cpu-on':
        this.#switchOn(machine, id, effect.entry, effect.argument);
        return;
      case 'cpu-off':
        this.#cpu(id).mode = 'off';
        this.#send(machine, { kind: 'cpu-off', vm: machine.id, cpu: id, reason: '' });
        this.#event({ kind: 'power', vm: machine.id, cpu: id, on: false });
        return;
      case 'timer':
        this.#send(machine, { kind: 'timer', vm: machine.id, cpu: id, deadline: effect.deadline });
        return;
      case 'ipi':
        this.#interrupts.hand(machine, [{ vcpu: effect.vcpu, irq: SUPERVISOR_SOFTWARE_INTERRUPT }]);
        return;
    }
  }

  #switchOn(machine: Machine, id: CpuId, entry: bigint, argument: bigint): void {
    const cpu = this.#cpu(id);
    // A CPU that the hypervisor stopped for good stays stopped.
    if (cpu.mode === 'halted') return;
    cpu.mode = 'running';
    machine.power.set(cpu.vcpu, 'on');
    const incarnation = machine.incarnation ?? 0;
    this.#send(machine, { kind: 'cpu-on', vm: machine.id, cpu: id, entry, argument, incarnation });
    this.#event({ kind: 'power', vm: machine.id, cpu: id, on: true });
  }

  #step(input: CoreInput): void {
    // Acting may lead to the next step: each depth has a list of its own.
    const depth = this.#depth;
    const list = this.#effects[depth] ?? [];
    this.#effects[depth] = list;
    this.#depth = depth + 1;
    const effects = this.#core.step(input, list);
    this.#host.onStep?.(input, effects, this.#core);
    for (const effect of effects) this.#act(effect);
    // By `length = 0` an array gives its memory back.
    while (list.length > 0) list.pop();
    this.#depth = depth;
  }

  /** CPUs with messages handle them, in the order in which they were interrupted. */
  #deliver(): void {
    for (;;) {
      const cpu = this.#ipis.shift();
      if (cpu === undefined) return;
      const state = this.#core.data.cpus[cpu];
      // The reference spins inside the hypervisor while an access waits: that CPU handles nothing.
      const deaf = state?.halted || (state?.waiting !== undefined && this.topology.profile === 'reference');
      if (!deaf) this.#step(this.#deliveries[cpu] ?? { kind: 'deliver', cpu });
    }
  }

  #act(effect: CoreEffect): void {
    switch (effect.kind) {
      case 'message':
        this.#ipis.push(effect.to);
        return;
      case 'irq':
        this.#interrupts.inject(this.#cpu(effect.cpu), effect.irq);
        return;
      case 'return': {
        const call = this.#call;
        assert(call !== undefined && call.cpu.id === effect.cpu, 'a result belongs to the call that is executed');
        const { vm, machine } = call.cpu;
        machine.calls.bao(call.call, effect.ret);
        if (effect.ret === 0n) {
          if (call.call.nr === HC_IPC) machine.stats.doorbells += 1;
          else this.#devices.called(vm, call.call);
        }
        if (!call.answer) return;
        const { registers, pc } = encodeBaoResult(call.frame, effect.ret, effect.out);
        this.#send(machine, { kind: 'result', vm, cpu: effect.cpu, pc, registers });
        return;
      }
      case 'register': {
        const cpu = this.#cpu(effect.cpu);
        cpu.register = effect.register;
        cpu.value = effect.value;
        return;
      }
      case 'resume':
        this.#resume(this.#cpu(effect.cpu));
        return;
      case 'fault': {
        const cpu = this.#cpu(effect.cpu);
        this.#event({ kind: 'fault', vm: cpu.vm, cpu: effect.cpu, reason: effect.reason });
        this.#fault(cpu);
        return;
      }
      case 'pending': {
        const { id, backend: vm, dm, addr, op, value, width } = effect;
        this.#devices.access(vm, dm);
        if (this.#leases) this.#send(this.#machine(vm), { kind: 'lease', vm, dm, id, addr, op, value, width });
        return;
      }
      case 'revoked':
        if (this.#leases) {
          const { backend: vm, dm, id } = effect;
          this.#send(this.#machine(vm), { kind: 'revoke', vm, dm, id });
        }
        return;
      case 'event':
        this.#event({ kind: 'core', event: effect.event });
        if (effect.event.level === 'fatal') this.#halt(this.#cpu(effect.event.cpu), effect.event.code);
        return;
      case 'rule':
        this.#event({ kind: 'rule', rule: effect.rule, cpu: effect.cpu });
        return;
      case 'access':
      case 'pause':
      case 'taken':
        return;
    }
  }

  #resume(cpu: Cpu): void {
    if (cpu.mode !== 'access') return;
    const register = cpu.register;
    cpu.mode = 'running';
    cpu.trap = undefined;
    this.#send(cpu.machine, {
      kind: 'resume',
      vm: cpu.vm,
      cpu: cpu.id,
      register: register ?? NO_REGISTER,
      value: register === undefined ? 0n : cpu.value,
      pc: cpu.nextPc,
    });
  }

  #fault(cpu: Cpu): void {
    const { trap } = cpu;
    if (cpu.mode !== 'access' || trap === undefined) return;
    cpu.mode = 'running';
    cpu.trap = undefined;
    cpu.machine.stats.faults += 1;
    this.#send(cpu.machine, { kind: 'fault', vm: cpu.vm, cpu: cpu.id, ...accessFault(trap, cpu.write) });
  }

  /** The hypervisor stops a CPU for good: what the reference does where it cannot go on. */
  #halt(cpu: Cpu, reason: string): void {
    cpu.mode = 'halted';
    cpu.trap = undefined;
    this.#send(cpu.machine, { kind: 'cpu-off', vm: cpu.vm, cpu: cpu.id, reason });
  }

  #send(to: Machine, record: HypervisorRecord): void {
    // A VM without a process gets what it needs when one attaches.
    if (to.incarnation !== undefined) this.#host.send(record);
  }

  #event(event: PlatformEvent): void {
    this.#host.onEvent?.(event);
  }

  #machine(vm: VmId): Machine {
    const machine = this.#machines[vm];
    assert(machine !== undefined, 'the VM is of the topology');
    return machine;
  }

  #cpu(id: CpuId): Cpu {
    const cpu = this.#cpus[id];
    assert(cpu !== undefined, 'the CPU is of a VM');
    return cpu;
  }
}

const DONE = ok(undefined);
