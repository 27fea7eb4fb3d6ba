import type { SavedValue } from '@remio/base';

/** Flags as plain data: the ids whose flag is set, ascending. */
export const saveFlags = (flags: Uint8Array): readonly number[] => [...flags.keys()].filter((id) => flags[id] === 1);

/** Sets exactly the flags that were saved. */
export function restoreFlags(saved: SavedValue, flags: Uint8Array): void {
  flags.fill(0);
  for (const entry of saved.list()) {
    const id = entry.integer(0, flags.length - 1);
    if (flags[id] === 1) entry.refuse('each interrupt once');
    flags[id] = 1;
  }
}

/** A register for each id as plain data: [id, value] where the value is not 0, ids ascending. */
export const saveTable = (table: Uint8Array | Uint32Array): readonly (readonly [id: number, value: number])[] =>
  [...table.entries()].filter(([, value]) => value !== 0);

/** @param max the largest value that the register holds */
export function restoreTable(saved: SavedValue, table: Uint8Array | Uint32Array, max: number): void {
  table.fill(0);
  for (const entry of saved.list()) {
    const [id, value] = entry.list(2);
    const at = id?.integer(0, table.length - 1) ?? 0;
    if (table[at] !== 0) entry.refuse('each interrupt once');
    table[at] = value?.integer(1, max) ?? 0;
  }
}
