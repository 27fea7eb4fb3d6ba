import { describe, expect, it } from 'vitest';
import { BUILTIN_PROGRAMS, type Parsed, parseTopology } from '../index.js';

const end = (n: number, type: string, rest: string): string =>
  `      - { name: v${n}, type: ${type}, bind_key: ${n}, interrupt: ${40 + n}, shmem: { memory: m${n}, base: 0x${(0xd000_0000 + n * 0x10_0000).toString(16)} }, ${rest} }`;

/** Socket devices of two backends, the third at the second, and their guest with a driver for each. */
const topology = (devices: readonly [string, string, string], dial = 'port: 1'): string =>
  [
    'board: { name: synthetic-riscv64, cpus: 8 }',
    'shared_memories: { m0: { size: 1MiB }, m1: { size: 1MiB }, m2: { size: 1MiB } }',
    'vms:',
    '  back0:',
    '    cpus: 1',
    '    remio_devs:',
    ...[0, 1].map((n) => end(n, 'backend', `device: { type: vsock, ${devices[n]} }`)),
    '  back1:',
    '    cpus: 1',
    '    remio_devs:',
    end(2, 'backend', `device: { type: vsock, ${devices[2]} }`),
    '  front:',
    '    cpus: 1',
    '    remio_devs:',
    ...[0, 1, 2].map((n) => {
      const driver = n === 0 ? `dial: [{ listen: d, ${dial} }]` : 'accept: []';
      const window = `window: { base: 0x${(0xa00_0000 + n * 0x1000).toString(16)} }`;
      return end(n, 'frontend', `${window}, driver: { type: vsock, ${driver} }`);
    }),
  ].join('\n');

const parse = (text: string): Parsed =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: {
      imageProblem: () => undefined,
      directoryProblem: () => undefined,
      socketProblem: (path) => (path.includes('odd') ? `socket ${path} is odd` : undefined),
      exists: () => true,
    },
    programs: BUILTIN_PROGRAMS,
  });

const GOOD = ['cid: 3, uds: a, group: g', 'cid: 4, group: g', 'cid: 5, uds: b'] as const;

describe('socket devices', () => {
  it.each(['port: 1', 'port: 1, cid: 2', 'port: 1, cid: 4'])('reach the host and their group: dial %s', (dial) => {
    const { topology: built, diagnostics } = parse(topology(GOOD, dial));
    expect(diagnostics).toEqual([]);
    expect(built?.vms[0]?.remioDevs[1]?.device).toEqual({
      kind: 'builtin',
      choice: { type: 'vsock', options: { cid: 4, group: 'g' } },
    });
  });

  it.each<readonly [string, readonly [string, string, string], string, string, string, string, string]>([
    [
      'one CID twice',
      ['cid: 3, uds: a', 'cid: 4, uds: c', 'cid: 3, uds: b'],
      '',
      'vsock',
      'v2',
      'CID 3 is that of v0',
      '5',
    ],
    [
      'a group of two VMs',
      ['cid: 3, group: g', 'cid: 4, uds: c', 'cid: 5, group: g'],
      '',
      'vsock',
      'v2',
      'of VM back0',
      'back0',
    ],
    [
      'a guest of no group',
      ['cid: 3, uds: a', 'cid: 4, uds: c', 'cid: 5, uds: b'],
      'port: 1, cid: 4',
      'vsock',
      'v0',
      'nobody with CID 4',
      'group',
    ],
    ['a guest of another group', GOOD, 'port: 1, cid: 5', 'vsock', 'v0', 'nobody with CID 5', '2 or 4'],
    ['itself', GOOD, 'port: 1, cid: 3', 'vsock', 'v0', 'nobody with CID 3', '2 or 4'],
    ['one socket twice', ['cid: 3, uds: a', 'cid: 4, uds: a', 'cid: 5, uds: b'], '', 'line', 'v1', 'of v0', 'own'],
    [
      'a socket of a device and a driver',
      ['cid: 3, uds: a', 'cid: 4, uds: d', 'cid: 5, uds: b'],
      '',
      'line',
      'v0',
      'of v1',
      'own',
    ],
    [
      'a path that the system does not take',
      ['cid: 3, uds: odd', 'cid: 4, uds: c', 'cid: 5, uds: b'],
      '',
      'socket',
      'v0',
      '/there/odd_4294967295 is odd',
      'shorter',
    ],
  ])('%s: an error with its place and what to do', (_, devices, dial, rule, name, says, fix) => {
    const text = topology(devices, dial === '' ? undefined : dial);
    const { topology: built, diagnostics } = parse(text);
    expect(built).toBeUndefined();
    expect(diagnostics).toMatchObject([{ rule, message: expect.stringContaining(says) }]);
    expect(diagnostics[0]?.fix).toContain(fix);
    expect(text.split('\n')[(diagnostics[0]?.place.line ?? 0) - 1]).toContain(`name: ${name},`);
  });

  it.each(['cid: 2, uds: x', 'cid: 4294967295, uds: x', 'uds: x', 'cid: 3'])('%s: refused', (device) => {
    expect(parse(topology([device, 'cid: 4, uds: c', 'cid: 5, uds: b'])).diagnostics[0]?.rule).toBe('schema');
  });
});
