import { RULES, type RuleId } from '../remio/index.js';
import type { Vector } from './vector.js';
import { type Observed, type RunMode, RunnerError, VectorMachine } from './vector-machine.js';

/** The first thing that is not as recorded. */
export interface Mismatch {
  /** Position in `steps`, from 0; `init` or `end` for what lies outside. */
  readonly step: number | 'init' | 'end';
  /** Field of `expect`, or of the final state. */
  readonly field: string;
  readonly expected: unknown;
  readonly actual: unknown;
  /** Rules that bit and do not permit this difference. */
  readonly rules: readonly RuleId[];
}

/** How a vector went. */
export type Outcome =
  | { readonly status: 'passed' }
  /** As recorded, but for differences that these rules permit. */
  | { readonly status: 'deviates'; readonly rules: readonly RuleId[] }
  | { readonly status: 'failed'; readonly mismatch: Mismatch };

/** In class `valid`, only request ids and value widths may differ. */
const VALID_RULES: ReadonlySet<RuleId> = new Set<RuleId>(['H-READ-WIDTH', 'H-WRITE-WIDTH']);

/** Runs a vector: every step, then the final state. */
export function runVector(vector: Vector, mode: RunMode): Outcome {
  return new Run(vector, mode).outcome();
}

class Run {
  readonly #vector: Vector;
  readonly #mode: RunMode;
  /** Every rule that a difference needed. */
  readonly #used = new Set<RuleId>();
  /** Rules that bit since the states were last the same. */
  readonly #open = new Set<RuleId>();

  constructor(vector: Vector, mode: RunMode) {
    this.#vector = vector;
    this.#mode = mode;
  }

  outcome(): Outcome {
    const mismatch = this.#run();
    if (mismatch !== undefined) return { status: 'failed', mismatch };
    return this.#used.size === 0 ? { status: 'passed' } : { status: 'deviates', rules: [...this.#used].sort() };
  }

  #run(): Mismatch | undefined {
    const vector = this.#vector;
    const built = VectorMachine.create(vector, this.#mode);
    const initEvents = built.ok ? [] : [built.error];
    if (!equal(initEvents, vector.init.events)) {
      if (!built.ok && this.#mode.profile === 'hardened') this.#open.add('H-PAIRS');
      const refused = this.#permit('init', 'init', 'events', vector.init.events, initEvents);
      if (refused !== undefined || !built.ok) return refused;
    }
    if (!built.ok) return undefined;
    let machine = built.value;
    // The reference runs beside: after a difference, the next step is compared from the recorded state again.
    const beside = this.#mode.profile === 'hardened' ? this.#reference() : undefined;

    for (const [index, step] of vector.steps.entries()) {
      const actual = this.#guarded(machine, index, step);
      if ('mismatch' in actual) return actual.mismatch;
      beside?.step(step);
      for (const rule of machine.takeRules()) this.#open.add(rule);
      const differing = differences(step.expect, actual.observed);
      if (differing.length === 0) continue;
      for (const field of differing) {
        const refused = this.#permit(
          index,
          field,
          field,
          step.expect[field as keyof typeof step.expect],
          actual.observed[field],
        );
        if (refused !== undefined) return refused;
      }
      if (beside !== undefined && vector.class !== 'valid') {
        machine = VectorMachine.resume(vector, this.#mode, beside);
        this.#open.clear();
      }
    }
    if (vector.end === undefined) return undefined;
    for (const field of differences(vector.end, machine.end())) {
      const refused = this.#permit(
        'end',
        'end',
        field,
        vector.end[field as keyof typeof vector.end],
        machine.end()[field],
      );
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  #reference(): VectorMachine | undefined {
    const built = VectorMachine.create(this.#vector, { ...this.#mode, profile: 'reference', lease: false });
    return built.ok ? built.value : undefined;
  }

  #guarded(
    machine: VectorMachine,
    index: number,
    step: Vector['steps'][number],
  ): { readonly observed: Observed } | { readonly mismatch: Mismatch } {
    try {
      return { observed: machine.step(step) };
    } catch (error) {
      if (!(error instanceof RunnerError)) throw error;
      const mismatch = { step: index, field: 'runner', expected: 'no error', actual: error.message, rules: [] };
      return { mismatch };
    }
  }

  /** Whether a rule that bit permits a difference; if not, the mismatch. */
  #permit(
    step: Mismatch['step'],
    affected: string,
    field: string,
    expected: unknown,
    actual: unknown,
  ): Mismatch | undefined {
    const allowed = [...this.#open, ...(step === 'end' ? this.#used : [])].filter(
      (rule) =>
        (RULES[rule].affects as readonly string[]).includes(affected) &&
        (this.#vector.class !== 'valid' || VALID_RULES.has(rule)),
    );
    if (allowed.length === 0) return { step, field, expected, actual, rules: [...this.#open] };
    for (const rule of allowed) this.#used.add(rule);
    return undefined;
  }
}

/** Equality of plain data, whatever the order of an object's fields. */
const equal = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );

const differences = (expected: Observed, actual: Observed): readonly string[] =>
  Object.keys(expected).filter((field) => !equal(expected[field], actual[field]));
