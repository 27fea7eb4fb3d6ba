import { Histogram } from '@remio/telemetry/histogram';
import type { Role } from './base/with-workload.js';
import type { Settings } from './language.js';
import type { Latencies, Outcome } from './outcome.js';

/** What a frontend reports at the end. */
export interface LoadReport {
  readonly operations: number;
  readonly bytes: number;
  readonly errors: number;
  /** Compressed HDR histogram in base64. */
  readonly latency: string;
}

/** What the clients of a run say together. @param reports by VM */
export function loadOutcome(
  { measure: { duration } }: Settings,
  roles: ReadonlyMap<string, Role>,
  reports: ReadonlyMap<string, LoadReport>,
): Pick<Outcome, 'duration' | 'operations' | 'bytes' | 'errors' | 'throughput' | 'latency' | 'noisy'> {
  const of = (role: Role): readonly LoadReport[] =>
    [...reports].filter(([name]) => roles.get(name) === role).map(([, report]) => report);
  const measured = of('frontend');
  const noise = of('noisy');
  const operations = (some: readonly LoadReport[]): number => some.reduce((sum, report) => sum + report.operations, 0);
  const throughput = (some: readonly LoadReport[]): number => (operations(some) * 1e9) / duration;
  return {
    duration,
    operations: operations(measured),
    bytes: measured.reduce((sum, { bytes }) => sum + bytes, 0),
    errors: measured.reduce((sum, { errors }) => sum + errors, 0),
    throughput: throughput(measured),
    latency: latencies(measured),
    ...(noise.length === 0 ? {} : { noisy: { throughput: throughput(noise), latency: latencies(noise) } }),
  };
}

function latencies(reports: readonly LoadReport[]): Latencies {
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
