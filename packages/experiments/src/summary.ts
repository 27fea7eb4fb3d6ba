import { METRICS, type Metric, type Scalar } from './language.js';
import type { Outcome, Run } from './outcome.js';
import type { Plan, Point } from './plan.js';
import { type Estimate, estimate } from './statistics.js';

/** What the repetitions of a point say together. */
export interface PointSummary {
  readonly point: Point;
  readonly outcomes: readonly Outcome[];
  /** Why repetitions failed. */
  readonly failures: readonly string[];
  /** Undefined if none succeeded. */
  readonly metrics: Readonly<Record<Metric, Estimate>> | undefined;
}

export const metricOf = (outcome: Outcome, metric: Metric): number =>
  metric === 'throughput' ? outcome.throughput : outcome.latency[metric];

/** Whether more of it is better. */
export const higherIsBetter = (metric: Metric): boolean => metric === 'throughput';

/** Points of a plan, in order, with what their runs gave. */
export function summarize(plan: Plan, runs: readonly Run[]): readonly PointSummary[] {
  return plan.points.map((point) => {
    const mine = runs.filter((run) => run.point === point.id).sort((a, b) => a.repetition - b.repetition);
    const outcomes = mine.flatMap((run) => (run.ok ? [run.outcome] : []));
    const metrics =
      outcomes.length === 0
        ? undefined
        : (Object.fromEntries(
            METRICS.map((metric) => [metric, estimate(outcomes.map((outcome) => metricOf(outcome, metric)))]),
          ) as Record<Metric, Estimate>);
    return { point, outcomes, failures: mine.flatMap((run) => (run.ok ? [] : [run.reason])), metrics };
  });
}

/** The mean of something over outcomes. */
export const meanOf = (outcomes: readonly Outcome[], of: (outcome: Outcome) => number): number =>
  outcomes.length === 0 ? 0 : outcomes.reduce((sum, outcome) => sum + of(outcome), 0) / outcomes.length;

/** A dimension's name for people: `platform.backend_cpus` is `backend cpus`. */
export const nameOf = (dimension: string): string => (dimension.split('.').at(-1) ?? dimension).replaceAll('_', ' ');

/** A value for people. */
export const show = (value: Scalar | undefined): string =>
  value === undefined ? '' : typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);

/** What a point is called: its values but for that of one dimension. */
export const labelOf = (point: Point, without?: string): string =>
  Object.entries(point.at)
    .filter(([name]) => name !== without)
    .map(([name, value]) => (typeof value === 'string' ? value : `${nameOf(name)} ${show(value)}`))
    .join(', ');
