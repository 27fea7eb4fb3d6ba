import type { RuleId } from './index.js';

/** A part of a file that keeps a rule, and the same part breaking it. */
export interface RuleExample {
  readonly right: string;
  readonly wrong: string;
  /** What else must be so for the rule to apply: parts of the example file, and what they become first. */
  readonly given?: readonly (readonly [from: string, to: string])[];
  /** Every occurrence of {@link right} is wrong, not the first only. */
  readonly every?: true;
  /** In which file; a topology unless it says otherwise. */
  readonly of?: 'board';
}

/** The topology that the examples are parts of. */
export const EXAMPLE_TOPOLOGY = `board: zcu104
shared_memories:
  disk: { size: 1MiB, phys: 0x30000000 }
  log: { size: 1MiB }
vms:
  backend:
    cpus: [0]
    memory: [{ base: 0x80000000, size: 1MiB, phys: 0x20000000 }]
    remio_devs:
      - name: disk
        type: backend
        bind_key: 1
        interrupt: 40
        shmem: { memory: disk, base: 0xd0000000 }
        device: { type: block, image: disk.img, queues: 1 }
      - name: log
        type: backend
        bind_key: 2
        interrupt: 41
        shmem: { memory: log, base: 0xd1000000 }
        device: { type: console, ports: [{ pty: log }] }
  guest:
    cpus: 1
    memory: [{ base: 0x40000000, size: 1MiB }]
    program: drivers
    remio_devs:
      - name: log
        type: frontend
        bind_key: 2
        window: { base: 0xa003e00 }
        interrupt: 78
        shmem: { memory: log, base: 0xd1000000 }
        driver: { type: probe }
      - name: disk
        type: frontend
        bind_key: 1
        window: { base: 0xa003c00 }
        interrupt: 79
        shmem: { memory: disk, base: 0xd0000000 }
        driver: { type: probe }
`;

/** The board file that examples of its rules are parts of. */
export const EXAMPLE_BOARD = `name: my-board
arch: aarch64
cpus:
  - { count: 2, core: cortex-a53, clock: 1200MHz }
  - { count: 2, core: cortex-a72, hardware_ids: [0x100, 0x101] }
ram:
  - { base: 0x80000000, size: 1GiB }
  - { base: 0xc0000000, size: 512MiB }
irqc: { type: gicv2, gicd: 0xf9010000, gicc: 0xf902f000 }
uarts:
  - { driver: pl011, base: 0xff000000, interrupt: 53 }
standby: { by: psci, state: 0x1 }
powerdown: unsupported
`;

/** Makes the VMs of the example talk over a memory, without a device. */
const MAIL: RuleExample['given'] & object = [
  ['  log: {', '  mail: { size: 64KiB }\n  log: {'],
  ['  guest:\n', '    ipcs:\n      - { memory: mail, base: 0xf0000000, interrupts: [52] }\n  guest:\n'],
  [
    '    program: drivers\n',
    '    program: drivers\n    ipcs:\n      - { memory: mail, base: 0xf0000000, interrupts: [53], driver: { type: exchange, side: first } }\n',
  ],
];

