import type { Diagnostic, TextEdit } from './diagnostics.js';

/** A text after the changes that diagnostics propose. */
export interface FixedText {
  readonly text: string;
  /** Diagnostics whose changes were made. */
  readonly applied: readonly Diagnostic[];
}

/**
 * Makes the changes that diagnostics propose; of those that meet in the text, the first only. What one change makes
 * wrong elsewhere, or leaves, the next check of the text says.
 */
export function applyEdits(text: string, diagnostics: readonly Diagnostic[]): FixedText {
  const applied: Diagnostic[] = [];
  const edits: TextEdit[] = [];
  const taken: TextEdit[] = [];
  for (const diagnostic of diagnostics) {
    const wanted = diagnostic.edits ?? [];
    if (wanted.length === 0 || wanted.some((edit) => taken.some((other) => meet(edit, other)))) continue;
    applied.push(diagnostic);
    edits.push(...wanted);
    taken.push(...wanted);
    if (applied.length >= EDITS_MAX) break;
  }
  edits.sort((a, b) => b.start - a.start);
  let fixed = text;
  for (const { start, end, text: replacement } of edits) fixed = fixed.slice(0, start) + replacement + fixed.slice(end);
  return { text: fixed, applied };
}

/** Changes of one round: each is compared with those before it. */
const EDITS_MAX = 256;

const meet = (a: TextEdit, b: TextEdit): boolean => a.start < b.end && b.start < a.end;

/** Checks and fixes of one call: each round sees what the one before it left, or made. */
const ROUNDS_MAX = 64;

/** What fixing a text came to. */
export interface Fixed<Checked> {
  readonly text: string;
  readonly applied: readonly Diagnostic[];
  /** The last check. */
  readonly checked: Checked;
}

/**
 * Checks a text and makes the proposed changes until there are none left that can be made.
 * @param file name of the file whose text it is: changes of others are left alone
 */
export function fixText<Checked extends { readonly diagnostics: readonly Diagnostic[] }>(
  text: string,
  file: string,
  check: (text: string) => Checked,
): Fixed<Checked> {
  const applied: Diagnostic[] = [];
  let current = text;
  let checked = check(current);
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const made = applyEdits(
      current,
      checked.diagnostics.filter((diagnostic) => diagnostic.file === file),
    );
    if (made.applied.length === 0) break;
    applied.push(...made.applied);
    current = made.text;
    checked = check(current);
  }
  return { text: current, applied, checked };
}
