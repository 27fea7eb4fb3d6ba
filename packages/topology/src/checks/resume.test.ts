import { keptStateBytes } from '@remio/virtqueue';
import { expect, it } from 'vitest';
import { BUILTIN_PROGRAMS, EXAMPLE_TOPOLOGY, type Parsed, parseTopology } from '../index.js';

const parse = (text: string): Parsed =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: {
      imageProblem: () => undefined,
      directoryProblem: () => undefined,
      socketProblem: () => undefined,
      exists: () => true,
    },
    programs: BUILTIN_PROGRAMS,
  });

const ON = 'on_backend_loss: resume';
const disk = (...more: readonly (readonly [from: string, to: string])[]): Parsed =>
  parse(
    [['interrupt: 40', `interrupt: 40\n        ${ON}`] as const, ...more].reduce(
      (text, [from, to]) => text.replace(from, to),
      EXAMPLE_TOPOLOGY,
    ),
  );

const told = ({ diagnostics }: Parsed): readonly string[] =>
  diagnostics.filter(({ rule }) => rule === 'resume').map(({ place, message }) => `${place.line}: ${message}`);

it('a disk resumes, with room for the state that outlives its process, and without packed rings', () => {
  const { topology, diagnostics } = disk();
  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  const end = topology?.vms[0]?.remioDevs[0];
  expect(end?.resume).toBe(keptStateBytes(1, 256));
  const plain = parse(EXAMPLE_TOPOLOGY).topology?.vms[0]?.remioDevs[0];
  expect(plain?.resume).toBeUndefined();
  expect(plain?.ring).not.toBe(end?.ring);
});

it('the largest disk that there may be has room as well', () => {
  const { topology } = disk(
    ['queues: 1 }', 'queues: 64, queue_size: 32768 }'],
    ['disk: { size: 1MiB, phys: 0x30000000 }', 'disk: { size: 128MiB }'],
    ['memory: log, base: 0xd1000000', 'memory: log, base: 0xe0000000'],
    ['memory: log, base: 0xd1000000', 'memory: log, base: 0xe0000000'],
  );
  expect(topology?.vms[0]?.remioDevs[0]?.resume).toBe(keptStateBytes(64, 32768));
});

it.each<[string, Parsed, RegExp]>([
  [
    'another device',
    parse(EXAMPLE_TOPOLOGY.replace('interrupt: 41', `interrupt: 41\n        ${ON}`)),
    /^20: a console/,
  ],
  ['a module', disk(['{ type: block, image: disk.img, queues: 1 }', '{ module: ./disk.js }']), /^14: .*of a module/],
  ['the frontend', parse(EXAMPLE_TOPOLOGY.replace('interrupt: 79', `interrupt: 79\n        ${ON}`)), /^39: a frontend/],
  ['packed rings', disk([ON, `${ON}\n        ring: { packed: true }`]), /^14: .*packed/],
  ['memory of another process', disk(['phys: 0x30000000 }', 'via: service }']), /^14: .*via: service/],
  ['the reference', disk(['board: zcu104', 'board: zcu104\nprofile: reference']), /^15: .*reference/],
])('%s does not resume, and is told so at its line', (_, parsed, message) => {
  expect(told(parsed)).toEqual([expect.stringMatching(message)]);
});
