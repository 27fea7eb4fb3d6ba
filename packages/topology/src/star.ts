import type { Arch } from '@remio/arch';

/** What the frontends of a star do. */
export const STAR_WORK = ['rng', 'ping', 'idle'] as const;
export type StarWork = (typeof STAR_WORK)[number];

export interface StarOptions {
  readonly arch: Arch;
  /** 1 and up. */
  readonly frontends: number;
  /** vCPUs of each frontend; 1 and up. */
  readonly vcpus: number;
  /** Devices that one backend serves, at most: a VM has fewer than a thousand interrupts. */
  readonly perBackend: number;
  readonly work: StarWork;
  /** `rng`: bytes that each frontend reads; `ping`: register reads. */
  readonly amount: number;
}

/** Interrupts that a guest of either architecture can give to devices. */
export const STAR_PER_BACKEND_MAX = 900;

/** The first shared interrupt of either controller that no guest has a use of its own for. */
const FIRST_INTERRUPT = 48;
const SHARED_BASE = 0xd000_0000;
const SHARED_SIZE = 0x2_0000;

const hex = (value: number): string => `0x${value.toString(16)}`;

/**
 * The text of a star: so many frontends with one entropy device each, and as many backends as it takes to serve them. For
 * looking at how the platform scales.
 */
export function starTopology(options: StarOptions): string {
  const { arch, frontends, vcpus, perBackend, work, amount } = options;
  const backends = Math.ceil(frontends / perBackend);
  const names = Array.from({ length: frontends }, (_, n) => `rng${n}`);
  const program = {
    rng: '',
    ping: `    program: { builtin: mmio-ping, options: { count: ${amount}, warmUp: 0, timed: false } }\n`,
    idle: '    program: idle\n',
  }[work];
  const driver = work === 'rng' ? `, driver: { type: rng, bytes: ${amount} }` : '';
  const end = (name: string, n: number, interrupt: number, place: number, rest: string): string =>
    `      - { name: ${name}, bind_key: ${n}, interrupt: ${interrupt}, ` +
    `shmem: { memory: ${name}, base: ${hex(SHARED_BASE + place * SHARED_SIZE)} }, ${rest} }\n`;
  const backend = (index: number): string =>
    `  backend${index}:\n    cpus: 1\n    remio_devs:\n` +
    names
      .slice(index * perBackend, (index + 1) * perBackend)
      .map((name, place) => {
        const n = index * perBackend + place;
        return end(name, n, FIRST_INTERRUPT + place, place, 'type: backend, device: { type: entropy, seed: 1 }');
      })
      .join('');
  const frontend = (name: string, n: number): string =>
    `  guest${n}:\n    cpus: ${vcpus}\n${program}    remio_devs:\n` +
    end(name, n, FIRST_INTERRUPT, n % perBackend, `type: frontend, window: { base: 0xa003e00 }${driver}`);
  return (
    `# A star of ${frontends} frontends: remio generate star --help\n` +
    `name: star-${frontends}\n` +
    `board: { name: synthetic-${arch}, cpus: ${backends + frontends * vcpus} }\n` +
    `shared_memories:\n${names.map((name) => `  ${name}: { size: 128KiB }\n`).join('')}` +
    `vms:\n${Array.from({ length: backends }, (_, index) => backend(index)).join('')}` +
    names.map(frontend).join('')
  );
}
