import type { Arch, MmioTrap } from '@remio/arch';
import { guestAddress, irqId } from '@remio/base';
import { allocateMemory } from '@remio/guest-memory';
import { describe, expect, it } from 'vitest';
import { type Exit, type GuestCpu, GuestFault, ProgramSeat, SymbolTable } from './index.js';

const RAM = guestAddress(0x8000_0000n);
const WINDOW = 0xa003000n;

/** A vCPU with a program, and the test in the place of the hypervisor. */
class Bench {
  readonly symbols = new SymbolTable(0x8000_0000n);
  readonly seat: ProgramSeat;
  runnable = 0;

  constructor(arch: Arch, program: (cpu: GuestCpu) => Promise<void>) {
    this.symbols.add(program);
    this.seat = new ProgramSeat(
      {
        arch,
        symbols: this.symbols,
        memories: [allocateMemory(RAM, 0x1000)],
        irqc: { kind: 'gicv3', gicd: 0x800_0000n, gicr: 0x80a_0000n },
        counter: () => 0n,
        seats: [],
      },
      0,
    );
    this.seat.onRunnable = () => {
      this.runnable += 1;
    };
    this.seat.start(0x8000_0000n, 0n);
  }

  /** Runs until the program has gone as far as it can. */
  async next(): Promise<Exit> {
    for (let n = 0; n < 20; n += 1) await Promise.resolve();
    return this.seat.run(100);
  }

  /** The next exit, which is an access; ends it with a value in the register that it names. */
  async answer(value: bigint): Promise<MmioTrap> {
    const exit = await this.next();
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    const { trap } = exit;
    const pc = trap.arch === 'aarch64' ? trap.pc : trap.sepc;
    this.seat.complete({ kind: 'access', register: registerOf(trap), value, pc: pc + 4n });
    return trap;
  }
}

/** The register that a trap's syndrome or instruction names. */
const registerOf = (trap: MmioTrap): number =>
  trap.arch === 'aarch64'
    ? Number((trap.esr >> 16n) & 31n)
    : Number(((trap.htinst === 0n ? BigInt(trap.instruction) : trap.htinst) >> 7n) & 31n);

