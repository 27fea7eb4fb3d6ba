import { METRICS, type Metric, type Scalar } from '../language.js';
import type { Plan } from '../plan.js';
import type { SensitivityRow } from '../sensitivity.js';
import { difference } from '../statistics.js';
import { higherIsBetter, metricOf, nameOf, type PointSummary, show } from '../summary.js';

/** Below this, two figures are called the same, whatever the repetitions say. */
const SAME = 0.02;

export const METRIC_TEXT: Readonly<Record<Metric, string>> = {
  throughput: 'throughput',
  p50: 'median latency',
  p99: '99th percentile of latency',
  'p99.9': '99.9th percentile of latency',
};

/** Which value of the dimension that competes is best, at each place of the others. In words. */
export function findings(plan: Plan, summaries: readonly PointSummary[]): readonly string[] {
  const { conclusion } = plan;
  if (conclusion === undefined) return [];
  const { compare, metric } = conclusion;
  const places = new Map<string, PointSummary[]>();
  for (const summary of summaries) {
    const rest = Object.entries(summary.point.at).filter(([name]) => name !== compare);
    const key = rest.map(([name, value]) => `${nameOf(name)} ${show(value)}`).join(', ');
    places.set(key, [...(places.get(key) ?? []), summary]);
  }
  return [...places].map(([place, rivals]) => {
    const where = place === '' ? '' : `At ${place}: `;
    return `${where}${verdict(rivals, compare, metric)}`;
  });
}

function verdict(rivals: readonly PointSummary[], compare: string, metric: Metric): string {
  const sign = higherIsBetter(metric) ? -1 : 1;
  const ranked = rivals
    .filter(({ metrics }) => metrics !== undefined)
    .sort((a, b) => sign * ((a.metrics?.[metric].mean ?? 0) - (b.metrics?.[metric].mean ?? 0)));
  const [best, second] = ranked;
  const worst = ranked.at(-1);
  if (best === undefined || second === undefined || worst === undefined) return 'too little succeeded to compare.';
  const samples = (summary: PointSummary): number[] => summary.outcomes.map((outcome) => metricOf(outcome, metric));
  const name = (summary: PointSummary): string => `“${nameFor(compare, summary.point.at[compare])}”`;
  const ratio = (a: PointSummary, b: PointSummary): number => {
    const [x, y] = [a.metrics?.[metric].mean ?? 0, b.metrics?.[metric].mean ?? 0];
    return Math.min(x, y) === 0 ? 1 : Math.max(x / y, y / x);
  };
  if (ratio(best, worst) < 1 + SAME) return `all have the same ${METRIC_TEXT[metric]}, within ${SAME * 100}%.`;
  if (!difference(samples(worst), samples(best)).clear && ratio(best, worst) < 1.1) {
    return `no difference of ${METRIC_TEXT[metric]} that repetitions would not explain.`;
  }
  const lead = ratio(best, second);
  const better = higherIsBetter(metric) ? 'more' : 'less';
  const far = ratio(best, worst);
  const away = `${far.toFixed(2)} times ${better} than the worst, ${name(worst)}`;
  if (lead < 1 + SAME) return `${name(best)} and ${name(second)} are equally good, ${away}.`;
  const clear = difference(samples(second), samples(best)).clear;
  const doubt = clear ? '' : ' (repetitions scatter too much to be sure of the order of the two best)';
  return ranked.length === 2
    ? `${name(best)} is best, ${away}${doubt}.`
    : `${name(best)} is best, ${lead.toFixed(2)} times ${better} than ${name(second)} and ${away}${doubt}.`;
}

const nameFor = (compare: string, value: Scalar | undefined): string =>
  typeof value === 'string' ? value : `${nameOf(compare)} ${show(value)}`;

/** What the conclusion hangs on, in words. */
export function sensitivityText(plan: Plan, rows: readonly SensitivityRow[]): string {
  const base = rows.find(({ constant }) => constant === undefined);
  if (plan.conclusion === undefined || base === undefined || rows.length < 2) return '';
  const turning = rows.filter(({ turned }) => turned);
  if (base.lead < 1 + SAME) {
    return `There the two best are within ${SAME * 100}% of each other: which of them is first hangs on everything, and does not matter.`;
  }
  const winner = `“${nameFor(plan.conclusion.compare, base.best)}” (ahead by a factor of ${base.lead.toFixed(2)})`;
  if (turning.length === 0) {
    return `${winner} stays best whichever single constant is halved or doubled.`;
  }
  const list = turning.map(
    ({ constant, factor, best }) =>
      `${constant ?? ''} ${factor < 1 ? 'halved' : 'doubled'} makes “${nameFor(plan.conclusion?.compare ?? '', best)}” best`,
  );
  return `${winner} would not stay best if another constant were true: ${list.join('; ')}.`;
}

/** Names of metrics, in order. */
export const metrics: readonly Metric[] = METRICS;
