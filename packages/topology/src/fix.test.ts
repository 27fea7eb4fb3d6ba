import { describe, expect, it } from 'vitest';
import {
  BUILTIN_PROGRAMS,
  type Diagnostic,
  EXAMPLE_TOPOLOGY,
  exampleFiles,
  fixText,
  type Parsed,
  parseTopology,
  RULE_EXAMPLES,
  type RuleId,
} from './index.js';

const check = (text: string): Parsed =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });

const fix = (text: string) => fixText(text, 'test.yaml', check);

const rules = (diagnostics: readonly Diagnostic[]): readonly RuleId[] => diagnostics.map(({ rule }) => rule);

/** Rules that can be mended without asking. */
const MENDED: readonly RuleId[] = [
  'schema',
  'board',
  'cpu-none',
  'cpu-unknown',
  'cpu-taken',
  'shared-memory-unknown',
  'shared-memory-size',
  'alignment',
  'overlap',
  'phys-outside-ram',
  'phys-overlap',
  'interrupt-range',
  'interrupt-private',
  'interrupt-twice',
  'interrupt-reference',
  'bind-key-unpaired',
  'bind-key-reference',
  'shmem-mismatch',
  'window',
  'windows-touch',
  'queue-fit',
  'program',
];

describe('--fix', () => {
  it.each(MENDED)('mends the example that breaks %s, without a word of the rest', (rule) => {
    const { wrong } = exampleFiles(RULE_EXAMPLES[rule]);
    const commented = `# first\n${wrong.replaceAll('\n', ' # kept\n')}`;
    const { text, applied, checked } = fix(commented);
    expect(rules(checked.diagnostics)).toEqual([]);
    expect(rules(applied)).toContain(rule);
    expect(text.match(/ # kept/g)).toHaveLength((commented.match(/ # kept/g) ?? []).length);
    // Nothing but values and the order of list items changes.
    expect(text.split('\n')).toHaveLength(commented.split('\n').length);
  });

  it('leaves alone what nobody but a person can decide', () => {
    for (const rule of Object.keys(RULE_EXAMPLES) as readonly RuleId[]) {
      const example = RULE_EXAMPLES[rule];
      if (MENDED.includes(rule) || rule === 'file' || example.of === 'board') continue;
      expect(rules(fix(exampleFiles(example).wrong).applied), rule).not.toContain(rule);
    }
  });

  it('leaves a good file as it is, to the byte', () => {
    expect(fix(EXAMPLE_TOPOLOGY)).toMatchObject({ text: EXAMPLE_TOPOLOGY, applied: [] });
  });

  it('swaps windows that touch with the comments on their lines', () => {
    const list = `board: qemu-aarch64-virt
shared_memories: { a: { size: 64KiB }, b: { size: 64KiB }, c: { size: 64KiB } }
vms:
  back:
    cpus: 1
    remio_devs:
      - { name: a, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: a, base: 0xd0000000 }, device: { type: entropy } }
      - { name: b, type: backend, bind_key: 1, interrupt: 41, shmem: { memory: b, base: 0xd1000000 }, device: { type: entropy } }
      - { name: c, type: backend, bind_key: 2, interrupt: 42, shmem: { memory: c, base: 0xd2000000 }, device: { type: entropy } }
  front:
    cpus: 1
    program: idle
    remio_devs: # three
      - { name: a, type: frontend, bind_key: 0, interrupt: 40, window: { base: 0x1000 }, shmem: { memory: a, base: 0xd0000000 } } # lowest
      - { name: b, type: frontend, bind_key: 1, interrupt: 41, window: { base: 0x1200 }, shmem: { memory: b, base: 0xd1000000 } }
      # highest
      - { name: c, type: frontend, bind_key: 2, interrupt: 42, window: { base: 0x1400 }, shmem: { memory: c, base: 0xd2000000 } }
`;
    const { text, checked } = fix(list);
    expect(checked.diagnostics).toEqual([]);
    expect(checked.topology?.vms[1]?.remioDevs.map(({ name }) => name)).toEqual(['c', 'b', 'a']);
    expect(text).toContain('shmem: { memory: a, base: 0xd0000000 } } # lowest');
    expect(text.split('\n').sort()).toEqual(list.split('\n').sort());
  });

  it('moves a shared memory at both ends', () => {
    const wrong = EXAMPLE_TOPOLOGY.replaceAll('memory: log, base: 0xd1000000', 'memory: log, base: 0xd0000000');
    const { text, checked } = fix(wrong);
    expect(checked.diagnostics).toEqual([]);
    expect(text.match(/memory: log, base: 0xd0100000/g)).toHaveLength(2);
  });

  it('does not touch what an alias shares with others', () => {
    const wrong = EXAMPLE_TOPOLOGY.replace('interrupt: 40', 'interrupt: &irq 27').replace(
      'interrupt: 78',
      'interrupt: *irq',
    );
    const { text, checked } = fix(wrong);
    expect(text).toBe(wrong);
    expect(new Set(rules(checked.diagnostics))).toEqual(new Set(['interrupt-private']));
  });

  it('goes on where a change makes another mistake', () => {
    // Rounded up, the memory runs into the next one.
    const wrong = EXAMPLE_TOPOLOGY.replace(
      '[{ base: 0x40000000, size: 1MiB }]',
      '[{ base: 0x40000000, size: 0x1001 }, { base: 0x40001000, size: 4KiB }]',
    );
    const { applied, checked } = fix(wrong);
    expect(checked.diagnostics).toEqual([]);
    expect(rules(applied)).toEqual(['alignment', 'overlap']);
  });
});
