import type { At, CItem, CValue } from './c-value.js';
import { ImportFailure, type ImportNote } from './problems.js';

/** Fields of Bao's structures, in their order: what initializers without designators count by. */
export const STRUCTS = {
  config: ['hyp', 'shmemlist_size', 'shmemlist', 'vmlist_size', 'vmlist'],
  vm_config: ['image', 'entry', 'cpu_affinity', 'colors', 'platform'],
  image: ['base_addr', 'load_addr', 'size', 'separately_loaded', 'inplace', 'reserved'],
  vm_platform: [
    'cpu_num',
    'region_num',
    'regions',
    'ipc_num',
    'ipcs',
    'dev_num',
    'devs',
    'remio_dev_num',
    'remio_devs',
    'mmu',
    'arch',
  ],
  vm_mem_region: ['base', 'size', 'colors', 'place_phys', 'phys', 'reserved'],
  vm_dev_region: ['pa', 'va', 'size', 'interrupt_num', 'interrupts', 'id'],
  shmem: ['size', 'colors', 'place_phys', 'base', 'phys', 'reserved', 'cpu_masters', 'lock'],
  ipc: ['base', 'size', 'shmem_id', 'interrupt_num', 'interrupts'],
  remio_dev: ['va', 'size', 'interrupt', 'bind_key', 'type', 'shmem'],
  remio_shmem: ['base', 'size', 'shmem_id'],
  arch: ['gic', 'smmu', 'irqc'],
  gic: ['gicd_addr', 'gicc_addr', 'gicr_addr', 'interrupt_num'],
  irqc: ['plic', 'aia'],
  plic: ['base'],
  aia: ['aplic', 'imsic'],
  aplic: ['base'],
  imsic: ['base'],
} as const;

export type StructName = keyof typeof STRUCTS;

/** Longest array that is looked at: no board has so many of anything. */
const ARRAY_MAX = 65_536n;

/** The fields that an initializer gives a structure; each is taken once, and what nobody takes is told. */
export class Struct {
  readonly at: At;
  readonly #name: StructName;
  readonly #fields = new Map<string, CValue>();
  readonly #note: (note: ImportNote) => void;

  constructor(name: StructName, value: CValue, note: (note: ImportNote) => void) {
    this.at = value.at;
    this.#name = name;
    this.#note = note;
    if (value.kind !== 'list') {
      throw new ImportFailure({
        ...value.at,
        message: `struct ${name} is expected here: { .${STRUCTS[name][0]} = … }`,
      });
    }
    const fields: readonly string[] = STRUCTS[name];
    let next = 0;
    for (const item of value.items) {
      const [first, ...rest] = item.designators;
      if (first?.kind === 'index')
        throw new ImportFailure({ ...item.at, message: 'a field is expected here: .name = …' });
      const field = first?.name ?? fields[next];
      if (field === undefined) {
        throw new ImportFailure({ ...item.at, message: `struct ${name} has only ${fields.length} fields` });
      }
      next = fields.indexOf(field) + 1;
      this.#set(field, item, rest);
    }
  }

