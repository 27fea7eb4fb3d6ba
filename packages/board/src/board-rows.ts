import { hex } from '@remio/base';
import { boardNames, loadBoard } from './load-board.js';
import { QEMU_RISCV64_PLIC, SYNTHETIC, SYNTHETIC_CPUS_MAX } from './profiles.js';
import type { BoardProfile, InterruptController } from './types.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB'];

/** A size in the largest unit in which it is a whole number. */
function showSize(bytes: bigint): string {
  let [size, unit] = [bytes, 0];
  while (unit < UNITS.length - 1 && size % 1024n === 0n) {
    size /= 1024n;
    unit += 1;
  }
  return `${size} ${UNITS[unit]}`;
}

function showController(irqc: InterruptController): string {
  switch (irqc.kind) {
    case 'gicv2':
      return `GICv2: GICD ${hex(irqc.gicd)}, GICC ${hex(irqc.gicc)}`;
    case 'gicv3':
      return `GICv3: GICD ${hex(irqc.gicd)}, GICR ${hex(irqc.gicr)}`;
    case 'plic':
      return `PLIC ${hex(irqc.base)}`;
    case 'aia':
      return `AIA: APLIC ${hex(irqc.aplic)}, IMSIC ${hex(irqc.imsic)}`;
  }
}

/** CPUs by cluster. */
function showCpus({ cpus }: BoardProfile): string {
  const clusters = new Map<string, number>();
  for (const { cluster, core } of cpus)
    clusters.set(`${cluster} ${core}`, (clusters.get(`${cluster} ${core}`) ?? 0) + 1);
  return [...clusters].map(([name, count]) => `${count} × ${name.split(' ')[1]}`).join(' + ');
}

/** What every board has, as rows of a table; the first is its head. */
export function boardRows(): readonly (readonly string[])[] {
  const rows = boardNames.map((name) => {
    const board = loadBoard({ name });
    if (!board.ok) return [name, board.error];
    const { arch, clockHz, ram, irqc, uarts, standby, powerdown } = board.value;
    const synthetic = Object.hasOwn(SYNTHETIC, name);
    return [
      name,
      arch,
      synthetic ? `1 to ${SYNTHETIC_CPUS_MAX}; 8 unless \`cpus\` says otherwise` : showCpus(board.value),
      clockHz === undefined ? 'not known' : `${clockHz / 1e6} MHz`,
      ram.map(({ base, size }) => `${showSize(size)} at ${hex(base)}`).join('; '),
      arch === 'riscv64' ? `${showController(irqc)}; or ${showController(QEMU_RISCV64_PLIC)}` : showController(irqc),
      uarts
        .map(({ driver, base, interrupt }) => {
          const at = `${driver} at ${hex(base)}`;
          return interrupt === undefined ? at : `${at}, interrupt ${interrupt}`;
        })
        .join('; '),
      standby,
      powerdown,
    ];
  });
  return [
    ['board', 'architecture', 'CPUs', 'clock', 'RAM', 'interrupt controller', 'UART', 'standby', 'powerdown'],
    ...rows,
  ];
}
