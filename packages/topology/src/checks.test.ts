import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BUILTIN_PROGRAMS, type Parsed, parseTopology, renderDiagnostics, TOPOLOGY_RULES } from './index.js';

const root = join(import.meta.dirname, '..', '..', '..');

const parse = (text: string, problem?: string): Parsed =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: {
      imageProblem: () => problem,
      directoryProblem: () => problem,
      exists: (path) => path !== '/there/missing.js',
    },
    programs: BUILTIN_PROGRAMS,
  });

const GOOD = `board: qemu-aarch64-virt
shared_memories:
  m0: { size: 1MiB }
  m1: { size: 1MiB }
vms:
  back:
    cpus: [0]
    memory: [{ base: 0x80000000, size: 1MiB }]
    program: dispatcher
    remio_devs:
      - { name: d0, type: backend, bind_key: 1, interrupt: 40, shmem: { memory: m0, base: 0xd0000000 }, device: { type: block, image: a.img } }
      - { name: d1, type: backend, bind_key: 2, interrupt: 41, shmem: { memory: m1, base: 0xd1000000 }, device: { type: block, image: a.img } }
  front:
    cpus: 1
    program: idle
    remio_devs:
      - { name: d0, type: frontend, bind_key: 1, window: { base: 0xa003c00 }, interrupt: 78, shmem: { memory: m0, base: 0xd0000000 } }
      - { name: d1, type: frontend, bind_key: 2, window: { base: 0xa003e00 }, interrupt: 79, shmem: { memory: m1, base: 0xd1000000 } }
`;

/** A wrong change of the good topology: the rule that tells, where, and what it says. */
const WRONG: readonly (readonly [rule: string, from: string, to: string, place: string, says: string])[] = [
  ['syntax', 'vms:', 'vms: [', '', 'not YAML'],
  ['schema', 'board: ', 'bord: ', '1:1', 'no field `bord`'],
  ['schema', 'cpus: 1', 'cpus: one', '14:11', 'a number of CPUs'],
  ['schema', '    cpus: 1\n', '', '', 'missing'],
  ['driver', '    program: idle\n', '', '', 'nothing drives d0'],
  ['board', 'qemu-aarch64-virt', 'zcu103', '1:8', 'no board is called zcu103'],
  ['vm-cpus', 'cpus: 1', 'cpus: 0', '14:11', 'no CPU'],
  ['cpu-taken', 'cpus: 1', 'cpus: 4', '14:11', 'wants 4 CPUs; 3 of 4 are free'],
  ['cpu-taken', 'cpus: 1', 'cpus: [0]', '14:12', 'CPU 0 is of VM back'],
  ['cpu-unknown', 'cpus: [0]', 'cpus: [4]', '7:12', 'no CPU 4'],
  [
    'shared-memory-unknown',
    'memory: m1, base: 0xd1000000 } }\n',
    'memory: m2, base: 0xd1000000 } }\n',
    '',
    'no shared memory m2',
  ],
  ['shared-memory-size', 'm0: { size: 1MiB }', 'm0: { size: 100 }', '3:15', 'whole number of pages'],
  ['alignment', 'base: 0x80000000', 'base: 0x80000100', '8:14', 'whole pages'],
  ['overlap', 'base: 0x80000000', 'base: 0xd0000000', '11:64', 'overlaps the memory'],
  ['interrupt-range', 'interrupt: 78', 'interrupt: 27', '', 'no shared interrupt'],
  ['interrupt-twice', 'interrupt: 78', 'interrupt: 79', '', 'that of d0 as well'],
  ['bind-key', 'backend, bind_key: 2', 'backend, bind_key: 3', '', 'has no'],
  ['bind-key', 'frontend, bind_key: 2', 'frontend, bind_key: 1', '', 'has a frontend already'],
  ['window', 'window: { base: 0xa003c00 }', 'window: { base: 0xa003c00, size: 16 }', '', 'at least 0x200'],
  [
    'device-model',
    ', device: { type: block, image: a.img } }\n      - { name: d1',
    ' }\n      - { name: d1',
    '',
    'no device model',
  ],
  ['vcpu', 'interrupt: 40,', 'interrupt: 40, vcpu: 1,', '11:70', 'VM back has no vCPU 1; it has 1'],
  ['vcpu', 'interrupt: 40,', 'interrupt: 40, queue_vcpus: [0, 0],', '', 'd0 has 1 queue, and 2 are placed'],
  ['vcpu', 'interrupt: 40,', 'interrupt: 40, queue_vcpus: [2],', '11:78', 'VM back has no vCPU 2'],
  ['vcpu', 'interrupt: 78,', 'interrupt: 78, queue_vcpus: [0],', '', 'program idle uses every queue of d0 on one'],
  ['module', 'program: idle', 'program: { module: missing.js }', '15:5', 'no file /there/missing.js'],
  ['program', 'program: idle', 'program: fly', '15:14', 'no built-in program fly'],
  ['reference-limits', 'board:', 'profile: reference\nboard:', '', ''],
  ['windows-touch', 'board:', 'profile: reference\nboard:', '', 'sends the first byte of d1 to d0'],
];

