import { Histogram } from '@remio/telemetry/histogram';
import type { Role } from './base/with-workload.js';
import type { Settings } from './language.js';
import type { Latencies, Outcome } from './outcome.js';

/** What a client did. */
interface LoadFigures {
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  /** Compressed HDR histogram in base64. */
  readonly latency: string;
}

/** What a frontend reports at the end. */
export interface LoadReport extends LoadFigures {
  /** What it did besides. */
  readonly beside?: LoadFigures;
}

/** What the clients of a run say together. @param reports by VM */
export function loadOutcome(
  { measure: { duration } }: Settings,
  roles: ReadonlyMap<string, Role>,
  reports: ReadonlyMap<string, LoadReport>,
): Pick<Outcome, 'duration' | 'operations' | 'bytes' | 'errors' | 'throughput' | 'latency' | 'beside' | 'noisy'> {
  const of = (role: Role): readonly LoadReport[] =>
    [...reports].filter(([name]) => roles.get(name) === role).map(([, report]) => report);
  const measured = of('frontend');
  const besides = measured.flatMap(({ beside }) => beside ?? []);
  const noise = of('noisy');
  const operations = (some: readonly LoadFigures[]): number =>
    some.reduce((sum, figures) => sum + figures.operations, 0);
  const throughput = (some: readonly LoadFigures[]): number => (operations(some) * 1e9) / duration;
  const bothOf = (some: readonly LoadFigures[]): { readonly throughput: number; readonly latency: Latencies } => ({
    throughput: throughput(some),
    latency: latencies(some),
  });
  return {
    duration,
    operations: operations(measured),
    bytes: measured.reduce((sum, { bytes }) => sum + bytes, 0),
    errors: measured.reduce((sum, { errors }) => sum + errors, 0),
    throughput: throughput(measured),
    latency: latencies(measured),
    ...(besides.length === 0 ? {} : { beside: bothOf(besides) }),
    ...(noise.length === 0 ? {} : { noisy: bothOf(noise) }),
  };
}

function latencies(reports: readonly LoadFigures[]): Latencies {
  const all = Histogram.create();
  for (const report of reports) all.add(Histogram.decode(report.latency));
  return {
    count: all.count,
    mean: all.mean,
    p50: all.at(50),
    p90: all.at(90),
    p99: all.at(99),
    'p99.9': all.at(99.9),
    max: all.max,
    histogram: all.encode(),
  };
}
