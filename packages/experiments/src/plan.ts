import { showPath } from '@remio/topology';
import { type BaseFile, type BaseReader, basesBeside } from './base/base-topology.js';
import type { Misfit } from './base/misfits.js';
import { PointBases, type SetTopology, type TopologySet } from './base/point-base.js';
import { virtualMisfits, wallMisfits } from './clock-misfits.js';
import {
  BASE_PARAMETER,
  type Conclusion,
  type ExperimentFile,
  experimentSchema,
  isParameter,
  PARAMETERS,
  type Scalar,
  type Settings,
  settingsSchema,
  TOPOLOGY_PREFIX,
} from './language.js';
import { platformOf } from './platform.js';
import { type Path, YamlSource } from './source.js';
import type { Trace } from './trace.js';
import { ECHOED } from './workload-rules.js';

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
  /** Topologies that points start from. */
  readonly bases: readonly BaseFile[];
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

const SECTIONS = ['platform', 'workload', 'medium', 'link', 'beside', 'noisy', 'measure', 'costs'] as const;

/** A value as points are named by it. */
function plain(value: unknown): Scalar {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string') return value;
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? Number(inner) : inner));
}

/** What does not fit a point, as far as it is told: one large number may be wrong in a thousand places. */
const MISFITS_MAX = 3;
/** Most points that a sweep may have. */
const POINTS_MAX = 10_000;

/** Sections that say what things cost: on the wall clock they cost what they cost. */
const MODEL_SECTIONS = ['costs', 'medium', 'link'] as const;
/** What a base topology does not say of the platform. */
const BESIDE_BASE: readonly string[] = ['disk', 'slots'];
/** Sections that name VMs of a base topology. */
const NAMES_VMS: readonly string[] = ['workload', 'noisy'];
/** On the wall clock a process takes a while until it runs at its speed, and others get in its way now and then. */
const WALL_MEASURE = { warm_up: '1s', duration: '2s', patience: '120s' } as const;

/**
 * Reads and checks an experiment: nothing runs that cannot.
 * @param readBase finds topologies that it names; from where its file lies, if absent
 */
export function readPlan(
  text: string,
  file: string,
  readBase: BaseReader = basesBeside(file),
): { readonly plan?: Plan; readonly text: string } {
  const source = new YamlSource(text, file);
  if (source.problems.length > 0) return { text: source.render() };
  const parsed = experimentSchema.safeParse(source.value);
  if (!parsed.success) {
    source.issues(parsed.error);
    return { text: source.render() };
  }
  const choices = dimensionsOf(source, parsed.data);
  checkClock(source, parsed.data, choices);
  if (source.problems.length > 0) return { text: source.render() };
  const bases = new PointBases(source, readBase);
  const points = new PointMaker(source, parsed.data, bases).make(choices);
  checkNames(source, parsed.data, choices);
  if (source.problems.length > 0) return { text: source.render() };
  const dimensions = [...choices].map(([name, values]) => ({ name, values: values.map(({ label }) => label) }));
  const { name, title, question, notes, repetitions, seed, clock, conclusion } = parsed.data;
  const numeric = dimensions.find(({ values }) => values.every((value) => typeof value === 'number'));
  const x = parsed.data.x ?? numeric?.name;
  const shown = { name, title, question, notes, dimensions, x, conclusion };
  return { plan: { file, text, ...shown, points, repetitions, seed, clock, bases: bases.files }, text: '' };
}

/** On the wall clock, nothing can be said of what things cost. */
function checkClock(
  source: YamlSource,
  file: ExperimentFile,
  dimensions: ReadonlyMap<string, readonly Choice[]>,
): void {
  if (file.clock !== 'wall') return;
  const refuse = (path: Path, what: string): void => {
    const why = 'on the wall clock things cost what they cost on this machine';
    source.problem(path, `${what} are for virtual time; ${why}: leave them out, or write \`clock: virtual\``, 'key');
  };
  for (const section of MODEL_SECTIONS) if (file[section] !== undefined) refuse([section], `\`${section}\``);
  const told = new Set<string>();
  for (const { parameter, place } of [...dimensions.values()].flat().flatMap(({ sets }) => sets)) {
    if (told.has(parameter) || !MODEL_SECTIONS.some((section) => parameter.startsWith(`${section}.`))) continue;
    told.add(parameter);
    refuse(place, `values of ${parameter}`);
  }
}

function dimensionsOf(source: YamlSource, { sweep }: ExperimentFile): ReadonlyMap<string, readonly Choice[]> {
  const dimensions = new Map<string, readonly Choice[]>();
  const check = (name: string, place: Path): void => {
    if (!isParameter(name)) source.problem(place, `there is no parameter ${name}; there are ${near(name)}`, 'key');
  };
  for (const [name, values] of Object.entries(sweep)) {
    if (Array.isArray(values)) check(name, ['sweep', name]);
    else
      for (const [label, sets] of Object.entries(values)) {
        for (const parameter of Object.keys(sets)) check(parameter, ['sweep', name, label, parameter]);
      }
    const choices = Array.isArray(values)
      ? values.map(
          (value, n): Choice => ({
            label: plain(value),
            sets: [{ parameter: name, value, place: ['sweep', name, n] }],
          }),
        )
      : Object.entries(values).map(
          ([label, sets]): Choice => ({
            label,
            sets: Object.entries(sets).map(([parameter, value]) => ({
              parameter,
              value,
              place: ['sweep', name, label, parameter],
            })),
          }),
        );
    dimensions.set(name, choices);
  }
  return dimensions;
}

