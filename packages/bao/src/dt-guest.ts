import { GIC_FIRST_SPI } from '@remio/arch';
import { hex } from '@remio/base';
import type { BaoIrqc } from './bao-config.js';
import {
  cellOf,
  cellsOf,
  type Dt,
  type DtPlace,
  type DtRange,
  fail,
  isCompatible,
  isDisabled,
  nodesOf,
  rangesOf,
  stringsOf,
} from './dt-tree.js';

/** What a guest's device tree shows of its VM. */
export interface DtGuest {
  readonly cpus: number;
  readonly memory: readonly DtRange[];
  readonly irqc: BaoIrqc | undefined;
  /** Devices whose buffers go through a shared memory: the VM is their frontend. */
  readonly frontends: readonly DtFrontend[];
  /** By dm_id. */
  readonly backends: readonly DtEnd[];
  readonly ipcs: readonly DtIpc[];
  /** Devices that are no matter of Remote I/O. */
  readonly others: readonly { readonly name: string; readonly at: DtPlace }[];
}

export interface DtEnd {
  readonly shmem: DtRange;
  readonly interrupt: number;
  readonly at: DtPlace;
}

export interface DtFrontend extends DtEnd {
  readonly window: DtRange;
}

export interface DtIpc {
  readonly shmem: DtRange;
  readonly interrupts: readonly number[];
  readonly id: number;
  readonly at: DtPlace;
}

/** First private interrupt of a CPU on a GIC. */
const GIC_FIRST_PPI = 16;

/** Nodes whose `reg` is of a memory or interrupt controller, not of a device. */
const NO_DEVICES = ['cpu', 'memory', 'buffer', 'interrupt-controller', 'intc'];

/**
 * Reads what a tree says of Remote I/O.
 * @throws ImportFailure where something that it points at is not there
 */
export function readGuest(root: Dt): DtGuest {
  const nodes = [...nodesOf(root)].filter(([node]) => !isDisabled(node));
  const phandles = phandlesOf(nodes.map(([node]) => node));
  const frontends: DtFrontend[] = [];
  const backends: DtEnd[] = [];
  const ipcs: DtIpc[] = [];
  const others: { readonly name: string; readonly at: DtPlace }[] = [];
  const memory: DtRange[] = [];
  let cpus = 0;
  for (const [node, around] of nodes) {
    const kind = stringsOf(node, 'device_type')[0];
    if (kind === 'cpu') cpus += 1;
    else if (kind === 'memory') memory.push(...rangesOf(node, around));
    else if (isCompatible(node, 'virtio,mmio')) {
      const [window] = rangesOf(node, around);
      const pool = poolOf(node, nodes, phandles);
      if (window === undefined || pool === undefined) others.push({ name: node.name, at: node.at });
      else frontends.push({ window, shmem: pool, interrupt: oneInterrupt(node, around, phandles), at: node.at });
    } else if (isCompatible(node, 'bao,io-dispatcher')) {
      const ranges = rangesOf(node, around);
      const interrupts = interruptsOf(node, around, phandles);
      if (ranges.length !== interrupts.length) {
        fail(
          node.at,
          `${node.name} has ${ranges.length} shared memories and ${interrupts.length} interrupts: a device has one of each`,
        );
      }
      backends.push(...ranges.map((shmem, n) => ({ shmem, interrupt: interrupts[n] ?? 0, at: node.at })));
    } else if (isCompatible(node, 'bao,ipcshmem')) {
      const [shmem] = rangesOf(node, around);
      if (shmem === undefined) fail(node.at, `${node.name} has no reg`);
      else
        ipcs.push({
          shmem,
          interrupts: interruptsOf(node, around, phandles),
          id: cellOf(node, 'id') ?? ipcs.length,
          at: node.at,
        });
    } else if (
      node.properties.has('reg') &&
      node.properties.has('compatible') &&
      !NO_DEVICES.some((name) => node.name.startsWith(name))
    ) {
      others.push({ name: node.name, at: node.at });
    }
  }
  const pools = [...frontends.map(({ shmem }) => shmem)];
  return {
    cpus,
    memory: memory.flatMap((range) => without(range, pools)),
    irqc: controllerOf(nodes),
    frontends,
    backends,
    ipcs: ipcs.sort((a, b) => a.id - b.id),
    others,
  };
}

function phandlesOf(nodes: readonly Dt[]): ReadonlyMap<number, Dt> {
  const phandles = new Map<number, Dt>();
  for (const node of nodes) {
    const phandle = cellOf(node, 'phandle') ?? cellOf(node, 'linux,phandle');
    if (phandle === undefined) continue;
    const other = phandles.get(phandle);
    if (other !== undefined) fail(node.at, `${node.name} and ${other.name} have the same phandle, ${hex(phandle)}`);
    phandles.set(phandle, node);
  }
  return phandles;
}

const pointedAt = (node: Dt, property: string, phandle: number, phandles: ReadonlyMap<number, Dt>): Dt =>
  phandles.get(phandle) ??
  fail(
    node.properties.get(property)?.at ?? node.at,
    `${property} of ${node.name} points at phandle ${hex(phandle)}, which no node has`,
  );

