import {
  type Arch,
  type BaoCall,
  type Conduit,
  enableInterruptSequence,
  encodeDataAbort,
  encodeGuestPageFault,
  FIRST_REGISTER,
  HYPERCALL_REGISTERS,
  type HypercallFrame,
  hypercallRegisters,
  type MmioAccess,
  type MmioTrap,
} from '@remio/arch';
import { assert, type CpuId, guestAddress, toU64, vmId } from '@remio/base';
import { decodeHypercall, decodeTrap, encodeBaoResult, pcAfterCall, trapPc } from '@remio/hypervisor/abi';
import { type CoreInput, type Profile, RemioCore } from '@remio/hypervisor/core';
import { Platform, remioConfigOf } from '@remio/hypervisor/platform';
import type { HypervisorRecord } from '@remio/protocol';
import { parseTopology, renderDiagnostics, type Topology } from '@remio/topology';
import { type MachineChange, UNTOUCHED, type VcpuState } from './hypercall-cases.js';

/** Where guest code of the cases lies: the PC of the first instruction. */
const CODE = 0x8000_0000n;
/** Window of every frontend; accesses go to its first register. */
export const WINDOW = 0xa00_3e00n;

const REGISTER = 3;

/** An architecture, and the instruction that makes its hypercalls. */
export interface Abi {
  readonly arch: Arch;
  readonly conduit: Conduit;
}

/** backend serves guest0 (two vCPUs) and guest1; other serves guest2: they are there to be left alone. */
const machineText = (arch: Arch, { key = 0n, interrupt = 79 }: MachineChange): string => `
board: { name: synthetic-${arch}, cpus: 8 }
shared_memories: { m0: { size: 64KiB }, m1: { size: 64KiB }, m2: { size: 64KiB } }
vms:
  backend:
    cpus: 2
    program: dispatcher
    remio_devs:
      - { name: d0, type: backend, bind_key: ${key}, interrupt: 40, shmem: { memory: m0, base: 0xd0000000 }, device: { type: block, image: a } }
      - { name: d1, type: backend, bind_key: 1, interrupt: 41, shmem: { memory: m1, base: 0xd1000000 }, device: { type: block, image: a } }
  guest0:
    cpus: 2
    program: idle
    remio_devs:
      - { name: d0, type: frontend, bind_key: ${key}, window: { base: ${WINDOW} }, interrupt: ${interrupt}, shmem: { memory: m0, base: 0xd0000000 } }
  guest1:
    cpus: 1
    program: idle
    remio_devs:
      - { name: d1, type: frontend, bind_key: 1, window: { base: ${WINDOW} }, interrupt: 79, shmem: { memory: m1, base: 0xd1000000 } }
  other:
    cpus: 1
    program: dispatcher
    remio_devs:
      - { name: d2, type: backend, bind_key: 2, interrupt: 40, shmem: { memory: m2, base: 0xd0000000 }, device: { type: block, image: a } }
  guest2:
    cpus: 1
    program: idle
    remio_devs:
      - { name: d2, type: frontend, bind_key: 2, window: { base: ${WINDOW} }, interrupt: 79, shmem: { memory: m2, base: 0xd0000000 } }
  idle:
    cpus: 1
    program: idle
`;

export function topologyOf(arch: Arch, profile: Profile, change: MachineChange = {}): Topology {
  const { topology, diagnostics } = parseTopology(machineText(arch, change), 'machine.yaml', {
    resolve: (path) => path,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: ['dispatcher', 'idle'],
  });
  assert(topology !== undefined, renderDiagnostics(diagnostics, ''));
  // The check keeps what the reference cannot carry out of its profile; here it is what a case is about.
  return { ...topology, profile, ...(change.slots === undefined ? {} : { slots: change.slots }) };
}

/** What hardware shows of a load or store, and of a hypercall, at a PC. */
export const trapOf = (arch: Arch, access: MmioAccess, pc: bigint): MmioTrap => {
  const trap = arch === 'aarch64' ? encodeDataAbort(access, pc) : encodeGuestPageFault(access, pc, 'instruction');
  assert(trap !== undefined, 'hardware can show this access');
  return trap;
};
const frameOf = ({ arch, conduit }: Abi, registers: readonly bigint[], pc: bigint): HypercallFrame => ({
  arch,
  conduit,
  registers,
  // An HVC is taken with the PC past it, an SMC or ECALL with the PC at it.
  pc: conduit === 'hvc' ? toU64(pc + 4n) : pc,
});

/** A vCPU as the guest sees it. */
interface Vcpu {
  state: VcpuState;
  pc: bigint;
  readonly registers: bigint[];
  readonly irqs: number[];
}

/** Registers before and after a hypercall. */
export interface Called {
  readonly before: readonly bigint[];
  readonly after: readonly bigint[];
}

/** A machine whose guests are the steps of a case; every access and call goes through registers. */
export abstract class HypercallMachine {
  readonly abi: Abi;
  protected readonly topology: Topology;
  readonly #vcpus = new Map<CpuId, Vcpu>();

