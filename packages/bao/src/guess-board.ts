import { boardNames, isSynthetic, loadBoard } from '@remio/board';
import type { BaoIrqc } from './bao-config.js';
import type { Raw } from './topology-text.js';

/** A board as a topology names it, and why it is this one. */
export interface BoardGuess {
  readonly board: Raw;
  readonly reason: string;
}

const boards = (): readonly string[] => boardNames.filter((name) => !isSynthetic(name));

/** Which board a configuration is for, which it does not say: its file's name may, or its interrupt controllers. */
export function guessBoard(irqcs: readonly BaoIrqc[], files: readonly string[]): BoardGuess | undefined {
  const words = files.flatMap((file) => file.split(/[/\\]/).map((part) => part.replace(/\.[a-z]+$/, '')));
  const named = boards().find((name) => words.includes(name));
  if (named !== undefined) return { board: withController(named, irqcs), reason: 'as the file is called' };
  const like = boards().find((name) => irqcs.some((irqc) => isOf(irqc, name)));
  if (like === undefined) return undefined;
  return { board: withController(like, irqcs), reason: 'as its guests see such an interrupt controller' };
}

/** RV64 boards may have a PLIC instead of AIA. */
export function withController(name: string, irqcs: readonly BaoIrqc[]): Raw {
  const plic = loadBoard({ name, irqc: 'plic' });
  return plic.ok && plic.value.irqc.kind === 'plic' && irqcs.some(({ kind }) => kind === 'plic')
    ? { name, irqc: 'plic' }
    : name;
}

/** Whether a guest of the board would see this interrupt controller. */
export function isOf(irqc: BaoIrqc, name: string): boolean {
  const choices = [loadBoard({ name }), loadBoard({ name, irqc: 'plic' })];
  return choices.some((board) => {
    if (!board.ok) return false;
    const own = board.value.irqc;
    switch (own.kind) {
      case 'gicv2':
        return irqc.kind === 'gic' && irqc.gicd === own.gicd && irqc.gicr === 0n;
      case 'gicv3':
        return irqc.kind === 'gic' && irqc.gicd === own.gicd && irqc.gicr === own.gicr;
      case 'plic':
        return irqc.kind === 'plic' && irqc.base === own.base;
      case 'aia':
        return irqc.kind === 'aia' && irqc.aplic === own.aplic && irqc.imsic === own.imsic;
    }
  });
}
