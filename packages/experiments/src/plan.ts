import {
  type Conclusion,
  type ExperimentFile,
  experimentSchema,
  PARAMETERS,
  type Scalar,
  type Settings,
  settingsSchema,
} from './language.js';
import { platformOf } from './platform.js';
import { type Path, YamlSource } from './source.js';

/** One dimension of a sweep. */
export interface Dimension {
  readonly name: string;
  readonly values: readonly Scalar[];
}

/** One point of a sweep: where it lies, and what it is made of. */
export interface Point {
  readonly id: number;
  /** By dimension. */
  readonly at: Readonly<Record<string, Scalar>>;
  readonly settings: Settings;
}

/** An experiment that passed every check. */
export interface Plan {
  readonly file: string;
  /** The file, as it was given. */
  readonly text: string;
  readonly name: string;
  readonly title: string;
  readonly question: string | undefined;
  readonly notes: string | undefined;
  readonly dimensions: readonly Dimension[];
  readonly points: readonly Point[];
  readonly repetitions: number;
  readonly seed: number;
  readonly clock: 'virtual' | 'wall';
  /** The dimension along the x axis. */
  readonly x: string | undefined;
  readonly conclusion: Conclusion | undefined;
}

type Raw = Record<string, Record<string, unknown>>;

/** A value of a sweep: what it is called, what it sets, and where it stands. */
interface Choice {
  readonly label: Scalar;
  readonly sets: readonly { readonly parameter: string; readonly value: unknown; readonly place: Path }[];
}

const SECTIONS = ['platform', 'workload', 'medium', 'noisy', 'measure', 'costs'] as const;

const plain = (value: unknown): Scalar =>
  typeof value === 'bigint'
    ? Number(value)
    : typeof value === 'boolean' || typeof value === 'number'
      ? value
      : String(value);

/** Most points that a sweep may have. */
const POINTS_MAX = 10_000;

/** Reads and checks an experiment: nothing runs that cannot. */
export function readPlan(text: string, file: string): { readonly plan?: Plan; readonly text: string } {
  const source = new YamlSource(text, file);
  if (source.problems.length > 0) return { text: source.render() };
  const parsed = experimentSchema.safeParse(source.value);
  if (!parsed.success) {
    source.issues(parsed.error);
    return { text: source.render() };
  }
  const choices = dimensionsOf(source, parsed.data);
  const base = baseOf(parsed.data);
  if (source.problems.length > 0) return { text: source.render() };
  const points = pointsOf(source, base, choices);
  checkNames(source, parsed.data, choices);
  if (source.problems.length > 0) return { text: source.render() };
  const dimensions = [...choices].map(([name, values]) => ({ name, values: values.map(({ label }) => label) }));
  const { name, title, question, notes, repetitions, seed, clock, conclusion } = parsed.data;
  const numeric = dimensions.find(({ values }) => values.every((value) => typeof value === 'number'));
  const x = parsed.data.x ?? numeric?.name;
  return {
    plan: { file, text, name, title, question, notes, dimensions, points, repetitions, seed, clock, x, conclusion },
    text: '',
  };
}

function dimensionsOf(source: YamlSource, { sweep }: ExperimentFile): ReadonlyMap<string, readonly Choice[]> {
  const dimensions = new Map<string, readonly Choice[]>();
  for (const [name, values] of Object.entries(sweep)) {
    if (Array.isArray(values)) {
      if (!PARAMETERS.includes(name)) {
        source.problem(['sweep', name], `there is no parameter ${name}; there are ${near(name)}`);
        continue;
      }
      dimensions.set(
        name,
        values.map((value, n) => ({
          label: plain(value),
          sets: [{ parameter: name, value, place: ['sweep', name, n] }],
        })),
      );
    } else {
      dimensions.set(
        name,
        Object.entries(values).map(([label, sets]) => ({
          label,
          sets: Object.entries(sets).map(([parameter, value]) => ({
            parameter,
            value,
            place: ['sweep', name, label, parameter],
          })),
        })),
      );
    }
  }
  return dimensions;
}

/** Parameters that may have been meant. */
const near = (name: string): string => {
  const last = name.split('.').at(-1) ?? name;
  const alike = PARAMETERS.filter((parameter) => parameter.includes(last));
  return (alike.length > 0 ? alike : PARAMETERS.filter((parameter) => !parameter.startsWith('costs.'))).join(', ');
};

const baseOf = (file: ExperimentFile): Raw =>
  Object.fromEntries(SECTIONS.map((section) => [section, (file[section] ?? {}) as Record<string, unknown>]));

function pointsOf(source: YamlSource, base: Raw, dimensions: ReadonlyMap<string, readonly Choice[]>): readonly Point[] {
  let combinations: Readonly<Record<string, Choice>>[] = [{}];
  for (const [name, values] of dimensions) {
    combinations = combinations.flatMap((before) => values.map((value) => ({ ...before, [name]: value })));
    if (combinations.length > POINTS_MAX) {
      source.problem(['sweep'], `the sweep has more than ${POINTS_MAX} points; make it smaller`);
      return [];
    }
  }
  const points: Point[] = [];
  const told = new Set<string>();
  for (const combination of combinations) {
    const raw: Raw = Object.fromEntries(SECTIONS.map((section) => [section, { ...base[section] }]));
    const places = new Map<string, Path>();
    for (const { parameter, value, place } of Object.values(combination).flatMap(({ sets }) => sets)) {
      const [section = '', name = ''] = parameter.split('.');
      raw[section] = { ...raw[section], [name]: value };
      places.set(parameter, place);
    }
    const place = (path: Path): Path => places.get(path.slice(0, 2).join('.')) ?? path;
    const settings = settingsSchema.safeParse(raw);
    if (!settings.success) {
      source.issues(settings.error, place);
      // Every other point has the same mistake.
      return [];
    }
    const at = Object.fromEntries(Object.entries(combination).map(([name, { label }]) => [name, label]));
    for (const problem of platformOf(settings.data).problems) {
      const where = Object.entries(at).map(([name, value]) => `${name} = ${value}`);
      const message = `${where.length === 0 ? '' : `${where.join(', ')}: `}${problem}`;
      if (told.has(problem)) continue;
      told.add(problem);
      source.problem([...places.values()].at(-1) ?? ['platform'], message);
    }
    points.push({ id: points.length, at, settings: settings.data });
  }
  return points;
}

function checkNames(
  source: YamlSource,
  file: ExperimentFile,
  dimensions: ReadonlyMap<string, readonly Choice[]>,
): void {
  const known = [...dimensions.keys()].join(', ') || 'none';
  const { x, conclusion } = file;
  if (x !== undefined && !dimensions.has(x)) source.problem(['x'], `the sweep has no dimension ${x}; it has ${known}`);
  if (conclusion === undefined) return;
  if (!dimensions.has(conclusion.compare)) {
    source.problem(['conclusion', 'compare'], `the sweep has no dimension ${conclusion.compare}; it has ${known}`);
  }
  for (const [name, value] of Object.entries(conclusion.at)) {
    const values = dimensions.get(name);
    const there = values?.some(({ label }) => label === plain(value)) === true;
    if (there) continue;
    const message =
      values === undefined
        ? `the sweep has no dimension ${name}; it has ${known}`
        : `${name} is never ${plain(value)}; it is ${values.map(({ label }) => label).join(', ')}`;
    source.problem(['conclusion', 'at', name], message);
  }
}
