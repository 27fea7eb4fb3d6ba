import {
  type Arch,
  encodeDataAbort,
  encodeGuestPageFault,
  HC_REMIO,
  HYPERCALL_LAYOUT,
  type HypercallFrame,
  hypercallFrame,
  type MmioAccess,
  REMIO_HYP_ASK,
} from '@remio/arch';
import { type AccessWidth, assert, cpuId, guestAddress, hex, type Result, requestId, toU64, vmId } from '@remio/base';
import type { HypervisorRecord, VmRecord } from '@remio/protocol';
import { decodeHypercall, decodeTrap, encodeBaoResult, trapPc } from '../abi/index.js';
import { LeaseTable } from '../lease/index.js';
import {
  type CoreEffect,
  type CoreInput,
  type CoreState,
  type Profile,
  RemioCore,
  type RuleId,
} from '../remio/index.js';
import { configOf, type OwnInput, type VectorHead, type VectorStep } from './vector.js';
import { type CallArguments, type Observed, observeEnd, observeOwn, VectorView } from './vector-view.js';

/** How the steps of a vector reach the core. */
export interface RunMode {
  readonly profile: Profile;
  /** Through the architecture's encoder and decoder, wherever hardware could encode the step. */
  readonly abi: boolean;
  /** Requests are sent ahead to the backend's runtime, which answers what leases decide. */
  readonly lease: boolean;
  /** What carries records between hypervisor and runtime in mode `lease`. */
  readonly carry?: RecordCarrier;
  /** Request ids in the steps are those that this profile gives, not slot numbers. */
  readonly givenIds?: boolean;
}

/** Carries records from one process to another: the codec of the wire, or nothing at all. */
export interface RecordCarrier {
  toVm(records: readonly HypervisorRecord[]): readonly HypervisorRecord[];
  toHypervisor(records: readonly VmRecord[]): readonly VmRecord[];
}

/** Ids from here on belong to generations that no run reaches. */
const NEVER_GIVEN = 1n << 62n;

const DIRECT: RecordCarrier = { toVm: (records) => records, toHypervisor: (records) => records };

/** A problem of ours that a vector's expectations do not cover: encoder and decoder disagree, or a lease lies. */
export class RunnerError extends Error {
  override readonly name = 'RunnerError';
}

/**
 * A machine that executes a vector's steps and says what happened in the vectors' terms.
 *
 * Guests of a vector know request ids as slot numbers. In `hardened`, ids are others: this machine gives guests the
 * slot's number and hands the core the id that was last given out for it; unless the steps were recorded in that
 * profile.
 */
export class VectorMachine {
  readonly core: RemioCore;
  readonly #vector: VectorHead;
  readonly #mode: RunMode;
  readonly #view: VectorView;
  readonly #leases: readonly LeaseTable[];
  readonly #pcs: bigint[];
  /** By slot: the id that guests got last. */
  readonly #ids: (bigint | undefined)[];
  /** Deviations that bit since the last {@link takeRules}. */
  #rules = new Set<RuleId>();
  #traps = 0;

  private constructor(vector: VectorHead, mode: RunMode, core: RemioCore) {
    this.core = core;
    this.#vector = vector;
    this.#mode = mode;
    this.#view = new VectorView(vector.arch, vector.topology.cpus, vector.topology.slots);
    this.#leases = vector.topology.vms.map((_, vm) => new LeaseTable(vmId(vm), vector.arch, mode.profile));
    this.#pcs = Array.from({ length: vector.topology.cpus }, (_, cpu) => 0x4000_0000n + 0x10_0000n * BigInt(cpu));
    this.#ids = Array.from({ length: vector.topology.slots }, () => undefined);
  }

  /** Builds the machine; a refused configuration gives the event that the reference reports. */
  static create(
    vector: VectorHead,
    mode: RunMode,
  ): Result<VectorMachine, { level: string; cpu: number; code: string }> {
    const core = RemioCore.create(configOf(vector), mode.profile);
    return core.ok ? { ok: true, value: new VectorMachine(vector, mode, core.value) } : core;
  }

  /**
   * A machine in the state of another one of the same vector, whose core is in profile `reference`.
   * @throws RunnerError if that state cannot be had in this profile
   */
  static resume(vector: VectorHead, mode: RunMode, from: VectorMachine): VectorMachine {
    const state = inProfileHardened(from.core.save());
    const core = RemioCore.restore(configOf(vector), mode.profile, state);
    if (!core.ok) throw new RunnerError(`the reference's state cannot be taken over: ${core.error}`);
    const machine = new VectorMachine(vector, mode, core.value);
    machine.#view.adopt(from.#view);
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

  /** Executes one step, and the inputs that came before it. */
  step(step: VectorStep): Observed {
    for (const input of step.before ?? []) {
      const { effects } = this.#own(input);
      if (effects.length > 0) throw new RunnerError(`${input.do} has effects, and was recorded as having none`);
    }
    switch (step.do) {
      case 'start':
        return this.#start(step.cpu);
      case 'mmio':
        return this.#mmio(step);
      case 'hvc':
        return this.#hvc(step);
      case 'deliver':
        return this.#deliver(step);
      case 'vm-lost':
      case 'vm-attached':
      case 'tick':
      case 'leased-ask':
        return this.#own(step).observed;
    }
  }

  /** The final state, in the vectors' terms. */
  end(): Observed {
    return observeEnd(this.core.data);
  }

  #start(cpu: number): Observed {
    const before = this.#view.registers(cpu).snapshot();
    const effects = this.#step({ kind: 'start', cpu: cpuId(cpu) });
    const resumed = effects.flatMap((effect) => (effect.kind === 'access' ? [[effect.cpu, effect.result]] : []));
    return this.#observe(effects, { resumed }, { cpu, before });
  }

