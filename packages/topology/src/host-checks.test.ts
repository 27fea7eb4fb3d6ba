import { describe, expect, it } from 'vitest';
import { BUILTIN_PROGRAMS, type Parsed, parseTopology, starTopology } from './index.js';

const parse = (text: string): Parsed =>
  parseTopology(text, 'star.yaml', {
    resolve: (path) => `/there/${path}`,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });

/** Two backends with two devices each, and four guests. */
const star = (hosts: string): Parsed =>
  parse(
    `${starTopology({ arch: 'riscv64', frontends: 4, vcpus: 1, perBackend: 2, work: 'rng', amount: 64 })}hosts: { ${hosts} }\n`,
  );

const messages = (hosts: string): readonly string[] =>
  star(hosts).diagnostics.map(({ rule, path, message }) => `${rule} ${path}: ${message}`);

describe('hosts', () => {
  it('are processes that run several VMs', () => {
    const { topology, diagnostics } = star('devices: [backend0, backend1], guests: [guest1, guest3]');
    expect(diagnostics).toEqual([]);
    expect(topology?.hosts).toEqual([
      { name: 'devices', vms: [0, 1] },
      { name: 'guests', vms: [3, 5] },
    ]);
  });

  it('do not make another platform: peers on other hosts attach', () => {
    expect(star('guests: [guest1, guest3]').topology?.digest).toBe(star('').topology?.digest);
  });

  it.each([
    ['a VM that is not there', 'a: [guest9]', ['host hosts.a[0]: there is no VM guest9']],
    ['no VM', 'a: []', ['host hosts.a: host a runs no VM']],
    ['a VM on two hosts', 'a: [guest0], b: [guest1, guest0]', ['host hosts.b[1]: VM guest0 is on host a already']],
    [
      'a backend beside a frontend',
      'a: [guest0, backend1]',
      ['host hosts.a[1]: VM backend1 serves devices, and guest0 uses them: they run in different programs'],
    ],
    ['the name of a VM elsewhere', 'guest1: [guest0]', ['host hosts.guest1: guest1 is the name of another process']],
    [
      'the name of the hypervisor',
      'hypervisor: [guest0]',
      ['host hosts.hypervisor: hypervisor is the name of another process'],
    ],
  ])('are refused with %s', (_, hosts, expected) => {
    expect(messages(hosts)).toEqual(expected);
  });
});

describe('a generated star', () => {
  it.each([
    { arch: 'aarch64', frontends: 1, vcpus: 1, perBackend: 1, work: 'idle', amount: 1 },
    { arch: 'riscv64', frontends: 7, vcpus: 3, perBackend: 3, work: 'ping', amount: 10 },
    { arch: 'aarch64', frontends: 250, vcpus: 2, perBackend: 200, work: 'rng', amount: 4096 },
  ] as const)('is a good topology: %o', (options) => {
    const { topology, diagnostics } = parse(starTopology(options));
    expect(diagnostics).toEqual([]);
    expect(topology?.vms.length).toBe(options.frontends + Math.ceil(options.frontends / options.perBackend));
    expect(topology?.vms.flatMap((vm) => vm.cpus).length).toBe(topology?.board.cpus.length);
  });
});
