import type { Plan } from '../plan.js';
import { uslThroughput } from '../usl.js';
import { color, HEIGHT, panelSize, panels, type Row, type Series, us, WIDTH, type X } from './axes.js';
import { lawsOf } from './laws.js';
import type { Spec } from './plot.js';

/** Operations per second along the x axis, with the fitted law where there is one. */
export function throughput(plan: Plan, series: readonly Series[], x: X): Spec {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.map((summary) => {
      const { mean = 0, margin = 0 } = summary.metrics?.throughput ?? {};
      const half = Number.isFinite(margin) ? margin : 0;
      return { series: label, x: x.of(summary), y: mean, low: Math.max(0, mean - half), high: mean + half };
    }),
  );
  const laws = lawsOf(
    plan,
    series.flatMap(({ points }) => points),
  );
  const curves: Row[] = laws.flatMap(({ series: label, law }) => {
    const numbers = rows.filter((row) => row['series'] === label).map((row) => Number(row['x']));
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    return Array.from({ length: 60 }, (_, n) => {
      const at = low + ((high - low) * n) / 59;
      return { series: label, x: at, y: uslThroughput(law, at) };
    });
  });
  const y = { field: 'y', type: 'quantitative', title: 'operations per second', axis: { format: '~s' } };
  const encoding = { x: x.channel, y, color: color(series) };
  const mark = x.numeric ? { type: 'point', filled: true, size: 50 } : { type: 'bar' };
  const grouped = x.numeric ? {} : { xOffset: { field: 'series', sort: series.map(({ label }) => label) } };
  return {
    name: 'throughput',
    title: `Throughput over ${x.title}`,
    caption:
      laws.length > 0
        ? 'Points are measured, with 95% confidence intervals; lines are the Universal Scalability Law fitted to them.'
        : 'With 95% confidence intervals.',
    spec: {
      width: WIDTH,
      height: HEIGHT,
      layer: [
        ...(x.numeric
          ? [
              {
                data: { values: curves.length > 0 ? curves : rows },
                mark: { type: 'line', strokeWidth: 1.5, clip: true },
                encoding,
              },
            ]
          : []),
        { data: { values: rows }, mark, encoding: { ...encoding, ...grouped } },
        {
          data: { values: rows },
          mark: { type: 'rule' },
          encoding: {
            x: x.channel,
            y: { field: 'low', type: 'quantitative' },
            y2: { field: 'high' },
            ...(x.numeric ? { color: color(series) } : grouped),
          },
        },
      ],
    },
  };
}

const QUANTILES = ['p50', 'p99', 'p99.9'] as const;

/** Quantiles of latency along the x axis. */
export function latencyBands(series: readonly Series[], x: X): Spec {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.map((summary) => {
      const at = (name: (typeof QUANTILES)[number]): number => us(summary.metrics?.[name].mean ?? 0);
      return { series: label, x: x.of(summary), p50: at('p50'), p99: at('p99'), p999: at('p99.9') };
    }),
  );
  const y = (field: string): object => ({
    field,
    type: 'quantitative',
    title: 'latency, us',
    scale: { type: 'log' },
  });
  const area = (to: string, opacity: number): object => ({
    mark: x.numeric ? { type: 'area', opacity, line: false } : { type: 'bar', opacity: opacity + 0.2, size: 14 },
    encoding: { x: x.channel, y: y('p50'), y2: { field: to }, color: { ...color(series), legend: null } },
  });
  return {
    name: 'latency',
    title: `Latency over ${x.title}`,
    caption: 'The line is the median; the bands reach to the 99th and to the 99.9th percentile.',
    spec: {
      data: { values: rows },
      ...panels(
        series,
        'series',
        series.map(({ label }) => label),
      ),
      spec: {
        ...panelSize(series),
        layer: [
          area('p999', 0.18),
          area('p99', 0.35),
          {
            mark: { type: x.numeric ? 'line' : 'point', point: true },
            encoding: { x: x.channel, y: y('p50'), color: { ...color(series), legend: null } },
          },
        ],
      },
    },
  };
}

/** Latency over the throughput that it was paid for; none of a single point. */
export function latencyOverLoad(series: readonly Series[]): Spec | undefined {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.map((summary, order) => ({
      series: label,
      order,
      x: summary.metrics?.throughput.mean ?? 0,
      y: us(summary.metrics?.p99.mean ?? 0),
    })),
  );
  if (rows.length < 2) return undefined;
  return {
    name: 'latency-over-load',
    title: 'Latency over load',
    caption:
      'The 99th percentile at the throughput that was reached; a line goes through the points of a series in order.',
    spec: {
      data: { values: rows },
      width: WIDTH,
      height: HEIGHT,
      mark: { type: 'line', point: true },
      encoding: {
        x: { field: 'x', type: 'quantitative', title: 'operations per second', axis: { format: '~s' } },
        y: { field: 'y', type: 'quantitative', title: '99th percentile, us', scale: { type: 'log' } },
        order: { field: 'order', type: 'quantitative' },
        color: color(series),
      },
    },
  };
}
