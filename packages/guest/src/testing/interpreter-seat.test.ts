import type { Arch, InterruptController, MmioAccess, MmioTrap } from '@remio/arch';
import { guestAddress, irqId, U64_MAX } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import { accessFault, decodeTrap, extendRead, pcAfterCall, trapPc } from '@remio/hypervisor/abi';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Exit, SymbolTable } from '../index.js';
import { guestCode, InterpreterSeat } from './index.js';

const RAM = guestAddress(0x8000_0000n);
const RAM_SIZE = 0x4000;
const WINDOW = 0x0a00_3000n;
const IRQ = irqId(40);
const CONTROLLER: Readonly<Record<Arch, InterruptController>> = {
  aarch64: { kind: 'gicv3', gicd: 0x0800_0000n, gicr: 0x080a_0000n },
  riscv64: { kind: 'aia', aplic: 0x0d00_0000n, imsic: 0x2800_0000n },
};

/** A vCPU that executes a program of `programs`, and the test in the place of the hypervisor. */
class Bench {
  readonly seat: InterpreterSeat;
  readonly memory: LocalMemory = allocateMemory(RAM, RAM_SIZE);
  now = 5n;

  constructor(
    readonly arch: Arch,
    program: string,
    index = 0,
  ) {
    this.memory.bytes(0, RAM_SIZE).set(guestCode(program, arch));
    this.seat = new InterpreterSeat(
      {
        arch,
        symbols: new SymbolTable(RAM),
        memories: [this.memory],
        irqc: CONTROLLER[arch],
        counter: () => this.now,
        seats: [],
      },
      index,
    );
  }

  start(argument = 0n): this {
    this.seat.start(RAM, argument);
    return this;
  }

  next(): Exit {
    for (let turn = 0; turn < 1000; turn += 1) {
      const exit = this.seat.run(64);
      if (exit.kind !== 'budget') return exit;
    }
    throw new Error('no exit');
  }

  trap(): MmioTrap {
    const exit = this.next();
    if (exit.kind !== 'mmio') throw new Error(`expected an access, got ${exit.kind}`);
    return exit.trap;
  }

  /** The next access, ended at once as the hypervisor would. */
  pass(value = 0n): MmioAccess {
    const trap = this.trap();
    const decoded = decodeTrap(trap, 'hardened');
    if (!decoded.ok) throw new Error(decoded.error.reason);
    const { access, step } = decoded.value;
    this.seat.complete({
      kind: 'access',
      register: access.write ? undefined : access.register,
      value: extendRead(value, access),
      pc: trapPc(trap) + BigInt(step),
    });
    return access;
  }
}

/** Position in the window and value of a store. */
const store = (access: MmioAccess): readonly [number, bigint] => {
  expect(access.write).toBe(true);
  return [Number(access.address - WINDOW), access.value];
};

const at = (access: MmioAccess): number => Number(access.address - WINDOW);

describe('a vCPU that is started', () => {
  it('aarch64: has its argument in x0 and its place in MPIDR, and calls by SMC with the PC at the instruction', () => {
    const bench = new Bench('aarch64', 'argument', 3).start(0x1234n);
    expect([store(bench.pass()), store(bench.pass())]).toEqual([
      [0, 0x1234n],
      [8, 0x8000_0003n],
    ]);
    const exit = bench.next();
    if (exit.kind !== 'hypercall') throw new Error(exit.kind);
    expect(exit.frame).toMatchObject({ conduit: 'smc', pc: RAM + 0x14n });
    bench.seat.complete({ kind: 'hypercall', registers: [77n], pc: pcAfterCall(exit.frame) });
    expect(store(bench.pass())).toEqual([16, 77n]);
  });

  it('riscv64: has its hart id in a0 and its argument in a1, and reads the time', () => {
    const bench = new Bench('riscv64', 'argument', 3).start(0x1234n);
    expect([bench.pass(), bench.pass(), bench.pass()].map(store)).toEqual([
      [0, 3n],
      [8, 0x1234n],
      [16, 5n],
    ]);
  });

  it('stops with the address where no code is', () => {
    const bench = new Bench('aarch64', 'echo');
    bench.seat.start(0x1000n, 0n);
    expect(bench.next()).toEqual({ kind: 'off', reason: 'no code at 0x1000' });
  });
});