  protected constructor(abi: Abi, topology: Topology) {
    this.abi = abi;
    this.topology = topology;
    for (const vm of topology.vms) {
      for (const cpu of vm.cpus) {
        const registers = Array.from({ length: 32 }, () => UNTOUCHED);
        this.#vcpus.set(cpu, { state: 'running', pc: CODE, registers, irqs: [] });
      }
    }
  }

  vcpu(name: string): Readonly<Vcpu> {
    return this.at(this.cpuOf(name));
  }

  /** The register that accesses load and store. */
  register(name: string): bigint {
    return this.vcpu(name).registers[REGISTER] ?? 0n;
  }

  /** A load or store in the window; the state that it leaves the vCPU in. */
  access(
    name: string,
    { width, store, signed }: { width: 1 | 2 | 4 | 8; store?: bigint; signed?: boolean },
  ): VcpuState {
    const cpu = this.cpuOf(name);
    const vcpu = this.at(cpu);
    if (store !== undefined) vcpu.registers[REGISTER] = store;
    const wide = this.abi.arch === 'riscv64' || width === 8 || signed === true;
    const trap = trapOf(
      this.abi.arch,
      {
        address: guestAddress(WINDOW),
        width,
        write: store !== undefined,
        register: REGISTER,
        value: store ?? 0n,
        signExtend: signed ?? false,
        registerWidth: wide ? 8 : 4,
      },
      vcpu.pc,
    );
    vcpu.state = 'paused';
    this.trap(cpu, trap);
    const { state } = this.at(cpu);
    if (state === 'fault') vcpu.state = 'running';
    return state;
  }

  call(name: string, call: BaoCall): Called {
    const cpu = this.cpuOf(name);
    const vcpu = this.at(cpu);
    const first = FIRST_REGISTER[this.abi.arch];
    const held = vcpu.registers.slice(first, first + HYPERCALL_REGISTERS[this.abi.arch]);
    const before = hypercallRegisters(this.abi.arch, call, held);
    const at = vcpu.pc;
    const after = this.hypercall(cpu, frameOf(this.abi, before, at));
    after.forEach((value, n) => {
      vcpu.registers[first + n] = value;
    });
    assert(vcpu.pc === at + 4n, `a call goes on at the next instruction, not at 0x${vcpu.pc.toString(16)}`);
    return { before, after };
  }

  /** Handles a CPU's messages, where they wait for it. */
  abstract deliver(name: string): void;
  protected abstract trap(cpu: CpuId, trap: MmioTrap): void;
  protected abstract hypercall(cpu: CpuId, frame: HypercallFrame): readonly bigint[];

  protected cpuOf(name: string): CpuId {
    const [vm, index] = name.split('.');
    const cpu = this.topology.vms.find((candidate) => candidate.name === vm)?.cpus[Number(index)];
    assert(cpu !== undefined, `the machine has a vCPU ${name}`);
    return cpu;
  }

  protected at(cpu: CpuId): Vcpu {
    const vcpu = this.#vcpus.get(cpu);
    assert(vcpu !== undefined, `CPU ${cpu} is of a VM`);
    return vcpu;
  }
}

/** The machine on the platform: what processes would be told, told to the vCPUs here. */
export class PlatformMachine extends HypercallMachine {
  readonly #platform: Platform;
  #result: readonly bigint[] = [];

  constructor(abi: Abi, profile: Profile, change: MachineChange) {
    super(abi, topologyOf(abi.arch, profile, change));
    const platform = Platform.create(this.topology, { send: (record) => this.#take(record) });
    assert(platform.ok, 'the core takes the machine');
    this.#platform = platform.value;
    for (const vm of this.topology.vms) this.#platform.attach(vm.id, 1);
    for (const vm of this.topology.vms) {
      for (const cpu of vm.cpus.slice(1)) this.#startSecondary(vm.cpus[0] ?? cpu, vm.cpus.indexOf(cpu));
    }
    // Guests enable what their interrupts may become: the case says which of them comes.
    const { interrupt = 79 } = change;
    for (const irq of new Set([79, interrupt, interrupt % 256])) this.#enable(this.cpuOf('guest0.0'), irq);
  }

  override deliver(): void {
    // The platform lets CPUs handle their messages at once.
  }

  protected override trap(cpu: CpuId, trap: MmioTrap): void {
    this.#say({ kind: 'trap', ...this.#owner(cpu), trap });
  }

  protected override hypercall(cpu: CpuId, frame: HypercallFrame): readonly bigint[] {
    this.#result = [];
    this.#say({ kind: 'hypercall', ...this.#owner(cpu), frame });
    return this.#result;
  }

  #owner(cpu: CpuId) {
    const vm = this.topology.vms.findIndex((candidate) => candidate.cpus.includes(cpu));
    return { vm: vmId(vm), cpu };
  }

  #say(record: Parameters<Platform['handle']>[0]): void {
    const handled = this.#platform.handle(record, 0);
    assert(handled.ok, `a guest cannot be cut off: ${handled.ok ? '' : handled.error.detail}`);
  }

