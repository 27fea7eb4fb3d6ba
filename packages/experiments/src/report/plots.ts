import { HOP_TEXT, HOPS } from '@remio/world';
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { FRAME_HOPS, PROCESS_GROUPS } from '../outcome.js';
import type { Plan } from '../plan.js';
import { labelOf, meanOf, nameOf, type PointSummary, show } from '../summary.js';
import { fitUsl, type Usl, uslThroughput } from '../usl.js';

/** A plot for the report and for papers. */
export interface Plot {
  readonly name: string;
  readonly title: string;
  /** What it shows, in a sentence. */
  readonly caption: string;
  readonly svg: string;
}

/** A law that was fitted to one series. */
export interface FittedLaw {
  readonly series: string;
  readonly law: Usl;
}

/** Vega's types leave it out. */
const { resetSVGDefIds: resetIds } = vega as unknown as { readonly resetSVGDefIds: () => void };

type Row = Readonly<Record<string, unknown>>;

const WIDTH = 560;
const HEIGHT = 300;

const CONFIG = {
  font: 'system-ui, sans-serif',
  axis: { labelFontSize: 11, titleFontSize: 12, gridColor: '#e5e5e5' },
  legend: { labelFontSize: 11, titleFontSize: 12, labelLimit: 320, symbolLimit: 40 },
  view: { stroke: '#ccc' },
  range: {
    category: ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c564b', '#000000'],
  },
} as const;