describe('interrupts that are masked', () => {
  it.each(['aarch64', 'riscv64'] as const)('%s: end WFI, and are taken when they are unmasked', (arch) => {
    const bench = new Bench(arch, 'masked').start();
    expect(bench.next()).toEqual({ kind: 'wfi' });
    bench.seat.raise(IRQ);
    expect(at(bench.pass())).toBe(0);
    expect(store(bench.pass())).toEqual([0x60, 40n]);
    // In the handler they are masked: DAIF all set, sstatus.SIE clear and SPIE set.
    const [inHandler, afterwards] = arch === 'aarch64' ? [0x3c0n, 0x340n] : [0x120n, 0x122n];
    expect(store(bench.pass())).toEqual([0x68, inHandler]);
    bench.seat.raise(irqId(41));
    // While one is active, the GIC shows no other of its priority; an IMSIC does.
    expect(store(bench.pass())).toEqual([0x70, arch === 'aarch64' ? 1023n : 0x29_0029n]);
    expect(store(bench.pass())).toEqual([0x60, 41n]);
    expect(store(bench.pass())).toEqual([0x68, inHandler]);
    // Nothing is pending: a spurious INTID, or no identity.
    expect(store(bench.pass())).toEqual([0x70, arch === 'aarch64' ? 1023n : 0n]);
    expect(at(bench.pass())).toBe(8);
    expect(store(bench.pass())).toEqual([16, afterwards]);
  });
});

describe('loads and stores, as the hypervisor decodes them', () => {
  const VALUE = 0x8182_8384_8586_8788n;
  const SOURCE = 0x8899_aabb_ccdd_eeffn;
  const LOADED: Readonly<Record<Arch, readonly bigint[]>> = {
    aarch64: [
      0x88n,
      0x8788n,
      0x8586_8788n,
      VALUE,
      0xffff_ffff_ffff_ff88n,
      0xffff_ff88n,
      0xffff_ffff_ffff_8788n,
      0xffff_8788n,
      0xffff_ffff_8586_8788n,
      0x8586_8788n,
      0x8586_8788n,
    ],
    riscv64: [
      0xffff_ffff_ffff_ff88n,
      0x88n,
      0xffff_ffff_ffff_8788n,
      0x8788n,
      0xffff_ffff_8586_8788n,
      0x8586_8788n,
      VALUE,
      0xffff_ffff_8586_8788n,
      VALUE,
      0xffff_ffff_8586_8788n,
      VALUE,
    ],
  };
  const STORED: Readonly<Record<Arch, readonly (readonly [offset: number, width: number, value: bigint])[]>> = {
    aarch64: [
      [0, 1, SOURCE],
      [0, 2, SOURCE],
      [0, 4, SOURCE],
      [0, 8, SOURCE],
      [-8, 8, SOURCE],
      [0, 8, 0n],
    ],
    riscv64: [
      [0, 1, SOURCE],
      [0, 2, SOURCE],
      [-4, 4, SOURCE],
      [-8, 8, SOURCE],
      [0, 8, 0n],
      [0, 4, SOURCE],
      [0, 8, SOURCE],
      [0, 4, SOURCE],
      [0, 8, SOURCE],
      [0, 8, 0n],
      [0, 8, 0n],
    ],
  };

  it.each(['aarch64', 'riscv64'] as const)('%s: every width and form lands as the architecture says', (arch) => {
    const bench = new Bench(arch, 'widths').start();
    // Twice: an odd number of traps, so that on RV64 each is shown with htinst once, and with the instruction once.
    for (let round = 0; round < 2; round += 1) {
      for (const [n, expected] of LOADED[arch].entries()) {
        expect([n, bench.pass(VALUE).write]).toEqual([n, false]);
        // Two loads of RV64 go by a register that compressed instructions cannot name, which shows after the first store.
        if (arch === 'riscv64' && (n === 4 || n === 6)) expect(store(bench.pass())).toEqual([8, U64_MAX]);
        expect([n, ...store(bench.pass())]).toEqual([n, 8, expected]);
      }
      // The zero register takes nothing.
      expect(bench.pass(VALUE)).toMatchObject({ write: false, register: arch === 'aarch64' ? 31 : 0 });
      for (const [offset, width, value] of STORED[arch]) {
        const access = bench.pass();
        expect([at(access), access.width, access.write, access.value]).toEqual([offset, width, true, value]);
      }
    }
  });
});

