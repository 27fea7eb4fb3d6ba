import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js';

/** Nanoseconds: the median, the 99th percentile and the largest. */
export interface LatencySummary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Latencies in nanoseconds, up to an hour, with two significant digits. */
export class Latency {
  #histogram: Histogram = build({ bitBucketSize: 64, autoResize: true, numberOfSignificantValueDigits: 2 });

  record(nanoseconds: number): void {
    this.#histogram.recordValue(Math.max(0, Math.round(nanoseconds)));
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  summary(): LatencySummary {
    const histogram = this.#histogram;
    return {
      count: histogram.totalCount,
      p50: histogram.getValueAtPercentile(50),
      p99: histogram.getValueAtPercentile(99),
      max: histogram.maxValue,
    };
  }

  reset(): void {
    this.#histogram.reset();
  }

  /** As text that {@link decode} reads: for another process. */
  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram);
  }

  static decode(text: string): Latency {
    const latency = new Latency();
    latency.#histogram = decodeFromCompressedBase64(text);
    return latency;
  }
}

/** A duration for people: three digits and a unit. */
export function showDuration(nanoseconds: number): string {
  for (const [unit, scale] of [
    ['s', 1e9],
    ['ms', 1e6],
    ['us', 1e3],
  ] as const) {
    if (nanoseconds >= scale) return `${(nanoseconds / scale).toPrecision(3)} ${unit}`;
  }
  return `${Math.round(nanoseconds)} ns`;
}

/** A throughput for people. */
export const showRate = (bytes: number, nanoseconds: number): string =>
  `${(bytes / 2 ** 20 / (nanoseconds / 1e9)).toFixed(0)} MiB/s`;

/** Rows as a table with aligned columns; the first row is the heading. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
