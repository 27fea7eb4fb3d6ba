import { err, ok, type Result } from '@remio/base';
import type { Path, YamlSource } from '../source.js';
import { readTrace, type Trace } from '../trace.js';
import { type BaseFile, type BaseReader, dataOfBase, type RawTopology, textOf } from './base-topology.js';
import { type Place, setAt } from './topology-path.js';

/** A value that a sweep sets in a topology. */
export interface TopologySet {
  /** The path into the topology. */
  readonly path: string;
  readonly value: unknown;
  /** Where it stands in the experiment's file. */
  readonly at: Path;
}

/** A topology with everything set, and where each value went. */
export interface SetTopology extends RawTopology {
  /** In the order in which they were set. */
  readonly sets: readonly (TopologySet & { readonly places: readonly Place[] })[];
}

/** The topologies that an experiment's points start from: each is read and checked once, and its mistakes are told once. */
export class PointBases {
  readonly #source: YamlSource;
  readonly #read: BaseReader;
  /** By name; undefined: it is no good. */
  readonly #known = new Map<string, { readonly base: BaseFile; readonly data: unknown } | undefined>();
  /** By name: recordings that are replayed. */
  readonly #traces = new Map<string, Result<{ readonly file: BaseFile; readonly trace: Trace }, string>>();
  readonly #told = new Set<string>();

  constructor(source: YamlSource, read: BaseReader) {
    this.#source = source;
    this.#read = read;
  }

  get files(): readonly BaseFile[] {
    const topologies = [...this.#known.values()].flatMap((known) => (known === undefined ? [] : [known.base]));
    return [...topologies, ...[...this.#traces.values()].flatMap((read) => (read.ok ? [read.value.file] : []))];
  }

  /** A recording, by the name that the experiment gives it; or why it is none. */
  trace(name: string): Result<Trace, string> {
    let known = this.#traces.get(name);
    if (known === undefined) {
      const file = this.#read(name, 'recording');
      const trace = file.ok ? readTrace(name, file.value.text) : file;
      known = file.ok && trace.ok ? ok({ file: file.value, trace: trace.value }) : err(trace.ok ? '' : trace.error);
      this.#traces.set(name, known);
    }
    return known.ok ? ok(known.value.trace) : known;
  }

  /**
   * A topology with values set.
   * @param at where the experiment names the topology
   * @returns undefined if something is wrong, which has been told
   */
  make(name: string, at: Path, sets: readonly TopologySet[]): SetTopology | undefined {
    if (!this.#known.has(name)) this.#known.set(name, this.#open(name, at));
    const known = this.#known.get(name);
    if (known === undefined) return undefined;
    let { data } = known;
    const made: (TopologySet & { readonly places: readonly Place[] })[] = [];
    for (const set of sets) {
      const result = setAt(data, set.path, set.value);
      if (!result.ok) {
        const there = result.there.length === 0 ? 'nothing' : result.there.join(', ');
        const under = result.under === '' ? '' : ` under ${result.under}`;
        const what = `topology.${set.path} leads nowhere in ${name}: there is no ${result.step || 'empty name'}${under}`;
        this.#tell(set.at, `${what}; there is ${there}`);
        return undefined;
      }
      ({ data } = result);
      made.push({ ...set, places: result.places });
    }
    return { file: known.base.file, text: textOf(data), sets: made };
  }

  #open(name: string, at: Path): { readonly base: BaseFile; readonly data: unknown } | undefined {
    const read = this.#read(name, 'topology');
    if (!read.ok) {
      this.#tell(at, read.error);
      return undefined;
    }
    const data = dataOfBase(read.value);
    if (data.ok) return { base: read.value, data: data.value };
    this.#source.otherFile(at, `${name} has mistakes, which are shown below`, data.error);
    return undefined;
  }

  #tell(at: Path, message: string): void {
    if (this.#told.has(message)) return;
    this.#told.add(message);
    this.#source.problem(at, message);
  }
}
