import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BOARDS, type BoardProfile, boardFacts, boardNames, boardRows, loadBoard, memoryMap } from './index.js';

describe('boards', () => {
  it.each(boardNames)('%s loads, with CPUs of distinct hardware ids', (name) => {
    const board = loadBoard({ name });
    if (!board.ok) throw new Error(board.error);
    expect(new Set(board.value.cpus.map((cpu) => cpu.hardwareId)).size).toBe(board.value.cpus.length);
  });

  it('numbers clusters in affinity 1', () => {
    expect(BOARDS.tx2.cpus.map((cpu) => cpu.hardwareId)).toEqual([0n, 1n, 0x100n, 0x101n, 0x102n, 0x103n]);
  });

  it('numbers the cores of a DynamIQ cluster in affinity 1: they call themselves multithreaded', () => {
    expect(BOARDS.agilex5.cpus.map((cpu) => cpu.hardwareId)).toEqual([0n, 0x100n, 0x200n, 0x300n]);
  });

  it.each(boardNames)('%s: RAM is whole pages, and no two things are in one place', (name) => {
    const board = loadBoard({ name });
    if (!board.ok) throw new Error(board.error);
    const { ram, uarts, smmu, timer } = board.value;
    expect(ram.filter(({ base, size }) => base % 4096n !== 0n || size % 4096n !== 0n || size <= 0n)).toEqual([]);
    const frames = [...uarts.map(({ base }) => base), ...[smmu?.base, timer].filter((base) => base !== undefined)];
    for (const [n, a] of ram.entries()) {
      for (const b of ram.slice(n + 1)) expect(a.base + a.size <= b.base || b.base + b.size <= a.base).toBe(true);
      expect(frames.filter((base) => base >= a.base && base < a.base + a.size)).toEqual([]);
    }
  });

  it('leave out what is not known', () => {
    expect(BOARDS['fvp-a']).not.toHaveProperty('powerdown');
    expect(BOARDS.imx8mn.uarts[0]).not.toHaveProperty('interrupt');
    const names = boardFacts(BOARDS['fvp-a']).map(([fact]) => fact);
    expect(names).toContain('standby');
    expect(names).not.toContain('powerdown');
  });

  it('name a standby state where, and only where, the firmware takes one', () => {
    for (const board of Object.values<BoardProfile>(BOARDS)) {
      expect(board.standbyState !== undefined, board.name).toBe(board.standby === 'psci');
      expect(board.powerdownState !== undefined, board.name).toBe(board.powerdown === 'psci');
    }
  });

  it('takes a PLIC on RV64 only, and CPUs on synthetic boards only', () => {
    expect(loadBoard({ name: 'qemu-riscv64-virt', irqc: 'plic' })).toMatchObject({ value: { irqc: { kind: 'plic' } } });
    expect(loadBoard({ name: 'zcu102', irqc: 'plic' })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'k3-com260', irqc: 'plic' })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'synthetic-riscv64', irqc: 'plic' })).toMatchObject({ value: { irqc: { kind: 'plic' } } });
    expect(loadBoard({ name: 'zcu102', cpus: 8 })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'synthetic-riscv64', cpus: 64 })).toMatchObject({ value: { cpus: { length: 64 } } });
    expect(loadBoard({ name: 'synthetic-riscv64', cpus: 0 })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'zcu103' })).toMatchObject({ ok: false, error: expect.stringContaining('zcu102') });
  });
});

describe('a memory map', () => {
  it.each(boardNames)('of %s has as many cells of RAM as the board has RAM, and every thing once', (name) => {
    const board = loadBoard({ name });
    if (!board.ok) throw new Error(board.error);
    const [legend = '', ...lines] = memoryMap(board.value);
    const [, amount = '', unit = ''] = /a cell (\d+) (KiB|MiB)/.exec(legend) ?? [];
    const cell = BigInt(amount) * (unit === 'KiB' ? 1024n : 1024n ** 2n);
    const bars = lines.map((line) => /│(.*)│/.exec(line)?.[1] ?? '').filter((bar) => bar !== '');
    const filled = BigInt([...bars.join('')].filter((mark) => mark === '█').length);
    const ram = board.value.ram.reduce((sum, { size }) => sum + size, 0n);
    // A range that starts or ends within a cell fills it.
    const slack = BigInt(2 * board.value.ram.length);
    expect(filled * cell >= ram - slack * cell && filled * cell <= ram + slack * cell).toBe(true);
    for (const { base } of board.value.uarts) {
      expect(lines.filter((line) => line.endsWith(`0x${base.toString(16)}`))).toHaveLength(1);
    }
  });

  it('says how large a gap is, and draws rows of one size', () => {
    const lines = memoryMap(BOARDS.imx8qm);
    expect(lines.filter((line) => line.includes('⋮')).map((line) => line.trim())).toEqual([
      '⋮ 1 GiB',
      '⋮ 512 MiB',
      '⋮ 30 GiB',
    ]);
    const starts = lines.flatMap((line) => (/^0x\w+/.test(line) ? BigInt(line.split(' ')[0] ?? '') : []));
    expect(starts.every((start) => start % (512n * 1024n ** 2n) === 0n)).toBe(true);
  });
});

describe('docs/boards.md', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'boards.md'), 'utf8');

  it('has the table that `remio boards --markdown` prints', () => {
    const [head = [], ...rows] = boardRows();
    const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
    expect(page).toContain(['', line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n'));
  });

  it('shows the board that `remio boards zcu104` shows', () => {
    expect(page).toContain(memoryMap(BOARDS.zcu104).join('\n'));
  });

  it('names the range of interrupts of every controller', () => {
    for (const range of ['32 to 1019', '1 to 1023']) expect(page).toContain(range);
  });
});