/** {@link GOOD} with IPC between its VMs, over a memory of its own. */
const TALKING = GOOD.replace('  m1: ', '  mail: { size: 64KiB }\n  m1: ')
  .replace(
    '  front:\n',
    `    ipcs:
      - { memory: mail, base: 0xf0000000, interrupts: [52, 53] }
  front:
`,
  )
  .concat(`    ipcs:
      - { memory: mail, base: 0xe0000000, size: 0x8000, interrupts: [60], driver: { type: exchange, side: first } }
`);

describe('IPC', () => {
  it('is read as it is written, in the order in which it is', () => {
    const { topology, diagnostics } = parse(TALKING);
    expect(diagnostics).toEqual([]);
    expect(topology?.vms.map(({ ipcs }) => ipcs)).toEqual([
      [
        {
          index: 0,
          name: 'mail',
          size: 0x1_0000,
          shmem: { id: 1, base: 0xf000_0000n, size: 0x1_0000 },
          interrupts: [52, 53],
        },
      ],
      [
        {
          index: 0,
          name: 'mail',
          size: 0x8000,
          shmem: { id: 1, base: 0xe000_0000n, size: 0x8000 },
          interrupts: [60],
          driver: { type: 'exchange', options: { side: 0, messages: 1000, size: 256, seed: 1 } },
        },
      ],
    ]);
    expect(topology?.digest).not.toBe(parse(GOOD).topology?.digest);
    expect(topology?.digest).not.toBe(parse(TALKING.replace('[60]', '[61]')).topology?.digest);
    expect(topology?.digest).toBe(parse(TALKING.replace('side: first', 'side: second')).topology?.digest);
  });

  it.each([
    [
      'shared-memory-unknown',
      'memory: mail, base: 0xf0000000',
      'memory: male, base: 0xf0000000',
      'no shared memory male',
    ],
    ['alignment', 'base: 0xf0000000', 'base: 0xf0000010', 'whole pages'],
    ['alignment', 'size: 0x8000', 'size: 0x8010', 'whole pages'],
    ['overlap', 'base: 0xf0000000', 'base: 0xd0000000', 'overlaps the shared memory of d0'],
    ['interrupt-range', '[52, 53]', '[52, 27]', 'interrupt 27 is no shared interrupt'],
    ['interrupt-twice', '[52, 53]', '[52, 40]', 'interrupt 40 is that of d0 as well'],
    ['interrupt-twice', '[52, 53]', '[52, 52]', 'that of event 0 of mail as well'],
    ['ipc-size', 'size: 0x8000', 'size: 0x11000', 'cuts the rest off'],
    ['ipc-size', 'size: 0x8000', 'size: 0', 'maps nothing'],
    [
      'ipc-twice',
      'interrupts: [52, 53] }',
      'interrupts: [52, 53] }\n      - { memory: mail, base: 0xf1000000, interrupts: [54] }',
      'never rung',
    ],
    ['schema', 'interrupts: [52, 53]', 'interrupt: 52', '`interrupt`'],
    ['schema', 'type: exchange', 'type: change', 'docs/ipc.md'],
  ])('%s: %s becomes %s', (rule, from, to, says) => {
    expect(TALKING).toContain(from);
    const { topology, diagnostics } = parse(TALKING.replace(from, to));
    expect(topology).toBeUndefined();
    expect(diagnostics.map((each) => `${each.rule}: ${each.message}`).join('\n')).toMatch(
      new RegExp(`${rule}: .*${says}`),
    );
  });

  it('of the reference may be wrong in the ways in which the reference takes it', () => {
    const wrong = TALKING.replace('size: 0x8000', 'size: 0x11000').replace(
      'interrupts: [52, 53] }',
      'interrupts: [52, 53] }\n      - { memory: mail, base: 0xf1000000, interrupts: [54] }',
    );
    const { topology, diagnostics } = parse(`profile: reference\n${wrong}`.replace('0xa003e00', '0xa004000'));
    expect(diagnostics.map(({ severity, rule }) => [severity, rule])).toEqual([
      ['warning', 'ipc-twice'],
      ['warning', 'ipc-size'],
    ]);
    expect(topology?.vms[1]?.ipcs[0]).toMatchObject({ size: 0x1_1000, shmem: { size: 0x1_0000 } });
  });

  it('ipc-peer: a warning where nobody hears, or a device has the memory', () => {
    const alone = TALKING.slice(0, TALKING.lastIndexOf('    ipcs:'));
    expect(parse(alone)).toMatchObject({
      topology: {},
      diagnostics: [{ rule: 'ipc-peer', severity: 'warning', message: expect.stringContaining('only back') }],
    });
    const crowded = TALKING.replaceAll('memory: mail', 'memory: m0');
    expect(parse(crowded.replace('base: 0xf0000000', 'base: 0xe0000000'))).toMatchObject({
      topology: {},
      diagnostics: [{ rule: 'ipc-peer', severity: 'warning', message: expect.stringContaining('device d0') }],
    });
  });
});

