import {
  encodeDataAbort,
  encodeGuestPageFault,
  FIRST_REGISTER,
  HYPERCALL_LAYOUT,
  HYPERCALL_REGISTERS,
  type HypercallFrame,
  hypercallFrame,
  hypercallRegisters,
  type MmioAccess,
  REMIO_HYP_ASK,
} from '@remio/arch';
import { type AccessWidth, assert, cpuId, guestAddress, hex, type Result, requestId, toU64, vmId } from '@remio/base';
import type { HypervisorRecord, VmRecord } from '@remio/protocol';
import { decodeHypercall, decodeTrap, encodeBaoResult, trapPc } from '../abi/index.js';
import { LeaseTable } from '../lease/index.js';
import { type CoreEffect, type CoreState, type Profile, RemioCore, type RuleId } from '../remio/index.js';
import { Registers } from './registers.js';
import { configOf, type Vector, type VectorStep } from './vector.js';

/** How the steps of a vector reach the core. */
export interface RunMode {
  readonly profile: Profile;
  /** Through the architecture's encoder and decoder, wherever hardware could encode the step. */
  readonly abi: boolean;
  /** Requests are sent ahead to the backend's runtime, which answers what leases decide. */
  readonly lease: boolean;
  /** What carries records between hypervisor and runtime in mode `lease`. */
  readonly carry?: RecordCarrier;
}

/** Carries records from one process to another: the codec of the wire, or nothing at all. */
export interface RecordCarrier {
  toVm(records: readonly HypervisorRecord[]): readonly HypervisorRecord[];
  toHypervisor(records: readonly VmRecord[]): readonly VmRecord[];
}

/** Ids from here on belong to generations that no run reaches. */
const NEVER_GIVEN = 1n << 62n;

const DIRECT: RecordCarrier = { toVm: (records) => records, toHypervisor: (records) => records };

/** What a step did, in the vectors' terms. */
export type Observed = Readonly<Record<string, unknown>>;

/** A problem of ours that a vector's expectations do not cover: encoder and decoder disagree, or a lease lies. */
export class RunnerError extends Error {
  override readonly name = 'RunnerError';
}

/**
 * A machine that executes a vector's steps and says what happened in the vectors' terms.
 *
 * Guests of a vector know request ids as slot numbers. In `hardened`, ids are others: this machine gives guests the
 * slot's number and hands the core the id that was last given out for it.
 */
export class VectorMachine {
  readonly core: RemioCore;
  readonly #vector: Vector;
  readonly #mode: RunMode;
  readonly #registers: readonly Registers[];
  readonly #leases: readonly LeaseTable[];
  readonly #pcs: bigint[];
  /** By slot: the id that guests got last. */
  readonly #ids: (bigint | undefined)[];
  /** Deviations that bit since the last {@link takeRules}. */
  #rules = new Set<RuleId>();
  #traps = 0;

  private constructor(vector: Vector, mode: RunMode, core: RemioCore) {
    this.core = core;
    this.#vector = vector;
    this.#mode = mode;
    this.#registers = Array.from({ length: vector.topology.cpus }, (_, cpu) => new Registers(vector.arch, cpu));
    this.#leases = vector.topology.vms.map((_, vm) => new LeaseTable(vmId(vm), vector.arch, mode.profile));
    this.#pcs = Array.from({ length: vector.topology.cpus }, (_, cpu) => 0x4000_0000n + 0x10_0000n * BigInt(cpu));
    this.#ids = Array.from({ length: vector.topology.slots }, () => undefined);
  }

  /** Builds the machine; a refused configuration gives the event that the reference reports. */
  static create(vector: Vector, mode: RunMode): Result<VectorMachine, { level: string; cpu: number; code: string }> {
    const core = RemioCore.create(configOf(vector), mode.profile);
    return core.ok ? { ok: true, value: new VectorMachine(vector, mode, core.value) } : core;
  }

