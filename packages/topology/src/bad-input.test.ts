import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import {
  BUILTIN_PROGRAMS,
  EXAMPLE_BOARD,
  EXAMPLE_TOPOLOGY,
  type Loaded,
  loadTopology,
  parseBoard,
  parseTopology,
  starTopology,
} from './index.js';
import { readYaml } from './yaml-text.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-bad-input-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const load = (name: string, content?: string | Uint8Array): Loaded => {
  const file = join(scratch, name);
  if (content !== undefined) writeFileSync(file, content);
  return loadTopology(file, { programs: BUILTIN_PROGRAMS });
};

const said = ({ topology, diagnostics }: Pick<Loaded, 'topology' | 'diagnostics'>): readonly string[] => {
  expect(topology).toBeUndefined();
  return diagnostics.map(({ rule, message }) => `${rule}: ${message}`);
};

const repeated = (n: number, line: (n: number) => string): string =>
  Array.from({ length: n }, (_, k) => line(k)).join('');

/** A text that stands for ten times itself at every line. */
const BOMB = `a: &a0 [x, x, x, x, x, x, x, x, x, x]\n${repeated(
  12,
  (n) => `a${n}: &a${n + 1} [${Array.from({ length: 10 }, () => `*a${n}`).join(', ')}]\n`,
)}`;

describe('a file that is no text', () => {
  it.each([
    ['a program', new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]), 'has a NUL'],
    ['random bytes', new Uint8Array([0xff, 0xfe, 0x80, 0x81]), 'not UTF-8'],
    ['a text cut within a letter', new TextEncoder().encode('name: ü').subarray(0, -1), 'not UTF-8'],
  ])('%s', (name, content, message) => {
    const loaded = load(name, content);
    expect(said(loaded)).toEqual([expect.stringContaining(message)]);
    expect(loaded.text).toContain('fix: ');
  });

  it('a directory, a pipe that nobody writes to, a device without end, a file that is not there', () => {
    mkdirSync(join(scratch, 'directory'));
    execFileSync('mkfifo', [join(scratch, 'pipe')]);
    for (const name of ['directory', 'pipe']) expect(said(load(name))[0]).toContain('not a regular file');
    expect(said(loadTopology('/dev/zero', { programs: BUILTIN_PROGRAMS }))[0]).toContain('not a regular file');
    expect(said(load('nowhere'))[0]).toContain('cannot be read');
  });

  it('more than 8 MiB', () => {
    expect(said(load('large', new Uint8Array(8 * 1024 ** 2 + 1)))[0]).toContain('at most 8388608');
  });
});

describe('a text that is made to hurt', () => {
  it.each([
    ['aliases of aliases', BOMB, 'more than 500000 values'],
    ['an anchor that leads to itself', 'vms: &v\n  a: *v\n', 'the file would be endless'],
    ['anchors in a circle', 'a: &a { b: &b [*a] }\nvms: *b\n', 'the file would be endless'],
    ['an alias of nothing', 'vms: *v\n', 'no anchor &v'],
    ['a million lines', repeated(1_000_000, () => '#\n'), 'more than 1000000 words and marks'],
    [
      'a million entries',
      repeated(1_000_000, (n) => `k${n % 10}: 1\n`).slice(0, 8_000_000),
      'more than 1000000 words and marks',
    ],
    ['lists within lists', '['.repeat(20_000), 'nested more than 64 deep'],
    ['lists within lists, closed', `${'['.repeat(3000)}${']'.repeat(3000)}`, 'nested more than 64 deep'],
    [
      'more nesting than we take, less than the stack',
      `${'['.repeat(70)}${']'.repeat(70)}`,
      'nested more than 64 deep',
    ],
    ['blocks within blocks', '- '.repeat(20_000), 'nested more than 64 deep'],
    ['keys of keys', '? '.repeat(20_000), 'nested more than 64 deep'],
    ['nothing but ends', ']'.repeat(50_000), 'not YAML'],
    ['nothing but commas', `[${','.repeat(50_000)}`, 'not YAML'],
    ['anchors without values', '&a '.repeat(50_000), 'not YAML'],
    ['a quotation without end', `"${'a\n'.repeat(50_000)}`, 'not YAML'],
    ['a key twice', 'board: zcu102\nboard: zcu104\n', '`board` is there already'],
    ['two documents', 'board: zcu102\n---\nboard: zcu104\n', 'a second document'],
    ['a list as a key', '[board]: zcu102\n', 'a key is a name'],
    ['an unknown tag', 'board: !exec zcu102\n', 'not YAML'],
    ['nothing', '', 'the file says nothing'],
    ['a scalar', 'zcu104', 'expected a map'],
    ['a list', '[zcu104]', 'expected a map'],
  ])('%s', (_, text, message) => {
    const parsed = parseTopology(text, 'bad.yaml', {
      resolve: (path) => path,
      files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
      programs: BUILTIN_PROGRAMS,
    });
    expect(said(parsed).join('\n')).toContain(message);
    expect(parsed.diagnostics.length).toBeLessThanOrEqual(20);
  });

  it('keys that a language would mistake for its own', () => {
    const { data } = readYaml('__proto__: { polluted: 1 }\nconstructor: 2\n');
    expect(Object.keys(data ?? {})).toEqual(['__proto__', 'constructor']);
    expect(({} as { readonly polluted?: number }).polluted).toBeUndefined();
  });

  it('aliases that are used a thousand times are no bomb', () => {
    const text = EXAMPLE_TOPOLOGY.replace('memory: [{ base: 0x40000000', 'memory: [&m { base: 0x40000000');
    const { data, problems } = readYaml(`${text}more: [${Array.from({ length: 1000 }, () => '*m').join(', ')}]\n`);
    expect(problems).toEqual([]);
    expect((data as { readonly more: readonly unknown[] }).more).toHaveLength(1000);
  });
});

