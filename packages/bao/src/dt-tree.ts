import type { ImportError } from './problems.js';
import { ImportFailure } from './problems.js';

/** Where something stands in a device tree's source; a blob has no lines. */
export type DtPlace = Pick<ImportError, 'file' | 'place'>;

/** A device tree that was read: values are bytes, as in a blob (Devicetree Specification 0.4, 2.2). */
export interface Dt {
  readonly name: string;
  readonly labels: readonly string[];
  readonly properties: ReadonlyMap<string, DtBytes>;
  readonly children: readonly Dt[];
  readonly at: DtPlace;
}

export interface DtBytes {
  readonly bytes: Uint8Array;
  readonly at: DtPlace;
}

/** Nodes within nodes: trees of boards have about eight. */
export const DT_DEPTH_MAX = 64;

export const fail = (at: DtPlace, message: string): never => {
  throw new ImportFailure({ ...at, message });
};

/** The 32-bit numbers of a property; none where it is not there. */
export function cellsOf(node: Dt, name: string): readonly number[] {
  const property = node.properties.get(name);
  if (property === undefined) return [];
  const { bytes, at } = property;
  if (bytes.length % 4 !== 0) fail(at, `${name} of ${node.name} has ${bytes.length} bytes, which are no whole cells`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, n) => view.getUint32(4 * n));
}

/** One 32-bit number. */
export const cellOf = (node: Dt, name: string): number | undefined => cellsOf(node, name)[0];

/** The strings of a property; none where it is not there. */
export function stringsOf(node: Dt, name: string): readonly string[] {
  const property = node.properties.get(name);
  if (property === undefined) return [];
  const text = new TextDecoder().decode(property.bytes);
  return text.split('\0').slice(0, text.endsWith('\0') ? -1 : undefined);
}

export const isCompatible = (node: Dt, ...names: readonly string[]): boolean =>
  stringsOf(node, 'compatible').some((name) => names.includes(name));

export const isDisabled = (node: Dt): boolean => stringsOf(node, 'status')[0]?.startsWith('dis') ?? false;

/** Every node of a tree with those around it, the root first. */
export function* nodesOf(node: Dt, around: readonly Dt[] = []): Generator<readonly [Dt, readonly Dt[]]> {
  yield [node, around];
  const inner = [...around, node];
  for (const child of node.children) yield* nodesOf(child, inner);
}

/** A number of so many cells, at a position in a list of them. */
const numberAt = (cells: readonly number[], from: number, count: number): bigint => {
  let value = 0n;
  for (let n = 0; n < count; n += 1) value = (value << 32n) | BigInt(cells[from + n] ?? 0);
  return value;
};

/** Cells of addresses and sizes below a node (2.3.5): two and one where it does not say. */
const cellCounts = (node: Dt): readonly [number, number] => [
  small(node, '#address-cells', 2),
  small(node, '#size-cells', 1),
];

function small(node: Dt, name: string, otherwise: number): number {
  const value = cellOf(node, name) ?? otherwise;
  return value > 4 ? fail(node.properties.get(name)?.at ?? node.at, `${name} is ${value}; there are at most 4`) : value;
}

/** A range of addresses as the CPU sees it. */
export interface DtRange {
  readonly base: bigint;
  readonly size: bigint;
}

/**
 * The ranges of a node's `reg`, as the CPU sees them: through the buses around it.
 * @param around the nodes around it, the root first
 * @returns none where a bus in between is not mapped
 */
export function rangesOf(node: Dt, around: readonly Dt[]): readonly DtRange[] {
  const parent = around.at(-1);
  if (parent === undefined) return [];
  const cells = cellsOf(node, 'reg');
  const [addressCells, sizeCells] = cellCounts(parent);
  const step = addressCells + sizeCells;
  if (step === 0 || cells.length % step !== 0) {
    fail(
      node.properties.get('reg')?.at ?? node.at,
      `reg of ${node.name} has ${cells.length} cells, no multiple of ${step}`,
    );
  }
  const ranges: DtRange[] = [];
  for (let at = 0; at < cells.length; at += step) {
    const range = { base: numberAt(cells, at, addressCells), size: numberAt(cells, at + addressCells, sizeCells) };
    const seen = throughBuses(range, around);
    if (seen !== undefined) ranges.push(seen);
  }
  return ranges;
}

/** A range below the innermost of some buses, as the root sees it. */
function throughBuses(range: DtRange, around: readonly Dt[]): DtRange | undefined {
  let seen = range;
  for (let level = around.length - 1; level > 0; level -= 1) {
    const bus = around[level];
    const above = around[level - 1];
    if (bus === undefined || above === undefined || !bus.properties.has('ranges')) return undefined;
    const cells = cellsOf(bus, 'ranges');
    // Without any, the bus has the addresses of what is above it.
    if (cells.length === 0) continue;
    const [childCells, sizeCells] = cellCounts(bus);
    const [parentCells] = cellCounts(above);
    const step = childCells + parentCells + sizeCells;
    let mapped: DtRange | undefined;
    for (let at = 0; at + step <= cells.length; at += step) {
      const child = numberAt(cells, at, childCells);
      const size = numberAt(cells, at + childCells + parentCells, sizeCells);
      if (seen.base < child || seen.base >= child + size) continue;
      mapped = { base: seen.base - child + numberAt(cells, at + childCells, parentCells), size: seen.size };
      break;
    }
    if (mapped === undefined) return undefined;
    seen = mapped;
  }
  return seen;
}
