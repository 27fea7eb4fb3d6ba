/**
 * What becomes of a hostile input.
 *
 * - `R`: rejected quietly; the request comes back or fails alone, and everything goes on
 * - `L`: the queue is latched as broken; DEVICE_NEEDS_RESET, a configuration interrupt, other queues live on (2.1.2)
 * - `I`: ignored, as if it had not been
 * - `C`: it works as a request does
 * - `N`: the driver resets the device or the queue, and goes on
 * - `B`: the driver gives up on the device as broken, and says so
 */
export type Verdict = 'R' | 'L' | 'I' | 'C' | 'N' | 'B';

/**
 * What was seen: a verdict; `W`, it hangs or is of no use any more; `F`, it did what nobody may do; or `-`, the case did
 * not come about.
 */
export type Seen = Verdict | 'W' | 'F' | '-';

/** Catalogues: A, what a driver may try; V, what a device may try. */
export type CaseId = `${'A' | 'V'}${number}`;

/** The layouts of rings in which cases are tried. */
export type Layout = 'split' | 'packed';

/** One hostile input. */
export interface HostileCase {
  readonly id: CaseId;
  /** What is tried, in a few words. */
  readonly title: string;
  /** Section of VirtIO 1.4 that it breaks, or that says what must become of it. */
  readonly clause: string;
  /** Any of these is right. */
  readonly expected: readonly Verdict[];
}

/** What was seen of a case. */
export interface Outcome {
  readonly seen: Seen;
  /** Why it is `W` or `F`; what else is worth knowing. */
  readonly detail?: string;
}

/** A case that was tried. */
export interface Trial extends HostileCase, Outcome {
  /** What it was tried on: a device or a driver. */
  readonly on: string;
  readonly layout: Layout;
  readonly ok: boolean;
}

/** A case and what was seen of it, as one row of a table. */
export const trialOf = (each: HostileCase, on: string, layout: Layout, outcome: Outcome): Trial => ({
  id: each.id,
  title: each.title,
  clause: each.clause,
  expected: each.expected,
  on,
  layout,
  ...outcome,
  ok: outcome.seen === '-' || each.expected.some((verdict) => verdict === outcome.seen),
});

/** Ids from `first` to `last` of a catalogue. */
export const caseIds = (letter: 'A' | 'V', first: number, last: number): readonly CaseId[] =>
  Array.from({ length: last - first + 1 }, (_, n): CaseId => `${letter}${first + n}`);
