import type { GuestCpu } from './program.js';

/** What a vCPU runs from an entry point on. */
export type EntryPoint = (cpu: GuestCpu) => Promise<void>;

/** Bytes of code that each entry point of a TypeScript program pretends to have. */
export const CODE_SIZE = 0x1_0000;

/** The entry points of a VM's TypeScript program by guest address, so that vCPUs are started as real ones are. */
export class SymbolTable {
  readonly #base: bigint;
  readonly #entries: EntryPoint[] = [];

  /** @param base where the VM's image lies: the address of its first entry point */
  constructor(base: bigint) {
    this.#base = base;
  }

  /** Gives an entry point an address. */
  add(entry: EntryPoint): bigint {
    const known = this.#entries.indexOf(entry);
    const index = known >= 0 ? known : this.#entries.push(entry) - 1;
    return this.#base + BigInt(index * CODE_SIZE);
  }

  at(address: bigint): EntryPoint | undefined {
    const offset = address - this.#base;
    if (offset < 0n || offset % BigInt(CODE_SIZE) !== 0n) return undefined;
    return this.#entries[Number(offset / BigInt(CODE_SIZE))];
  }
}
