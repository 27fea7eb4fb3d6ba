import { type Arch, FIRST_REGISTER, SUPERVISOR_TIMER_INTERRUPT, VIRTUAL_TIMER_PPI } from '@remio/arch';
import { assert, hex, type IrqId, irqId, type Result, restoring, type SavedValue, U64_MAX } from '@remio/base';
import type { Completion, Exit, MachineContext, Seat, SeatFactory } from '../index.js';
import { Aarch64Core } from './aarch64-core.js';
import { createGicPort } from './aarch64-system.js';
import { Bus } from './bus.js';
import type { Core, CoreHost } from './core.js';
import { Riscv64Core } from './riscv64-core.js';
import { createRiscvPort } from './riscv64-csrs.js';

/** A vCPU as plain data: survives JSON. Its memory is its VM's, not part of it. */
export interface SavedVcpu {
  readonly format: 'remio-vcpu/1';
  readonly arch: Arch;
  readonly on: boolean;
  /** Why it went off by itself, if it did. */
  readonly reason: string | null;
  /** It sleeps in WFI. */
  readonly waiting: boolean;
  /** The exit that is open: the PC is at its instruction still. */
  readonly open: 'mmio' | 'hypercall' | null;
  /** When the timer fires, `0x…`. */
  readonly timer: string | null;
  /** Registers, controls, and interrupts that wait. */
  readonly core: object;
}

const OFF: Exit = { kind: 'off' };
const WAITING: Exit = { kind: 'wfi' };
const BUDGET: Exit = { kind: 'budget' };

/**
 * A vCPU that executes machine code: RV64I with C, or the A64 instructions that drivers and device code are made of.
 * The second seat beside that of TypeScript programs. Exceptions go to the guest's own vector; where that leads to no
 * memory, this vCPU stops and nothing else.
 */
export class InterpreterSeat implements Seat {
  readonly arch: Arch;
  readonly timerIrq: IrqId;
  onRunnable: () => void = () => {};
  onTimer: () => void = () => {};
  readonly #core: Core;
  #on = false;
  #reason: string | undefined;
  #waiting = false;
  #open: 'mmio' | 'hypercall' | undefined;
  #timer: bigint | undefined;

