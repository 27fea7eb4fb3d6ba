import type { Plan } from '../plan.js';
import type { PointSummary } from '../summary.js';
import { fitUsl, type Usl } from '../usl.js';
import { numeric, seriesOf } from './axes.js';

/** A law that was fitted to one series. */
export interface FittedLaw {
  readonly series: string;
  readonly law: Usl;
}

/** Whether a dimension's values are counts of what brings load: then the law of scalability applies. */
const counts = (plan: Plan): boolean =>
  plan.x !== undefined && /(frontends|vcpus|devices|depth)$/.test(plan.x) && numeric(plan);

/** Laws fitted to every series of throughputs. */
export function lawsOf(plan: Plan, summaries: readonly PointSummary[]): readonly FittedLaw[] {
  if (!counts(plan)) return [];
  return seriesOf(plan, summaries).flatMap(({ label, points }) => {
    const law = fitUsl(
      points.map(({ point, metrics }) => ({
        n: Number(point.at[plan.x ?? '']),
        throughput: metrics?.throughput.mean ?? 0,
      })),
    );
    return law === undefined ? [] : [{ series: label, law }];
  });
}