describe('a thousand VMs', () => {
  const star = starTopology({ arch: 'aarch64', frontends: 995, vcpus: 1, perBackend: 200, work: 'idle', amount: 1 });
  const load1000 = (text: string): Loaded => load('star.yaml', text);

  it('are a good topology; what the reference would cut is told in a few lines', () => {
    const { topology, text, diagnostics } = load1000(star);
    expect(topology?.vms).toHaveLength(1000);
    expect(diagnostics.length).toBeGreaterThan(1000);
    expect(text.split('\n').length).toBeLessThan(80);
    expect(text).toContain('more like it');
  });

  it.each([
    ['interrupts that are private', /interrupt: \d+/g, 'interrupt: 5', 'interrupt-private'],
    ['one key for all', /bind_key: \d+/g, 'bind_key: 7', 'bind-key-doubled'],
    ['one memory for all', /memory: rng\d+/g, 'memory: rng0', 'shared-memory-twice'],
    ['memories that are not there', /memory: rng\d+/g, 'memory: none0', 'shared-memory-unknown'],
    ['shared memories in one place', /base: 0xd[0-9a-f]+/g, 'base: 0xd0000000', 'overlap'],
    ['no CPUs', /cpus: 1\n/g, 'cpus: 0\n', 'cpu-none'],
    ['one CPU for all', /cpus: 1\n/g, 'cpus: [0]\n', 'cpu-taken'],
    ['fields that are not there', /interrupt: /g, 'irq: ', 'schema'],
  ])('that are all wrong are told of in the same time: %s', (_, from, to, rule) => {
    const { topology, diagnostics } = load1000(star.replace(from, to));
    expect(topology).toBeUndefined();
    expect(diagnostics.filter((one) => one.rule === rule).length).toBeGreaterThan(100);
  });
});

describe('a file that was cut off, or in which something was changed', () => {
  const check = (text: string) =>
    parseTopology(text, 'bad.yaml', {
      resolve: (path) => path,
      files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
      programs: BUILTIN_PROGRAMS,
    });

  it('at any byte: an error with a place in the file and a fix, or a topology', () => {
    for (let end = 0; end < EXAMPLE_TOPOLOGY.length; end += 5) {
      const text = EXAMPLE_TOPOLOGY.slice(0, end);
      const { topology, diagnostics } = check(text);
      if (topology !== undefined) continue;
      expect(diagnostics.some(({ severity }) => severity === 'error')).toBe(true);
      const lines = text.split('\n').length;
      expect(diagnostics.filter(({ place, fix }) => place.line < 1 || place.line > lines || fix === '')).toEqual([]);
    }
  });

  it.each([
    ['topology', EXAMPLE_TOPOLOGY],
    ['board', EXAMPLE_BOARD],
  ] as const)('a %s with other characters in it never makes us throw', (what, good) => {
    const piece = fc.oneof(
      fc.constantFrom(
        '[',
        ']',
        '{',
        '}',
        ':',
        ', ',
        '\n',
        '- ',
        '&a ',
        '*a',
        '0x',
        '-1',
        '1.5',
        'null',
        '"',
        '#',
        '  ',
        '2GiB',
        'type',
      ),
      fc.string({ maxLength: 4 }),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: good.length }), fc.nat({ max: 6 }), piece), { maxLength: 4 }),
        (changes) => {
          let text = good;
          for (const [at, cut, put] of changes) text = text.slice(0, at) + put + text.slice(at + cut);
          const { diagnostics } = what === 'board' ? parseBoard(text, 'bad.yaml') : check(text);
          return diagnostics.every(({ place, message, fix }) => place.line >= 1 && message !== '' && fix !== '');
        },
      ),
      { numRuns: 100 },
    );
  });
});
