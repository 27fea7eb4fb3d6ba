import { HOP_TEXT, HOPS } from '@remio/world';
import { FRAME_HOPS, PROCESS_GROUPS } from '../outcome.js';
import { meanOf } from '../summary.js';
import { panelSize, panels, type Row, type Series, us, type X } from './axes.js';
import type { Spec } from './plot.js';

/** Bars side by side for every point, stacked by kind. */
function stacked(series: readonly Series[], x: X, rows: readonly Row[], kinds: readonly string[], y: object): object {
  return {
    data: { values: rows },
    ...panels(series, 'facet', [...new Set(rows.map((row) => row['facet']))]),
    spec: {
      ...panelSize(series),
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

/** What the time of one register access goes to, hop by hop; none where no hops were measured. */
export function hops(series: readonly Series[], x: X): Spec | undefined {
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

/** What the CPUs did. */
export function use(series: readonly Series[], x: X): Spec | undefined {
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

/** How long messages between the processes take; none in virtual time. */
export function frames(series: readonly Series[], x: X): Spec | undefined {
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

/** CPU time of the processes that the host ran; none in virtual time. */
export function processes(series: readonly Series[], x: X): Spec | undefined {
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
