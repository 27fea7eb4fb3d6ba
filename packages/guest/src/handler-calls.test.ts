import { irqId } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { type GuestCpu, ProgramSeat, SymbolTable } from './index.js';

const ENTRY = 0x8000_0000n;
const IRQ = irqId(40);
const ANSWER: readonly bigint[] = [0n, 7n, 0n, 0n, 0n, 0n, 0n, 0n];

/** A vCPU that sleeps, with a handler of {@link IRQ}. */
function seatWith(handler: (cpu: GuestCpu) => void | Promise<void>, symbols = new SymbolTable(ENTRY)): ProgramSeat {
  const irqc = { kind: 'plic', base: 0xc00_0000n } as const;
  const seat = new ProgramSeat({ arch: 'riscv64', symbols, memories: [], irqc, counter: () => 0n, seats: [] }, 0);
  const entry = symbols.add(async (cpu) => {
    cpu.onInterrupt(IRQ, () => handler(cpu));
    await cpu.idle();
  });
  seat.start(entry, 0n);
  return seat;
}

const settle = async (): Promise<void> => {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
};

describe('a hypercall of an interrupt handler', () => {
  it('is answered before it returns, where the hypervisor answers at once', () => {
    const seen: unknown[] = [];
    const seat = seatWith((cpu) => {
      seen.push(cpu.hypercall([1n]), cpu.hypercall([2n]));
    });
    const made: bigint[] = [];
    seat.onHypercall = ({ registers, pc }) => {
      made.push(registers[0] ?? 0n);
      seat.complete({ kind: 'hypercall', registers: ANSWER, pc: pc + 4n });
    };
    seat.raise(IRQ);
    expect(seat.run(100)).toEqual({ kind: 'wfi' });
    expect(made).toEqual([1n, 2n]);
    expect(seen).toEqual([ANSWER, ANSWER]);
  });

  it('is a promise where the answer comes later, and holds the vCPU meanwhile', async () => {
    const seen: unknown[] = [];
    const seat = seatWith(async (cpu) => {
      seen.push(await cpu.hypercall([1n]));
    });
    seat.onHypercall = () => {};
    seat.raise(IRQ);
    expect(seat.run(100)).toEqual({ kind: 'host' });
    await settle();
    expect(seen).toEqual([]);
    seat.complete({ kind: 'hypercall', registers: ANSWER, pc: ENTRY });
    await settle();
    expect(seen).toEqual([ANSWER]);
    expect(seat.run(100)).toEqual({ kind: 'wfi' });
  });

  it('is an exit like any other once the handler has awaited something', async () => {
    const seat = seatWith(async (cpu) => {
      await Promise.resolve();
      await cpu.hypercall([3n]);
    });
    seat.onHypercall = () => {
      throw new Error('made outside of run');
    };
    seat.raise(IRQ);
    expect(seat.run(100)).toEqual({ kind: 'host' });
    await settle();
    expect(seat.run(100)).toMatchObject({ kind: 'hypercall', frame: { registers: expect.arrayContaining([3n]) } });
  });

  it('may switch its own vCPU off: nobody is told twice, and the rest of the handler is not heard', () => {
    const seat = seatWith((cpu) => {
      void cpu.hypercall([1n]);
      void cpu.hypercall([2n]);
    });
    let calls = 0;
    seat.onHypercall = () => {
      calls += 1;
      seat.stop();
    };
    seat.raise(IRQ);
    expect(seat.run(100)).toEqual({ kind: 'host' });
    expect(calls).toBe(1);
    expect(seat.run(100)).toEqual({ kind: 'off' });
  });

  it('may have its vCPU begin anew: what the new life does is not what the handler of the old one ends', async () => {
    let lives = 0;
    const symbols = new SymbolTable(ENTRY);
    const other = symbols.add(async () => {
      lives += 1;
      await new Promise(() => {});
    });
    const seat = seatWith((cpu) => {
      void cpu.hypercall([1n]);
    }, symbols);
    seat.onHypercall = () => seat.start(other, 0n);
    seat.raise(IRQ);
    expect(seat.run(100)).toEqual({ kind: 'host' });
    await settle();
    expect([lives, seat.run(100)]).toEqual([1, { kind: 'host' }]);
  });

  it('that fails before it awaits anything ends its vCPU with the reason, and nothing else', () => {
    const seat = seatWith((cpu) => {
      void cpu.hypercall([1n]);
      throw new Error('no such thing');
    });
    seat.onHypercall = ({ pc }) => seat.complete({ kind: 'hypercall', registers: ANSWER, pc: pc + 4n });
    seat.raise(IRQ);
    expect(seat.run(100)).toMatchObject({
      kind: 'off',
      reason: expect.stringMatching(/interrupt 40: .*no such thing/),
    });
  });

  it('that fails after its vCPU began anew harms the old life only', async () => {
    const symbols = new SymbolTable(ENTRY);
    const other = symbols.add(() => new Promise<void>(() => {}));
    const seat = seatWith((cpu) => {
      void cpu.hypercall([1n]);
      throw new Error('too late');
    }, symbols);
    seat.onHypercall = () => seat.start(other, 0n);
    seat.raise(IRQ);
    expect(seat.run(100)).toEqual({ kind: 'host' });
    await settle();
    expect(seat.run(100)).toEqual({ kind: 'host' });
  });
});