/** Parameters that may have been meant. */
const near = (name: string): string => {
  const last = name.split('.').at(-1) ?? name;
  const alike = PARAMETERS.filter((parameter) => parameter.includes(last));
  return (alike.length > 0 ? alike : PARAMETERS.filter((parameter) => !parameter.startsWith('costs.'))).join(', ');
};

/** Makes the points of a sweep; what is wrong with them is told once each. */
class PointMaker {
  readonly #source: YamlSource;
  readonly #file: ExperimentFile;
  readonly #bases: PointBases;
  readonly #sections: Raw;
  readonly #told = new Set<string>();

  constructor(source: YamlSource, file: ExperimentFile, bases: PointBases) {
    this.#source = source;
    this.#file = file;
    this.#bases = bases;
    const sections = SECTIONS.map((section) => [section, (file[section] ?? {}) as Record<string, unknown>] as const);
    this.#sections = Object.fromEntries(sections);
    if (file.clock === 'wall') this.#sections['measure'] = { ...WALL_MEASURE, ...this.#sections['measure'] };
  }

  make(dimensions: ReadonlyMap<string, readonly Choice[]>): readonly Point[] {
    let combinations: Readonly<Record<string, Choice>>[] = [{}];
    for (const [name, values] of dimensions) {
      combinations = combinations.flatMap((before) => values.map((value) => ({ ...before, [name]: value })));
      if (combinations.length > POINTS_MAX) {
        this.#source.problem(['sweep'], `the sweep has more than ${POINTS_MAX} points; make it smaller`);
        return [];
      }
    }
    const points: Point[] = [];
    for (const combination of combinations) {
      const settings = this.#settings(Object.values(combination).flatMap(({ sets }) => sets));
      // Every other point has the same mistake.
      if (settings === 'malformed') return [];
      if (settings === undefined) continue;
      const at = Object.fromEntries(Object.entries(combination).map(([name, { label }]) => [name, label]));
      this.#checkPlatform(settings, at);
      points.push({ id: points.length, at, settings: settings.settings });
    }
    return points;
  }