describe('the rules', () => {
  it('let a good topology through', () => {
    const { topology, diagnostics } = parse(GOOD);
    expect(diagnostics).toEqual([]);
    expect(topology?.vms.map((vm) => vm.cpus)).toEqual([[0], [1]]);
    expect(topology?.vms[0]?.remioDevs[0]?.window).toEqual(topology?.vms[1]?.remioDevs[0]?.window);
  });

  it.each(WRONG.filter(([rule]) => rule !== 'reference-limits'))('%s: %s becomes %s', (rule, from, to, place, says) => {
    expect(GOOD).toContain(from);
    const { topology, diagnostics } = parse(GOOD.replace(from, to));
    const found = diagnostics.find((diagnostic) => diagnostic.rule === rule && diagnostic.message.includes(says));
    expect(diagnostics.map((diagnostic) => `${diagnostic.rule}: ${diagnostic.message}`).join('\n')).toContain(says);
    expect(found).toBeDefined();
    expect(found?.fix).not.toBe('');
    if (place !== '') expect(`${found?.place.line}:${found?.place.column}`).toBe(place);
    expect(topology).toBeUndefined();
  });

  it('reference-limits: an error under reference, a warning under hardened', () => {
    const wide = GOOD.replaceAll('bind_key: 1', 'bind_key: 256');
    expect(parse(wide)).toMatchObject({
      topology: {},
      diagnostics: [{ severity: 'warning' }, { severity: 'warning' }],
    });
    const strict = parse(`profile: reference\n${wide}`);
    expect(strict.topology).toBeUndefined();
    expect(strict.diagnostics.filter(({ rule }) => rule === 'reference-limits')).toHaveLength(2);
  });

  it('shmem-mismatch and shared-memory-twice', () => {
    const elsewhere = GOOD.replace(
      'interrupt: 78, shmem: { memory: m0, base: 0xd0000000 }',
      'interrupt: 78, shmem: { memory: m0, base: 0xd2000000 }',
    );
    expect(parse(elsewhere).diagnostics.map(({ rule }) => rule)).toEqual(['shmem-mismatch']);
    expect(parse(GOOD.replaceAll('memory: m1', 'memory: m0')).diagnostics.map(({ rule }) => rule)).toContain(
      'shared-memory-twice',
    );
  });

  it('image: what the file system says', () => {
    expect(parse(GOOD, 'image is odd').diagnostics.map(({ rule }) => rule)).toEqual(['image', 'image']);
  });

  it('directory: what the file system says', () => {
    const shared = GOOD.replace('{ type: block, image: a.img }', '{ type: fs, tag: share, directory: there }');
    expect(parse(shared).diagnostics).toEqual([]);
    expect(parse(shared, 'it is odd').diagnostics).toMatchObject([
      { rule: 'directory', path: 'vms.back.remio_devs[0].device.directory', message: 'it is odd' },
      { rule: 'image' },
    ]);
    expect(parse(shared.replace('tag: share', `tag: ${'ü'.repeat(19)}`)).diagnostics[0]?.rule).toBe('schema');
  });

  it.each([
    ['{ type: i2c, chips: [{ type: lm75, address: 0x48, millicelsius: -20000 }] }', undefined],
    ['{ type: i2c, chips: [{ type: lm75, address: 0x48, millicelsius: 126000 }] }', 'from -55000 to 125000'],
    ['{ type: i2c, chips: [{ type: eeprom, address: 0x78 }] }', 'from 0x08 to 0x77'],
    [
      '{ type: i2c, chips: [{ type: eeprom, address: 80 }, { type: lm75, address: 80, millicelsius: 0 }] }',
      'different addresses',
    ],
    ['{ type: gpio, lines: [{ name: a }, { wire: a, pull: up }] }', undefined],
    ['{ type: gpio, lines: [{ name: a }, { wire: b }] }', 'lines of this device'],
    ['{ type: gpio, lines: [{ name: a }, { name: a }] }', 'different names'],
    ['{ type: gpio, lines: [] }', ''],
  ])('buses: chips and lines of %s', (device, problem) => {
    const { diagnostics } = parse(GOOD.replace('{ type: block, image: a.img }', device));
    expect(diagnostics.map(({ rule }) => rule)).toEqual(problem === undefined ? [] : ['schema']);
    expect(diagnostics[0]?.message ?? '').toContain(problem ?? '');
  });

  it('vcpu: queues of each device may be placed as far as the device has some', () => {
    const queues: readonly (readonly [string, number])[] = [
      ['{ type: block, image: a.img, queues: 3 }', 3],
      ['{ type: console, ports: [{ listen: a }] }', 2],
      ['{ type: console, ports: [{ listen: a, name: n }] }', 4],
      ['{ type: console, ports: [{ listen: a }, { listen: b }, { listen: c }] }', 8],
      ['{ type: entropy }', 1],
      ['{ type: fs, tag: share, directory: there, queues: 2 }', 3],
      ['{ type: gpio, lines: [{}] }', 2],
      ['{ type: i2c, chips: [] }', 1],
      ['{ type: net, switch: lan, queue_pairs: 2 }', 5],
      ['{ type: vsock, cid: 3, uds: v }', 3],
    ];
    for (const [device, count] of queues) {
      const placed = (n: number): string =>
        GOOD.replace('{ type: block, image: a.img }', device).replace(
          'interrupt: 40,',
          `interrupt: 40, queue_vcpus: [${Array.from({ length: n }, () => 0).join(', ')}],`,
        );
      expect(parse(placed(count)).diagnostics).toEqual([]);
      expect(parse(placed(count + 1)).diagnostics.map(({ rule }) => rule)).toEqual(['vcpu']);
    }
  });

  it('vm-cycle: a warning for VMs with one vCPU that wait for each other', () => {
    const circle = GOOD.replace(
      'd1, type: backend, bind_key: 2, interrupt: 41,',
      'd1, type: frontend, window: { base: 0xa003e00 }, driver: { type: probe }, bind_key: 2, interrupt: 41,',
    )
      .replace(', device: { type: block, image: a.img } }\n  front', ' }\n  front')
      .replace(
        'd1, type: frontend, bind_key: 2, window: { base: 0xa003e00 }, interrupt: 79, shmem: { memory: m1, base: 0xd1000000 } }',
        'd1, type: backend, bind_key: 2, interrupt: 79, shmem: { memory: m1, base: 0xd1000000 }, device: { type: block, image: a.img } }',
      );
    expect(parse(circle)).toMatchObject({ topology: {}, diagnostics: [{ rule: 'vm-cycle', severity: 'warning' }] });
    expect(parse(circle.replace('cpus: [0]', 'cpus: [0, 1]')).diagnostics).toEqual([]);
  });

  it('are all on the page', () => {
    const page = readFileSync(join(root, 'docs', 'topology.md'), 'utf8');
    expect(Object.keys(TOPOLOGY_RULES).filter((rule) => !page.includes(`| \`${rule}\` |`))).toEqual([]);
  });
});