/** A figure as SVG; the same rows give the same text. */
async function svgOf(spec: object): Promise<string> {
  const whole = { config: CONFIG, background: 'white', ...spec } as unknown as TopLevelSpec;
  const view = new vega.View(vega.parse(compile(whole).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

const us = (ns: number): number => ns / 1000;

/** A series of points along the x axis. */
interface Series {
  readonly label: string;
  readonly points: readonly PointSummary[];
}

function seriesOf(plan: Plan, summaries: readonly PointSummary[]): readonly Series[] {
  const series = new Map<string, PointSummary[]>();
  for (const summary of summaries) {
    if (summary.metrics === undefined) continue;
    const label = labelOf(summary.point, plan.x) || 'all';
    series.set(label, [...(series.get(label) ?? []), summary]);
  }
  return [...series].map(([label, points]) => ({ label, points }));
}

/** Whether a dimension's values are counts of what brings load: then the law of scalability applies. */
const counts = (plan: Plan): boolean =>
  plan.x !== undefined && /(frontends|vcpus|devices|depth)$/.test(plan.x) && numeric(plan);

const numeric = (plan: Plan): boolean =>
  plan.dimensions.find(({ name }) => name === plan.x)?.values.every((value) => typeof value === 'number') === true;

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

/** Every plot that an experiment's results give. */
export async function plotsOf(plan: Plan, summaries: readonly PointSummary[]): Promise<readonly Plot[]> {
  const series = seriesOf(plan, summaries);
  if (series.length === 0) return [];
  const x = xOf(plan, series);
  const plots = [
    throughput(plan, series, x),
    latencyBands(series, x),
    latencyOverLoad(series),
    hops(series, x),
    frames(series, x),
    use(series, x),
    processes(series, x),
  ];
  const made: Plot[] = [];
  // Names of clip paths count on: from the same start, the same plots get the same ones.
  resetIds();
  for (const plot of plots) {
    if (plot === undefined) continue;
    const { spec, ...rest } = plot;
    made.push({ ...rest, svg: await svgOf(spec) });
  }
  return made;
}

interface Spec extends Omit<Plot, 'svg'> {
  readonly spec: object;
}

/** The x axis: a scale of numbers, or names side by side. */
interface X {
  readonly channel: object;
  readonly title: string;
  readonly numeric: boolean;
  of(summary: PointSummary): unknown;
}

function xOf(plan: Plan, series: readonly Series[]): X {
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

const color = (series: readonly Series[]): object => ({
  field: 'series',
  type: 'nominal',
  title: null,
  sort: series.map(({ label }) => label),
  legend: series.length > 1 ? { orient: 'bottom', columns: 2 } : null,
});

function throughput(plan: Plan, series: readonly Series[], x: X): Spec {
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

function latencyBands(series: readonly Series[], x: X): Spec {
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
      columns: series.length > 1 ? 2 : 1,
      facet: {
        field: 'series',
        type: 'nominal',
        title: null,
        sort: series.map(({ label }) => label),
        header: { labelLimit: 260 },
      },
      spec: {
        width: series.length > 1 ? WIDTH / 2.1 : WIDTH,
        height: HEIGHT * 0.7,
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

function latencyOverLoad(series: readonly Series[]): Spec | undefined {
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

/** Bars side by side for every point, stacked by kind. */
function stacked(series: readonly Series[], x: X, rows: readonly Row[], kinds: readonly string[], y: object): object {
  return {
    data: { values: rows },
    columns: series.length > 1 ? 2 : 1,
    facet: {
      field: 'facet',
      type: 'nominal',
      title: null,
      sort: [...new Set(rows.map((row) => row['facet']))],
      header: { labelLimit: 260 },
    },
    spec: {
      width: series.length > 1 ? WIDTH / 2.1 : WIDTH,
      height: HEIGHT * 0.7,
      mark: { type: 'bar' },
      encoding: {
        x: {
          field: 'x',
          type: 'ordinal',
          title: x.title,
          sort: [...new Set(rows.map((row) => row['x']))],
          axis: { labelAngle: x.numeric ? 0 : -20 },
        },
        y,
        color: {
          field: 'kind',
          type: 'nominal',
          title: null,
          sort: kinds,
          legend: { orient: 'bottom', columns: 1, labelLimit: 500 },
        },
        order: { field: 'order', type: 'quantitative' },
      },
    },
  };
}

function hops(series: readonly Series[], x: X): Spec | undefined {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.flatMap((summary) =>
      HOPS.map((hop, order) => ({
        facet: label,
        x: x.of(summary),
        kind: HOP_TEXT[hop],
        order,
        y: us(meanOf(summary.outcomes, ({ hops: sums }) => sums?.[hop] ?? 0)),
      })),
    ),
  );
  if (rows.every((row) => row['y'] === 0)) return undefined;
  return {
    name: 'hops',
    title: 'Where the time of one remote register access goes',
    caption: 'Means. What is above the sum of the lowest, unloaded bars is waiting.',
    spec: stacked(
      series,
      x,
      rows,
      HOPS.map((hop) => HOP_TEXT[hop]),
      { field: 'y', type: 'quantitative', title: 'us' },
    ),
  };
}

const USES = ['guest', 'hypervisor', 'paused', 'idle'] as const;
const USE_TEXT: Readonly<Record<(typeof USES)[number], string>> = {
  guest: 'guest',
  hypervisor: 'hypervisor',
  paused: 'paused by an access',
  idle: 'idle',
};

function use(series: readonly Series[], x: X): Spec | undefined {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.flatMap((summary) => {
      const groups = summary.outcomes[0]?.use ?? [];
      return groups.flatMap(({ group }) =>
        USES.map((kind, order) => ({
          facet: series.length > 1 ? `${group}: ${label}` : group,
          x: x.of(summary),
          kind: USE_TEXT[kind],
          order,
          y: meanOf(
            summary.outcomes,
            (outcome) => outcome.use?.find((candidate) => candidate.group === group)?.[kind] ?? 0,
          ),
        })),
      );
    }),
  );
  if (rows.length === 0) return undefined;
  return {
    name: 'cpu-use',
    title: 'What the CPUs did',
    caption: 'Shares of the time of all CPUs of VMs of a kind.',
    spec: stacked(
      series,
      x,
      rows,
      USES.map((kind) => USE_TEXT[kind]),
      { field: 'y', type: 'quantitative', title: 'share', scale: { domain: [0, 1] }, axis: { format: '%' } },
    ),
  };
}

const FRAME_HOP_TEXT: Readonly<Record<(typeof FRAME_HOPS)[number], string>> = {
  frontend_to_hypervisor: 'frontend to hypervisor',
  in_hypervisor: 'in the hypervisor',
  hypervisor_to_backend: 'hypervisor to backend',
  in_backend: 'in the backend',
  backend_to_hypervisor: 'backend to hypervisor',
  hypervisor_to_frontend: 'hypervisor to frontend',
  round_trip: 'whole round trip of an access',
};

function frames(series: readonly Series[], x: X): Spec | undefined {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.flatMap((summary) =>
      FRAME_HOPS.filter((hop) => hop !== 'round_trip').map((hop, order) => ({
        facet: label,
        x: x.of(summary),
        kind: FRAME_HOP_TEXT[hop],
        order,
        y: us(meanOf(summary.outcomes, (outcome) => outcome.frames?.[hop].p50 ?? 0)),
      })),
    ),
  );
  if (rows.every((row) => row['y'] === 0)) return undefined;
  return {
    name: 'frames',
    title: 'How long messages between the processes take',
    caption:
      'Medians of each hop, over the messages; one message may carry what many vCPUs said. In the VMs’ processes they count from the boot on, elsewhere in the time that counts.',
    spec: stacked(
      series,
      x,
      rows,
      FRAME_HOPS.map((hop) => FRAME_HOP_TEXT[hop]),
      { field: 'y', type: 'quantitative', title: 'us' },
    ),
  };
}

function processes(series: readonly Series[], x: X): Spec | undefined {
  const rows: Row[] = series.flatMap(({ label, points }) =>
    points.flatMap((summary) => {
      const there = new Set(summary.outcomes.flatMap(({ processes: all }) => all?.map(({ group }) => group) ?? []));
      return PROCESS_GROUPS.filter((group) => there.has(group)).map((group, order) => ({
        facet: label,
        x: x.of(summary),
        kind: group,
        order,
        y: meanOf(summary.outcomes, (outcome) =>
          (outcome.processes ?? []).reduce((sum, use) => sum + (use.group === group ? use.cpus : 0), 0),
        ),
      }));
    }),
  );
  if (rows.length === 0) return undefined;
  return {
    name: 'process-cpus',
    title: 'What the processes took of the machine',
    caption: 'CPUs’ worth of time in the time that counts: 1 is one CPU all the time. runs.json has each process.',
    spec: stacked(
      series,
      x,
      rows,
      PROCESS_GROUPS.filter((group) => rows.some((row) => row['kind'] === group)),
      {
        field: 'y',
        type: 'quantitative',
        title: 'CPUs',
      },
    ),
  };
}
