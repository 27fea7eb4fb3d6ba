import { describe, expect, it } from 'vitest';

/** Catalogues: A, what a driver may try; V, what a device may try; C, what callers and peers may try. */
export type CaseId = `${'A' | 'V' | 'C'}${number}`;

/** One hostile input. What it does and what must become of it is data, in the terms of its catalogue. */
export interface HostileCase {
  readonly id: CaseId;
  /** What is tried, in a few words. */
  readonly title: string;
  /** The clause or section that it breaks, or that says what must become of it. */
  readonly clause: string;
}

/** Name of a case's test. */
export const caseName = ({ id, title, clause }: HostileCase): string => `${id}: ${title} (${clause})`;

/** Declares a test for every case, and one that says which ids of the catalogue have no case. */
export function describeCatalogue<C extends HostileCase>(
  name: string,
  ids: readonly CaseId[],
  cases: readonly C[],
  run: (each: C) => void | Promise<void>,
): void {
  describe(name, () => {
    it('has a case for every id, and no two of one name', () => {
      const covered = new Set<string>(cases.map(({ id }) => id));
      expect(ids.filter((id) => !covered.has(id))).toEqual([]);
      expect(new Set(cases.map(caseName)).size).toBe(cases.length);
    });

    for (const each of cases) it(caseName(each), () => run(each));
  });
}

/** Ids from `first` to `last` of a catalogue. */
export const caseIds = (letter: 'A' | 'V' | 'C', first: number, last: number): readonly CaseId[] =>
  Array.from({ length: last - first + 1 }, (_, n): CaseId => `${letter}${first + n}`);
