import { COST_NAMES } from '@remio/board';
import type { Metric, Scalar } from './language.js';
import type { Plan, Point } from './plan.js';
import type { Job } from './pool.js';
import { higherIsBetter } from './summary.js';

/** What is halved and doubled: every cost of the board, and the two of the medium. */
export const CONSTANTS = [...COST_NAMES, 'medium.latency', 'medium.byte'] as const;
const FACTORS = [0.5, 2] as const;
/** A value that leads by less than this has not turned the conclusion: it is as good as the other. */
const TURN = 1.02;

/** A run of the analysis: one of the values that compete, with one constant changed. */
export interface SensitivityJob extends Job {
  /** Undefined: nothing is changed. */
  readonly constant: string | undefined;
  readonly factor: number;
  readonly value: Scalar;
}

/** What changing one constant does to the conclusion. */
export interface SensitivityRow {
  readonly constant: string | undefined;
  readonly factor: number;
  /** By value that competes. */
  readonly figures: readonly { readonly value: Scalar; readonly figure: number }[];
  readonly best: Scalar;
  /** The best figure against the second, as a ratio of 1 and up. */
  readonly lead: number;
  /** Another value is clearly best than without the change. */
  readonly turned: boolean;
}

/** Points whose comparison is the conclusion: one for each value that competes. */
export function competitors(plan: Plan): readonly Point[] {
  const { conclusion } = plan;
  if (conclusion === undefined) return [];
  const fixed = plan.dimensions
    .filter(({ name }) => name !== conclusion.compare)
    .map(({ name, values }) => {
      const given = conclusion.at[name];
      return [name, given === undefined ? values.at(-1) : typeof given === 'bigint' ? Number(given) : given] as const;
    });
  return plan.points.filter((point) => fixed.every(([name, value]) => point.at[name] === value));
}

/** Runs that show what the conclusion hangs on: the same seed for all, so that only the change differs. */
export function sensitivityJobs(plan: Plan): readonly SensitivityJob[] {
  const { conclusion } = plan;
  if (conclusion === undefined || plan.clock !== 'virtual') return [];
  const changes = [
    { constant: undefined, factor: 1 },
    ...CONSTANTS.flatMap((constant) => FACTORS.map((factor) => ({ constant, factor }))),
  ];
  return changes.flatMap(({ constant, factor }) =>
    competitors(plan).map((point) => ({
      name: `${constant ?? 'as-is'}-${factor}-${point.id}`,
      constant,
      factor,
      value: point.at[conclusion.compare] ?? '',
      settings: point.settings,
      seed: plan.seed,
      factors: constant === undefined ? {} : { [constant]: factor },
    })),
  );
}

/** A figure of one run of the analysis. */
export interface SensitivityFigure {
  readonly constant: string | undefined;
  readonly factor: number;
  readonly value: Scalar;
  readonly figure: number;
}

/** What each change does, largest effect first; the run without any change comes first. */
export function sensitivityRows(figures: readonly SensitivityFigure[], metric: Metric): readonly SensitivityRow[] {
  const groups = new Map<string, SensitivityFigure[]>();
  for (const figure of figures) {
    const key = `${figure.constant ?? ''} ${figure.factor}`;
    groups.set(key, [...(groups.get(key) ?? []), figure]);
  }
  const sign = higherIsBetter(metric) ? -1 : 1;
  const rows = [...groups.values()].map((group) => {
    const ranked = [...group].sort((a, b) => sign * (a.figure - b.figure));
    const [best, second] = ranked;
    const lead =
      best === undefined || second === undefined || best.figure === 0 || second.figure === 0
        ? 1
        : Math.max(best.figure / second.figure, second.figure / best.figure);
    return {
      constant: group[0]?.constant,
      factor: group[0]?.factor ?? 1,
      figures: group.map(({ value, figure }) => ({ value, figure })),
      best: best?.value ?? '',
      lead,
    };
  });
  const base = rows.find(({ constant }) => constant === undefined);
  const effect = (row: (typeof rows)[number]): number =>
    Math.max(
      ...row.figures.map(({ figure }, n) => {
        const before = base?.figures[n]?.figure ?? figure;
        return before === 0 ? 0 : Math.abs(figure / before - 1);
      }),
    );
  return rows
    .map((row) => ({ ...row, turned: base !== undefined && row.best !== base.best && row.lead >= TURN }))
    .sort((a, b) => (a.constant === undefined ? -1 : b.constant === undefined ? 1 : effect(b) - effect(a)));
}