  /**
   * A machine in the state of another one of the same vector, whose core is in profile `reference`.
   * @throws RunnerError if that state cannot be had in this profile
   */
  static resume(vector: Vector, mode: RunMode, from: VectorMachine): VectorMachine {
    const state = inProfileHardened(from.core.save());
    const core = RemioCore.restore(configOf(vector), mode.profile, state);
    if (!core.ok) throw new RunnerError(`the reference's state cannot be taken over: ${core.error}`);
    const machine = new VectorMachine(vector, mode, core.value);
    machine.#registers.forEach((registers, cpu) => {
      registers.restore(from.#registers[cpu]?.snapshot() ?? []);
    });
    for (const request of core.value.data.requests) machine.#ids[request.slot] = request.id;
    core.value.data.devices.forEach((device) => {
      for (const slot of device.pending) {
        const request = core.value.data.requests[slot];
        if (request === undefined || device.backend === undefined) continue;
        const { addr, op, value, access, id } = request;
        const { vm, dm } = device.backend;
        machine.#sendToVm({ kind: 'lease', vm, dm, id, addr, op, value, width: access.width });
      }
    });
    if (mode.lease) machine.#adoptTaken();
    return machine;
  }

  /** Deviations that bit since the last call. */
  takeRules(): ReadonlySet<RuleId> {
    const rules = this.#rules;
    this.#rules = new Set();
    return rules;
  }

  /** Executes one step. */
  step(step: VectorStep): Observed {
    switch (step.do) {
      case 'start':
        return this.#observe(step.cpu, this.#registers[step.cpu]?.snapshot() ?? [], this.#start(step.cpu));
      case 'mmio':
        return this.#mmio(step);
      case 'hvc':
        return this.#hvc(step);
      case 'deliver':
        return this.#deliver(step);
    }
  }

  /** The final state, in the vectors' terms. */
  end(): Observed {
    const { data } = this.core;
    return {
      cpus: data.cpus.map((cpu) => ({
        vm: cpu.vm,
        active: cpu.active ? 1 : 0,
        halted: cpu.halted ? 1 : 0,
        waiting: cpu.waiting === undefined ? 0 : 1,
        queued: cpu.queue.length,
      })),
      devices: data.devices.map((device) => ({
        key: hex(device.key),
        ready: device.ready ? 1 : 0,
        backendCpu: device.backend?.cpu ?? -1,
        frontendCpu: device.frontend?.cpu ?? -1,
        pending: [...device.pending],
      })),
      slots: data.requests.map((request) =>
        request.state === 'free'
          ? null
          : {
              id: request.slot,
              state: request.state,
              key: hex(request.key),
              cpu: request.cpu,
              op: request.op,
              addr: hex(request.addr),
              value: hex(request.value),
              width: request.access.width,
              reg: request.access.register,
            },
      ),
    };
  }

  #start(cpu: number): Observed {
    const effects = this.#step({ kind: 'start', cpu: cpuId(cpu) });
    return {
      resumed: effects.flatMap((e) => (e.kind === 'access' ? [[e.cpu, e.result]] : [])),
      ...describe(effects, this.#slots()),
    };
  }

  #mmio(step: Extract<VectorStep, { do: 'mmio' }>): Observed {
    const registers = this.#cpuRegisters(step.cpu);
    if (step.value !== undefined) registers.write(step.reg, step.value);
    const before = registers.snapshot();
    const write = step.dir === 'w';
    const plain: MmioAccess = {
      address: guestAddress(step.addr),
      width: step.width as AccessWidth,
      write,
      register: step.reg,
      value: write ? registers.read(step.reg) : 0n,
      signExtend: false,
      registerWidth: this.#vector.arch === 'riscv64' || step.width === 8 ? 8 : 4,
    };
    const access = this.#mode.abi ? this.#throughTrap(step.cpu, plain) : plain;
    const effects = this.#step({ kind: 'mmio', cpu: cpuId(step.cpu), access, now: 0 });
    const result = effects.find((effect) => effect.kind === 'access')?.result;
    return this.#observe(step.cpu, before, { result, ...describe(effects, this.#slots()) });
  }

  /** The access as the hypervisor decodes it from what hardware shows; as it stands if hardware could not show it. */
  #throughTrap(cpu: number, access: MmioAccess): MmioAccess {
    const pc = this.#pcs[cpu] ?? 0n;
    this.#traps += 1;
    const form = this.#traps % 2 === 0 ? 'htinst' : 'instruction';
    const trap = this.#vector.arch === 'aarch64' ? encodeDataAbort(access, pc) : encodeGuestPageFault(access, pc, form);
    if (trap === undefined) return access;
    const decoded = decodeTrap(trap, this.#mode.profile);
    if (!decoded.ok) throw new RunnerError(`the decoder refuses what the encoder made: ${decoded.error.reason}`);
    const { access: seen, step } = decoded.value;
    const same =
      seen.address === access.address &&
      seen.width === access.width &&
      seen.write === access.write &&
      seen.register === access.register &&
      seen.value === access.value;
    if (!same || step !== 4) throw new RunnerError('decoding what was encoded gives another access');
    this.#pcs[cpu] = toU64(trapPc(trap) + BigInt(step));
    return seen;
  }

  #hvc(step: Extract<VectorStep, { do: 'hvc' }>): Observed {
    const { arch } = this.#vector;
    const registers = this.#cpuRegisters(step.cpu);
    const first = FIRST_REGISTER[arch];
    const count = HYPERCALL_REGISTERS[arch];
    const held = Array.from({ length: count }, (_, n) => registers.read(first + n));
    const loaded = hypercallRegisters(arch, step, held);
    loaded.forEach((value, n) => registers.write(first + n, value));
    const before = registers.snapshot();

    const idAt = HYPERCALL_LAYOUT[arch].inputs + 4;
    const id = this.#idFor(step.id);
    const frame = hypercallFrame(arch, loaded.with(idAt, id), this.#pcs[step.cpu] ?? 0n);
    const call = { nr: step.nr, dm: step.dm, addr: step.addr, op: step.op, value: step.value, id };
    const outcome = this.#mode.lease
      ? this.#callWithLease(step.cpu, frame)
      : this.#call(step.cpu, frame, this.#mode.abi ? undefined : call);
    const after = outcome.registers.map((value, n) => (n === idAt && value === id ? step.id : value));
    const ret = BigInt.asIntN(64, after[HYPERCALL_LAYOUT[arch].result] ?? 0n);
    if (ret === 0n && step.op === REMIO_HYP_ASK) {
      const at = HYPERCALL_LAYOUT[arch].outputs + 4;
      const given = outcome.registers[at] ?? 0n;
      const slot = Number(given % BigInt(this.#ids.length));
      this.#ids[slot] = given;
      after[at] = BigInt(slot);
    }
    after.forEach((value, n) => registers.write(first + n, value));
    const { outputs } = HYPERCALL_LAYOUT[arch];
    return this.#observe(step.cpu, before, {
      ret: Number(ret),
      out: Array.from({ length: 6 }, (_, n) => hex(after[outputs + n] ?? 0n)),
      ...describe(outcome.effects, this.#slots()),
    });
  }

  /** What the guest would give for an id that the recorded guest gave: the id that it got for that slot, if any. */
  #idFor(recorded: bigint): bigint {
    if (this.#mode.profile === 'reference') return recorded;
    if (recorded < BigInt(this.#ids.length)) return this.#ids[Number(recorded)] ?? recorded;
    // No slot has this number, so no guest got it: it must not become a valid id of a later generation by accident.
    return recorded >= NEVER_GIVEN ? recorded : recorded | NEVER_GIVEN;
  }

  #call(
    cpu: number,
    frame: HypercallFrame,
    plain: Parameters<typeof hypercallRegisters>[1] | undefined,
  ): { readonly registers: readonly bigint[]; readonly effects: readonly CoreEffect[] } {
    let call = plain;
    if (call === undefined) {
      const decoded = decodeHypercall(frame);
      if (decoded.service !== 'bao') throw new RunnerError(`a Bao call was decoded as one of ${decoded.service}`);
      call = decoded.call;
    }
    const effects = this.#step({ kind: 'hypercall', cpu: cpuId(cpu), call });
    const returned = effects.find((effect) => effect.kind === 'return');
    assert(returned !== undefined, 'a hypercall of a running vCPU returns');
    const { registers, pc } = encodeBaoResult(frame, returned.ret, returned.out);
    this.#pcs[cpu] = pc;
    return { registers, effects };
  }

  #callWithLease(
    cpu: number,
    frame: HypercallFrame,
  ): { readonly registers: readonly bigint[]; readonly effects: readonly CoreEffect[] } {
    const vm = this.core.data.cpus[cpu]?.vm ?? -1;
    const table = this.#leases[vm];
    assert(table !== undefined, `CPU ${cpu} is of a VM`);
    const answer = table.hypercall(cpuId(cpu), frame);
    if (answer.kind === 'forward') {
      const record: VmRecord = { kind: 'hypercall', vm: vmId(vm), cpu: cpuId(cpu), frame };
      const [carried] = this.#carry().toHypervisor([record]);
      if (carried?.kind !== 'hypercall') throw new RunnerError('a record changed on its way');
      const outcome = this.#call(cpu, carried.frame, undefined);
      table.answered(cpuId(cpu));
      return outcome;
    }
    const effects: CoreEffect[] = [];
    for (const record of this.#carry().toHypervisor([answer.posted])) {
      if (record.kind === 'asked') {
        effects.push(...this.#step({ kind: 'leased-ask', cpu: cpuId(cpu), id: record.id }));
        const taken = this.core.data.requests.find((request) => request.id === record.id);
        if (taken?.state !== 'processing') throw new RunnerError('the runtime answered an ASK that the core refuses');
      } else if (record.kind === 'posted') {
        const done = this.#call(cpu, record.frame, undefined);
        if (BigInt.asIntN(64, done.registers[HYPERCALL_LAYOUT[frame.arch].result] ?? 0n) !== 0n) {
          throw new RunnerError('the runtime answered 0 to a call that the core refuses');
        }
        effects.push(...done.effects);
      }
    }
    return { registers: answer.registers, effects };
  }

  #deliver(step: Extract<VectorStep, { do: 'deliver' }>): Observed {
    const registers = this.#cpuRegisters(step.cpu);
    const before = registers.snapshot();
    const max = step.max === undefined ? {} : { max: step.max };
    const effects = this.#step({ kind: 'deliver', cpu: cpuId(step.cpu), ...max });
    return this.#observe(step.cpu, before, { handled: this.core.handled, ...describe(effects, this.#slots()) });
  }

  #step(input: Parameters<RemioCore['step']>[0]): readonly CoreEffect[] {
    const effects = [...this.core.step(input)];
    for (const effect of effects) {
      switch (effect.kind) {
        case 'rule':
          this.#rules.add(effect.rule);
          break;
        case 'register':
          this.#registers[effect.cpu]?.write(effect.register, effect.value);
          break;
        case 'pending': {
          const { id, backend: vm, dm, addr, op, value, width } = effect;
          this.#sendToVm({ kind: 'lease', vm, dm, id, addr, op, value, width });
          break;
        }
        case 'revoked':
          this.#sendToVm({ kind: 'revoke', vm: effect.backend, dm: effect.dm, id: effect.id });
          break;
      }
    }
    return effects;
  }

  #sendToVm(record: HypervisorRecord): void {
    if (!this.#mode.lease) return;
    for (const carried of this.#carry().toVm([record])) {
      const table = this.#leases[carried.vm];
      if (carried.kind === 'lease') table?.lease(carried);
      else if (carried.kind === 'revoke') table?.revoke(carried.dm, carried.id);
    }
  }

  /** After taking over a state: requests in hand were asked for through the hypervisor, as far as this runtime knows. */
  #adoptTaken(): void {
    for (const request of this.core.data.requests) {
      if (request.state === 'processing') this.#ids[request.slot] = requestId(request.id);
    }
  }

  #carry(): RecordCarrier {
    return this.#mode.carry ?? DIRECT;
  }

  #slots(): number {
    return this.#vector.topology.slots;
  }

  #cpuRegisters(cpu: number): Registers {
    const registers = this.#registers[cpu];
    assert(registers !== undefined, `the machine has CPU ${cpu}`);
    return registers;
  }

  #observe(cpu: number, before: readonly bigint[], fields: Observed): Observed {
    return {
      ...fields,
      regs: this.#cpuRegisters(cpu).changes(before),
      active: this.core.data.cpus.map((state) => (state.active ? 1 : 0)),
    };
  }
}