  /** What a point is made of; undefined if its topology cannot be. */
  #settings(sets: Choice['sets']): Made | 'malformed' | undefined {
    const raw: Raw = Object.fromEntries(SECTIONS.map((section) => [section, { ...this.#sections[section] }]));
    const places = new Map<string, Path>();
    const topology: TopologySet[] = [];
    let { base } = this.#file;
    for (const { parameter, value, place } of sets) {
      places.set(parameter, place);
      if (parameter === BASE_PARAMETER) base = String(value);
      else if (parameter.startsWith(TOPOLOGY_PREFIX)) {
        topology.push({ path: parameter.slice(TOPOLOGY_PREFIX.length), value, at: place });
      } else {
        const [section = '', name = ''] = parameter.split('.');
        raw[section] = { ...raw[section], [name]: value };
      }
    }
    const place = (path: Path): Path => places.get(path.slice(0, 2).join('.')) ?? path;
    const parsed = settingsSchema.safeParse(raw);
    if (!parsed.success) {
      this.#source.issues(parsed.error, place);
      return 'malformed';
    }
    if (!this.#real(parsed.data, place)) return undefined;
    const traced = this.#traced(parsed.data, base, place);
    if (traced === undefined) return undefined;
    const last = [...places.values()].at(-1) ?? (base === undefined ? ['platform'] : ['base']);
    if (!this.#fits(raw, base, topology, place)) return undefined;
    if (base === undefined) return { settings: parsed.data, last, sets: [] };
    const made = this.#bases.make(base, places.get(BASE_PARAMETER) ?? ['base'], topology);
    if (made === undefined) return undefined;
    return {
      settings: { ...parsed.data, ...traced, base: { file: made.file, text: made.text } },
      last,
      sets: made.sets,
    };
  }

  /** What is to be replayed, if anything; undefined if it cannot be. */
  #traced(
    { workload }: Settings,
    base: string | undefined,
    place: (path: Path) => Path,
  ): { readonly trace?: Trace } | undefined {
    const { recording, pace } = workload;
    if (recording === undefined) return {};
    const at = place(['workload', 'recording']);
    const refuse = (message: string): undefined => {
      this.#tell(at, message, message);
      return undefined;
    };
    if (this.#file.clock === 'wall') return refuse('a replay is for virtual time; write `clock: virtual`');
    if (base === undefined)
      return refuse('a recording is replayed on the topology that it was made of: name it, `base: FILE`');
    const trace = this.#bases.trace(recording);
    if (!trace.ok) return refuse(trace.error);
    if (pace === 'recorded' && !trace.value.timed) {
      return refuse(
        `${recording} does not say when accesses were made, as those of profile reference: write \`pace: asap\``,
      );
    }
    return { trace: trace.value };
  }

  /** Whether there is another end for what is sent. */
  #real(settings: Settings, place: (path: Path) => Path): boolean {
    const echoed = (['workload', 'beside', 'noisy'] as const).filter((section) =>
      ECHOED.includes(settings[section].type),
    );
    if (this.#file.clock !== 'wall' || echoed.length === 0) return true;
    for (const section of echoed) {
      const { type } = settings[section];
      const what = `a ${type} workload is for virtual time: on the wall clock nobody sends back what is sent`;
      const message = `${what}; write \`clock: virtual\`, or another \`${section}.type\``;
      this.#tell(place([section, 'type']), message, message);
    }
    return false;
  }

  /** Whether what is set goes together: a platform is described, or comes from a topology. */
  #fits(raw: Raw, base: string | undefined, sets: readonly TopologySet[], place: (path: Path) => Path): boolean {
    const wrong: (readonly [Path, string])[] = [];
    const given = (section: string, name: string): boolean => raw[section]?.[name] !== undefined;
    if (base === undefined) {
      for (const { at } of sets) wrong.push([at, 'there is no topology to set this in; name one: `base: FILE`']);
      for (const section of NAMES_VMS) {
        if (given(section, 'vms')) {
          wrong.push([place([section, 'vms']), `\`${section}.vms\` names VMs of a base topology: there is none`]);
        }
      }
    } else {
      for (const name of Object.keys(raw['platform'] ?? {})) {
        if (BESIDE_BASE.includes(name)) continue;
        const fix = `set it by a path: ${TOPOLOGY_PREFIX}…, or leave out \`base\``;
        wrong.push([place(['platform', name]), `\`platform.${name}\`: the platform is that of ${base}; ${fix}`]);
      }
      if (raw['beside'] !== undefined && Object.keys(raw['beside']).length > 0) {
        const message =
          '`beside` is for a platform that is described: leave out `base`, or make some frontends `noisy`';
        wrong.push([place(['beside']), message]);
      }
      if (given('noisy', 'frontends')) {
        const message = '`noisy.frontends`: with a base topology, name them: `noisy: { vms: [PATTERN] }`';
        wrong.push([place(['noisy', 'frontends']), message]);
      }
    }
    for (const [path, message] of wrong) this.#tell(path, message, message);
    return wrong.length === 0;
  }

  /** Checks a point's topology, as any other is. */
  #checkPlatform({ settings, last, sets }: Made, at: Point['at']): void {
    const { topology, problems, roles, idle } = platformOf(settings);
    const underLoad = (vm: string): boolean => ['frontend', 'noisy'].includes(roles.get(vm) ?? 'other');
    for (const { at: place, path, places } of sets) {
      if (!places.every((set) => idle.some((end) => leadsTo(showPath(end), showPath(set))))) continue;
      const why = 'the workload has its own way there, or does not use the device';
      const message = `${TOPOLOGY_PREFIX}${path} makes no difference: ${why}`;
      this.#tell(place, message, message);
    }
    const onClock = this.#file.clock === 'wall' ? wallMisfits : virtualMisfits;
    const unreal = topology === undefined ? [] : onClock(topology, underLoad);
    const all = [...problems, ...unreal];
    for (const [n, misfit] of all.slice(0, MISFITS_MAX).entries()) {
      const where = Object.entries(at).map(([name, value]) => `${name} = ${value}`);
      // Of a platform that was described, a path says nothing.
      const what = settings.base === undefined ? misfit.message : `${misfit.path}: ${misfit.message}`;
      const cause = sets.findLast(({ places }) => places.some((place) => leadsTo(showPath(place), misfit.path)));
      const [section = ''] = misfit.path.split('.');
      const own = NAMES_VMS.includes(section) ? [section, 'vms'] : undefined;
      const more = n === MISFITS_MAX - 1 && all.length > MISFITS_MAX ? `; and ${all.length - MISFITS_MAX} more` : '';
      const message = `${where.length === 0 ? '' : `${where.join(', ')}: `}${what}${more}`;
      this.#tell(cause?.at ?? own ?? last, message, what);
    }
  }

  #tell(path: Path, message: string, what: string): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#source.problem(path, message);
  }
}

/** What a point is made of, and what is to blame if it does not fit. */
interface Made {
  readonly settings: Settings;
  /** Where the last parameter of the point stands in the file. */
  readonly last: Path;
  readonly sets: SetTopology['sets'];
}

/** Whether one path is another or leads to it. */
const leadsTo = (path: string, to: Misfit['path']): boolean =>
  to === path || to.startsWith(`${path}.`) || to.startsWith(`${path}[`);

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
