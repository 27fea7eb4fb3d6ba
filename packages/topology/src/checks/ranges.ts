import type { InterruptController } from '@remio/arch';
import {
  APLIC_SIZE,
  GICD_SIZE,
  GICR_STRIDE,
  GICV2_GICC_SIZE,
  GICV2_GICD_SIZE,
  IMSIC_PAGE,
  PLIC_SIZE,
} from '@remio/arch';
import type { Path } from '../path.js';
import type { Topology, Vm } from '../types.js';
import { endPath } from './places.js';

/** A range of addresses, and what says so. */
export interface Range {
  readonly what: string;
  /** Absent: the board says so, not the file. */
  readonly path?: Path;
  readonly base: bigint;
  readonly size: bigint;
}

/** The frames of the interrupt controller that a VM sees. */
function controllerRanges(irqc: InterruptController, vcpus: number): readonly Range[] {
  const frame = (name: string, base: bigint, size: number): Range => ({
    what: `${name} of the VM\u2019s interrupt controller`,
    base,
    size: BigInt(size),
  });
  switch (irqc.kind) {
    case 'gicv2':
      return [frame('GICD', irqc.gicd, GICV2_GICD_SIZE), frame('GICC', irqc.gicc, GICV2_GICC_SIZE)];
    case 'gicv3':
      return [frame('GICD', irqc.gicd, GICD_SIZE), frame('GICR', irqc.gicr, GICR_STRIDE * vcpus)];
    case 'plic':
      return [frame('PLIC', irqc.base, PLIC_SIZE)];
    case 'aia':
      return [frame('APLIC', irqc.aplic, APLIC_SIZE), frame('IMSIC', irqc.imsic, IMSIC_PAGE * vcpus)];
  }
}

/**
 * Everything that takes guest-physical addresses of a VM: the board's first, then memory and windows in the order of the
 * file, shared memories in that of their ids: both ends of a device must see the same one in the wrong.
 */
export function rangesOf(topology: Topology, vm: Vm): readonly Range[] {
  return [
    ...controllerRanges(topology.board.irqc, vm.cpus.length),
    ...vm.memory.map(
      ({ base, size }, n): Range => ({
        what: 'memory',
        path: ['vms', vm.name, 'memory', n, 'base'],
        base,
        size: BigInt(size),
      }),
    ),
    ...[...vm.remioDevs]
      .sort((a, b) => a.shmem.id - b.shmem.id)
      .map((end): Range => {
        const { base, size } = end.shmem;
        return {
          what: `shared memory of ${end.name}`,
          path: endPath(vm, end, 'shmem', 'base'),
          base,
          size: BigInt(size),
        };
      }),
    ...vm.ipcs.map(({ index, name, shmem }): Range => {
      const path: Path = ['vms', vm.name, 'ipcs', index, 'base'];
      return { what: `IPC memory ${name}`, path, base: shmem.base, size: BigInt(shmem.size) };
    }),
    ...vm.remioDevs.flatMap((end): readonly Range[] => {
      const { base, size } = end.window;
      if (end.type !== 'frontend' || size === 0) return [];
      return [{ what: `window of ${end.name}`, path: endPath(vm, end, 'window', 'base'), base, size: BigInt(size) }];
    }),
  ];
}

const byBase = (a: Pick<Range, 'base'>, b: Pick<Range, 'base'>): number =>
  a.base < b.base ? -1 : a.base > b.base ? 1 : 0;

/**
 * Ranges that share addresses with another: each at most once, with the one that it runs into. Of two, the one that is
 * listed later is in the wrong. Takes the time of a sort.
 */
export function overlapsOf(ranges: readonly Range[]): readonly { readonly range: Range; readonly other: Range }[] {
  const order = new Map(ranges.map((range, n) => [range, n]));
  const found: { readonly range: Range; readonly other: Range }[] = [];
  let furthest: Range | undefined;
  for (const range of [...ranges].filter(({ size }) => size > 0n).sort(byBase)) {
    if (furthest !== undefined && range.base < furthest.base + furthest.size) {
      const later = (order.get(range) ?? 0) > (order.get(furthest) ?? 0);
      found.push(later ? { range, other: furthest } : { range: furthest, other: range });
    }
    if (furthest === undefined || range.base + range.size > furthest.base + furthest.size) furthest = range;
  }
  const once = new Map(found.reverse().map((overlap) => [overlap.range, overlap]));
  return [...once.values()].reverse();
}

/** The first address from `from` on, at a multiple of `align`, at which `size` bytes are free. */
export function freeAddress(ranges: readonly Range[], size: bigint, align: bigint, from: bigint): bigint {
  const up = (address: bigint): bigint => ((address + align - 1n) / align) * align;
  let free = up(from);
  for (const range of [...ranges].sort(byBase)) {
    if (range.base + range.size <= free) continue;
    if (range.base >= free + size) break;
    free = up(range.base + range.size);
  }
  return free;
}
