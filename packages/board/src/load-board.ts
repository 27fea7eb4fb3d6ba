import { err, ok, type Result } from '@remio/base';
import { BOARDS, PLIC_INSTEAD, SYNTHETIC, SYNTHETIC_CPUS_MAX } from './profiles.js';
import type { BoardProfile } from './types.js';

/** What a topology may choose of a board. */
export interface BoardChoice {
  readonly name: string;
  /** Synthetic boards: number of CPUs. */
  readonly cpus?: number;
  /** `qemu-riscv64-virt` and `synthetic-riscv64`: which interrupt controller. */
  readonly irqc?: 'aia' | 'plic';
}

/** Names of every board, shipped and synthetic. */
export const boardNames: readonly string[] = [...Object.keys(BOARDS), ...Object.keys(SYNTHETIC)];

const isKey = <T extends object>(table: T, name: string): name is Extract<keyof T, string> =>
  Object.hasOwn(table, name);

/** Whether a board exists nowhere. */
export const isSynthetic = (name: string): boolean => Object.hasOwn(SYNTHETIC, name);

/** The PLIC that a board can have instead of AIA. */
export const plicInstead = (name: string): (typeof PLIC_INSTEAD)[string] | undefined =>
  PLIC_INSTEAD[isKey(SYNTHETIC, name) ? SYNTHETIC[name].name : name];

/**
 * The profile of a board.
 * @returns what is wrong with the choice
 */
export function loadBoard({ name, cpus, irqc }: BoardChoice): Result<BoardProfile, string> {
  if (isKey(BOARDS, name)) {
    const board: BoardProfile = BOARDS[name];
    if (cpus !== undefined) return err(`${name} has ${board.cpus.length} CPUs; only synthetic boards take \`cpus\``);
    return withController(board, irqc);
  }
  if (!isKey(SYNTHETIC, name)) return err(`no board is called ${name}; there are ${boardNames.join(', ')}`);
  const count = cpus ?? 8;
  if (!Number.isInteger(count) || count < 1 || count > SYNTHETIC_CPUS_MAX) {
    return err(`${name} has 1 to ${SYNTHETIC_CPUS_MAX} CPUs, not ${count}`);
  }
  const like: BoardProfile = SYNTHETIC[name];
  const core = like.cpus[0]?.core ?? 'generic';
  return withController(
    {
      ...like,
      name,
      description: `A board that exists nowhere: ${count} CPUs, laid out like ${like.name}`,
      cpus: Array.from({ length: count }, (_, n) => ({ cluster: 0, core, hardwareId: BigInt(n) })),
    },
    irqc,
  );
}

function withController(board: BoardProfile, irqc: BoardChoice['irqc']): Result<BoardProfile, string> {
  if (irqc === undefined || irqc === board.irqc.kind) return ok(board);
  const plic = plicInstead(board.name);
  if (board.arch !== 'riscv64') return err(`${board.name} has a ${board.irqc.kind}; \`irqc\` is for RV64 boards`);
  return plic === undefined
    ? err(`${board.name} has AIA only; \`irqc: plic\` is for qemu-riscv64-virt and synthetic-riscv64`)
    : ok({ ...board, irqc: plic });
}
