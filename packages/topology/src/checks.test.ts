import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  BUILTIN_PROGRAMS,
  EXAMPLE_BOARD,
  EXAMPLE_TOPOLOGY,
  exampleFiles,
  type Parsed,
  type Place,
  parseBoard,
  parseTopology,
  RULE_EXAMPLES,
  renderDiagnostics,
  TOPOLOGY_RULES,
} from './index.js';

const root = join(import.meta.dirname, '..', '..', '..');

const parse = (text: string, problem?: string): Parsed =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: {
      imageProblem: (path) => (path === '/there/missing.img' ? 'there is no image' : problem),
      directoryProblem: (path) => (path === '/there/missing' ? 'there is no directory' : problem),
      socketProblem: (path) => (path.startsWith('/there/missing/') ? 'there is no directory' : undefined),
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
      - { name: d0, type: frontend, bind_key: 1, window: { base: 0xa003e00 }, interrupt: 78, shmem: { memory: m0, base: 0xd0000000 } }
      - { name: d1, type: frontend, bind_key: 2, window: { base: 0xa003c00 }, interrupt: 79, shmem: { memory: m1, base: 0xd1000000 } }
`;

/** The same, with the lower window first. */
const GOOD_TOUCHING = GOOD.replace('0xa003e00', '0xa003a00');

/** A wrong change of the good topology: the rule that tells, the text at the place that it names, and what it says. */
const WRONG: readonly (readonly [rule: string, from: string, to: string, at: string, says: string])[] = [
  ['syntax', 'vms:', 'vms: [', '', 'not YAML'],
  ['syntax', 'cpus: 1', 'cpus: 1\n    cpus: 1', 'cpus: 1\n    program', '`cpus` is there already'],
  ['syntax', 'cpus: 1', 'cpus: *one', '*one', 'no anchor &one'],
  ['schema', 'board: ', 'bord: ', 'bord:', 'no field `bord`'],
  ['schema', 'cpus: 1', 'cpus: one', 'one', 'a number of CPUs'],
  ['schema', '    cpus: 1\n', '', 'front:', '`vms.front.cpus` is missing'],
  ['schema', 'type: backend', 'type: backed', 'backed,', 'no `backed` here'],
  ['schema', 'type: block', 'type: blok', 'blok,', 'no `blok` here'],
  ['schema', 'image: a.img', 'imag: a.img', 'imag:', 'no field `imag`'],
  ['schema', 'image: a.img', 'image: 5', '5 }', 'expected a text, not an integer'],
  ['schema', 'bind_key: 1,', 'bind_key: 1.5,', '1.5', 'an integer'],
  ['driver', '    program: idle\n', '', '', 'nothing drives d0'],
  ['board', 'qemu-aarch64-virt', 'zcu103', 'zcu103', 'no board is called zcu103'],
  ['cpu-none', 'cpus: 1', 'cpus: 0', '0\n', 'no CPU'],
  ['cpu-oversubscribed', 'cpus: 1', 'cpus: 4', '4\n', 'wants 4 CPUs; 3 of 4 are free'],
  ['cpu-taken', 'cpus: 1', 'cpus: [0]', '0]\n    program: idle', 'CPU 0 is of VM back'],
  ['cpu-taken', 'cpus: [0]', 'cpus: [0, 0]', '0]', 'CPU 0 is listed twice'],
  ['cpu-unknown', 'cpus: [0]', 'cpus: [4]', '4]', 'no CPU 4'],
  [
    'shared-memory-unknown',
    'memory: m1, base: 0xd1000000 } }\n',
    'memory: m2, base: 0xd1000000 } }\n',
    '',
    'no shared memory m2',
  ],
  ['shared-memory-size', 'm0: { size: 1MiB }', 'm0: { size: 100 }', '100', 'whole number of pages'],
  ['shared-memory-size', 'm0: { size: 1MiB }', 'm0: { size: 0 }', '0 }', '0 bytes'],
  ['shared-memory-size', 'm0: { size: 1MiB }', 'm0: { size: 4GiB }', '4GiB', 'at most 2 GiB'],
  ['alignment', 'base: 0x80000000', 'base: 0x80000100', '0x80000100', 'no multiple of the page size'],
  ['alignment', 'size: 1MiB }]', 'size: 5000 }]', '5000', 'no multiple of the page size'],
  ['alignment', 'size: 1MiB }]', 'size: 1MiB, phys: 0x40000001 }]', '0x40000001', 'no multiple of the page size'],
  ['overlap', 'base: 0x80000000', 'base: 0xd0000000', '0xd0000000 }, device', 'overlaps the memory'],
  ['overlap', 'base: 0x80000000', 'base: 0x08000000', '0x08000000', 'overlaps the GICD'],
  ['overlap', 'base: 0x80000000', 'base: 0x080b0000', '0x080b0000', 'overlaps the GICR'],
  ['overlap', '0xa003c00 }', '0xa003d00 }', '0xa003d00', 'overlaps the window of d0'],
  ['phys-outside-ram', 'size: 1MiB }]', 'size: 1MiB, phys: 0x10000000 }]', '0x10000000', 'outside the RAM'],
  ['phys-outside-ram', 'm0: { size: 1MiB }', 'm0: { size: 1MiB, phys: 0x13ff80000 }', '0x13ff80000', 'outside the RAM'],
  ['interrupt-range', 'interrupt: 78', 'interrupt: 1020', '1020', 'none of qemu-aarch64-virt'],
  ['interrupt-private', 'interrupt: 78', 'interrupt: 27', '27', 'PPI'],
  ['interrupt-private', 'interrupt: 78', 'interrupt: 15', '15', 'SGI'],
  ['interrupt-twice', 'interrupt: 78', 'interrupt: 79', '79, shmem: { memory: m1', 'that of d0 as well'],
  ['bind-key-unpaired', 'backend, bind_key: 2', 'backend, bind_key: 3', '3, ', 'has no frontend'],
  [
    'bind-key-doubled',
    'frontend, bind_key: 2',
    'frontend, bind_key: 1',
    '1, window: { base: 0xa003c00',
    'has a frontend already: d0 of VM front',
  ],
  ['window', 'window: { base: 0xa003c00 }', 'window: { base: 0xa003c00, size: 16 }', '16 }', 'take 0x200'],
  ['window', 'window: { base: 0xa003c00 }, ', '', '{ name: d1, type: frontend', 'no window'],
  [
    'device-model',
    ', device: { type: block, image: a.img } }\n      - { name: d1',
    ' }\n      - { name: d1',
    '{ name: d0, type: backend',
    'no device model',
  ],
  [
    'window',
    'backend, bind_key: 1,',
    'backend, bind_key: 1, window: { base: 0x1000 },',
    'window: { base: 0x1000',
    'has no window',
  ],
  ['module', 'program: idle', 'program: { module: missing.js }', 'program:', 'no file /there/missing.js'],
  ['program', 'program: idle', 'program: fly', 'fly', 'no built-in program fly'],
  ['queue-fit', 'image: a.img', 'image: a.img, queues: 64, queue_size: 32768', '1MiB }\n  m1', '64 queues of 32768'],
  ['vcpu', 'interrupt: 40,', 'interrupt: 40, vcpu: 1,', '1, shmem', 'VM back has no vCPU 1; it has 1'],
  ['vcpu', 'interrupt: 40,', 'interrupt: 40, queue_vcpus: [0, 0],', '', 'd0 has 1 queue, and 2 are placed'],
  ['vcpu', 'interrupt: 40,', 'interrupt: 40, queue_vcpus: [2],', '2], ', 'VM back has no vCPU 2'],
  ['vcpu', 'interrupt: 78,', 'interrupt: 78, queue_vcpus: [0],', '', 'program idle uses every queue of d0 on one'],
];

const escaped = (pattern: string): string => pattern.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const textAt = (file: string, place: Place | undefined): string =>
  file
    .split('\n')
    .slice((place?.line ?? 1) - 1)
    .join('\n')
    .slice((place?.column ?? 1) - 1);

const text = ({ diagnostics }: Parsed): string =>
  diagnostics.map(({ rule, message }) => `${rule}: ${message}`).join('\n');

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
    ['alignment', 'base: 0xf0000000', 'base: 0xf0000010', 'page size'],
    ['alignment', 'size: 0x8000', 'size: 0x8010', 'page size'],
    ['overlap', 'base: 0xf0000000', 'base: 0xd0000000', 'overlaps the shared memory of d0'],
    ['interrupt-private', '[52, 53]', '[52, 27]', 'interrupt 27 is private'],
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

  it.each(WRONG)('%s: %s becomes %s', (rule, from, to, at, says) => {
    expect(GOOD).toContain(from);
    const file = GOOD.replace(from, to);
    const checked = parse(file);
    expect(text(checked)).toContain(says);
    const found = checked.diagnostics.find(
      (diagnostic) => diagnostic.rule === rule && diagnostic.message.includes(says),
    );
    expect(found).toMatchObject({ rule, severity: 'error' });
    expect(found?.fix).not.toBe('');
    if (at !== '') expect(textAt(file, found?.place)).toMatch(new RegExp(`^${escaped(at)}`));
    expect(checked.topology).toBeUndefined();
  });

  it.each(Object.entries(RULE_EXAMPLES).filter(([rule]) => rule !== 'file'))(
    '%s: the example of `remio explain` keeps it, and breaks it',
    (rule, example) => {
      const { right, wrong } = exampleFiles(example);
      expect(wrong).not.toBe(right);
      const check = (file: string): readonly string[] =>
        (example.of === 'board' ? parseBoard(file, 'board.yaml') : parse(file)).diagnostics.map((one) => one.rule);
      expect(check(right)).toEqual([]);
      expect(check(wrong)).toContain(rule);
    },
  );

  it('have examples for users that are whole files', () => {
    expect(text(parse(EXAMPLE_TOPOLOGY))).toBe('');
    expect(parseBoard(EXAMPLE_BOARD, 'board.yaml')).toMatchObject({
      diagnostics: [],
      board: {
        cpus: [{ hardwareId: 0n, clockHz: 1.2e9 }, { hardwareId: 1n }, { hardwareId: 0x100n }, { hardwareId: 0x101n }],
      },
    });
  });

  it('tell of several mistakes at once', () => {
    const wrong = GOOD.replace('cpus: 1', 'cpus: [9]')
      .replace('interrupt: 78', 'interrupt: 27')
      .replace('size: 1MiB }]', 'size: 1 }]');
    expect(parse(wrong).diagnostics.map(({ rule }) => rule)).toEqual(['cpu-unknown', 'alignment', 'interrupt-private']);
  });

  it.each([1, 5])('interrupt-private: %i is taken by the vCPU itself on RV64, and shared on AArch64 never', (irq) => {
    const riscv = GOOD.replace('qemu-aarch64-virt', 'qemu-riscv64-virt');
    expect(parse(riscv).diagnostics).toEqual([]);
    expect(text(parse(riscv.replace('interrupt: 78', `interrupt: ${irq}`)))).toContain('interrupt-private');
    expect(text(parse(riscv.replace('interrupt: 78', `interrupt: ${irq + 1}`)))).toBe('');
  });

  it('interrupt-range: a PLIC and an APLIC have 1 to 1023', () => {
    for (const board of ['qemu-riscv64-virt', '{ name: qemu-riscv64-virt, irqc: plic }', 'k3-com260']) {
      const riscv = GOOD.replace('qemu-aarch64-virt', board);
      expect(text(parse(riscv.replace('interrupt: 78', 'interrupt: 0')))).toContain('interrupt-range');
      expect(text(parse(riscv.replace('interrupt: 78', 'interrupt: 1023')))).toContain('interrupt-reference');
      expect(text(parse(riscv.replace('interrupt: 78', 'interrupt: 1024')))).toContain('interrupt-range');
    }
  });

  it('overlap: with what the VM’s interrupt controller takes on its board', () => {
    const at = (board: string, base: string): string =>
      text(parse(GOOD.replace('qemu-aarch64-virt', board).replace('0x80000000', base)));
    expect(at('zcu104', '0xf9010000')).toContain('GICD');
    expect(at('zcu104', '0xf9030000')).toContain('GICC');
    expect(at('zcu104', '0xf9031000')).toBe('');
    expect(at('qemu-riscv64-virt', '0x28000000')).toContain('IMSIC');
    expect(at('{ name: qemu-riscv64-virt, irqc: plic }', '0x28000000')).toBe('');
    expect(at('{ name: qemu-riscv64-virt, irqc: plic }', '0xff00000')).toContain('PLIC');
  });

  it.each(['bind_key: 1', 'interrupt: 40'])(
    'beyond the reference (%s): an error under reference, a warning under hardened',
    (what) => {
      const wide = GOOD.replaceAll(what, what.replace(/\d+$/, '300'));
      const rule = what.startsWith('bind') ? 'bind-key-reference' : 'interrupt-reference';
      expect(parse(wide).topology).toBeDefined();
      expect(new Set(parse(wide).diagnostics.map((one) => `${one.severity} ${one.rule}`))).toEqual(
        new Set([`warning ${rule}`]),
      );
      const strict = parse(`profile: reference\n${wide}`);
      expect(strict.topology).toBeUndefined();
      expect(strict.diagnostics.some((one) => one.rule === rule && one.severity === 'error')).toBe(true);
    },
  );

  it('windows-touch: an error under reference, a warning under hardened', () => {
    expect(text(parse(GOOD_TOUCHING))).toContain('sends the first byte of d1 to d0');
    expect(parse(GOOD_TOUCHING)).toMatchObject({ topology: {}, diagnostics: [{ severity: 'warning' }] });
    expect(parse(`profile: reference\n${GOOD_TOUCHING}`)).toMatchObject({
      topology: undefined,
      diagnostics: [{ severity: 'error' }],
    });
  });

  it('bind-key-unpaired: where the other end has the same name, its key was meant', () => {
    const { diagnostics } = parse(GOOD.replace('frontend, bind_key: 2', 'frontend, bind_key: 7'));
    expect(diagnostics.map(({ fix }) => fix)).toEqual([
      'write 2 at the frontend in VM front, which has 7',
      'write 2, as the backend of d1 in VM back has',
    ]);
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
      'd1, type: frontend, window: { base: 0xa003c00 }, driver: { type: probe }, bind_key: 2, interrupt: 41,',
    )
      .replace(', device: { type: block, image: a.img } }\n  front', ' }\n  front')
      .replace(
        'd1, type: frontend, bind_key: 2, window: { base: 0xa003c00 }, interrupt: 79, shmem: { memory: m1, base: 0xd1000000 } }',
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

  it('stops with its hypervisor unless it says otherwise, and is the same platform either way', () => {
    const { topology } = parse(GOOD);
    expect(topology?.onHypervisorLoss).toBe('stop');
    const other = parse(`${GOOD}on_hypervisor_loss: reconnect\n`).topology;
    expect(other).toMatchObject({ onHypervisorLoss: 'reconnect', digest: topology?.digest });
    expect(parse(`${GOOD}on_hypervisor_loss: restart\n`).diagnostics).toMatchObject([{ rule: 'schema' }]);
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
    ).toBe(`test.yaml:14:11: error[cpu-oversubscribed]: VM front wants 4 CPUs; 3 of 4 are free
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
