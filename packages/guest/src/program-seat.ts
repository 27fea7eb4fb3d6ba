import {
  type Arch,
  enableInterruptSequence,
  type HypercallFrame,
  type InterruptController,
  PSCI_CPU_ON,
  SBI_EID_HSM,
  SBI_EID_TIME,
  SBI_HSM_HART_START,
  SMCCC_64BIT,
  SUPERVISOR_SOFTWARE_INTERRUPT,
  SUPERVISOR_TIMER_INTERRUPT,
  VIRTUAL_TIMER_PPI,
  vcpuMpidr,
} from '@remio/arch';
import { type AccessWidth, assert, Fifo, type IrqId, irqId, toU64, U64_MAX } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import { readMemory, writeMemory } from './local-access.js';
import {
  access,
  end,
  endAccess,
  fail,
  giveWay,
  hypercall,
  type Operation,
  type Outcome,
  promiseOf,
} from './operation.js';
import { type Answer, type GuestCpu, GuestFault } from './program.js';
import { reasonOf } from './program-error.js';
import { ProgramProcessor } from './program-processor.js';
import type { Completion, Exit, Seat } from './seat.js';
import type { EntryPoint, SymbolTable } from './symbols.js';

/** What the vCPUs of a VM have in common. */
export interface MachineContext {
  readonly arch: Arch;
  readonly symbols: SymbolTable;
  /** RAM and shared memories: accesses inside do not trap. */
  readonly memories: readonly GuestMemory[];
  readonly irqc: InterruptController;
  /** The counter, nanoseconds. */
  readonly counter: () => bigint;
  /** The VM's seats by index, for interrupts that vCPUs send each other. */
  readonly seats: Seat[];
}

/** Accesses to memory after which a program that never traps gives way to others. */
export const LOCAL_BUDGET = 1024;

/** Beyond every interrupt controller's range. */
const HOST_IRQ = 0x1_0000;

const OFF: Exit = { kind: 'off' };
const WFI: Exit = { kind: 'wfi' };
const HOST: Exit = { kind: 'host' };
const BUDGET: Exit = { kind: 'budget' };

/**
 * A vCPU whose guest is a TypeScript program. The program awaits operations; each that needs the hypervisor becomes an
 * exit that shows what hardware would show, and goes on from the registers as hardware would leave them.
 */
export class ProgramSeat implements Seat, GuestCpu {
  readonly arch: Arch;
  readonly index: number;
  readonly timerIrq: IrqId;
  readonly ipiIrq: IrqId;
  readonly hostIrq: IrqId = irqId(HOST_IRQ);
  onRunnable: () => void = () => {};
  onHypercall?: (frame: HypercallFrame) => void;
  /** Told of interrupts that no handler takes; they are dropped. */
  onUnhandled: (irq: IrqId) => void = () => {};
  readonly #machine: MachineContext;
  readonly #processor: ProgramProcessor;
  readonly #handlers = new Map<number, (irq: IrqId) => Answer<void>>();
  /** Interrupts that were enabled. */
  readonly #enabled: IrqId[] = [];
  readonly #pending = new Fifo<IrqId>();
  #on = false;
  /** Counts starts: what a program of a former life still does is not heard. */
  #life = 0;
  #offReason: string | undefined;
  /** Operations that the program's tasks and the interrupt handler wait for, in the order in which they asked. */
  #queue = new Fifo<Operation>();
  /** Operations asked for before the interrupt handler that runs now: they go on after it. */
  #held = new Fifo<Operation>();
  /** A task sleeps for ever. */
  #idle = false;
  /** Tasks in WFI. */
  readonly #sleepers: (() => void)[] = [];
  /** An interrupt was taken since the tasks went to sleep. */
  #woken = false;
  #inHandler = false;
  /** The interrupt whose handler runs. */
  #handled: IrqId | undefined;
  /** What happens when the running handler has ended or failed; made with each start, and deaf after the next. */
  #handlerEnded: () => void = () => {};
  #handlerFailed: (error: unknown) => void = () => {};
  /** The operation that an exit is open for. */
  #open: Operation | undefined;
  /** The register that the open load fills. */
  #target = 0;
  #inRun = false;
  #localLeft = LOCAL_BUDGET;
  #timer: bigint | undefined;