describe('what is no instruction, no register and no address', () => {
  /** What the handler stores of one exception: syndrome, address, distance of the PC from the start. */
  const exception = (bench: Bench): readonly bigint[] =>
    [8, 16, 24].map((offset) => {
      const [position, value] = store(bench.pass());
      expect(position).toBe(offset);
      return value;
    });

  it('aarch64: is an exception at the guest\u2019s own vector', () => {
    const bench = new Bench('aarch64', 'exceptions').start();
    const [first = 0n] = exception(bench).slice(2);
    const unknown = 0x200_0000n;
    const far = 0n;
    expect(exception(bench)).toEqual([unknown, far, first + 4n]);
    expect(exception(bench)).toEqual([unknown, far, first + 8n]);
    // Address size fault, level 0: of a load, of a store.
    expect(exception(bench)).toEqual([0x9600_0000n, 1n << 48n, first + 12n]);
    expect(exception(bench)).toEqual([0x9600_0040n, (1n << 48n) + 1n, first + 16n]);
    for (const n of [20n, 24n, 28n]) expect(exception(bench)).toEqual([unknown, (1n << 48n) + 1n, first + n]);
    // Pairs and writeback: the syndrome says nothing (ISV 0), so the hypervisor ends them as external aborts.
    for (const [n, write] of [false, true, false].entries()) {
      const trap = bench.trap();
      expect(decodeTrap(trap, 'hardened')).toMatchObject({ ok: false, error: { write } });
      bench.seat.complete({ kind: 'fault', ...accessFault(trap, write) });
      const status = 0x9600_0010n | (write ? 0x40n : 0n);
      expect(exception(bench)).toEqual([status, WINDOW, first + 32n + 4n * BigInt(n)]);
    }
    expect(exception(bench)).toEqual([unknown, WINDOW, first + 48n]);
  });

  it('riscv64: is a trap at the guest\u2019s own vector', () => {
    const bench = new Bench('riscv64', 'exceptions').start();
    const [first = 0n] = exception(bench).slice(2);
    expect(exception(bench)).toEqual([2n, 0xffff_ffffn, first + 4n]);
    expect(exception(bench).slice(0, 1)).toEqual([2n]);
    expect(exception(bench).slice(0, 1)).toEqual([2n]);
    expect(exception(bench)).toEqual([5n, 1n << 50n, first + 16n]);
    expect(exception(bench)).toEqual([7n, (1n << 50n) + 1n, first + 20n]);
    expect(exception(bench)).toEqual([3n, RAM + first + 24n, first + 24n]);
    expect(exception(bench)).toEqual([2n, 0x6b007n, first + 28n]);
    expect(exception(bench)).toEqual([2n, 0x1006_a62fn, first + 32n]);
    expect(bench.seat.run(100)).toEqual({ kind: 'budget' });
  });
});

const PROGRAMS = ['handler', 'sleeper', 'catcher', 'caller', 'computing', 'timer', 'masked', 'widths', 'argument'];

/** One thing that happens to a vCPU from outside, the same for the same number; returns what was seen of it. */
function happen(bench: Bench, choice: number): unknown {
  bench.now += BigInt(choice % 7);
  if (choice % 5 === 0) bench.seat.raise(irqId(choice % 10 === 0 ? 33 : 40));
  if (bench.seat.timer !== undefined && choice % 3 === 0) {
    bench.seat.armTimer(U64_MAX);
    bench.seat.raise(bench.seat.timerIrq);
  }
  const exit = bench.seat.run(1 + (choice % 50));
  if (exit.kind === 'hypercall') {
    const { frame } = exit;
    if (frame.registers[7] === 0x5449_4d45n) bench.seat.armTimer(frame.registers[0] ?? 0n);
    const registers = frame.registers.map((value) => value ^ BigInt(choice));
    bench.seat.complete({ kind: 'hypercall', registers, pc: pcAfterCall(frame) });
  }
  if (exit.kind === 'mmio') {
    const decoded = decodeTrap(exit.trap, 'hardened');
    if (!decoded.ok || choice % 11 === 0) {
      bench.seat.complete({ kind: 'fault', cause: 5n, address: WINDOW });
    } else {
      const { access, step } = decoded.value;
      const value = extendRead(BigInt(choice) << 29n, access);
      const register = access.write ? undefined : access.register;
      bench.seat.complete({ kind: 'access', register, value, pc: trapPc(exit.trap) + BigInt(step) });
    }
  }
  return exit;
}

