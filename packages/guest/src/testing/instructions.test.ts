import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Arch } from '@remio/arch';
import { guestAddress, hex } from '@remio/base';
import { allocateMemory } from '@remio/guest-memory';
import { describe, expect, it } from 'vitest';
import type { MachineContext } from '../index.js';
import { SymbolTable } from '../index.js';
import { InterpreterSeat } from './index.js';
import { expandCompressed } from './riscv64-compressed.js';

interface Row {
  readonly text: string;
  readonly code: string;
  readonly results: readonly {
    readonly value: string;
    readonly nzcv?: string;
    readonly moved?: number;
    readonly memory?: string;
  }[];
}
/** Written by tools/guest-code/generate.mjs: code as binutils assembles it, results as QEMU computes them. */
const table = JSON.parse(readFileSync(join(import.meta.dirname, 'instructions.data.json'), 'utf8')) as {
  readonly inputs: readonly (readonly [string, string])[];
  readonly seed: string;
  readonly buffer: string;
  readonly pointer: number;
  readonly compressed: readonly { readonly text: string; readonly half: string; readonly word: string }[];
} & Readonly<Record<Arch, readonly Row[]>>;

const BASE = 0x8000_0000n;
const BUFFER = 0x8000;

/** HVC #0 and ECALL: how a snippet ends. */
const END: Readonly<Record<Arch, string>> = { aarch64: '020000d4', riscv64: '73000000' };

/** Positions of the seed and result, the two inputs and the pointer in the register file. */
const ROLES: Readonly<Record<Arch, readonly number[]>> = { aarch64: [0, 1, 2, 3], riscv64: [10, 11, 12, 13] };
const SP: Readonly<Record<Arch, number>> = { aarch64: 31, riscv64: 2 };

interface State {
  readonly core: { readonly pc: string; readonly x: readonly string[]; readonly nzcv?: number };
}

function run(arch: Arch, code: string, inputs: readonly [string, string]): { core: State['core']; memory: string } {
  const memory = allocateMemory(guestAddress(BASE), 0x1_0000);
  memory.bytes(0, code.length / 2 + 4).set(Buffer.from(code + END[arch], 'hex'));
  memory.bytes(BUFFER, table.buffer.length / 2).set(Buffer.from(table.buffer, 'hex'));
  const machine: MachineContext = {
    arch,
    symbols: new SymbolTable(BASE),
    memories: [memory],
    irqc: arch === 'aarch64' ? { kind: 'gicv3', gicd: 0n, gicr: 0n } : { kind: 'plic', base: 0n },
    counter: () => 0n,
    seats: [],
  };
  const seat = new InterpreterSeat(machine, 0);
  seat.start(BASE, 0n);
  const state = structuredClone(seat.save()) as unknown as { core: { x: string[] } };
  const pointer = hex(BASE + BigInt(BUFFER + table.pointer));
  const values = [table.seed, ...inputs, pointer];
  for (const [n, register] of ROLES[arch].entries()) state.core.x[register] = values[n] ?? '0x0';
  state.core.x[SP[arch]] = pointer;
  expect(seat.restore(state)).toMatchObject({ ok: true });
  const exit = seat.run(100);
  expect(exit.kind).toBe('hypercall');
  const { core } = seat.save() as unknown as State;
  return { core, memory: Buffer.from(memory.bytes(BUFFER, table.buffer.length / 2)).toString('hex') };
}

describe.each(['aarch64', 'riscv64'] as const)('%s instructions compute what QEMU does', (arch) => {
  it.each(table[arch])('$text', ({ code, results }) => {
    for (const [n, expected] of results.entries()) {
      const { core, memory } = run(arch, code, table.inputs[n] ?? ['0x0', '0x0']);
      const [result = 0, , , pointer = 0] = ROLES[arch];
      const moved = BigInt(core.x[pointer] ?? 0) - (BASE + BigInt(BUFFER + table.pointer));
      expect({
        value: core.x[result],
        nzcv: BigInt(core.nzcv ?? 0) << 28n,
        moved: Number(BigInt.asIntN(64, moved)),
        memory,
      }).toEqual({
        value: expected.value,
        nzcv: BigInt(expected.nzcv ?? 0),
        moved: expected.moved ?? 0,
        memory: expected.memory ?? table.buffer,
      });
    }
  });
});

describe('compressed instructions stand for those that binutils says', () => {
  it.each(table.compressed)('$text', ({ half, word }) => {
    expect(expandCompressed(Number.parseInt(half, 16))?.toString(16).padStart(8, '0')).toBe(word);
  });

  it.each([
    ['the all-zero instruction', 0x0000],
    ['C.ADDIW of x0', 0x2001],
    ['C.LUI of 0', 0x6501],
    ['C.ADDI16SP of 0', 0x6101],
    ['C.LWSP to x0', 0x4002],
    ['C.LDSP to x0', 0x6002],
    ['C.JR x0', 0x8002],
    ['C.FLD', 0x2000],
    ['quadrant 1, reserved', 0x9c41],
  ])('%s stands for none', (_, half) => {
    expect(expandCompressed(half)).toBeUndefined();
  });
});