/** What the effects of a step look like in the vectors' terms. */
function describe(effects: readonly CoreEffect[], slots: number): Observed {
  return {
    sent: effects.flatMap((effect): Observed[] => {
      if (effect.kind !== 'message') return [];
      const { to, message } = effect;
      if (message.kind === 'notify') return [{ to, kind: 'notify', irq: message.irq }];
      return [{ to, kind: message.kind, key: Number(message.key), id: Number(message.id) % slots }];
    }),
    irqs: effects.flatMap((effect) => (effect.kind === 'irq' ? [[effect.cpu, effect.irq]] : [])),
    events: effects.flatMap((effect) => (effect.kind === 'event' ? [effect.event] : [])),
  };
}

/**
 * A state of the `reference` profile as `hardened` can have it: completions on their way get their request's whole id
 * and key, and a request that the reference lost (D-01) becomes one that nobody can complete.
 */
function inProfileHardened(state: CoreState): CoreState {
  const listed = new Set(state.devices.flatMap((device) => device.pending));
  const slots = state.requests.length;
  return {
    ...state,
    requests: state.requests.map((request, slot) =>
      request.state === 'pending' && !listed.has(slot) ? { ...request, state: 'complete' } : request,
    ),
    cpus: state.cpus.map((cpu, index) => ({
      ...cpu,
      queue: cpu.queue.map((message) => {
        if (message.kind === 'notify') return message;
        const slot = state.requests.findIndex((request) => request.state === 'complete' && request.cpu === index);
        const generation = state.requests[slot]?.generation ?? 0;
        return { ...message, id: hex(BigInt(slot + slots * generation)) };
      }),
    })),
  };
}