describe.each(['aarch64', 'riscv64'] as const)('a program on %s', (arch) => {
  it('reads what the hypervisor left in the register that the trap named', async () => {
    const seen: number[] = [];
    const bench = new Bench(arch, async (cpu) => {
      for (let n = 0; n < 3; n += 1) seen.push(await cpu.load32(WINDOW));
    });
    for (const value of [1n, 2n, 3n]) await bench.answer(value);
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(seen).toEqual([1, 2, 3]);
  });

  it('shows a store with its source register\u2019s value', async () => {
    const bench = new Bench(arch, (cpu) => cpu.store16(WINDOW, 0xbeef));
    const exit = await bench.next();
    expect(exit).toMatchObject({ kind: 'mmio', trap: { arch, source: 0xbeefn } });
  });

  it('reaches its own memory without a trap', async () => {
    let seen = 0n;
    const bench = new Bench(arch, async (cpu) => {
      await cpu.store64(RAM + 8n, 0x1122_3344_5566_7788n);
      seen = await cpu.load64(RAM + 8n);
    });
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(seen).toBe(0x1122_3344_5566_7788n);
  });

  it('gets a fault as an exception of the access, and goes on when it catches it', async () => {
    let caught: unknown;
    const bench = new Bench(arch, async (cpu) => {
      caught = await cpu.load32(0x10n).catch((error: unknown) => error);
      await cpu.load32(WINDOW);
    });
    await bench.next();
    bench.seat.complete({ kind: 'fault', cause: 5n, address: 0x10n });
    await bench.answer(1n);
    expect(caught).toBeInstanceOf(GuestFault);
    expect(caught).toMatchObject({ syndrome: 5n, address: 0x10n });
  });

  it('stops alone, with the reason, when it does not catch it', async () => {
    const bench = new Bench(arch, async (cpu) => {
      await cpu.load32(0x10n);
    });
    await bench.next();
    bench.seat.complete({ kind: 'fault', cause: 5n, address: 0x10n });
    expect(await bench.next()).toMatchObject({ kind: 'off', reason: expect.stringContaining('ended as a fault') });
  });

  it('wakes the task that sleeps when an interrupt came during the last operation of another task', async () => {
    let woken = false;
    const bench = new Bench(arch, async (cpu) => {
      cpu.onInterrupt(irqId(40), () => {});
      const sleeper = cpu.waitForInterrupt().then(() => {
        woken = true;
      });
      await cpu.load32(WINDOW);
      await sleeper;
    });
    const exit = await bench.next();
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    bench.seat.raise(irqId(40));
    const pc = exit.trap.arch === 'aarch64' ? exit.trap.pc : exit.trap.sepc;
    expect(bench.seat.complete({ kind: 'access', register: registerOf(exit.trap), value: 0n, pc: pc + 4n })).toBe(true);
    bench.seat.run(100);
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(woken).toBe(true);
  });

  it('carries out what a task asked for during the last operation of another task', async () => {
    const bench = new Bench(arch, async (cpu) => {
      await Promise.all([cpu.load32(WINDOW), cpu.load32(WINDOW + 4n)]);
    });
    const exit = await bench.next();
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    const pc = exit.trap.arch === 'aarch64' ? exit.trap.pc : exit.trap.sepc;
    expect(bench.seat.complete({ kind: 'access', register: registerOf(exit.trap), value: 0n, pc: pc + 4n })).toBe(true);
    await bench.answer(0n);
    expect(await bench.next()).toEqual({ kind: 'off' });
  });

  it('takes an interrupt before its next operation, merged while it is pending', async () => {
    const order: string[] = [];
    const bench = new Bench(arch, async (cpu) => {
      cpu.onInterrupt(irqId(40), async () => {
        order.push('handler');
        await cpu.load32(WINDOW + 0x60n);
      });
      await cpu.load32(WINDOW);
      order.push('first');
      await cpu.load32(WINDOW);
      order.push('second');
    });
    const first = await bench.next();
    bench.seat.raise(irqId(40));
    bench.seat.raise(irqId(40));
    if (first.kind === 'mmio')
      bench.seat.complete({ kind: 'access', register: registerOf(first.trap), value: 0n, pc: 0n });
    const inHandler = await bench.answer(0n);
    expect(inHandler.arch === 'aarch64' ? inHandler.far : inHandler.stval).toBe(WINDOW + 0x60n);
    await bench.answer(0n);
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(order).toEqual(['first', 'handler', 'second']);
  });

  it('sleeps in WFI until an interrupt, whose handler has run when it goes on', async () => {
    const order: string[] = [];
    const bench = new Bench(arch, async (cpu) => {
      cpu.onInterrupt(irqId(40), () => void order.push('handler'));
      await cpu.waitForInterrupt();
      order.push('awake');
    });
    expect(await bench.next()).toEqual({ kind: 'wfi' });
    const before = bench.runnable;
    bench.seat.raise(irqId(40));
    expect(bench.runnable).toBeGreaterThan(before);
    await bench.next();
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(order).toEqual(['handler', 'awake']);
  });

  it('waits for its host without an exit, and says when it can run again', async () => {
    let settle: () => void = () => {};
    const bench = new Bench(arch, async (cpu) => {
      await new Promise<void>((resolve) => {
        settle = resolve;
      });
      await cpu.load32(WINDOW);
    });
    expect(await bench.next()).toEqual({ kind: 'host' });
    const before = bench.runnable;
    settle();
    expect(await bench.next()).toMatchObject({ kind: 'mmio' });
    expect(bench.runnable).toBeGreaterThan(before);
  });

  it('gives way when it only computes', async () => {
    const bench = new Bench(arch, async (cpu) => {
      for (let n = 0; n < 5000; n += 1) await cpu.load8(RAM);
    });
    let budgets = 0;
    for (let n = 0; n < 10_000; n += 1) {
      const exit = await bench.next();
      if (exit.kind === 'off') break;
      if (exit.kind === 'budget') budgets += 1;
    }
    expect(budgets).toBeGreaterThan(3);
  });

  it('starts other vCPUs by the architecture\u2019s call, at an entry point', async () => {
    let code: bigint | undefined;
    const bench = new Bench(arch, async (cpu) => {
      code = await cpu.startCpu(1, async () => {});
    });
    const exit = await bench.next();
    if (exit.kind !== 'hypercall') throw new Error(exit.kind);
    const { registers } = exit.frame;
    const entry = registers[arch === 'aarch64' ? 2 : 1] ?? 0n;
    expect(bench.symbols.at(entry)).toBeDefined();
    expect(arch === 'aarch64' ? registers[0] : registers[7]).toBe(arch === 'aarch64' ? 0xc400_0003n : 0x48534dn);
    bench.seat.complete({ kind: 'hypercall', registers: registers.with(0, 0n), pc: 0n });
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(code).toBe(0n);
  });

  it('is off, with a reason, when it is started where no program is', async () => {
    const bench = new Bench(arch, () => Promise.resolve());
    bench.seat.start(0x1234n, 0n);
    expect(await bench.next()).toMatchObject({ kind: 'off', reason: expect.stringContaining('0x1234') });
  });
});