/** How each rule is kept, and broken; `remio explain` shows them, and the tests hold the check to them. */
export const RULE_EXAMPLES: Readonly<Record<RuleId, RuleExample>> = {
  file: { right: 'board: zcu104', wrong: '\0ELF' },
  syntax: { right: 'cpus: [0]', wrong: 'cpus: [0' },
  schema: { right: 'bind_key: 2', wrong: 'bindkey: 2' },
  board: { right: 'board: zcu104', wrong: 'board: zuc104' },
  'board-cpu': { of: 'board', right: 'hardware_ids: [0x100, 0x101]', wrong: 'hardware_ids: [0x1, 0x101]' },
  'board-memory': { of: 'board', right: 'base: 0xc0000000, size', wrong: 'base: 0xb0000000, size' },
  'board-interrupt': { of: 'board', right: 'interrupt: 53', wrong: 'interrupt: 21' },
  'board-power': { of: 'board', right: 'standby: { by: psci, state: 0x1 }', wrong: 'standby: sbi' },
  'cpu-none': { right: 'cpus: 1', wrong: 'cpus: 0' },
  'cpu-unknown': { right: 'cpus: [0]', wrong: 'cpus: [4]' },
  'cpu-taken': { given: [['cpus: 1', 'cpus: [1]']], right: 'cpus: [1]', wrong: 'cpus: [0]' },
  'cpu-oversubscribed': { right: 'cpus: 1', wrong: 'cpus: 4' },
  'shared-memory-unknown': { right: 'memory: disk, base', wrong: 'memory: disc, base' },
  'shared-memory-size': { right: 'log: { size: 1MiB }', wrong: 'log: { size: 1000000 }' },
  'shared-memory-twice': {
    every: true,
    right: 'shmem: { memory: log, base: 0xd1000000 }',
    wrong: 'shmem: { memory: disk, base: 0xd1000000 }',
  },
  alignment: { right: 'base: 0x40000000', wrong: 'base: 0x40000800' },
  'address-limit': { right: 'base: 0x40000000', wrong: 'base: 0xffffffff00000000' },
  overlap: { right: 'window: { base: 0xa003c00 }', wrong: 'window: { base: 0xa003d00 }' },
  'phys-outside-ram': { right: 'phys: 0x20000000', wrong: 'phys: 0x7ff00000' },
  'phys-overlap': { right: 'phys: 0x20000000', wrong: 'phys: 0x30080000' },
  'ram-oversubscribed': { right: 'base: 0x40000000, size: 1MiB', wrong: 'base: 0x40000000, size: 2GiB' },
  'interrupt-range': { right: 'interrupt: 78', wrong: 'interrupt: 1023' },
  'interrupt-private': { right: 'interrupt: 78', wrong: 'interrupt: 27' },
  'interrupt-twice': { right: 'interrupt: 79', wrong: 'interrupt: 78' },
  'interrupt-reference': { right: 'interrupt: 78', wrong: 'interrupt: 283' },
  'bind-key-unpaired': { right: 'bind_key: 2', wrong: 'bind_key: 3' },
  'bind-key-doubled': { right: 'bind_key: 2\n        window', wrong: 'bind_key: 1\n        window' },
  'bind-key-reference': {
    every: true,
    given: [
      ['bind_key: 2\n        interrupt', 'bind_key: 255\n        interrupt'],
      ['bind_key: 2\n        window', 'bind_key: 255\n        window'],
    ],
    right: 'bind_key: 255',
    wrong: 'bind_key: 256',
  },
  'cpus-reference': {
    given: [
      ['board: zcu104', 'profile: reference\nboard: { name: synthetic-aarch64, cpus: 256 }'],
      [', phys: 0x30000000', ''],
      [', phys: 0x20000000', ''],
    ],
    right: 'cpus: 256',
    wrong: 'cpus: 257',
  },
  'own-backend': {
    right:
      '  guest:\n    cpus: 1\n    memory: [{ base: 0x40000000, size: 1MiB }]\n    program: drivers\n    remio_devs:\n',
    wrong: '',
  },
  'shmem-mismatch': { right: 'memory: log, base: 0xd1000000', wrong: 'memory: log, base: 0xd2000000' },
  'device-model': { right: '        device: { type: block, image: disk.img, queues: 1 }\n', wrong: '' },
  driver: { right: '        driver: { type: probe }\n', wrong: '' },
  window: { right: 'window: { base: 0xa003e00 }', wrong: 'window: { base: 0xa003e00, size: 0x100 }' },
  'windows-touch': {
    right: '0xa003e00 }\n        interrupt: 78',
    wrong: '0xa003a00 }\n        interrupt: 78',
  },
  'queue-fit': { right: 'queues: 1', wrong: 'queues: 64, queue_size: 1024' },
  image: { right: 'image: disk.img', wrong: 'image: missing.img' },
  directory: {
    given: [['{ type: block, image: disk.img, queues: 1 }', '{ type: fs, tag: share, directory: share }']],
    right: 'directory: share',
    wrong: 'directory: missing',
  },
  network: {
    given: [['{ type: block, image: disk.img, queues: 1 }', '{ type: net, switch: lan }']],
    right: '{ type: net, switch: lan }',
    wrong: '{ type: net, switch: lan, tap: tap0 }',
  },
  resume: {
    given: [
      [
        'bind_key: 2\n        interrupt: 41',
        'bind_key: 2\n        on_backend_loss: needs_reset\n        interrupt: 41',
      ],
    ],
    right: 'on_backend_loss: needs_reset',
    wrong: 'on_backend_loss: resume',
  },
  vcpu: {
    given: [['bind_key: 1\n        interrupt: 40', 'bind_key: 1\n        vcpu: 0\n        interrupt: 40']],
    right: 'vcpu: 0',
    wrong: 'vcpu: 1',
  },
  vsock: {
    given: [
      ['{ type: block, image: disk.img, queues: 1 }', '{ type: vsock, cid: 3, uds: guest3 }'],
      ['{ type: console, ports: [{ pty: log }] }', '{ type: vsock, cid: 4, uds: guest4 }'],
    ],
    right: 'cid: 4',
    wrong: 'cid: 3',
  },
  socket: {
    given: [['{ pty: log }', '{ listen: log.sock }']],
    right: 'listen: log.sock',
    wrong: 'listen: missing/log.sock',
  },
  line: {
    given: [['[{ pty: log }]', '[{ pty: log }, { pty: data }]']],
    right: '{ pty: data }',
    wrong: '{ pty: log }',
  },
  host: {
    given: [['vms:', 'hosts:\n  drivers: [guest]\nvms:']],
    right: 'drivers: [guest]',
    wrong: 'drivers: [guest, backend]',
  },
  keys: {
    given: [
      [
        'vms:',
        `keys:
  hypervisor: "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
  observer: "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
  vms:
    backend: "6YLY(Fd8]b:Ja!}zv!lN%2p]dT0[NWyeYj7tqbzd"
    guest: "]MsxUpq[[]dtsIZ.h%zm0vZ[3jYBKy/UTQdm&ZPp"
vms:`,
      ],
    ],
    right: 'guest: "]MsxUpq[[]dtsIZ.h%zm0vZ[3jYBKy/UTQdm&ZPp"',
    wrong: 'guest: "6YLY(Fd8]b:Ja!}zv!lN%2p]dT0[NWyeYj7tqbzd"',
  },
  module: {
    given: [['program: drivers', 'program: { module: program.js }']],
    right: 'module: program.js',
    wrong: 'module: missing.js',
  },
  program: { right: 'program: drivers', wrong: 'program: driver' },
  'ipc-size': { given: MAIL, right: '0xf0000000, interrupts', wrong: '0xf0000000, size: 128KiB, interrupts' },
  'ipc-twice': {
    given: [
      ...MAIL,
      ['    ipcs:\n', '    ipcs:\n      - { memory: other, base: 0xf1000000, interrupts: [54] }\n'],
      ['  mail:', '  other: { size: 64KiB }\n  mail:'],
      [
        'program: drivers\n    ipcs:\n',
        'program: drivers\n    ipcs:\n      - { memory: other, base: 0xf1000000, interrupts: [54] }\n',
      ],
    ],
    right: 'memory: other, base',
    wrong: 'memory: mail, base',
  },
  'ipc-peer': {
    given: MAIL,
    right: '    ipcs:\n      - { memory: mail, base: 0xf0000000, interrupts: [52] }\n',
    wrong: '',
  },
  'vm-cycle': {
    given: [
      [
        'type: backend\n        bind_key: 2\n        interrupt: 41',
        'type: frontend\n        bind_key: 2\n        window: { base: 0xa003e00 }\n        interrupt: 41',
      ],
      ['        device: { type: console, ports: [{ pty: log }] }\n', '        driver: { type: probe }\n'],
      [
        'type: frontend\n        bind_key: 2\n        window: { base: 0xa003e00 }\n        interrupt: 78',
        'type: backend\n        bind_key: 2\n        interrupt: 78',
      ],
      [
        '        driver: { type: probe }\n      - name: disk\n        type: frontend',
        '        device: { type: entropy }\n      - name: disk\n        type: frontend',
      ],
      ['cpus: 1', 'cpus: 2'],
    ],
    right: 'cpus: 2',
    wrong: 'cpus: 1',
  },
};

/** The files of an example: one that keeps the rule, and one that breaks it. */
export function exampleFiles({ right, wrong, given = [], every, of }: RuleExample): {
  readonly right: string;
  readonly wrong: string;
} {
  let file = of === 'board' ? EXAMPLE_BOARD : EXAMPLE_TOPOLOGY;
  for (const [from, to] of given) file = file.replace(from, () => to);
  return { right: file, wrong: every ? file.replaceAll(right, () => wrong) : file.replace(right, () => wrong) };
}