/** The restricted pool of a device, which is its shared memory. */
function poolOf(
  node: Dt,
  nodes: readonly (readonly [Dt, readonly Dt[]])[],
  phandles: ReadonlyMap<number, Dt>,
): DtRange | undefined {
  for (const phandle of cellsOf(node, 'memory-region')) {
    const pool = pointedAt(node, 'memory-region', phandle, phandles);
    if (!isCompatible(pool, 'restricted-dma-pool')) continue;
    const around = nodes.find(([candidate]) => candidate === pool)?.[1] ?? [];
    return rangesOf(pool, around)[0] ?? fail(pool.at, `${pool.name} has no reg: a shared memory has a fixed place`);
  }
  return undefined;
}

function oneInterrupt(node: Dt, around: readonly Dt[], phandles: ReadonlyMap<number, Dt>): number {
  return interruptsOf(node, around, phandles)[0] ?? fail(node.at, `${node.name} has no interrupt`);
}

/** Interrupt ids of a node, as its VM's interrupt controller counts them. */
function interruptsOf(node: Dt, around: readonly Dt[], phandles: ReadonlyMap<number, Dt>): readonly number[] {
  if (node.properties.has('interrupts-extended')) {
    const cells = cellsOf(node, 'interrupts-extended');
    const ids: number[] = [];
    for (let at = 0; at < cells.length; ) {
      const parent = pointedAt(node, 'interrupts-extended', cells[at] ?? 0, phandles);
      const count = interruptCells(parent);
      ids.push(interruptId(node, parent, cells.slice(at + 1, at + 1 + count)));
      at += 1 + count;
    }
    return ids;
  }
  const cells = cellsOf(node, 'interrupts');
  if (cells.length === 0) return [];
  const holder = [node, ...[...around].reverse()].find((candidate) => candidate.properties.has('interrupt-parent'));
  if (holder === undefined) return fail(node.at, `${node.name} has interrupts, and nothing says of which controller`);
  const parent = pointedAt(holder, 'interrupt-parent', cellOf(holder, 'interrupt-parent') ?? 0, phandles);
  const count = interruptCells(parent);
  if (cells.length % count !== 0) {
    fail(
      node.properties.get('interrupts')?.at ?? node.at,
      `interrupts of ${node.name} has ${cells.length} cells, no multiple of ${count}`,
    );
  }
  return Array.from({ length: cells.length / count }, (_, n) =>
    interruptId(node, parent, cells.slice(n * count, (n + 1) * count)),
  );
}

function interruptCells(parent: Dt): number {
  const count = cellOf(parent, '#interrupt-cells') ?? 0;
  return count >= 1 && count <= 4
    ? count
    : fail(parent.at, `${parent.name} is no interrupt controller: it has no #interrupt-cells`);
}

function interruptId(node: Dt, parent: Dt, cells: readonly number[]): number {
  const [first = 0, second = 0] = cells;
  if (!isGic(parent)) return first;
  if (first === 0) return GIC_FIRST_SPI + second;
  return first === 1
    ? GIC_FIRST_PPI + second
    : fail(node.at, `interrupt of type ${first}: a GIC has 0, shared, and 1, private`);
}

const GICV3 = ['arm,gic-v3'];
const GICS = [...GICV3, 'arm,gic-400', 'arm,cortex-a15-gic', 'arm,cortex-a9-gic', 'arm,cortex-a7-gic'];
const isGic = (node: Dt): boolean => isCompatible(node, ...GICS);

/** The controller, as a configuration would say it. */
function controllerOf(nodes: readonly (readonly [Dt, readonly Dt[]])[]): BaoIrqc | undefined {
  const found = (...compatible: readonly string[]): readonly DtRange[] => {
    const entry = nodes.find(([node]) => isCompatible(node, ...compatible));
    return entry === undefined ? [] : rangesOf(...entry);
  };
  const [gicd, second] = found(...GICS);
  if (gicd !== undefined) {
    const isV3 = found(...GICV3).length > 0;
    const base = second?.base ?? 0n;
    return { kind: 'gic', gicd: gicd.base, gicc: isV3 ? 0n : base, gicr: isV3 ? base : 0n };
  }
  const [plic] = found('riscv,plic0', 'sifive,plic-1.0.0');
  if (plic !== undefined) return { kind: 'plic', base: plic.base };
  const [aplic] = found('riscv,aplic');
  const [imsic] = found('riscv,imsics');
  return aplic === undefined ? undefined : { kind: 'aia', aplic: aplic.base, imsic: imsic?.base ?? 0n };
}

/** What is left of a range without others: a frontend's memory has its pools in it. */
function without(range: DtRange, others: readonly DtRange[]): readonly DtRange[] {
  let left: readonly DtRange[] = [range];
  for (const { base, size } of others) {
    left = left.flatMap((part) => {
      const end = part.base + part.size;
      if (base + size <= part.base || base >= end) return [part];
      const pieces = [
        { base: part.base, size: base - part.base },
        { base: base + size, size: end - base - size },
      ];
      return pieces.filter((piece) => piece.size > 0n);
    });
  }
  return left;
}
