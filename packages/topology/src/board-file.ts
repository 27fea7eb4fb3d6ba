import { APLIC_IRQ_LIMIT, GIC_FIRST_SPI, GIC_IRQ_LIMIT } from '@remio/arch';
import { hex } from '@remio/base';
import type { BoardCpu, BoardProfile, InterruptController } from '@remio/board';
import { z } from 'zod';
import type { Diagnostic } from './diagnostics.js';
import { count, from, name, present, size, u64 } from './fields.js';
import { YamlSource } from './yaml-source.js';

const PAGE = 4096n;
const CPUS_MAX = 4096;

const clock = z
  .string()
  .regex(/^\d+(\.\d+)?(MHz|GHz)$/, 'expected a clock: 1200MHz, 1.2GHz')
  .transform((text) => Math.round(Number.parseFloat(text) * (text.endsWith('GHz') ? 1e9 : 1e6)))
  .describe('A clock: 1200MHz, 1.2GHz');

const range = z.strictObject({ base: u64, size });

const irqc = z.union(
  [
    z.strictObject({ type: z.literal('gicv2'), gicd: u64, gicc: u64, gich: u64.optional(), gicv: u64.optional() }),
    z.strictObject({
      type: z.literal('gicv3'),
      gicd: u64,
      gicr: u64,
      gicc: u64.optional(),
      gich: u64.optional(),
      gicv: u64.optional(),
    }),
    z.strictObject({ type: z.literal('plic'), base: u64 }),
    z.strictObject({
      type: z.literal('aia'),
      aplic: u64,
      imsic: u64,
      msis: from(1, 2047).optional().describe('External interrupt identities of an interrupt file'),
      guest_files: from(1, 63).optional().describe('Guest interrupt files of a hart'),
    }),
  ],
  {
    error:
      'expected { type: gicv2, gicd, gicc }, { type: gicv3, gicd, gicr }, { type: plic, base } or { type: aia, aplic, imsic }',
  },
);

const power = <By extends readonly [string, ...string[]]>(...by: By) =>
  z.union(
    [z.enum(by), z.strictObject({ by: z.enum(by), state: count.optional().describe('power_state of CPU_SUSPEND') })],
    {
      error: `expected ${by.join(', ')}, or { by, state }`,
    },
  );

/** The language of board files. */
export const boardSchema = z.strictObject({
  name: name.describe('Name of the board'),
  arch: z.enum(['aarch64', 'riscv64']),
  description: z.string().optional(),
  cpus: z
    .array(
      z.strictObject({
        count: from(1, CPUS_MAX).describe('CPUs of this cluster'),
        core: z.string().optional().describe('Type of the core, such as cortex-a53'),
        clock: clock.optional().describe('Highest clock, such as 1200MHz'),
        hardware_ids: z
          .array(u64)
          .optional()
          .describe('MPIDR affinities or hart ids, by CPU; absent: cluster and number, as Bao counts'),
      }),
    )
    .describe('Clusters, in the order of the CPUs\u2019 numbers'),
  ram: z.array(range).describe('Ranges of RAM that VMs may have'),
  irqc: irqc.describe('Interrupt controller'),
  uarts: z
    .array(
      z.strictObject({
        driver: z.string(),
        base: u64,
        interrupt: count.optional(),
        register_width: from(1, 8).optional().describe('Bytes from one register to the next'),
        clock: clock.optional(),
      }),
    )
    .optional(),
  smmu: z.strictObject({ base: u64, interrupt: count.optional(), global_mask: count.optional() }).optional(),
  timer: u64.optional().describe('Frame of the system counter'),
  timebase: clock.optional().describe('RV64: ticks of `time` in a second'),
  standby: power('psci', 'sbi', 'wfi').describe('How a CPU stands by; wfi: the firmware cannot'),
  powerdown: power('psci', 'sbi', 'unsupported').optional().describe('How a CPU powers down; absent: not known'),
  psci_type_bit: from(16, 30).optional().describe('Bit of power_state that asks for powerdown: 16, or 30 (extended)'),
});

