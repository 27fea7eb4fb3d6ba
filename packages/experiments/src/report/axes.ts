import type { Plan } from '../plan.js';
import { labelOf, nameOf, type PointSummary, show } from '../summary.js';

/** A row of what a figure is drawn from. */
export type Row = Readonly<Record<string, unknown>>;

/** Pixels of a figure. */
export const WIDTH = 560;
export const HEIGHT = 300;

/** Nanoseconds as microseconds. */
export const us = (ns: number): number => ns / 1000;

/** A series of points along the x axis. */
export interface Series {
  readonly label: string;
  readonly points: readonly PointSummary[];
}

/** What an experiment measured, a series for each combination of what is not along the x axis; points that failed are left out. */
export function seriesOf(plan: Plan, summaries: readonly PointSummary[]): readonly Series[] {
  const series = new Map<string, PointSummary[]>();
  for (const summary of summaries) {
    if (summary.metrics === undefined) continue;
    const label = labelOf(summary.point, plan.x) || 'all';
    series.set(label, [...(series.get(label) ?? []), summary]);
  }
  return [...series].map(([label, points]) => ({ label, points }));
}

/** Whether what is along the x axis is numbers. */
export const numeric = (plan: Plan): boolean =>
  plan.dimensions.find(({ name }) => name === plan.x)?.values.every((value) => typeof value === 'number') === true;

/** The x axis: a scale of numbers, or names side by side. */
export interface X {
  readonly channel: object;
  readonly title: string;
  readonly numeric: boolean;
  of(summary: PointSummary): unknown;
}

/** The x axis of an experiment. */
export function xOf(plan: Plan, series: readonly Series[]): X {
  const { x } = plan;
  if (x === undefined) {
    return { channel: { field: 'x', type: 'nominal', title: null }, title: 'point', numeric: false, of: () => 'all' };
  }
  const title = nameOf(x);
  const values = series.flatMap(({ points }) => points.map(({ point }) => point.at[x]));
  if (!numeric(plan)) {
    const sort = [...new Set(values.map((value) => show(value)))];
    return {
      channel: { field: 'x', type: 'nominal', title, sort, axis: { labelAngle: -20, labelLimit: 160 } },
      title,
      numeric: false,
      of: ({ point }) => show(point.at[x]),
    };
  }
  const numbers = [...new Set(values.map(Number))].sort((a, b) => a - b);
  const wide = (numbers.at(-1) ?? 1) / Math.max(1, numbers[0] ?? 1) > 20 && (numbers[0] ?? 0) > 0;
  const scale = wide ? { type: 'log', base: 2, nice: false } : { zero: false };
  return {
    channel: { field: 'x', type: 'quantitative', title, scale, axis: { values: numbers, format: 'd' } },
    title,
    numeric: true,
    of: ({ point }) => Number(point.at[x]),
  };
}

/** A colour for each series; a legend where there are several. */
export const color = (series: readonly Series[]): object => ({
  field: 'series',
  type: 'nominal',
  title: null,
  sort: series.map(({ label }) => label),
  legend: series.length > 1 ? { orient: 'bottom', columns: 2 } : null,
});

/** A panel for each value of a field, two in a row where there are several series. */
export const panels = (series: readonly Series[], field: string, sort: readonly unknown[]): object => ({
  columns: series.length > 1 ? 2 : 1,
  facet: { field, type: 'nominal', title: null, sort, header: { labelLimit: 260 } },
});

/** The size of such a panel. */
export const panelSize = (series: readonly Series[]): object => ({
  width: series.length > 1 ? WIDTH / 2.1 : WIDTH,
  height: HEIGHT * 0.7,
});