describe.each(['aarch64', 'riscv64'] as const)('a saved vCPU on %s', (arch) => {
  const copyOf = (bench: Bench, state: unknown = JSON.parse(JSON.stringify(bench.seat.save()))): Bench => {
    const copy = new Bench(arch, 'echo');
    copy.memory.bytes(0, RAM_SIZE).set(bench.memory.bytes(0, RAM_SIZE));
    copy.now = bench.now;
    expect(copy.seat.restore(state)).toEqual({ ok: true, value: undefined });
    return copy;
  };

  it('goes on as it would have, wherever it was saved', () => {
    const choices = fc.array(fc.nat(1000), { maxLength: 40 });
    fc.assert(
      fc.property(fc.constantFrom(...PROGRAMS), choices, choices, (program, before, after) => {
        const bench = new Bench(arch, program).start();
        for (const choice of before) happen(bench, choice);
        const copy = copyOf(bench);
        for (const choice of after) expect(happen(copy, choice)).toEqual(happen(bench, choice));
        expect(copy.seat.save()).toEqual(bench.seat.save());
      }),
    );
  });

  it('has the exit open that was', () => {
    const bench = new Bench(arch, 'echo').start();
    const trap = bench.trap();
    const copy = copyOf(bench);
    copy.seat.complete({ kind: 'access', register: arch === 'aarch64' ? 2 : 12, value: 9n, pc: trapPc(trap) });
    // Completed at its own PC, the load is executed once more.
    expect(trapPc(copy.trap())).toBe(trapPc(trap));
  });

  const state = (change: (state: Record<string, unknown>, core: Record<string, unknown>) => void): unknown => {
    const bench = new Bench(arch, 'handler').start();
    bench.trap();
    bench.seat.raise(IRQ);
    const saved = JSON.parse(JSON.stringify(bench.seat.save())) as Record<string, unknown>;
    change(saved, saved['core'] as Record<string, unknown>);
    return saved;
  };
  const ports = (core: Record<string, unknown>): Record<string, unknown> =>
    arch === 'aarch64'
      ? ((core['system'] as Record<string, unknown>)['gic'] as Record<string, unknown>)
      : ((core['csrs'] as Record<string, unknown>)['port'] as Record<string, unknown>);
  const other = arch === 'aarch64' ? 'riscv64' : 'aarch64';

  it.each<[string, unknown, string]>([
    ['another format', state((s) => Object.assign(s, { format: 'remio-vcpu/0' })), 'format'],
    ['the other architecture', state((s) => Object.assign(s, { arch: other })), 'arch'],
    ['an exit that does not exist', state((s) => Object.assign(s, { open: 'wfi' })), 'open'],
    ['an open exit of a vCPU that sleeps', state((s) => Object.assign(s, { waiting: true })), 'open'],
    ['an open exit of a vCPU that is off', state((s) => Object.assign(s, { on: false })), 'open'],
    [
      'sleep of a vCPU that is off',
      state((s) => Object.assign(s, { on: false, waiting: true, open: null })),
      'waiting',
    ],
    ['a reason to be off of one that is on', state((s) => Object.assign(s, { reason: 'x' })), 'reason'],
    ['a PC between instructions', state((_, core) => Object.assign(core, { pc: '0x80000001' })), 'pc'],
    ['a register of 65 bits', state((_, core) => Object.assign(core, { x: ['0x10000000000000000'] })), 'core.x'],
    ['31 registers', state((_, core) => (core['x'] as unknown[]).pop()), 'core.x'],
    [
      'an interrupt that does not exist',
      state((_, core) => Object.assign(ports(core), { pending: [4096] })),
      'pending[0]',
    ],
    [
      'an interrupt that is pending twice',
      state((_, core) => Object.assign(ports(core), { pending: [3, 3] })),
      'pending[1]',
    ],
    ['no core', state((s) => Object.assign(s, { core: null })), 'core'],
    ['nothing', undefined, 'state'],
  ])('is refused with %s, and the vCPU is off', (_, wrong, place) => {
    const bench = new Bench(arch, 'echo').start();
    expect(bench.seat.restore(wrong)).toEqual({ ok: false, error: expect.stringContaining(place) });
    expect(bench.next()).toEqual({ kind: 'off' });
    expect(at(bench.start().pass())).toBe(0);
  });

  it('is refused with bits that its registers do not have', () => {
    const bench = new Bench(arch, 'echo');
    const fields = arch === 'aarch64' ? ['daif', 'vbar', 'cntvCtl'] : ['sstatus', 'sie', 'stvec', 'sepc', 'sip'];
    for (const field of fields) {
      const wrong = state((_, core) => {
        const controls = core[arch === 'aarch64' ? 'system' : 'csrs'];
        Object.assign(controls as object, { [field]: '0xffffffffffffffff' });
      });
      expect(bench.seat.restore(wrong)).toEqual({ ok: false, error: expect.stringContaining(field) });
    }
    if (arch === 'riscv64') {
      const wrong = state((_, core) => Object.assign(core['x'] as object, { 0: '0x1' }));
      expect(bench.seat.restore(wrong)).toEqual({ ok: false, error: expect.stringContaining('x[0]') });
    }
  });
});
