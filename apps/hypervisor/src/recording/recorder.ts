import { type Arch, HC_E_SUCCESS, HC_REMIO, hypercallFrame, REMIO_HYP_ASK } from '@remio/arch';
import { assert, hex, type RequestId } from '@remio/base';
import { encodeBaoResult } from '../abi/index.js';
import { topologyOf, VectorWriter } from '../conformance/index.js';
import { defaultRegisterWidth } from '../conformance/vector-machine.js';
import { type Observed, observeEnd, observeOwn, VectorView } from '../conformance/vector-view.js';
import type { SteppedCore } from '../platform/index.js';
import { askOutputs } from '../remio/calls.js';
import type { CoreData, CoreEffect, CoreInput, Profile, RemioConfig } from '../remio/index.js';

/** The machine that is recorded. */
export interface RecordedMachine {
  readonly name: string;
  readonly arch: Arch;
  readonly profile: Profile;
  readonly config: RemioConfig;
}

/** An input of ours that the format lacks. */
type OwnInput = Extract<CoreInput, { kind: 'vm-lost' | 'vm-attached' | 'tick' | 'leased-ask' }>;

/**
 * Writes what goes into the core and what comes out of it as a conformance vector (`remio-vectors/1`), step by step.
 *
 * Registers are those of the vectors' machine, not of the guests that ran: an input says what it needs of them. Inputs
 * that the format lacks ride along with the next step as long as they have no effects, and are steps of their own when
 * they have; an ASK from a lease is the ASK that it stands for. So what is recorded in profile `reference` is a vector
 * for everybody.
 */
export class Recorder {
  readonly #machine: RecordedMachine;
  /** Whether the times of accesses are told: where there are deadlines they matter, and a replay of the load wants them. */
  readonly #timed: boolean;
  readonly #view: VectorView;
  readonly #writer = new VectorWriter();
  /** Inputs of ours without effects since the last step. */
  readonly #before: Observed[] = [];

  constructor(machine: RecordedMachine) {
    const { arch, config } = machine;
    this.#machine = machine;
    const hasDeadlines = config.vms.some((vm) => vm.devices.some((end) => end.deadline !== undefined));
    this.#timed = machine.profile === 'hardened' || hasDeadlines;
    this.#view = new VectorView(arch, config.cpus, config.slots);
  }

