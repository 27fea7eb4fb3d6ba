import { type Arch, HYPERCALL_REGISTERS, type InterruptController, type MmioAccess, SBI_EID_TIME } from '@remio/arch';
import { guestAddress, irqId, U64_MAX } from '@remio/base';
import { allocateMemory } from '@remio/guest-memory';
import { decodeTrap, extendRead, pcAfterCall, trapPc } from '@remio/hypervisor/abi';
import { describe, expect, it } from 'vitest';
import {
  type Exit,
  type GuestCpu,
  GuestFault,
  type MachineContext,
  ProgramSeat,
  type Seat,
  SymbolTable,
} from './index.js';
import { guestCode, machineCode } from './testing/index.js';

/** The behaviours of a seat, whatever executes there: each program exists in TypeScript and in machine code. */

const RAM = guestAddress(0x8000_0000n);
const WINDOW = 0x0a00_3000n;
const IRQ = irqId(40);
const ZERO_REGISTER: Readonly<Record<Arch, number>> = { aarch64: 31, riscv64: 0 };

const GICV3: InterruptController = { kind: 'gicv3', gicd: 0x0800_0000n, gicr: 0x080a_0000n };
const GICV2: InterruptController = { kind: 'gicv2', gicd: 0x0800_0000n, gicc: 0x0801_0000n };
const AIA: InterruptController = { kind: 'aia', aplic: 0x0d00_0000n, imsic: 0x2800_0000n };
const PLIC: InterruptController = { kind: 'plic', base: 0x0c00_0000n };

const storeInterrupt =
  (cpu: GuestCpu) =>
  (irq: number): Promise<void> =>
    cpu.store64(WINDOW + 0x60n, BigInt(irq));

/** What the programs of `testing/programs` do, in TypeScript. */
const PROGRAMS: Readonly<Record<string, (cpu: GuestCpu) => Promise<void>>> = {
  echo: async (cpu) => {
    for (;;) await cpu.store64(WINDOW + 8n, await cpu.load64(WINDOW));
  },
  handler: async (cpu) => {
    cpu.onInterrupt(IRQ, storeInterrupt(cpu));
    for (;;) await cpu.load64(WINDOW);
  },
  sleeper: async (cpu) => {
    cpu.onInterrupt(IRQ, storeInterrupt(cpu));
    for (;;) {
      await cpu.waitForInterrupt();
      await cpu.load64(WINDOW);
    }
  },
  catcher: async (cpu) => {
    for (;;) {
      try {
        await cpu.load64(WINDOW);
      } catch (error) {
        if (!(error instanceof GuestFault)) throw error;
        await cpu.store64(WINDOW + 8n, error.syndrome);
        await cpu.store64(WINDOW + 16n, error.address);
      }
      await cpu.store64(WINDOW + 24n, 1n);
    }
  },
  caller: async (cpu) => {
    for (;;) {
      const count = HYPERCALL_REGISTERS[cpu.arch];
      const registers = [...(await cpu.hypercall(Array.from({ length: count }, (_, n) => BigInt(11 + n))))];
      for (const [n, value] of registers.entries()) await cpu.store64(WINDOW + BigInt(8 * n), value);
    }
  },
  computing: async (cpu) => {
    for (;;) {
      await cpu.load64(WINDOW);
      for (let n = 0; n < 5000; n += 1) await cpu.load8(RAM);
    }
  },
  timer: async (cpu) => {
    cpu.onInterrupt(cpu.timerIrq, storeInterrupt(cpu));
    await cpu.setTimer(1000n);
    for (;;) await cpu.waitForInterrupt();
  },
};

type Kind = 'program' | 'machine code';

/** A vCPU with a program, and the test in the place of the hypervisor. */
class Bench {
  readonly seat: Seat;
  runnable = 0;
  budgets = 0;
  timers = 0;
  /** Where the PC goes after the access that is open. */
  after = 0n;

  constructor(
    readonly kind: Kind,
    readonly arch: Arch,
    program: string,
    irqc = arch === 'aarch64' ? GICV3 : AIA,
    code = program,
  ) {
    const symbols = new SymbolTable(RAM);
    const memories = [allocateMemory(RAM, 0x1_0000)];
    const machine: MachineContext = { arch, symbols, memories, irqc, counter: () => 0n, seats: [] };
    const entry = PROGRAMS[program];
    if (entry === undefined) throw new Error(program);
    symbols.add(entry);
    this.seat =
      kind === 'program' ? new ProgramSeat(machine, 0) : machineCode(guestCode(code, arch), RAM).seat(machine, 0);
    this.seat.onRunnable = () => {
      this.runnable += 1;
    };
    this.seat.onTimer = () => {
      this.timers += 1;
    };
  }

  start(): this {
    this.seat.start(RAM, 0n);
    return this;
  }

