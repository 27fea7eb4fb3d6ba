import { hex } from '@remio/base';
import type { AddressRange, BoardCpu, BoardProfile, BoardUart, InterruptController } from './types.js';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A size in the largest unit in which it is a whole number. */
export function showSize(bytes: bigint): string {
  let [size, unit] = [bytes, 0];
  while (unit < UNITS.length - 1 && size !== 0n && size % 1024n === 0n) {
    size /= 1024n;
    unit += 1;
  }
  return `${size} ${UNITS[unit]}`;
}

export const showClock = (hz: number | undefined): string => (hz === undefined ? 'not known' : `${hz / 1e6} MHz`);

export const showRange = ({ base, size }: AddressRange): string => `${showSize(size)} at ${hex(base)}`;

/** What a controller is, with its frames. */
export function showController(irqc: InterruptController): string {
  const name = CONTROLLER_NAMES[irqc.kind];
  if (irqc.kind === 'plic') return `${name} ${hex(irqc.base)}`;
  const facts = framesOf(irqc).map(({ what, base }) => `${what} ${hex(base)}`);
  if (irqc.kind === 'aia' && irqc.msis !== undefined) facts.push(`${irqc.msis} MSIs`);
  if (irqc.kind === 'aia' && irqc.guestFiles !== undefined) {
    facts.push(`${irqc.guestFiles} guest file${irqc.guestFiles === 1 ? '' : 's'}`);
  }
  return `${name}: ${facts.join(', ')}`;
}

const CONTROLLER_NAMES = { gicv2: 'GICv2', gicv3: 'GICv3', plic: 'PLIC', aia: 'AIA' } as const;

/** Frames of registers, by name. */
export function framesOf(irqc: InterruptController): readonly { readonly what: string; readonly base: bigint }[] {
  switch (irqc.kind) {
    case 'plic':
      return [{ what: 'PLIC', base: irqc.base }];
    case 'aia':
      return [
        { what: 'APLIC', base: irqc.aplic },
        { what: 'IMSIC', base: irqc.imsic },
      ];
    default: {
      const { gicc, gich, gicv } = irqc;
      const found = {
        GICD: irqc.gicd,
        GICR: irqc.kind === 'gicv3' ? irqc.gicr : undefined,
        GICC: gicc,
        GICH: gich,
        GICV: gicv,
      };
      return Object.entries(found).flatMap(([what, base]) => (base === undefined ? [] : { what, base }));
    }
  }
}

/** CPUs by cluster: `4 × cortex-a53 + 2 × cortex-a72`. */
export function showCpus(cpus: readonly BoardCpu[]): string {
  const groups = new Map<string, { readonly core: string; count: number }>();
  for (const { cluster, core } of cpus) {
    const group = groups.get(`${cluster} ${core}`) ?? { core, count: 0 };
    group.count += 1;
    groups.set(`${cluster} ${core}`, group);
  }
  return [...groups.values()].map(({ core, count }) => `${count} × ${core}`).join(' + ');
}

/** The clock of all CPUs, or those of its kinds of CPUs. */
export function showClocks({ cpus, clockHz }: Pick<BoardProfile, 'cpus' | 'clockHz'>): string {
  const clocks = new Map(cpus.map((cpu) => [cpu.clockHz ?? clockHz, cpu.core]));
  if (clocks.size <= 1) return showClock([...clocks.keys()][0]);
  return [...clocks].map(([hz, core]) => `${core} ${showClock(hz)}`).join(', ');
}

export const showUart = ({ driver, base, interrupt }: BoardUart): string =>
  `${driver} at ${hex(base)}${interrupt === undefined ? '' : `, interrupt ${interrupt}`}`;

/** How a CPU stands by or powers down: the call, with its power_state. */
export const showPower = (by: string | undefined, state: number | undefined): string =>
  by === undefined ? 'not known' : `${by}${state === undefined ? '' : ` ${hex(state)}`}`;
