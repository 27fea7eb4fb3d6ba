import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BOARDS, boardNames, boardRows, loadBoard } from './index.js';

describe('boards', () => {
  it.each(boardNames)('%s loads, with CPUs of distinct hardware ids', (name) => {
    const board = loadBoard({ name });
    if (!board.ok) throw new Error(board.error);
    expect(new Set(board.value.cpus.map((cpu) => cpu.hardwareId)).size).toBe(board.value.cpus.length);
  });

  it('numbers clusters in affinity 1', () => {
    expect(BOARDS.tx2.cpus.map((cpu) => cpu.hardwareId)).toEqual([0n, 1n, 0x100n, 0x101n, 0x102n, 0x103n]);
  });

  it('takes a PLIC on RV64 only, and CPUs on synthetic boards only', () => {
    expect(loadBoard({ name: 'qemu-riscv64-virt', irqc: 'plic' })).toMatchObject({ value: { irqc: { kind: 'plic' } } });
    expect(loadBoard({ name: 'zcu102', irqc: 'plic' })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'zcu102', cpus: 8 })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'synthetic-riscv64', cpus: 64 })).toMatchObject({ value: { cpus: { length: 64 } } });
    expect(loadBoard({ name: 'synthetic-riscv64', cpus: 0 })).toMatchObject({ ok: false });
    expect(loadBoard({ name: 'zcu103' })).toMatchObject({ ok: false, error: expect.stringContaining('zcu102') });
  });
});

describe('docs/boards.md', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'boards.md'), 'utf8');

  it('has the table that `remio boards --markdown` prints', () => {
    const [head = [], ...rows] = boardRows();
    const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
    expect(page).toContain(['', line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n'));
  });

  it('names the range of interrupts of every controller', () => {
    for (const range of ['32 to 1019', '1 to 1023']) expect(page).toContain(range);
  });
});
