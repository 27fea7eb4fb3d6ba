import { RULES, type RuleId } from '../remio/index.js';
import type { Vector, VectorEnd, VectorHead, VectorStep } from './vector.js';
import { type RunMode, RunnerError, VectorMachine } from './vector-machine.js';
import type { Observed } from './vector-view.js';

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
  const run = new VectorRun(vector, mode);
  for (const step of vector.steps) {
    if (run.mismatch !== undefined) break;
    run.step(step);
  }
  return run.finish(vector.end);
}

/**
 * A vector that is run step by step. What was recorded in the profile that runs must be so again, to the last effect;
 * what was recorded of the reference may differ in `hardened`, as far as rules that bit permit it.
 */
export class VectorRun {
  /** The first thing that was not as recorded. */
  mismatch: Mismatch | undefined;
  readonly #vector: VectorHead;
  readonly #mode: RunMode;
  readonly #machine: { value?: VectorMachine } = {};
  /** The reference runs beside: after a difference, the next step is compared from the recorded state again. */
  readonly #beside: VectorMachine | undefined;
  /** Every rule that a difference needed. */
  readonly #used = new Set<RuleId>();
  /** Rules that bit since the states were last the same. */
  readonly #open = new Set<RuleId>();
  #steps = 0;

  /** @throws RunnerError if the steps were recorded in `hardened` and are to run in the reference */
  constructor(vector: VectorHead, mode: RunMode) {
    this.#vector = vector;
    this.#mode = { ...mode, givenIds: vector.profile === 'hardened' };
    if (vector.profile === 'hardened' && mode.profile === 'reference') {
      throw new RunnerError('recorded in profile hardened, which the reference cannot repeat');
    }
    const built = VectorMachine.create(vector, this.#mode);
    const initEvents = built.ok ? [] : [built.error];
    if (!equal(initEvents, vector.init.events)) {
      if (!built.ok && mode.profile === 'hardened') this.#open.add('H-PAIRS');
      this.mismatch = this.#permit('init', 'init', 'events', vector.init.events, initEvents);
    }
    if (built.ok) this.#machine.value = built.value;
    this.#beside = mode.profile === vector.profile ? undefined : this.#reference();
  }

  /** Steps that were run. */
  get steps(): number {
    return this.#steps;
  }

  /** Runs the next step; does nothing after a mismatch, or when the machine was refused. */
  step(step: VectorStep): void {
    const machine = this.#machine.value;
    if (this.mismatch !== undefined || machine === undefined) return;
    const index = this.#steps;
    this.#steps += 1;
    const actual = this.#guarded(machine, index, step);
    if ('mismatch' in actual) {
      this.mismatch = actual.mismatch;
      return;
    }
    this.#beside?.step(step);
    for (const rule of machine.takeRules()) this.#open.add(rule);
    // A recording of ours says what a vector has no field for, if there is something to say.
    const expected: Observed = this.#beside === undefined ? { faults: [], rules: [], ...step.expect } : step.expect;
    const differing = differences(expected, actual.observed);
    if (differing.length === 0) return;
    for (const field of differing) {
      const refused = this.#permit(index, field, field, expected[field], actual.observed[field]);
      if (refused !== undefined) {
        this.mismatch = refused;
        return;
      }
    }
    if (this.#beside !== undefined && this.#vector.class !== 'valid') {
      this.#machine.value = VectorMachine.resume(this.#vector, this.#mode, this.#beside);
      this.#open.clear();
    }
  }

  /** Compares the final state, if it was recorded. */
  finish(end: VectorEnd | undefined): Outcome {
    const machine = this.#machine.value;
    if (this.mismatch === undefined && machine !== undefined && end !== undefined) {
      const actual = machine.end();
      for (const field of differences(end, actual)) {
        this.mismatch ??= this.#permit('end', 'end', field, end[field as keyof VectorEnd], actual[field]);
      }
    }
    if (this.mismatch !== undefined) return { status: 'failed', mismatch: this.mismatch };
    return this.#used.size === 0 ? { status: 'passed' } : { status: 'deviates', rules: [...this.#used].sort() };
  }

  #reference(): VectorMachine | undefined {
    const built = VectorMachine.create(this.#vector, { ...this.#mode, profile: 'reference', lease: false });
    return built.ok ? built.value : undefined;
  }

  #guarded(
    machine: VectorMachine,
    index: number,
    step: VectorStep,
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
    if (this.#mode.profile === this.#vector.profile) return { step, field, expected, actual, rules: [] };
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
const equal = (a: unknown, b: unknown): boolean =>
  JSON.stringify(a) === JSON.stringify(b) || canonical(a) === canonical(b);

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );

const differences = (expected: Observed, actual: Observed): readonly string[] =>
  Object.keys(expected).filter((field) => !equal(expected[field], actual[field]));
