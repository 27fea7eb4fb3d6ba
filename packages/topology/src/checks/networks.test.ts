import { describe, expect, it } from 'vitest';
import { BUILTIN_PROGRAMS, type DeviceRef, type NetModelOptions, type Parsed, parseTopology } from '../index.js';

const end = (n: number, type: string, rest: string): string =>
  `      - { name: n${n}, type: ${type}, bind_key: ${n}, interrupt: ${40 + n}, shmem: { memory: m${n}, base: 0x${(0xd000_0000 + n * 0x10_0000).toString(16)} }, ${rest} }`;

/** Three devices of two backends, and their frontends. */
const topology = (devices: readonly [string, string, string], drivers: readonly string[] = []): string =>
  [
    'board: { name: synthetic-riscv64, cpus: 8 }',
    'shared_memories: { m0: { size: 1MiB }, m1: { size: 1MiB }, m2: { size: 1MiB } }',
    'vms:',
    '  back0:',
    '    cpus: 1',
    '    remio_devs:',
    ...[0, 1].map((n) => end(n, 'backend', `device: { type: net, ${devices[n]} }`)),
    '  back1:',
    '    cpus: 1',
    '    remio_devs:',
    end(2, 'backend', `device: { type: net, ${devices[2]} }`),
    '  front:',
    '    cpus: 1',
    '    remio_devs:',
    ...[0, 1, 2].map((n) =>
      end(
        n,
        'frontend',
        `window: { base: 0x${(0xa00_0000 + n * 0x1000).toString(16)} }, driver: { ${drivers[n] ?? 'type: probe'} }`,
      ),
    ),
  ].join('\n');

const parse = (text: string): Parsed =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });

const netOf = (ref: DeviceRef | undefined): NetModelOptions | undefined =>
  ref?.kind === 'builtin' && ref.choice.type === 'net' ? ref.choice.options : undefined;

describe('network devices', () => {
  it('are at a switch or a TAP interface, with addresses of their own', () => {
    const parsed = parse(topology(['switch: lan', 'switch: { name: lan, capture: a.pcapng }', 'tap: tap0, mtu: 9000']));
    expect(parsed.diagnostics).toEqual([]);
    const [back0, back1] = parsed.topology?.vms ?? [];
    const [n0, n1] = (back0?.remioDevs ?? []).map(({ device }) => netOf(device));
    expect(n0?.link).toEqual({ kind: 'switch', name: 'lan' });
    expect(n1?.link).toEqual({ kind: 'switch', name: 'lan', capture: '/there/a.pcapng' });
    expect(n0?.mac).not.toBe(n1?.mac);
    expect(netOf(back1?.remioDevs[0]?.device)).toMatchObject({ link: { kind: 'tap', name: 'tap0' }, mtu: 9000 });
  });

  it.each<readonly [string, readonly [string, string, string], readonly string[], string, string]>([
    ['no link', ['mtu: 1500', 'switch: a', 'switch: b'], [], 'n0', 'not at a link'],
    ['two links', ['switch: a, tap: t', 'switch: a', 'switch: b'], [], 'n0', 'at two links'],
    ['a switch of two VMs', ['switch: a', 'switch: a', 'switch: a'], [], 'n2', 'one of VM back0'],
    [
      'one MAC address twice at a switch',
      ['switch: a, mac: 02:00:00:00:00:01', 'switch: a, mac: 02:00:00:00:00:01', 'switch: b'],
      [],
      'n1',
      'MAC address of n0 as well',
    ],
    ['one TAP interface of two devices', ['tap: t', 'tap: t', 'switch: b'], [], 'n1', 'that of n0 as well'],
    [
      'one TAP interface of a device and a driver',
      ['tap: t', 'switch: a', 'switch: b'],
      ['type: probe', 'type: tap, name: t'],
      'n1',
      'interface t is that of n0',
    ],
    [
      'two captures of a switch',
      ['switch: { name: a, capture: x }', 'switch: { name: a, capture: y }', 'switch: b'],
      [],
      'n1',
      'captured to /there/x already',
    ],
  ])('%s: an error with its place and what to do', (_, devices, drivers, name, says) => {
    const text = topology(devices, drivers);
    const { topology: built, diagnostics } = parse(text);
    expect(built).toBeUndefined();
    expect(diagnostics).toHaveLength(1);
    expect(diagnostics[0]).toMatchObject({ rule: 'network', message: expect.stringContaining(says) });
    expect(diagnostics[0]?.fix).not.toBe('');
    expect(text.split('\n')[(diagnostics[0]?.place.line ?? 0) - 1]).toContain(`name: ${name},`);
  });

  it.each([
    ['a group\u2019s address', 'switch: a, mac: 01:00:5e:00:00:01'],
    ['half an address', 'switch: a, mac: 02:00:00'],
    ['an MTU that is too small', 'switch: a, mtu: 67'],
    ['an interface name that is too long', 'tap: a234567890123456'],
    ['no queue pairs', 'switch: a, queue_pairs: 0'],
  ])('%s: refused', (_, device) => {
    expect(parse(topology([device, 'switch: a', 'switch: b'])).diagnostics[0]?.rule).toBe('schema');
  });

  it.each([
    ['an address without a prefix', 'type: netstack, ip: 10.0.0.1'],
    ['an address that is none', 'type: netstack, ip: 10.0.0.1/24, ping: { to: 10.0.0 }'],
    ['a port that is none', 'type: netstack, ip: 10.0.0.1/24, udp: { to: 10.0.0.2, port: 0 }'],
  ])('a station with %s: refused', (_, driver) => {
    expect(parse(topology(['switch: a', 'switch: a', 'switch: b'], [driver])).diagnostics[0]?.rule).toBe('schema');
  });
});
