/** A device tree as a value, and how it is written down (Devicetree Specification 0.4, chapter 6). */
export interface DtNode {
  /** With its unit address, if any. */
  readonly name: string;
  readonly label?: string;
  readonly comment?: string;
  readonly properties: readonly DtProperty[];
  readonly children: readonly DtNode[];
}

export interface DtProperty {
  readonly name: string;
  /** What follows `=`, separated by commas; none: a property that is there or not. */
  readonly values: readonly DtValue[];
  readonly comment?: string;
}

export type DtValue =
  | { readonly kind: 'cells'; readonly cells: readonly DtCell[] }
  | { readonly kind: 'string'; readonly text: string };

/** 32 bits, or the phandle of a labelled node. */
export type DtCell = number | { readonly label: string };

export const cells = (...values: readonly DtCell[]): DtValue => ({ kind: 'cells', cells: values });
export const string = (text: string): DtValue => ({ kind: 'string', text });
export const property = (name: string, ...values: readonly DtValue[]): DtProperty => ({ name, values });

/** A number of 64 bits as two cells, the high one first. */
export const twoCells = (value: bigint): readonly [number, number] => [
  Number((value >> 32n) & 0xffff_ffffn),
  Number(value & 0xffff_ffffn),
];

/** An address and a size, two cells each. */
export const range = (base: bigint, size: bigint): DtValue => cells(...twoCells(base), ...twoCells(size));

/** An interrupt's trigger in its cells: rising edge (IRQ_TYPE_EDGE_RISING). */
export const EDGE_RISING = 1;
/** High level (IRQ_TYPE_LEVEL_HIGH). */
export const LEVEL_HIGH = 4;

/** Prints what stands within a node: properties, then children. */
export function printContents(
  { properties, children }: Pick<DtNode, 'properties' | 'children'>,
  depth: number,
): string {
  return [
    ...properties.map((item) => printProperty(item, depth)),
    ...children.map((item) => printNode(item, depth)),
  ].join('\n');
}

export function printNode(node: DtNode, depth: number): string {
  const pad = '\t'.repeat(depth);
  const label = node.label === undefined ? '' : `${node.label}: `;
  const comment = node.comment === undefined ? '' : `${pad}/* ${node.comment} */\n`;
  const contents = printContents(node, depth + 1);
  return `${comment}${pad}${label}${node.name} {${contents === '' ? ' ' : `\n${contents}\n${pad}`}};`;
}

function printProperty({ name, values, comment }: DtProperty, depth: number): string {
  const pad = '\t'.repeat(depth);
  const after = comment === undefined ? '' : ` /* ${comment} */`;
  if (values.length === 0) return `${pad}${name};${after}`;
  // Lists of strings on one line; lists of cells, which are long, one below the other.
  const between = values.every(({ kind }) => kind === 'string') ? ', ' : `,\n${pad}\t`;
  return `${pad}${name} = ${values.map(printValue).join(between)};${after}`;
}

const printValue = (value: DtValue): string =>
  value.kind === 'string'
    ? JSON.stringify(value.text)
    : `<${value.cells.map((cell) => (typeof cell === 'number' ? `0x${cell.toString(16)}` : `&${cell.label}`)).join(' ')}>`;