  /** Runs to the next exit that is neither the end of a budget nor a program's own. */
  async next(): Promise<Exit> {
    for (let turn = 0; turn < 20_000; turn += 1) {
      const exit = this.seat.run(100);
      if (exit.kind === 'budget') this.budgets += 1;
      else if (exit.kind !== 'host') return exit;
      await Promise.resolve();
    }
    throw new Error('no exit');
  }

  /** The next exit, which is an access. */
  async access(): Promise<MmioAccess> {
    const exit = await this.next();
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    const decoded = decodeTrap(exit.trap, 'hardened');
    if (!decoded.ok) throw new Error(decoded.error.reason);
    this.after = trapPc(exit.trap) + BigInt(decoded.value.step);
    return decoded.value.access;
  }
  /** Ends an access. A load's register gets `value`. */
  end(access: MmioAccess, value = 0n): boolean {
    const register = access.write ? undefined : access.register;
    return this.seat.complete({ kind: 'access', register, value: extendRead(value, access), pc: this.after });
  }

  /** The next access, ended at once. */
  async pass(value = 0n): Promise<{ readonly offset: number; readonly write: boolean; readonly value: bigint }> {
    const access = await this.access();
    this.end(access, value);
    return { offset: Number(access.address - WINDOW), write: access.write, value: access.value };
  }
}

const load = (offset: number): unknown => expect.objectContaining({ offset, write: false });
const stored = (offset: number, value: bigint): unknown => ({ offset, write: true, value });