type BoardFile = z.output<typeof boardSchema>;

/** A board from a file, if nothing is wrong with it, and what there is to say about the file. */
export interface ParsedBoard {
  readonly board: BoardProfile | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/** Reads and checks a board file. */
export function parseBoard(text: string, file: string): ParsedBoard {
  const source = new YamlSource<BoardFile>(text, file, boardSchema, { excerpts: true });
  if (source.data === undefined) return { board: undefined, diagnostics: source.diagnostics };
  const board = boardOf(source.data);
  checkBoard(source, source.data, board);
  return { board: source.failed ? undefined : board, diagnostics: source.diagnostics };
}

function boardOf(file: BoardFile): BoardProfile {
  const power = (given: BoardFile['standby'] | BoardFile['powerdown']) =>
    typeof given === 'object' ? given : { by: given, state: undefined };
  const standby = power(file.standby);
  const powerdown = power(file.powerdown);
  return {
    name: file.name,
    arch: file.arch,
    description: file.description ?? file.name,
    cpus: file.cpus.flatMap((group, cluster) => cpusOf(group, cluster, file)),
    ram: file.ram,
    irqc: controllerOf(file.irqc),
    uarts: (file.uarts ?? []).map(({ driver, base, interrupt, register_width, clock: clockHz }) => ({
      driver,
      base,
      ...present({ interrupt, registerWidth: register_width, clockHz }),
    })),
    standby: standby.by as BoardProfile['standby'],
    ...present({
      smmu:
        file.smmu === undefined
          ? undefined
          : { base: file.smmu.base, ...present({ interrupt: file.smmu.interrupt, globalMask: file.smmu.global_mask }) },
      timer: file.timer,
      timebaseHz: file.timebase,
      standbyState: standby.state,
      powerdown: powerdown.by as BoardProfile['powerdown'],
      powerdownState: powerdown.state,
      psciTypeBit: file.psci_type_bit,
    }),
  };
}

/** MPIDR has the cluster in affinity 1 and the core in affinity 0; harts are counted through. */
function cpusOf(group: BoardFile['cpus'][number], cluster: number, { arch, cpus }: BoardFile): readonly BoardCpu[] {
  const before = cpus.slice(0, cluster).reduce((sum, other) => sum + other.count, 0);
  return Array.from({ length: group.count }, (_, n) => ({
    cluster,
    core: group.core ?? 'generic',
    hardwareId: group.hardware_ids?.[n] ?? BigInt(arch === 'aarch64' ? (cluster << 8) | n : before + n),
    ...present({ clockHz: group.clock }),
  }));
}

function controllerOf(file: BoardFile['irqc']): InterruptController {
  switch (file.type) {
    case 'gicv2': {
      const { type: kind, gicd, gicc, gich, gicv } = file;
      return { kind, gicd, gicc, ...present({ gich, gicv }) };
    }
    case 'gicv3': {
      const { type: kind, gicd, gicr, gicc, gich, gicv } = file;
      return { kind, gicd, gicr, ...present({ gicc, gich, gicv }) };
    }
    case 'plic':
      return { kind: 'plic', base: file.base };
    case 'aia': {
      const { type: kind, aplic, imsic, msis, guest_files } = file;
      return { kind, aplic, imsic, ...present({ msis, guestFiles: guest_files }) };
    }
  }
}

function checkBoard(source: YamlSource<BoardFile>, file: BoardFile, board: BoardProfile): void {
  checkCpus(source, file, board);
  checkMemory(source, board);
  const gic = board.irqc.kind.startsWith('gic');
  if (gic !== (board.arch === 'aarch64')) {
    const fix = board.arch === 'aarch64' ? 'choose gicv2 or gicv3' : 'choose plic or aia';
    source.error('board-interrupt', ['irqc', 'type'], `an ${board.arch} board has no ${board.irqc.kind}`, fix);
  }
  const [first, last] = gic ? [GIC_FIRST_SPI, GIC_IRQ_LIMIT - 1] : [1, APLIC_IRQ_LIMIT - 1];
  board.uarts.forEach(({ interrupt }, n) => {
    if (interrupt === undefined || (interrupt >= first && interrupt <= last)) return;
    const message = `interrupt ${interrupt} is no shared one of the interrupt controller`;
    source.error('board-interrupt', ['uarts', n, 'interrupt'], message, `choose from ${first} to ${last}`);
  });
  const foreign = board.arch === 'aarch64' ? 'sbi' : 'psci';
  for (const field of ['standby', 'powerdown'] as const) {
    if (board[field] !== foreign) continue;
    const path = typeof file[field] === 'object' ? [field, 'by'] : [field];
    source.error(
      'board-power',
      path,
      `${foreign} is none of ${board.arch}\u2019s`,
      `choose ${foreign === 'sbi' ? 'psci' : 'sbi'} or what needs no firmware`,
    );
  }
}

function checkCpus(source: YamlSource<BoardFile>, file: BoardFile, board: BoardProfile): void {
  if (board.cpus.length === 0 || board.cpus.length > CPUS_MAX) {
    source.error('board-cpu', ['cpus'], `the board has ${board.cpus.length} CPUs`, `give it 1 to ${CPUS_MAX}`);
  }
  const owners = new Map<bigint, number>();
  let cpu = 0;
  file.cpus.forEach((group, cluster) => {
    const ids = group.hardware_ids;
    if (ids !== undefined && ids.length !== group.count) {
      const message = `${ids.length} hardware ids for ${group.count} CPUs`;
      source.error('board-cpu', ['cpus', cluster, 'hardware_ids'], message, 'list one for each CPU');
    }
    for (let n = 0; n < group.count; n += 1, cpu += 1) {
      const id = board.cpus[cpu]?.hardwareId ?? 0n;
      const other = owners.get(id);
      if (other !== undefined) {
        const path = ids === undefined ? ['cpus', cluster] : ['cpus', cluster, 'hardware_ids', n];
        source.error(
          'board-cpu',
          path,
          `CPU ${cpu} has hardware id ${hex(id)}, as CPU ${other} has`,
          'give each CPU an id of its own',
        );
      }
      owners.set(id, cpu);
    }
  });
}

function checkMemory(source: YamlSource<BoardFile>, board: BoardProfile): void {
  if (board.ram.length === 0) source.error('board-memory', ['ram'], 'the board has no RAM', 'add { base, size }');
  board.ram.forEach(({ base, size: bytes }, n) => {
    for (const [field, value] of [
      ['base', base],
      ['size', bytes],
    ] as const) {
      if (value % PAGE === 0n) continue;
      source.error(
        'board-memory',
        ['ram', n, field],
        `${hex(value)} is no multiple of the page size`,
        'write a multiple of 0x1000',
      );
    }
    if (bytes === 0n)
      source.error('board-memory', ['ram', n, 'size'], 'a range of 0 bytes', 'remove it, or give it some');
  });
  const sorted = board.ram.map((one, n) => ({ ...one, n })).sort((a, b) => (a.base < b.base ? -1 : 1));
  sorted.forEach((one, n) => {
    const next = sorted[n + 1];
    if (next === undefined || one.base + one.size <= next.base) return;
    source.error(
      'board-memory',
      ['ram', next.n, 'base'],
      `this range starts within another, which ends at ${hex(one.base + one.size)}`,
      'join the two, or correct one',
    );
  });
  board.uarts.forEach(({ base }, n) => {
    const inside = board.ram.some((one) => base >= one.base && base < one.base + one.size);
    if (inside)
      source.error(
        'board-memory',
        ['uarts', n, 'base'],
        `the UART at ${hex(base)} lies in RAM`,
        'correct one of the two',
      );
  });
}
