import { err, ok, type Result } from './result.js';
import { U64_MAX } from './u64.js';

/** What is wrong with a saved state; thrown by {@link SavedValue}, caught by {@link restoring}, seen by nobody else. */
class Refused extends Error {}

/**
 * A value of a saved state, with its place. A saved state is plain data that may have lain anywhere: each reader takes
 * what it expects, or refuses the whole state.
 */
export class SavedValue {
  readonly #value: unknown;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    this.#value = value;
    this.#path = path;
  }

  /** Whether the state says that there is nothing here. */
  get isNull(): boolean {
    return this.#value === null;
  }

  /** Refuses the state: something else was expected here. */
  refuse(expected: string): never {
    throw new Refused(`${this.#path === '' ? 'state' : this.#path}: expected ${expected}`);
  }

  field(name: string): SavedValue {
    const value = this.#value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.refuse('an object');
    const path = this.#path === '' ? name : `${this.#path}.${name}`;
    return new SavedValue(Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined, path);
  }

  /** @param length how many entries there must be; any number if absent */
  list(length?: number): readonly SavedValue[] {
    const value = this.#value;
    if (!Array.isArray(value)) return this.refuse('a list');
    if (length !== undefined && value.length !== length) return this.refuse(`${length} entries`);
    return Array.from(value, (entry: unknown, n) => new SavedValue(entry, `${this.#path}[${n}]`));
  }

  /** Hands the value to a part that restores itself; what that part refuses is refused here. */
  give(restore: (state: unknown) => Result<void, string>): void {
    const taken = restore(this.#value);
    if (!taken.ok) throw new Refused(`${this.#path}: ${taken.error}`);
  }

  boolean(): boolean {
    return typeof this.#value === 'boolean' ? this.#value : this.refuse('a boolean');
  }

  integer(min: number, max: number): number {
    const value = this.#value;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      return this.refuse(`an integer from ${min} to ${max}`);
    }
    return value;
  }

  /** An unsigned number as text, `0x…`. */
  u64(max: bigint = U64_MAX): bigint {
    const value = this.#value;
    if (typeof value !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(value)) return this.refuse('a 64-bit 0x number');
    const number = BigInt(value);
    return number <= max ? number : this.refuse(`at most 0x${max.toString(16)}`);
  }

  text(): string {
    return typeof this.#value === 'string' ? this.#value : this.refuse('a text');
  }

  oneOf<Name extends string>(...names: readonly Name[]): Name {
    const found = names.find((name) => name === this.#value);
    return found ?? this.refuse(names.join(', '));
  }
}

/**
 * Reads a saved state.
 * @returns what `read` makes of it, or the first thing that is wrong with it
 */
export function restoring<T>(state: unknown, read: (state: SavedValue) => T): Result<T, string> {
  try {
    return ok(read(new SavedValue(state, '')));
  } catch (error) {
    if (error instanceof Refused) return err(error.message);
    throw error;
  }
}