describe('a topology', () => {
  it('keeps 64-bit numbers whole', () => {
    const key = 2n ** 64n - 2n;
    expect(parse(GOOD.replaceAll('bind_key: 1', `bind_key: ${key}`)).topology?.vms[0]?.remioDevs[0]?.bindKey).toBe(key);
    expect(parse(GOOD.replaceAll('bind_key: 1', `bind_key: ${2n ** 64n}`)).diagnostics[0]?.rule).toBe('schema');
  });

  it('has a digest of the machine: not of comments, formatting or images', () => {
    const digest = parse(GOOD).topology?.digest;
    expect(
      parse(`# a comment\n${GOOD.replaceAll('a.img', 'b.img').replace('0x80000000', '2147483648')}`).topology?.digest,
    ).toBe(digest);
    expect(parse(GOOD.replace('interrupt: 78', 'interrupt: 77')).topology?.digest).not.toBe(digest);
  });

  it('is shown as a compiler shows a program', () => {
    const text = GOOD.replace('cpus: 1', 'cpus: 4');
    expect(
      renderDiagnostics(parse(text).diagnostics, text),
    ).toBe(`test.yaml:14:11: error[cpu-taken]: VM front wants 4 CPUs; 3 of 4 are free
   |
14 |     cpus: 4
   |           ^ vms.front.cpus
   = fix: give the VMs 4 CPUs together, or choose a larger board (synthetic-aarch64 has any number)`);
  });

  const shipped = readdirSync(join(root, 'deploy', 'topologies')).filter((name) => name.endsWith('.yaml'));
  it.each(shipped)('%s, which is shipped, is good', (name) => {
    const { diagnostics } = parse(readFileSync(join(root, 'deploy', 'topologies', name), 'utf8'));
    expect(diagnostics).toEqual([]);
  });
});
