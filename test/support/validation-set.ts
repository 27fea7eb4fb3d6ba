import { type BoardProfile, boardNames, loadBoard } from '@remio/board';

/** Interrupt of the first device end of a backend: as in Bao's public demo, with a GIC and without. */
const FIRST_INTERRUPT = { aarch64: 40, riscv64: 36 } as const;
/** Bytes between the shared memories of devices, and windows of a guest from the last one down. */
const SPREAD = 0x100_0000;
const LAST_WINDOW = 0xa00_3e00;
const WINDOW = 0x200;
const LAST_INTERRUPT = 79;

interface Device {
  readonly name: string;
  readonly backend: string;
  readonly frontend: string;
  readonly device: string;
  readonly driver: string;
}

/** Boards that exist, with cores that the project knows. */
export const validationBoards = (): readonly BoardProfile[] =>
  boardNames.flatMap((name) => {
    const board = loadBoard({ name });
    return board.ok && !name.startsWith('synthetic-') ? [board.value] : [];
  });

const station = (n: number): string =>
  `{ type: netstack, ip: 10.0.0.${n + 1}/24, ping: { to: 10.0.0.${2 - n}, count: 20, interval: 5ms } }`;

/** What every board has to do: two backends and two guests at least, and every family that the reference was tried with. */
const DEVICES: readonly Device[] = [
  ...[0, 1].flatMap((n): readonly Device[] => [
    {
      name: `disk${n}`,
      backend: 'storage',
      frontend: `guest${n}`,
      device: `{ type: block, image: disk${n}.img }`,
      driver: `{ type: blk-verify, writes: 32, seed: ${n + 1} }`,
    },
    {
      name: `net${n}`,
      backend: 'io',
      frontend: `guest${n}`,
      device: `{ type: net, switch: lan0, mac: "52:54:00:00:00:0${n + 1}" }`,
      driver: station(n),
    },
  ]),
  {
    name: 'console0',
    backend: 'io',
    frontend: 'guest0',
    device: '{ type: console, ports: [{ input: console.in, output: console.out }] }',
    driver: '{ type: console, ports: [{ echo: true }] }',
  },
  {
    name: 'socket1',
    backend: 'io',
    frontend: 'guest1',
    device: '{ type: vsock, cid: 3, uds: socket1 }',
    driver: '{ type: vsock, accept: [{ port: 5000, connect: socket1-guest }] }',
  },
];

/** With CPUs to spare: a guest whose vCPUs have a queue of the disk each. */
const MANY_QUEUES: Device = {
  name: 'disk2',
  backend: 'storage',
  frontend: 'guest2',
  device: '{ type: block, image: disk2.img, queues: 2 }',
  driver: '',
};

/** CPUs of each VM, by how many the board has. */
function shares(cpus: number): Readonly<Record<string, number>> {
  if (cpus < 6) return { storage: 1, io: 1, guest0: 1, guest1: 1 };
  if (cpus < 8) return { storage: 2, io: 2, guest0: 1, guest1: 1 };
  return { storage: 2, io: 2, guest0: 1, guest1: 1, guest2: 2 };
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** The board's entry of the validation set, as text. */
export function validationExample(board: BoardProfile): string {
  const vms = shares(board.cpus.length);
  const devices = 'guest2' in vms ? [...DEVICES, MANY_QUEUES] : DEVICES;
  const images = devices
    .filter(({ device }) => device.includes('image:'))
    .map(({ name }) => `examples/validation/${name}.img`);
  const lines = [
    '# yaml-language-server: $schema=../../packages/topology/schema/topology.schema.json',
    `# The validation set on ${board.name}: several backends and frontends${'guest2' in vms ? ', some on several vCPUs' : ''}, with block,`,
    '# network, console and socket devices. The same work on every board; only CPUs and interrupts are the board\u2019s.',
    '#',
    `#   truncate -s 4M ${images.join(' ')}; echo hello > examples/validation/console.in`,
    `#   npm run remio -- up examples/validation/${board.name}.yaml`,
    '#',
    '# What guest0 gets on its console it sends back to console.out; a program that connects to socket1 and says CONNECT 5000',
    '# talks to whoever listens on socket1-guest, through guest1.',
    `name: validation-${board.name}`,
    `board: ${board.name}`,
    'shared_memories:',
    ...devices.map(({ name }) => `  ${name}: { size: 2MiB }`),
    'vms:',
  ];
  for (const [vm, cpus] of Object.entries(vms)) {
    lines.push(`  ${vm}:`, `    cpus: ${cpus}`, '    memory: [{ base: 0x10000000, size: 1MiB }]');
    if (vm === 'guest2') lines.push('    program: { builtin: blk-verify, options: { writes: 32, seed: 3 } }');
    lines.push('    remio_devs:');
    let served = 0;
    let driven = 0;
    devices.forEach((device, key) => {
      const shmem = `{ memory: ${device.name}, base: ${hex(0xd000_0000 + key * SPREAD)} }`;
      const end = (type: string, interrupt: number, ...rest: readonly string[]): void => {
        lines.push(`      - name: ${device.name}`, `        type: ${type}`, `        bind_key: ${key}`);
        lines.push(
          `        interrupt: ${interrupt}`,
          `        shmem: ${shmem}`,
          ...rest.map((line) => `        ${line}`),
        );
      };
      if (device.backend === vm) {
        end('backend', FIRST_INTERRUPT[board.arch] + served, `device: ${device.device}`);
        served += 1;
      }
      if (device.frontend === vm) {
        const driver = device.driver === '' ? [] : [`driver: ${device.driver}`];
        end('frontend', LAST_INTERRUPT - driven, `window: { base: ${hex(LAST_WINDOW - driven * WINDOW)} }`, ...driver);
        driven += 1;
      }
    });
  }
  return `${lines.join('\n')}\n`;
}
