import { describe, expect, it } from 'vitest';
import { remio } from './run-remio.js';

describe('remio bench', () => {
  it('says what the core does, as a table and for programs', async () => {
    const table = await remio('bench', 'core', '--quick');
    expect(table).toMatchObject({ code: 0, stderr: '' });
    expect(table.stdout).toMatch(/traps completed +[\d,]+\/s/);
    const figures = await remio('bench', 'core', '--quick', '--json');
    const { rates, trapsPerSecond } = JSON.parse(figures.stdout) as {
      readonly rates: readonly number[];
      readonly trapsPerSecond: number;
    };
    expect(rates).toHaveLength(3);
    expect(rates).toContain(trapsPerSecond);
  });

  it('puts virtqueues beside copies of the same bytes, which cost less', async () => {
    const { stdout } = await remio('bench', 'ring', '--quick', '--json');
    const layouts = JSON.parse(stdout) as readonly { readonly name: string; readonly ratio: number }[];
    expect(layouts.map(({ name }) => name)).toEqual(['split', 'packed']);
    for (const { ratio } of layouts) expect(ratio).toBeGreaterThan(1);
  });

  it('refuses a benchmark that there is not, and lists those that there are', async () => {
    const ended = await remio('bench', 'everything');
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain('no benchmark is called everything; there are mmio, throughput,');
  });
});