  constructor(machine: MachineContext, index: number) {
    this.arch = machine.arch;
    this.timerIrq = irqId(machine.arch === 'aarch64' ? VIRTUAL_TIMER_PPI : SUPERVISOR_TIMER_INTERRUPT);
    this.#core = createCore(machine, {
      index,
      counter: machine.counter,
      setTimer: (deadline) => {
        this.#timer = deadline;
        this.onTimer();
      },
    });
    machine.seats[index] = this;
  }

  get timer(): bigint | undefined {
    return this.#timer;
  }

  armTimer(deadline: bigint): void {
    this.#timer = deadline === U64_MAX ? undefined : deadline;
    this.#core.timerArmed();
  }

  run(budget: number): Exit {
    if (!this.#on) return this.#reason === undefined ? OFF : { kind: 'off', reason: this.#reason };
    assert(this.#open === undefined, 'a vCPU with an open exit is completed before it runs');
    for (let left = budget; left > 0; left -= 1) {
      if (this.#waiting) {
        if (!this.#core.wakes()) return WAITING;
        this.#waiting = false;
      }
      this.#core.takeInterrupt();
      const step = this.#core.step();
      switch (step.kind) {
        case 'next':
          break;
        case 'wfi':
          this.#waiting = true;
          break;
        case 'mmio':
        case 'hypercall':
          this.#open = step.kind;
          return step;
        case 'stop':
          this.#on = false;
          this.#reason = step.reason;
          return { kind: 'off', reason: step.reason };
      }
    }
    return this.#waiting && !this.#core.wakes() ? WAITING : BUDGET;
  }

  complete(completion: Completion): boolean {
    const open = this.#open;
    if (open === undefined) return false;
    this.#open = undefined;
    switch (completion.kind) {
      case 'access':
        assert(open === 'mmio', 'an access completes a load or store');
        if (completion.register !== undefined) this.#core.write(completion.register, completion.value);
        this.#core.pc = completion.pc;
        return true;
      case 'hypercall': {
        assert(open === 'hypercall', 'a result completes a hypercall');
        const first = FIRST_REGISTER[this.arch];
        for (const [n, value] of completion.registers.entries()) this.#core.write(first + n, value);
        this.#core.pc = completion.pc;
        return true;
      }
      case 'fault':
        assert(open === 'mmio', 'a fault ends a load or store');
        this.#core.exception(completion.cause, completion.address);
        return true;
    }
  }

  raise(irq: IrqId): void {
    this.#core.raise(irq);
    if (this.#open === undefined && this.#on) this.onRunnable();
  }

  start(entry: bigint, argument: bigint): void {
    this.stop();
    this.#core.reset(entry, argument);
    this.#reason = undefined;
    this.#on = true;
  }

  stop(): void {
    this.#on = false;
    this.#waiting = false;
    this.#open = undefined;
    this.#timer = undefined;
  }

  save(): SavedVcpu {
    return {
      format: 'remio-vcpu/1',
      arch: this.arch,
      on: this.#on,
      reason: this.#reason ?? null,
      waiting: this.#waiting,
      open: this.#open ?? null,
      timer: this.#timer === undefined ? null : hex(this.#timer),
      core: this.#core.save(),
    };
  }

  /**
   * Takes over what {@link save} gave, checked as hostile input would be. An exit that was open still is: it ends with
   * {@link complete}, and the vCPU does not run before.
   * @returns the first thing that is wrong with it: the vCPU is then off
   */
  restore(state: unknown): Result<void, string> {
    this.stop();
    const taken = restoring(state, (saved) => this.#takeOver(saved));
    if (!taken.ok) this.stop();
    return taken;
  }

  #takeOver(saved: SavedValue): void {
    saved.field('format').oneOf('remio-vcpu/1');
    saved.field('arch').oneOf(this.arch);
    const on = saved.field('on').boolean();
    const reason = saved.field('reason');
    const waiting = saved.field('waiting').boolean();
    const open = saved.field('open');
    const timer = saved.field('timer');
    if (on && !reason.isNull) reason.refuse('null for a vCPU that is on');
    if (waiting && !on) saved.field('waiting').refuse('false for a vCPU that is off');
    if (!open.isNull && (!on || waiting)) open.refuse('null for a vCPU that does not run');
    this.#core.restore(saved.field('core'));
    this.#timer = timer.isNull ? undefined : timer.u64();
    this.#open = open.isNull ? undefined : open.oneOf('mmio', 'hypercall');
    this.#reason = reason.isNull ? undefined : reason.text();
    this.#waiting = waiting;
    this.#on = on;
  }
}

function createCore(machine: MachineContext, host: CoreHost): Core {
  const { arch, irqc, memories } = machine;
  if (arch === 'riscv64') {
    const port = createRiscvPort(irqc, host.index);
    return new Riscv64Core(new Bus(memories, port), host, port);
  }
  const port = createGicPort(irqc);
  return new Aarch64Core(new Bus(memories, port), host, port, irqc);
}

/**
 * A guest that is machine code.
 * @param image the bytes from `base` on; the VM's boot vCPU starts at the first address of its memory
 */
export const machineCode = (image: Uint8Array, base: bigint): { readonly seat: SeatFactory } => ({
  seat: (machine, index) => {
    if (index === 0) load(machine, image, base);
    return new InterpreterSeat(machine, index);
  },
});

function load({ memories }: MachineContext, image: Uint8Array, base: bigint): void {
  for (const memory of memories) {
    const offset = memory.locate(base, image.length);
    if (offset < 0) continue;
    memory.bytes(offset, image.length).set(image);
    return;
  }
  assert(false, `the VM has no memory for an image of ${image.length} bytes at ${hex(base)}`);
}
