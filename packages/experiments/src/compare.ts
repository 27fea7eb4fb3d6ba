import type { Metric, Scalar } from './language.js';
import type { Plan } from './plan.js';
import { type Difference, difference } from './statistics.js';
import { metricOf, type PointSummary } from './summary.js';

/** How a point of one run of an experiment differs from the same point of another. */
export interface PointChange {
  readonly at: Readonly<Record<string, Scalar>>;
  readonly changes: readonly {
    readonly metric: Metric;
    readonly from: number;
    readonly to: number;
    readonly difference: Difference;
  }[];
}

/** Two runs of an experiment, side by side. */
export interface Comparison {
  readonly points: readonly PointChange[];
  /** Points that only one of them has, or that failed in one. */
  readonly unmatched: number;
}

const COMPARED = ['throughput', 'p50', 'p99'] as const;

const placeOf = (at: PointSummary['point']['at']): string =>
  JSON.stringify(Object.entries(at).sort(([a], [b]) => (a < b ? -1 : 1)));

/** What changed between two runs, for the points that lie at the same place in both sweeps. */
export function compareRuns(
  from: { readonly plan: Plan; readonly summaries: readonly PointSummary[] },
  to: { readonly plan: Plan; readonly summaries: readonly PointSummary[] },
): Comparison {
  const there = new Map(to.summaries.map((summary) => [placeOf(summary.point.at), summary]));
  let unmatched = Math.max(0, to.summaries.length - from.summaries.length);
  const points: PointChange[] = [];
  for (const before of from.summaries) {
    const after = there.get(placeOf(before.point.at));
    if (after === undefined || before.outcomes.length === 0 || after.outcomes.length === 0) {
      unmatched += 1;
      continue;
    }
    const changes = COMPARED.map((metric) => {
      const [a, b] = [before, after].map(({ outcomes }) => outcomes.map((outcome) => metricOf(outcome, metric)));
      const found = difference(a ?? [], b ?? []);
      return {
        metric,
        from: before.metrics?.[metric].mean ?? 0,
        to: after.metrics?.[metric].mean ?? 0,
        difference: found,
      };
    });
    points.push({ at: before.point.at, changes });
  }
  return { points, unmatched };
}