  constructor(machine: MachineContext, index: number) {
    this.arch = machine.arch;
    this.index = index;
    this.timerIrq = irqId(machine.arch === 'aarch64' ? VIRTUAL_TIMER_PPI : SUPERVISOR_TIMER_INTERRUPT);
    this.ipiIrq = irqId(machine.arch === 'aarch64' ? 0 : SUPERVISOR_SOFTWARE_INTERRUPT);
    this.#machine = machine;
    this.#processor = new ProgramProcessor(machine.arch, index);
    machine.seats[index] = this;
  }

  /** When the vCPU's timer fires, on its counter; undefined: never. The engine raises {@link timerIrq} then. */
  get timer(): bigint | undefined {
    return this.#timer;
  }

  /** Arms the timer, as the hypervisor does for SBI set_timer; 2^64-1 disarms. */
  armTimer(deadline: bigint): void {
    this.#timer = deadline === U64_MAX ? undefined : deadline;
  }

  /** Told when the timer was armed anew, so that the engine looks at {@link timer}. */
  onTimer: () => void = () => {};

  // --- the seat

  run(_budget: number): Exit {
    if (!this.#on) return this.#offReason === undefined ? OFF : { kind: 'off', reason: this.#offReason };
    assert(this.#open === undefined, 'a vCPU with an open exit is completed before it runs');
    this.#inRun = true;
    const life = this.#life;
    const exit = this.#advance();
    this.#inRun = false;
    // Whoever switched the vCPU off while it ran, by a hypercall of its own, knows.
    return exit.kind === 'off' && life !== this.#life ? HOST : exit;
  }

  complete(completion: Completion): boolean {
    const open = this.#open;
    if (open === undefined) return false;
    this.#open = undefined;
    switch (completion.kind) {
      case 'access': {
        assert(open.kind === 'mmio', 'an access completes a load or store');
        this.#processor.accessed(completion.register, completion.value, completion.pc);
        // What the program gets is what its destination register holds now, whatever the hypervisor wrote elsewhere.
        endAccess(open, this.#processor.read(this.#target));
        return this.#othersCanRun();
      }
      case 'hypercall': {
        assert(open.kind === 'hypercall', 'a result completes a hypercall');
        this.#processor.called(completion.registers, completion.pc);
        end(open, completion.registers);
        return this.#othersCanRun();
      }
      case 'fault':
        if (open.kind === 'mmio') fail(open, new GuestFault(completion.cause, completion.address));
        return this.#othersCanRun();
    }
  }

  /**
   * Whether another task asked for an operation while one was open, an interrupt came that it sleeps for, or the program
   * ended. The task whose operation it was may be at its end, and never ask for the vCPU to run again.
   */
  #othersCanRun(): boolean {
    if (!this.#on || this.#queue.length > 0) return true;
    return this.#pending.length > 0 && !this.#inHandler && (this.#idle || this.#sleepers.length > 0);
  }

  raise(irq: IrqId): void {
    if (!this.#pending.includes(irq)) this.#pending.push(irq);
    // A handler that waits for its host is not interrupted; when it has ended, the vCPU runs on.
    const deaf = this.#inHandler && !this.#inRun && this.#queue.length === 0;
    if (this.#open === undefined && this.#on && !deaf) this.onRunnable();
  }

  start(entry: bigint, argument: bigint): void {
    this.stop();
    const program = this.#machine.symbols.at(entry);
    this.#life += 1;
    this.#processor.start(entry, argument);
    if (program === undefined) {
      this.#offReason = `no program at entry point 0x${entry.toString(16)}`;
      this.onRunnable();
      return;
    }
    this.#offReason = undefined;
    this.#on = true;
    this.#enter(program);
  }

  stop(): void {
    this.#life += 1;
    this.#on = false;
    this.#open = undefined;
    this.#queue.clear();
    this.#held.clear();
    this.#sleepers.length = 0;
    this.#idle = false;
    this.#woken = false;
    this.#inHandler = false;
    this.#pending.clear();
    this.#handlers.clear();
    this.#timer = undefined;
  }

  // --- what programs use

  load8(address: bigint): Promise<number> {
    return this.#load(address, 1) as Promise<number>;
  }
  load16(address: bigint): Promise<number> {
    return this.#load(address, 2) as Promise<number>;
  }
  load32(address: bigint): Promise<number> {
    return this.#load(address, 4) as Promise<number>;
  }
  load64(address: bigint): Promise<bigint> {
    return this.#load(address, 8) as Promise<bigint>;
  }
  store8(address: bigint, value: number): Promise<void> {
    return this.#store(address, 1, BigInt(value >>> 0));
  }
  store16(address: bigint, value: number): Promise<void> {
    return this.#store(address, 2, BigInt(value >>> 0));
  }
  store32(address: bigint, value: number): Promise<void> {
    return this.#store(address, 4, BigInt(value >>> 0));
  }
  store64(address: bigint, value: bigint): Promise<void> {
    return this.#store(address, 8, toU64(value));
  }

  hypercall(registers: readonly bigint[]): Answer<readonly bigint[]> {
    const operation = hypercall(registers);
    const make = this.onHypercall;
    // Only what runs within `run` may leave it by a call; whatever else was asked for comes first.
    if (make === undefined || !this.#inRun || !this.#inHandler || this.#open !== undefined || this.#queue.length > 0) {
      this.#issue(operation);
    } else {
      this.#open = operation;
      make(this.#processor.call(registers));
      if (operation.ended && operation.fault === undefined) return operation.outcome as readonly bigint[];
    }
    return promiseOf(operation) as Promise<readonly bigint[]>;
  }

  waitForInterrupt(): Promise<void> {
    return new Promise((resolve) => {
      this.#sleepers.push(resolve);
      if (!this.#inRun) this.onRunnable();
    });
  }

  idle(): Promise<never> {
    return new Promise(() => {
      this.#idle = true;
      if (!this.#inRun) this.onRunnable();
    });
  }

  onInterrupt(irq: IrqId, handler: (irq: IrqId) => Answer<void>): void {
    this.#handlers.set(irq, handler);
  }

  async enableInterrupt(irq: IrqId): Promise<void> {
    this.#enabled.push(irq);
    const stores = () => enableInterruptSequence(this.#machine.irqc, irq, this.index, this.#enabled);
    // Made anew before each: another task may have enabled one in the meantime.
    for (let n = 0; n < stores().length; n += 1) {
      const store = stores()[n];
      if (store !== undefined) await this.#store(store.address, store.width, store.value);
    }
  }

  counter(): bigint {
    return this.#machine.counter();
  }

  async setTimer(deadline: bigint | undefined): Promise<void> {
    if (this.arch === 'riscv64') {
      await this.hypercall([deadline ?? U64_MAX, 0n, 0n, 0n, 0n, 0n, 0n, SBI_EID_TIME]);
    } else {
      // CNTV_CVAL_EL0: a system register of the guest's own, no trap.
      this.#timer = deadline;
      this.onTimer();
    }
  }

  sendIpi(index: number): void {
    this.#machine.seats[index]?.raise(this.ipiIrq);
  }

  hostEvent(): void {
    this.raise(this.hostIrq);
  }

  async startCpu(index: number, program: EntryPoint): Promise<bigint> {
    const entry = this.#machine.symbols.add(program);
    const result =
      this.arch === 'aarch64'
        ? await this.hypercall([PSCI_CPU_ON | SMCCC_64BIT, vcpuMpidr(index), entry, 0n])
        : await this.hypercall([BigInt(index), entry, 0n, 0n, 0n, 0n, SBI_HSM_HART_START, SBI_EID_HSM]);
    return BigInt.asIntN(64, result[0] ?? 0n);
  }

  // --- how operations become exits

  #enter(program: EntryPoint): void {
    const life = this.#life;
    const stopped = (reason: string | undefined): void => {
      if (life !== this.#life) return;
      this.#on = false;
      this.#offReason = reason;
      this.onRunnable();
    };
    this.#handlerEnded = () => {
      if (life !== this.#life) return;
      this.#endHandler();
      this.onRunnable();
    };
    this.#handlerFailed = (error) => stopped(`interrupt ${this.#handled}: ${reasonOf(error)}`);
    program(this).then(
      () => stopped(undefined),
      (error: unknown) => stopped(reasonOf(error)),
    );
  }

  #issue(operation: Operation): void {
    this.#queue.push(operation);
    if (!this.#inRun) this.onRunnable();
  }

  /** Runs to the next exit: pending interrupts first, then the operation that is due. */
  #advance(): Exit {
    for (;;) {
      // A hypercall that a handler made is not answered yet.
      if (this.#open !== undefined) return HOST;
      if (!this.#on) return this.#offReason === undefined ? OFF : { kind: 'off', reason: this.#offReason };
      if (!this.#inHandler) {
        const stopped = this.#queue.length > 0 || this.#sleepers.length > 0 || this.#idle;
        if (stopped && this.#takeInterrupt()) continue;
        if (this.#woken) this.#wake();
      }
      const operation = this.#queue.shift();
      if (operation === undefined) {
        return (this.#sleepers.length > 0 || this.#idle) && !this.#inHandler ? WFI : HOST;
      }
      switch (operation.kind) {
        case 'mmio': {
          this.#open = operation;
          const { address, width, write, value } = operation;
          const made = this.#processor.access(address, width, write, value);
          this.#target = made.register;
          return { kind: 'mmio', trap: this.#processor.trap(made) };
        }
        case 'hypercall':
          this.#open = operation;
          return { kind: 'hypercall', frame: this.#processor.call(operation.registers) };
        case 'yield':
          this.#localLeft = LOCAL_BUDGET;
          end(operation, undefined);
          return BUDGET;
      }
    }
  }

  /** Every task in WFI goes on, and looks for itself what it waited for. */
  #wake(): void {
    this.#woken = false;
    if (this.#sleepers.length === 0) return;
    for (const resolve of this.#sleepers.splice(0)) resolve();
  }

  /** Takes the oldest pending interrupt; false if there is none. */
  #takeInterrupt(): boolean {
    const irq = this.#pending.shift();
    if (irq === undefined) return false;
    this.#woken = true;
    const handler = this.#handlers.get(irq);
    if (handler === undefined) {
      this.onUnhandled(irq);
      return true;
    }
    this.#inHandler = true;
    this.#handled = irq;
    // What was asked for before the handler goes on after it.
    this.#swap();
    const life = this.#life;
    // Of this life: the next one has its own.
    const failed = this.#handlerFailed;
    let running: Answer<void>;
    try {
      running = handler(irq);
    } catch (error) {
      failed(error);
      return true;
    }
    // The vCPU was switched off by a hypercall of the handler.
    if (life !== this.#life) return true;
    if (running === undefined) {
      this.#endHandler();
      return true;
    }
    running.then(this.#handlerEnded, this.#handlerFailed);
    return true;
  }

  #endHandler(): void {
    this.#inHandler = false;
    this.#swap();
    // What was asked for within the handler and is still waited for: it goes on after what was there before.
    for (let operation = this.#held.shift(); operation !== undefined; operation = this.#held.shift()) {
      this.#queue.push(operation);
    }
  }

  #swap(): void {
    const queue = this.#queue;
    this.#queue = this.#held;
    this.#held = queue;
  }

  #load(address: bigint, width: AccessWidth): Promise<Outcome> {
    const local = this.#local(address, width);
    if (local !== undefined) {
      const { memory, offset } = local;
      return this.#atMemory(() => {
        const value = readMemory(memory, offset, width);
        return width === 8 ? value : Number(value);
      });
    }
    return this.#access(address, width, false, 0n);
  }

  #store(address: bigint, width: AccessWidth, value: bigint): Promise<void> {
    const local = this.#local(address, width);
    if (local !== undefined) {
      const { memory, offset } = local;
      return this.#atMemory(() => writeMemory(memory, offset, width, value));
    }
    return this.#access(address, width, true, value) as Promise<undefined>;
  }

  #access(address: bigint, width: AccessWidth, write: boolean, value: bigint): Promise<Outcome> {
    const operation = access(address, width, write, value);
    this.#issue(operation);
    return promiseOf(operation);
  }

  /** An access to memory: no exit, but interrupts are taken before it, and now and then others get their turn. */
  #atMemory<T>(use: () => T): Promise<T> {
    this.#localLeft -= 1;
    if (this.#localLeft > 0 && (this.#pending.length === 0 || this.#inHandler)) return Promise.resolve(use());
    const operation = giveWay();
    this.#issue(operation);
    return promiseOf(operation).then(use);
  }

  #local(address: bigint, width: number): { readonly memory: GuestMemory; readonly offset: number } | undefined {
    for (const memory of this.#machine.memories) {
      const offset = memory.locate(address, width);
      if (offset >= 0) return { memory, offset };
    }
    return undefined;
  }
}