  /** The text before the first step. */
  head(): string {
    const { name, arch, profile, config } = this.#machine;
    return this.#writer.head({
      format: 'remio-vectors/1',
      name,
      // Nobody vouches for the guests that ran.
      class: 'hostile',
      quirks: [],
      description: `recorded from a running platform, profile ${profile}`,
      arch,
      profile,
      topology: topologyOf(config),
      init: { events: [] },
    });
  }

  /** The text of a step; empty while there is nothing to tell. */
  step(input: CoreInput, effects: readonly CoreEffect[], core: SteppedCore): string {
    const step = this.#stepOf(input, effects, core);
    if (step === undefined) return '';
    const { expect, ...fields } = step;
    const before = this.#before.length === 0 ? {} : { before: this.#before.splice(0) };
    return this.#writer.step({ ...fields, ...before, expect });
  }

  /** The text after the last step. */
  end(data: Readonly<CoreData>): string {
    return this.#left(data) + this.#writer.end(observeEnd(data));
  }

  /**
   * What has no step to ride along with: a loss may have emptied a queue, so the last of it is a step of its own.
   * The reference knows none of these inputs, and its state is the same without them.
   */
  #left(data: Readonly<CoreData>): string {
    const last = this.#machine.profile === 'reference' ? undefined : this.#before.pop();
    if (last === undefined) return '';
    const before = this.#before.length === 0 ? {} : { before: this.#before.splice(0) };
    return this.#writer.step({ ...last, ...before, expect: this.#observe([], { data }, {}) });
  }

  #stepOf(input: CoreInput, effects: readonly CoreEffect[], core: SteppedCore): Observed | undefined {
    switch (input.kind) {
      case 'start': {
        const of = this.#trapped(input.cpu);
        const resumed = effects.flatMap((effect) => (effect.kind === 'access' ? [[effect.cpu, effect.result]] : []));
        return { do: 'start', cpu: input.cpu, expect: this.#observe(effects, core, { resumed }, of) };
      }
      case 'mmio':
        return this.#access(input, effects, core);
      case 'hypercall': {
        const returned = effects.find((effect) => effect.kind === 'return');
        assert(returned !== undefined, 'a hypercall of a running vCPU returns');
        return this.#call(input.cpu, input.call, returned, effects, core);
      }
      case 'deliver': {
        const of = this.#trapped(input.cpu);
        const max = input.max === undefined ? {} : { max: input.max };
        const expect = this.#observe(effects, core, { handled: core.handled }, of);
        return { do: 'deliver', cpu: input.cpu, ...max, expect };
      }
      case 'leased-ask': {
        const taken = effects.find((effect) => effect.kind === 'taken');
        if (taken?.first !== true) return this.#own(input, effects, core);
        const call = { nr: HC_REMIO, dm: BigInt(taken.dm), addr: 0n, op: REMIO_HYP_ASK, value: 0n, id: 0n };
        const { expect, ...fields } = this.#call(input.cpu, call, askResult(core.data, input.id), effects, core);
        return { ...fields, leased: true, expect };
      }
      case 'vm-lost':
      case 'vm-attached':
      case 'tick':
        return this.#own(input, effects, core);
    }
  }

  #access(
    { cpu, access, now }: Extract<CoreInput, { kind: 'mmio' }>,
    effects: readonly CoreEffect[],
    core: SteppedCore,
  ): Observed {
    const { address, width, write, register, value, signExtend, registerWidth } = access;
    if (write) this.#view.registers(cpu).write(register, value);
    const of = this.#trapped(cpu);
    const result = effects.find((effect) => effect.kind === 'access')?.result;
    return {
      do: 'mmio',
      cpu,
      addr: hex(address),
      width,
      dir: write ? 'w' : 'r',
      reg: register,
      ...(write ? { value: hex(value) } : {}),
      ...(signExtend ? { signed: true } : {}),
      ...(registerWidth === defaultRegisterWidth(this.#machine.arch, width) ? {} : { regWidth: registerWidth }),
      ...(this.#timed ? { now } : {}),
      expect: this.#observe(effects, core, { result }, of),
    };
  }

  #call(
    cpu: number,
    call: Extract<CoreInput, { kind: 'hypercall' }>['call'],
    { ret, out }: { readonly ret: bigint; readonly out: readonly bigint[] | undefined },
    effects: readonly CoreEffect[],
    core: SteppedCore,
  ): Observed {
    const frame = hypercallFrame(this.#machine.arch, this.#view.loadCall(cpu, call), 0n);
    const of = this.#trapped(cpu);
    const called = this.#view.finishCall(cpu, encodeBaoResult(frame, ret, out).registers);
    const { nr, dm, addr, op, value, id } = call;
    return {
      do: 'hvc',
      cpu,
      ...{ nr: hex(nr), dm: hex(dm), addr: hex(addr), op: hex(op), value: hex(value), id: hex(id) },
      expect: this.#observe(effects, core, called, of),
    };
  }

  /** A step of its own if it did something; otherwise kept for the next one. */
  #own(input: OwnInput, effects: readonly CoreEffect[], core: SteppedCore): Observed | undefined {
    const { kind, ...rest } = input;
    const fields = { do: kind, ...('id' in rest ? { cpu: rest.cpu, id: hex(rest.id) } : rest) };
    if (effects.length > 0) return { ...fields, expect: this.#observe(effects, core, {}) };
    this.#before.push(fields);
    return undefined;
  }

  #trapped(cpu: number): NonNullable<Parameters<VectorView['observe']>[2]> {
    return { cpu, before: this.#view.registers(cpu).snapshot() };
  }

  #observe(
    effects: readonly CoreEffect[],
    { data }: Pick<SteppedCore, 'data'>,
    fields: Observed,
    of?: Parameters<VectorView['observe']>[2],
  ): Observed {
    this.#view.apply(effects);
    const own = Object.entries(observeOwn(effects)).filter(([, list]) => Array.isArray(list) && list.length > 0);
    return { ...fields, ...this.#view.observe(effects, data, of), ...Object.fromEntries(own) };
  }
}

/** What the ASK that took a request answered. */
function askResult(data: Readonly<CoreData>, id: RequestId): { readonly ret: bigint; readonly out: readonly bigint[] } {
  const request = data.requests.find((candidate) => candidate.id === id);
  assert(request !== undefined, 'a request that was taken is there');
  const { addr, op, value, access, device } = request;
  const more = (data.devices[device]?.pending.length ?? 0) > 0;
  return { ret: HC_E_SUCCESS, out: askOutputs(addr, op, value, access.width, id, more) };
}
