import { describe, expect, it } from 'vitest';
import { boardNames, COST_NAMES, costModel, loadBoard, nanosecondsOf } from './index.js';

const board = (name: string) => {
  const loaded = loadBoard({ name });
  if (!loaded.ok) throw new Error(loaded.error);
  return loaded.value;
};

describe('the cost model', () => {
  it('says of every figure of every board what it is the cost of, where it comes from and whether it is an estimate', () => {
    for (const name of boardNames) {
      const { clock, figures } = costModel(board(name));
      for (const figure of [clock, ...Object.values(figures)]) {
        expect(figure.value).toBeGreaterThan(0);
        expect(figure.source.length * figure.of.length).toBeGreaterThan(0);
        expect(['published', 'estimate']).toContain(figure.basis);
      }
      expect(Object.keys(figures)).toEqual([...COST_NAMES]);
    }
  });

  it('takes a published clock where the board has one, and marks an assumed one as an estimate', () => {
    expect(costModel(board('zcu104')).clock).toMatchObject({ value: 1.2e9, basis: 'published' });
    expect(costModel(board('qemu-riscv64-virt')).clock).toMatchObject({ basis: 'estimate' });
  });

  it('counts whole nanoseconds of the board’s clock', () => {
    const model = costModel(board('zcu104'));
    expect(nanosecondsOf(model, 'trap_entry')).toBe(333);
    expect(nanosecondsOf(model, 'copied_byte', 4096)).toBe(1707);
    expect(nanosecondsOf(costModel(board('tx2')), 'trap_entry')).toBe(200);
  });

  it('lets a user’s own figures win, and says that they are the user’s', () => {
    const model = costModel(board('zcu104'), { trap_entry: 1200, clock_hz: 600_000_000 });
    expect(nanosecondsOf(model, 'trap_entry')).toBe(2000);
    expect(model.figures.trap_entry.source).toBe('`costs` of the topology');
    expect(model.figures.trap_exit.source).not.toBe('`costs` of the topology');
  });
});