describe('the tasks of one vCPU', () => {
  it('have their operations carried out one at a time, in the order in which they asked', async () => {
    const seen: string[] = [];
    const bench = new Bench('aarch64', async (cpu) => {
      const task = async (name: string): Promise<void> => {
        for (let n = 0; n < 2; n += 1) seen.push(`${name}${await cpu.load32(WINDOW)}`);
      };
      await Promise.all([task('a'), task('b')]);
    });
    for (const value of [1n, 2n, 3n, 4n]) await bench.answer(value);
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(seen).toEqual(['a1', 'b2', 'a3', 'b4']);
  });

  it('sleep together: a task in WFI holds nobody up, and every sleeper looks again after an interrupt', async () => {
    const seen: string[] = [];
    let raised = false;
    const bench = new Bench('aarch64', async (cpu) => {
      cpu.onInterrupt(irqId(40), () => {
        raised = true;
      });
      const sleeper = async (name: string): Promise<void> => {
        while (!raised) await cpu.waitForInterrupt();
        seen.push(name);
      };
      await Promise.all([
        sleeper('a'),
        (async () => {
          seen.push(`load ${await cpu.load32(WINDOW)}`);
          await sleeper('b');
        })(),
      ]);
    });
    await bench.answer(7n);
    expect(await bench.next()).toEqual({ kind: 'wfi' });
    bench.seat.raise(irqId(40));
    await bench.next();
    expect(await bench.next()).toEqual({ kind: 'off' });
    expect(seen).toEqual(['load 7', 'a', 'b']);
  });

  it('wait while an interrupt handler has operations of its own', async () => {
    const seen: string[] = [];
    const bench = new Bench('aarch64', async (cpu) => {
      cpu.onInterrupt(irqId(40), async () => {
        seen.push(`handler ${await cpu.load32(WINDOW)}`);
      });
      seen.push(`task ${await cpu.load32(WINDOW)}`);
    });
    bench.seat.raise(irqId(40));
    await bench.answer(1n);
    await bench.answer(2n);
    await bench.next();
    expect(seen).toEqual(['handler 1', 'task 2']);
  });

  it('do not wait for one that asks for nothing more', async () => {
    const bench = new Bench('riscv64', async (cpu) => {
      await Promise.all([cpu.load32(WINDOW), cpu.load32(WINDOW)]);
    });
    const resume = (exit: Exit): boolean => {
      if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
      return bench.seat.complete({ kind: 'access', register: registerOf(exit.trap), value: 0n, pc: 4n });
    };
    // Nobody else will say that the second access can be made.
    expect(resume(await bench.next())).toBe(true);
    expect(resume(await bench.next())).toBe(false);
  });

  it('do not keep back an interrupt that came during the last operation of one', async () => {
    const bench = new Bench('riscv64', async (cpu) => {
      cpu.onInterrupt(irqId(40), () => {});
      await Promise.all([cpu.idle(), cpu.load32(WINDOW)]);
    });
    const exit = await bench.next();
    bench.seat.raise(irqId(40));
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    const register = registerOf(exit.trap);
    expect(bench.seat.complete({ kind: 'access', register, value: 0n, pc: 4n })).toBe(true);
  });

  it('end with the program, also if one of them has an operation open then', async () => {
    let leave = (): void => {};
    const bench = new Bench('riscv64', async (cpu) => {
      void cpu.load32(WINDOW);
      await new Promise<void>((resolve) => {
        leave = resolve;
      });
    });
    const exit = await bench.next();
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    leave();
    for (let n = 0; n < 20; n += 1) await Promise.resolve();
    expect(bench.seat.complete({ kind: 'access', register: registerOf(exit.trap), value: 0n, pc: 4n })).toBe(true);
    expect(await bench.next()).toEqual({ kind: 'off' });
  });

  it('may sleep for ever: handlers run, and other tasks go on', async () => {
    const seen: string[] = [];
    const bench = new Bench('riscv64', async (cpu) => {
      cpu.onInterrupt(irqId(40), () => {
        seen.push('handler');
      });
      await Promise.all([cpu.idle(), cpu.load32(WINDOW).then((value) => seen.push(`task ${value}`))]);
    });
    await bench.answer(5n);
    expect(await bench.next()).toEqual({ kind: 'wfi' });
    bench.seat.raise(irqId(40));
    expect(await bench.next()).toEqual({ kind: 'wfi' });
    expect(seen).toEqual(['task 5', 'handler']);
  });
});