  /** PSCI CPU_ON or SBI hart_start by the VM's first vCPU. */
  #startSecondary(by: CpuId, index: number): void {
    const registers =
      this.abi.arch === 'aarch64'
        ? [0xc400_0003n, BigInt(index), CODE, 0n, 0n, 0n, 0n]
        : [BigInt(index), CODE, 0n, 0n, 0n, 0n, 0n, 0x48_534dn];
    this.hypercall(by, frameOf(this.abi, registers, this.at(by).pc));
  }

  #enable(cpu: CpuId, irq: number): void {
    for (const { address, width, value } of enableInterruptSequence(this.topology.board.irqc, irq, 0)) {
      const access: MmioAccess = {
        address: guestAddress(address),
        width,
        write: true,
        register: REGISTER,
        value,
        signExtend: false,
        registerWidth: 8,
      };
      this.trap(cpu, trapOf(this.abi.arch, access, this.at(cpu).pc));
    }
    this.at(cpu).pc = CODE;
  }

  #take(record: HypervisorRecord): void {
    if (record.kind === 'lease' || record.kind === 'revoke') return;
    if (record.kind === 'memory' || record.kind === 'memory-link') return;
    const vcpu = this.at(record.cpu);
    switch (record.kind) {
      case 'resume':
        vcpu.state = 'running';
        vcpu.pc = record.pc;
        if (record.register < vcpu.registers.length) vcpu.registers[record.register] = record.value;
        return;
      case 'fault':
        vcpu.state = 'fault';
        return;
      case 'result':
        vcpu.pc = record.pc;
        this.#result = record.registers;
        return;
      case 'irq':
        vcpu.irqs.push(record.irq);
        return;
      case 'cpu-on':
        vcpu.pc = record.entry;
        return;
      case 'cpu-off':
        vcpu.state = 'stopped';
        return;
      case 'timer':
        return;
    }
  }
}

/** The machine on the bare core: its decoders and encoders around it, messages that may wait, VMs that may be down. */
export class CoreMachine extends HypercallMachine {
  readonly #core: RemioCore;
  readonly #profile: Profile;
  /** Whether a step that sends messages leaves them in the CPUs' queues. */
  readonly #holds: boolean;
  readonly #nextPc = new Map<CpuId, bigint>();

  constructor(abi: Abi, profile: Profile, change: MachineChange, holds: boolean) {
    super(abi, topologyOf(abi.arch, profile, change));
    const core = RemioCore.create(remioConfigOf(this.topology), profile);
    assert(core.ok, 'the core takes the machine');
    this.#core = core.value;
    this.#profile = profile;
    this.#holds = holds;
    for (const vm of this.topology.vms) {
      const [cpu] = vm.cpus;
      if (cpu !== undefined && change.down?.includes(vm.name) !== true) this.#step({ kind: 'start', cpu });
    }
  }

  override deliver(name: string): void {
    this.#step({ kind: 'deliver', cpu: this.cpuOf(name) });
  }

  protected override trap(cpu: CpuId, trap: MmioTrap): void {
    const decoded = decodeTrap(trap, this.#profile);
    assert(decoded.ok, 'the decoder takes what hardware shows');
    this.#nextPc.set(cpu, toU64(trapPc(trap) + BigInt(decoded.value.step)));
    this.#step({ kind: 'mmio', cpu, access: decoded.value.access, now: 0 });
  }

  protected override hypercall(cpu: CpuId, frame: HypercallFrame): readonly bigint[] {
    const decoded = decodeHypercall(frame);
    assert(decoded.service === 'bao', 'the decoder knows a Bao call');
    const returned: { registers?: readonly bigint[] } = {};
    this.#step({ kind: 'hypercall', cpu, call: decoded.call }, (ret, out) => {
      returned.registers = encodeBaoResult(frame, ret, out).registers;
    });
    this.at(cpu).pc = pcAfterCall(frame);
    return returned.registers ?? [];
  }

  #step(input: CoreInput, onReturn?: (ret: bigint, out: readonly bigint[] | undefined) => void): void {
    const interrupted: CpuId[] = [];
    for (const effect of [...this.#core.step(input)]) {
      switch (effect.kind) {
        case 'message':
          interrupted.push(effect.to);
          break;
        case 'return':
          onReturn?.(effect.ret, effect.out);
          break;
        case 'irq':
          this.at(effect.cpu).irqs.push(effect.irq);
          break;
        case 'register':
          this.at(effect.cpu).registers[effect.register] = effect.value;
          break;
        case 'resume': {
          const vcpu = this.at(effect.cpu);
          vcpu.state = 'running';
          vcpu.pc = this.#nextPc.get(effect.cpu) ?? vcpu.pc;
          break;
        }
        case 'fault':
          this.at(effect.cpu).state = 'fault';
          break;
        case 'event':
          if (effect.event.level === 'fatal') this.at(effect.event.cpu).state = 'stopped';
          break;
      }
    }
    if (!this.#holds) for (const cpu of interrupted) this.#step({ kind: 'deliver', cpu });
  }
}
