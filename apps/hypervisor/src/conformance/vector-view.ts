import { type Arch, FIRST_REGISTER, HYPERCALL_LAYOUT, HYPERCALL_REGISTERS, hypercallRegisters } from '@remio/arch';
import { assert, hex } from '@remio/base';
import type { CoreData, CoreEffect } from '../remio/index.js';
import { Registers } from './registers.js';

/** What a step did, in the vectors' terms. */
export type Observed = Readonly<Record<string, unknown>>;

/** A hypercall's arguments, as a step gives them. */
export type CallArguments = Parameters<typeof hypercallRegisters>[1];

/** The registers of a vector's vCPUs, and what steps look like from there. */
export class VectorView {
  readonly #arch: Arch;
  readonly #slots: number;
  readonly #registers: readonly Registers[];

  constructor(arch: Arch, cpus: number, slots: number) {
    this.#arch = arch;
    this.#slots = slots;
    this.#registers = Array.from({ length: cpus }, (_, cpu) => new Registers(arch, cpu));
  }

  registers(cpu: number): Registers {
    const registers = this.#registers[cpu];
    assert(registers !== undefined, `the machine has CPU ${cpu}`);
    return registers;
  }

  adopt(from: VectorView): void {
    this.#registers.forEach((registers, cpu) => {
      registers.restore(from.registers(cpu).snapshot());
    });
  }

  /** The guest loads a hypercall's registers; returns x0..x6 or a0..a7. */
  loadCall(cpu: number, call: CallArguments): readonly bigint[] {
    const registers = this.registers(cpu);
    const first = FIRST_REGISTER[this.#arch];
    const held = Array.from({ length: HYPERCALL_REGISTERS[this.#arch] }, (_, n) => registers.read(first + n));
    const loaded = hypercallRegisters(this.#arch, call, held);
    loaded.forEach((value, n) => registers.write(first + n, value));
    return loaded;
  }

  /** Registers after a hypercall; `ret` and `out` of the step. */
  finishCall(cpu: number, after: readonly bigint[]): Observed {
    const first = FIRST_REGISTER[this.#arch];
    const { outputs, result } = HYPERCALL_LAYOUT[this.#arch];
    after.forEach((value, n) => this.registers(cpu).write(first + n, value));
    return {
      ret: Number(BigInt.asIntN(64, after[result] ?? 0n)),
      out: Array.from({ length: 6 }, (_, n) => hex(after[outputs + n] ?? 0n)),
    };
  }

  /** Writes what the core writes to registers. */
  apply(effects: readonly CoreEffect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'register') this.registers(effect.cpu).write(effect.register, effect.value);
    }
  }

  /** What every step shows. `cpu` is the step's; `before`, its registers at the moment of the trap. */
  observe(
    effects: readonly CoreEffect[],
    data: Readonly<CoreData>,
    of?: { readonly cpu: number; readonly before: readonly bigint[] },
  ): Observed {
    return {
      sent: effects.flatMap((effect): Observed[] => {
        if (effect.kind !== 'message') return [];
        const { to, message } = effect;
        if (message.kind === 'notify') return [{ to, kind: 'notify', irq: message.irq }];
        if (message.kind === 'ipc') return [{ to, kind: 'ipc', shmem: message.shmem, event: hex(message.event) }];
        return [{ to, kind: message.kind, key: Number(message.key), id: Number(message.id % BigInt(this.#slots)) }];
      }),
      irqs: effects.flatMap((effect) => (effect.kind === 'irq' ? [[effect.cpu, effect.irq]] : [])),
      regs: of === undefined ? {} : this.registers(of.cpu).changes(of.before),
      active: data.cpus.map((state) => (state.active ? 1 : 0)),
      events: effects.flatMap((effect) => (effect.kind === 'event' ? [effect.event] : [])),
    };
  }
}

/** What only profile `hardened` does, and the vectors have no field for: faults, and rules that bit. */
export const observeOwn = (effects: readonly CoreEffect[]): Observed => ({
  faults: effects.flatMap((effect) => (effect.kind === 'fault' ? [[effect.cpu, effect.reason]] : [])),
  rules: effects.flatMap((effect) => (effect.kind === 'rule' ? [[effect.cpu, effect.rule]] : [])),
});

/** The final state, in the vectors' terms. */
export const observeEnd = (data: Readonly<CoreData>): Observed => ({
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
});
