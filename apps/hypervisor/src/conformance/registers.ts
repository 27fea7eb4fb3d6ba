import type { Arch } from '@remio/arch';
import { hex } from '@remio/base';

/** Registers that a vector's vCPU has: x0..x30, or x1..x31; any other reads as zero, and writes to it vanish. */
const exists = (arch: Arch, register: number): boolean =>
  arch === 'aarch64' ? register <= 30 : register >= 1 && register <= 31;

/** A vCPU's general registers, with the initial contents that the vectors prescribe. */
export class Registers {
  readonly #arch: Arch;
  readonly #values: bigint[];

  constructor(arch: Arch, cpu: number) {
    this.#arch = arch;
    this.#values = Array.from({ length: 32 }, (_, n) =>
      exists(arch, n) ? 0xa5a5_0000_0000_0000n + 0x100n * BigInt(cpu) + BigInt(n) : 0n,
    );
  }

  read(register: number): bigint {
    return exists(this.#arch, register) ? (this.#values[register] ?? 0n) : 0n;
  }

  write(register: number, value: bigint): void {
    if (exists(this.#arch, register)) this.#values[register] = value;
  }

  snapshot(): readonly bigint[] {
    return [...this.#values];
  }

  restore(values: readonly bigint[]): void {
    values.forEach((value, register) => this.write(register, value));
  }

  /** What changed since a snapshot, by name. */
  changes(since: readonly bigint[]): Readonly<Record<string, string>> {
    const changes: Record<string, string> = {};
    this.#values.forEach((value, register) => {
      if (value !== since[register]) changes[`x${register}`] = hex(value);
    });
    return changes;
  }
}