  #set(field: string, item: CItem, rest: CItem['designators']): void {
    if (rest.length === 0) {
      this.#fields.set(field, item.value);
      return;
    }
    // `.irqc.plic.base = x` gives one field of what is given already, or of nothing.
    const before = this.#fields.get(field);
    const items = before?.kind === 'list' ? before.items : [];
    const inner: CItem = { designators: rest, value: item.value, at: item.at };
    this.#fields.set(field, { kind: 'list', items: [...items, inner], at: item.at });
  }

  take(field: string): CValue | undefined {
    const value = this.#fields.get(field);
    this.#fields.delete(field);
    return value;
  }

  has(field: string): boolean {
    return this.#fields.has(field);
  }

  /** A number of 64 bits; `otherwise` where it is not given, as C has zero there. */
  u64(field: string, otherwise = 0n): bigint {
    return this.#number(field, 64n) ?? otherwise;
  }

  /** A number without a bound, for maps of CPUs that are wider than the reference's. */
  wide(field: string): bigint {
    return this.#number(field, 4352n) ?? 0n;
  }

  /** A number that counts something, or names one. */
  small(field: string): number {
    return Number(this.#number(field, 31n) ?? 0n);
  }

  #number(field: string, bits: bigint): bigint | undefined {
    const value = this.take(field);
    if (value === undefined) return undefined;
    return numberOf(value, bits, field);
  }

  /** A structure within this one. */
  struct(field: string, name: StructName): Struct | undefined {
    const value = this.take(field);
    return value === undefined ? undefined : new Struct(name, value, this.#note);
  }

  /** An array, as long as its count says. */
  array(field: string, count: string): readonly CValue[] {
    const hasCount = this.has(count);
    const length = this.small(count);
    const value = this.take(field);
    if (value === undefined) {
      if (length > 0)
        this.note('wrong', `${count} is ${length}, and there are no ${field}: Bao would read what is not there`);
      return [];
    }
    const items = arrayOf(value);
    if (!hasCount && items.length > 0) {
      this.note(
        'wrong',
        `${count} is missing: Bao takes none of the ${items.length} ${field}; all are taken here`,
        value.at,
      );
    } else if (length > items.length) {
      this.note(
        'wrong',
        `${count} is ${length}, and there are ${items.length} ${field}: Bao would read past their end`,
        value.at,
      );
    } else if (length < items.length) {
      this.note(
        'wrong',
        `${count} is ${length}: Bao does not take the last ${items.length - length} of ${field}`,
        value.at,
      );
      return items.slice(0, length);
    }
    return items;
  }

  /** Interrupts, as many as their count says. */
  interrupts(): readonly number[] {
    return this.array('interrupts', 'interrupt_num').map((value) => Number(numberOf(value, 31n, 'an interrupt')));
  }

  structs(field: string, count: string, name: StructName): readonly Struct[] {
    return this.array(field, count).map((value) => new Struct(name, value, this.#note));
  }

  note(kind: ImportNote['kind'], message: string, at: At = this.at): void {
    this.#note({ kind, ...at, message });
  }

  /** Tells what nobody took. `known`: fields that need no word when they are zero. */
  done(what: string): void {
    for (const [field, value] of this.#fields) {
      if (value.kind === 'integer' && value.value === 0n) continue;
      const fields: readonly string[] = STRUCTS[this.#name];
      const message = fields.includes(field)
        ? `.${field} of ${what} has no place in a topology`
        : `struct ${this.#name} has no field .${field}`;
      this.note(fields.includes(field) ? 'lost' : 'wrong', message, value.at);
    }
    this.#fields.clear();
  }
}

export function numberOf(value: CValue, bits: bigint, what: string): bigint {
  if (value.kind !== 'integer') throw new ImportFailure({ ...value.at, message: `${what}: a number is expected here` });
  const given = value.value < 0n && value.value >= -(1n << 63n) ? BigInt.asUintN(64, value.value) : value.value;
  if (given < 0n || given >> bits > 0n) {
    throw new ImportFailure({ ...value.at, message: `${what} is ${given}, which has more than ${bits} bits` });
  }
  return given;
}

/** The elements of an array; those that nothing initializes are empty structures, as C has them. */
function arrayOf(value: CValue): readonly CValue[] {
  if (value.kind !== 'list') throw new ImportFailure({ ...value.at, message: 'an array is expected here: { …, … }' });
  const items: CValue[] = [];
  let next = 0n;
  for (const item of value.items) {
    const [first, ...rest] = item.designators;
    if (first?.kind === 'field' || rest.length > 0) {
      throw new ImportFailure({ ...item.at, message: 'an element is expected here: [n] = …' });
    }
    const { from, to } = first ?? { from: next, to: next };
    if (from < 0n || to < from || to >= ARRAY_MAX) {
      throw new ImportFailure({ ...item.at, message: `[${from}] is no element that a configuration could have` });
    }
    for (let n = from; n <= to; n += 1n) items[Number(n)] = item.value;
    next = to + 1n;
  }
  const empty: CValue = { kind: 'list', items: [], at: value.at };
  return Array.from(items, (item) => item ?? empty);
}