describe.each([
  ['program', 'aarch64'],
  ['program', 'riscv64'],
  ['machine code', 'aarch64'],
  ['machine code', 'riscv64'],
] as const)('the seat of a %s on %s', (kind, arch) => {
  const bench = (program: string): Bench => new Bench(kind, arch, program).start();

  it('is off until it is started', async () => {
    const idle = new Bench(kind, arch, 'echo');
    expect(await idle.next()).toEqual({ kind: 'off' });
    expect(await idle.start().pass()).toEqual(load(0));
  });

  it('loads what the hypervisor left in the register, all 64 bits of it', async () => {
    const guest = bench('echo');
    for (const value of [1n, 0xffff_ffff_8000_0000n, U64_MAX]) {
      expect(await guest.pass(value)).toEqual(load(0));
      expect(await guest.pass()).toEqual(stored(8, value));
    }
  });

  it.each([
    ['the zero register', ZERO_REGISTER[arch]],
    ['no register', undefined],
  ])('keeps its registers when an access completes with %s', async (_, register) => {
    const guest = bench('echo');
    await guest.access();
    guest.seat.complete({ kind: 'access', register, value: 5n, pc: guest.after });
    expect(await guest.pass()).toEqual(stored(8, 0n));
  });

  it('can run again after a completion, or says when it can', async () => {
    const guest = bench('echo');
    const access = await guest.access();
    const before = guest.runnable;
    const atOnce = guest.end(access);
    await Promise.resolve();
    await Promise.resolve();
    expect(atOnce || guest.runnable > before).toBe(true);
  });

  it('takes an interrupt before its next access, merged while it is pending', async () => {
    const guest = bench('handler');
    const first = await guest.access();
    guest.seat.raise(IRQ);
    guest.seat.raise(IRQ);
    guest.end(first);
    expect(await guest.pass()).toEqual(stored(0x60, 40n));
    expect(await guest.pass()).toEqual(load(0));
    expect(await guest.pass()).toEqual(load(0));
  });

  it('takes an interrupt that was raised in its own handler after the handler', async () => {
    const guest = bench('handler');
    guest.end(await guest.access());
    guest.seat.raise(IRQ);
    const inHandler = await guest.access();
    expect(inHandler.value).toBe(40n);
    guest.seat.raise(IRQ);
    guest.end(inHandler);
    expect(await guest.pass()).toEqual(stored(0x60, 40n));
    expect(await guest.pass()).toEqual(load(0));
  });

  it('says that it can run when an interrupt comes and no exit is open, only then', async () => {
    const guest = bench('sleeper');
    expect(await guest.next()).toEqual({ kind: 'wfi' });
    const asleep = guest.runnable;
    guest.seat.raise(IRQ);
    expect(guest.runnable).toBeGreaterThan(asleep);
    await guest.access();
    const waiting = guest.runnable;
    guest.seat.raise(IRQ);
    expect(guest.runnable).toBe(waiting);
  });

  it('sleeps until an interrupt, whose handler has run when it goes on', async () => {
    const guest = bench('sleeper');
    for (let n = 0; n < 2; n += 1) {
      expect(await guest.next()).toEqual({ kind: 'wfi' });
      expect(await guest.next()).toEqual({ kind: 'wfi' });
      guest.seat.raise(IRQ);
      expect(await guest.pass()).toEqual(stored(0x60, 40n));
      expect(await guest.pass()).toEqual(load(0));
    }
  });

  it('gives way when it only computes, and comes to its end', async () => {
    const guest = bench('computing');
    await guest.pass();
    expect(guest.budgets).toBe(0);
    expect(await guest.pass()).toEqual(load(0));
    expect(guest.budgets).toBeGreaterThan(3);
  });

  it('shows a fault to its guest, which goes on', async () => {
    const guest = bench('catcher');
    await guest.access();
    guest.seat.complete({ kind: 'fault', cause: 0x9600_0010n, address: WINDOW });
    expect(await guest.pass()).toEqual(stored(8, 0x9600_0010n));
    expect(await guest.pass()).toEqual(stored(16, WINDOW));
    expect(await guest.pass()).toEqual(stored(24, 1n));
    expect(await guest.pass()).toEqual(load(0));
    expect(await guest.pass()).toEqual(stored(24, 1n));
  });

  it('stops with a reason when a fault finds no handler', async () => {
    const guest = bench('echo');
    await guest.access();
    guest.seat.complete({ kind: 'fault', cause: 5n, address: WINDOW });
    expect(await guest.next()).toMatchObject({ kind: 'off', reason: expect.stringMatching(/./) });
    // Whoever starts it again has a vCPU as new.
    expect(await guest.start().pass()).toEqual(load(0));
  });

  it('calls with its registers, and goes on with what the hypervisor left there', async () => {
    const guest = bench('caller');
    const count = HYPERCALL_REGISTERS[arch];
    for (let round = 1; round <= 2; round += 1) {
      const exit = await guest.next();
      if (exit.kind !== 'hypercall') throw new Error(exit.kind);
      const { frame } = exit;
      expect(frame).toMatchObject({ arch, conduit: arch === 'aarch64' ? 'hvc' : 'ecall' });
      expect(frame.registers).toEqual(Array.from({ length: count }, (_, n) => BigInt(11 + n)));
      const registers = Array.from({ length: count }, (_, n) => U64_MAX - BigInt(round * 10 + n));
      guest.seat.complete({ kind: 'hypercall', registers, pc: pcAfterCall(frame) });
      for (const [n, value] of registers.entries()) expect(await guest.pass()).toEqual(stored(8 * n, value));
    }
  });

  it('drops its open exit when it is stopped', async () => {
    const guest = bench('echo');
    const access = await guest.access();
    guest.seat.stop();
    expect(guest.end(access, 7n)).toBe(false);
    expect(await guest.next()).toEqual({ kind: 'off' });
  });

  it('begins anew when it is started again, without what it was about to do', async () => {
    const guest = bench('handler');
    guest.end(await guest.access());
    guest.seat.raise(IRQ);
    guest.start();
    for (let n = 0; n < 3; n += 1) expect(await guest.pass()).toEqual(load(0));
  });

  it('does not wake the host while it is off', () => {
    const idle = new Bench(kind, arch, 'handler');
    idle.seat.raise(IRQ);
    expect(idle.runnable).toBe(0);
  });

  it('has a one-shot timer, whose interrupt comes from whoever knows the time', async () => {
    const guest = bench('timer');
    if (arch === 'riscv64') {
      const exit = await guest.next();
      if (exit.kind !== 'hypercall') throw new Error(exit.kind);
      expect([exit.frame.registers[0], exit.frame.registers[7]]).toEqual([1000n, SBI_EID_TIME]);
      guest.seat.armTimer(1000n);
      guest.seat.complete({ kind: 'hypercall', registers: exit.frame.registers, pc: pcAfterCall(exit.frame) });
      expect(await guest.next()).toEqual({ kind: 'wfi' });
    } else {
      expect(await guest.next()).toEqual({ kind: 'wfi' });
      expect(guest.timers).toBeGreaterThan(0);
    }
    expect(guest.seat.timer).toBe(1000n);
    guest.seat.armTimer(U64_MAX);
    expect(guest.seat.timer).toBeUndefined();
    guest.seat.raise(guest.seat.timerIrq);
    expect(await guest.pass()).toEqual(stored(0x60, BigInt(guest.seat.timerIrq)));
  });

  it('has the timer off when it is stopped', async () => {
    const guest = bench('timer');
    await guest.next();
    guest.seat.armTimer(1000n);
    guest.seat.stop();
    expect(guest.seat.timer).toBeUndefined();
  });
});

describe.each([
  ['aarch64', 'handler-gicv2', GICV2],
  ['riscv64', 'handler-plic', PLIC],
] as const)('machine code on %s with %s', (arch, code, irqc) => {
  it('takes interrupts by the registers of that controller', async () => {
    const guest = new Bench('machine code', arch, 'handler', irqc, code).start();
    guest.end(await guest.access());
    guest.seat.raise(IRQ);
    guest.seat.raise(irqId(33));
    expect(await guest.pass()).toEqual(stored(0x60, 33n));
    expect(await guest.pass()).toEqual(stored(0x60, 40n));
    expect(await guest.pass()).toEqual(load(0));
  });
});