  #own(input: OwnInput): { readonly effects: readonly CoreEffect[]; readonly observed: Observed } {
    const effects = this.#step(inputOf(input));
    return { effects: effects.filter(({ kind }) => kind !== 'taken'), observed: this.#observe(effects, {}) };
  }

  #mmio(step: Extract<VectorStep, { do: 'mmio' }>): Observed {
    const { cpu } = step;
    const registers = this.#view.registers(cpu);
    if (step.value !== undefined) registers.write(step.reg, step.value);
    const before = registers.snapshot();
    const write = step.dir === 'w';
    const plain: MmioAccess = {
      address: guestAddress(step.addr),
      width: step.width as AccessWidth,
      write,
      register: step.reg,
      value: write ? registers.read(step.reg) : 0n,
      signExtend: step.signed ?? false,
      registerWidth: step.regWidth ?? defaultRegisterWidth(this.#vector.arch, step.width),
    };
    const access = this.#mode.abi ? this.#throughTrap(cpu, plain) : plain;
    const effects = this.#step({ kind: 'mmio', cpu: cpuId(cpu), access, now: step.now ?? 0 });
    const result = effects.find((effect) => effect.kind === 'access')?.result;
    return this.#observe(effects, { result }, { cpu, before });
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
    const { cpu } = step;
    const loaded = this.#view.loadCall(cpu, step);
    const before = this.#view.registers(cpu).snapshot();

    const idAt = HYPERCALL_LAYOUT[arch].inputs + 4;
    const id = this.#idFor(step.id);
    const frame = hypercallFrame(arch, loaded.with(idAt, id), this.#pcs[cpu] ?? 0n);
    const call = { nr: step.nr, dm: step.dm, addr: step.addr, op: step.op, value: step.value, id };
    const outcome = this.#mode.lease
      ? this.#callWithLease(cpu, frame)
      : this.#call(cpu, frame, this.#mode.abi ? undefined : call);
    const after = outcome.registers.map((value, n) => (n === idAt && value === id ? step.id : value));
    const ret = BigInt.asIntN(64, after[HYPERCALL_LAYOUT[arch].result] ?? 0n);
    const asked = step.nr === HC_REMIO && step.op === REMIO_HYP_ASK && ret === 0n;
    if (asked && this.#mode.givenIds !== true) {
      const at = HYPERCALL_LAYOUT[arch].outputs + 4;
      const given = outcome.registers[at] ?? 0n;
      const slot = Number(given % BigInt(this.#ids.length));
      this.#ids[slot] = given;
      after[at] = BigInt(slot);
    }
    const called = this.#view.finishCall(cpu, after);
    return this.#observe(outcome.effects, called, { cpu, before });
  }

  /** What the guest would give for an id that the recorded guest gave: the id that it got for that slot, if any. */
  #idFor(recorded: bigint): bigint {
    if (this.#mode.profile === 'reference' || this.#mode.givenIds === true) return recorded;
    if (recorded < BigInt(this.#ids.length)) return this.#ids[Number(recorded)] ?? recorded;
    // No slot has this number, so no guest got it: it must not become a valid id of a later generation by accident.
    return recorded >= NEVER_GIVEN ? recorded : recorded | NEVER_GIVEN;
  }

  #call(
    cpu: number,
    frame: HypercallFrame,
    plain: CallArguments | undefined,
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
    const { cpu } = step;
    const before = this.#view.registers(cpu).snapshot();
    const max = step.max === undefined ? {} : { max: step.max };
    const effects = this.#step({ kind: 'deliver', cpu: cpuId(cpu), ...max });
    return this.#observe(effects, { handled: this.core.handled }, { cpu, before });
  }

  #step(input: CoreInput): readonly CoreEffect[] {
    const effects = [...this.core.step(input)];
    this.#view.apply(effects);
    for (const effect of effects) {
      switch (effect.kind) {
        case 'rule':
          this.#rules.add(effect.rule);
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

  #observe(effects: readonly CoreEffect[], fields: Observed, of?: Parameters<VectorView['observe']>[2]): Observed {
    return { ...fields, ...this.#view.observe(effects, this.core.data, of), ...observeOwn(effects) };
  }
}

/** What a load defines of its register, unless a step says otherwise. */
export const defaultRegisterWidth = (arch: Arch, width: number): 4 | 8 => (arch === 'riscv64' || width === 8 ? 8 : 4);

/** An input that the format lacks, as the core takes it. */
function inputOf(input: OwnInput): CoreInput {
  switch (input.do) {
    case 'vm-lost':
    case 'vm-attached':
      return { kind: input.do, vm: vmId(input.vm), incarnation: input.incarnation };
    case 'tick':
      return { kind: 'tick', now: input.now };
    case 'leased-ask':
      return { kind: 'leased-ask', cpu: cpuId(input.cpu), id: requestId(input.id) };
  }
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
        if (message.kind === 'notify' || message.kind === 'ipc') return message;
        const slot = state.requests.findIndex((request) => request.state === 'complete' && request.cpu === index);
        const generation = state.requests[slot]?.generation ?? 0;
        return { ...message, id: hex(BigInt(slot + slots * generation)) };
      }),
    })),
  };
}
