import type { RuleId } from './rules/index.js';

/** Where something stands in a file; lines and columns from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** A change of a file's text: what stands from `from` to before `to` becomes `text`. */
export interface TextEdit {
  readonly from: Place;
  readonly to: Place;
  /** The same as offsets, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Something wrong with a topology, or with the board file that it names. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning';
  /** Id of the rule, such as `cpu-taken`. */
  readonly rule: RuleId;
  /** The file, as it was named. */
  readonly file: string;
  readonly place: Place;
  /** Path in the file, such as `vms.backend.remio_devs[0].interrupt`. */
  readonly path: string;
  /** What was wrong and what was expected. */
  readonly message: string;
  /** What to do. */
  readonly fix: string;
  /** The line that the place is in, where it is not of the topology's own file. */
  readonly excerpt?: string;
  /** Changes of the file that do what {@link fix} says; absent where a person has to decide. */
  readonly edits?: readonly TextEdit[];
}

/** Places of one rule that are shown: a file that is wrong everywhere needs no thousand marks. */
const PLACES_MAX = 5;
/** Characters of a line that are shown. */
const LINE_MAX = 160;

/**
 * Shows diagnostics as a compiler does: the place, the line with a mark under it, the rule and the fix; of each rule the
 * first places, and how many there are more.
 */
export function renderDiagnostics(
  diagnostics: readonly (Omit<Diagnostic, 'rule'> & { readonly rule: string })[],
  source: string,
): string {
  const lines = diagnostics.length === 0 ? [] : source.split('\n');
  const counts = new Map<string, number>();
  for (const { rule } of diagnostics) counts.set(rule, (counts.get(rule) ?? 0) + 1);
  const told = new Map<string, number>();
  const shown = diagnostics.flatMap((diagnostic) => {
    const { severity, rule, file, place, path, message, fix, excerpt, edits } = diagnostic;
    const nth = (told.get(rule) ?? 0) + 1;
    told.set(rule, nth);
    if (nth > PLACES_MAX) return [];
    const more = (counts.get(rule) ?? 0) - PLACES_MAX;
    const number = String(place.line);
    const margin = ' '.repeat(number.length);
    const { text, column } = clip(excerpt ?? lines[place.line - 1] ?? '', place.column);
    return [
      `${file}:${place.line}:${place.column}: ${severity}[${rule}]: ${message}`,
      `${margin} |`,
      `${number} | ${text}`.trimEnd(),
      `${margin} | ${' '.repeat(Math.max(0, column - 1))}^ ${path}`.trimEnd(),
      `${margin} = fix: ${fix}${edits === undefined || excerpt !== undefined ? '' : ' (check --fix does)'}`,
      ...(nth === PLACES_MAX && more > 0 ? [`${margin} = and ${more} more like it`] : []),
    ].join('\n');
  });
  return shown.join('\n\n');
}

/** The part of a long line around a column, without characters that a terminal would act on. */
function clip(line: string, column: number): { readonly text: string; readonly column: number } {
  const clean = line.replace(/\p{Cc}/gu, (char) => (char === '\t' ? ' ' : char === '\r' ? '' : '\u{fffd}'));
  if (clean.length <= LINE_MAX) return { text: clean, column };
  const start = Math.max(0, column - 1 - LINE_MAX / 2);
  const end = start + LINE_MAX;
  const before = start > 0 ? '...' : '';
  return {
    text: `${before}${clean.slice(start, end)}${end < clean.length ? '...' : ''}`,
    column: column - start + before.length,
  };
}
