import { hex } from '@remio/base';
import { framesOf, showSize } from './show.js';
import type { BoardProfile } from './types.js';

/** Rows that RAM may take: the scale is the finest power of two with which it does not take more. */
const RAM_ROWS_MAX = 20;
/** Cells of a row. */
const CELLS = 32;
const ROW_MIN = 0x1_0000n;

const RAM = '█';
const FRAME = '◆';
const NOTHING = '·';

/** Something that has an address. */
interface Item {
  readonly what: string;
  readonly base: bigint;
  readonly size: bigint;
  readonly mark: string;
}

function itemsOf({ ram, irqc, uarts, smmu, timer }: BoardProfile): readonly Item[] {
  // Sizes of frames are not known everywhere: a frame is drawn where it starts.
  const frame = (what: string, base: bigint): Item => ({ what: `${what} ${hex(base)}`, base, size: 1n, mark: FRAME });
  return [
    ...ram.map(
      ({ base, size }): Item => ({
        what: `RAM ${hex(base)} to ${hex(base + size - 1n)}, ${showSize(size)}`,
        base,
        size,
        mark: RAM,
      }),
    ),
    ...framesOf(irqc).map(({ what, base }) => frame(what, base)),
    ...uarts.map(({ driver, base }) => frame(`UART (${driver})`, base)),
    ...(smmu === undefined ? [] : [frame('SMMU', smmu.base)]),
    ...(timer === undefined ? [] : [frame('system counter', timer)]),
  ].sort((a, b) => (a.base < b.base ? -1 : 1));
}

/** The finest scale with which RAM takes few rows. */
function rowSize({ ram }: BoardProfile): bigint {
  let row = ROW_MIN;
  const rows = (): bigint => ram.reduce((sum, { base, size }) => sum + (base + size - 1n) / row - base / row + 1n, 0n);
  while (rows() > BigInt(RAM_ROWS_MAX)) row *= 2n;
  return row;
}

/**
 * The physical addresses of a board, drawn to scale, as lines: every row is as many bytes as every other, and a gap
 * says how large it is.
 */
export function memoryMap(board: BoardProfile): readonly string[] {
  const row = rowSize(board);
  const items = itemsOf(board);
  const rows = new Set<bigint>();
  for (const { base, size } of items) for (let n = base / row; n <= (base + size - 1n) / row; n += 1n) rows.add(n);
  const sorted = [...rows].sort((a, b) => (a < b ? -1 : 1));
  const digits = hex((sorted.at(-1) ?? 0n) * row).length - 2;
  const address = (n: bigint): string => `0x${(n * row).toString(16).padStart(digits, '0')}`;
  const margin = ' '.repeat(digits + 2);
  const lines = [
    `A row is ${showSize(row)}, a cell ${showSize(row / BigInt(CELLS))}. ${RAM} RAM  ${FRAME} device  ${NOTHING} nothing known`,
  ];
  let next = 0n;
  for (const n of sorted) {
    if (n > next) lines.push(`${margin}   ⋮ ${showSize((n - next) * row)}`);
    next = n + 1n;
    const starting = items.filter(({ base }) => base / row === n).map(({ what }) => what);
    lines.push(`${address(n)} │${cells(items, n * row, row)}│ ${starting[0] ?? ''}`.trimEnd());
    for (const what of starting.slice(1)) lines.push(`${margin}  ${' '.repeat(CELLS)}  ${what}`);
  }
  return lines;
}

/** One row: a cell shows a device before RAM, and RAM that it holds any part of. */
function cells(items: readonly Item[], start: bigint, row: bigint): string {
  const cell = row / BigInt(CELLS);
  return Array.from({ length: CELLS }, (_, n) => {
    const from = start + BigInt(n) * cell;
    const here = items.filter(({ base, size }) => base < from + cell && from < base + size);
    return (here.find(({ mark }) => mark === FRAME) ?? here[0])?.mark ?? NOTHING;
  }).join('');
}
