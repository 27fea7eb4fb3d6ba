/** Nanoseconds: the median, the 99th percentile and the largest. */
export interface LatencySummary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Samples by upper bound, as Prometheus keeps them. */
export interface LatencyHistogram {
  /** By bound: samples that do not exceed it. */
  readonly atMost: readonly number[];
  readonly count: number;
  /** Nanoseconds, to within 1%. */
  readonly sum: number;
}

/** Mantissa bits of a double's upper word that tell buckets apart: 64 buckets from one power of two to the next. */
const SUB_BUCKET_BITS = 6;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
/** Powers of two that are told apart: 2^42 ns is more than an hour. */
const OCTAVES = 42;
const BUCKETS = OCTAVES * SUB_BUCKETS;
/** A double's upper word has 20 bits of mantissa below its exponent, whose bias is 1023. */
const SHIFT = 20 - SUB_BUCKET_BITS;
const BIAS = 1023 << SUB_BUCKET_BITS;

const bits = new DataView(new ArrayBuffer(8));

/**
 * Latencies in nanoseconds, up to an hour, to within 1%. A sample costs a few instructions: its bucket is its exponent
 * and the head of its mantissa, as a double has them.
 */
export class Latency {
  /** Made with the first sample: most VMs of a large platform are never timed. */
  #counts: Float64Array | undefined;
  #count = 0;
  #max = 0;

  record(nanoseconds: number): void {
    bits.setFloat64(0, nanoseconds);
    // Less than a nanosecond (a clock may stand still) is the first bucket, more than an hour the last.
    const bucket = Math.min(BUCKETS - 1, Math.max(0, (bits.getInt32(0) >> SHIFT) - BIAS));
    this.#counts ??= new Float64Array(BUCKETS);
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#count += 1;
    if (nanoseconds > this.#max) this.#max = nanoseconds;
  }

  get count(): number {
    return this.#count;
  }

  summary(): LatencySummary {
    return { count: this.#count, p50: this.#at(0.5), p99: this.#at(0.99), max: Math.round(this.#max) };
  }

  /**
   * How many samples exceed none of the bounds. A bucket counts where its middle lies, so to within 1%.
   * @param bounds nanoseconds, ascending
   */
  histogram(bounds: readonly number[]): LatencyHistogram {
    const atMost = bounds.map(() => 0);
    let sum = 0;
    this.#counts?.forEach((count, bucket) => {
      if (count === 0) return;
      const latency = middle(bucket);
      sum += count * latency;
      for (let n = bounds.length - 1; n >= 0 && latency <= (bounds[n] ?? 0); n -= 1) {
        atMost[n] = (atMost[n] ?? 0) + count;
      }
    });
    return { atMost, count: this.#count, sum };
  }

  reset(): void {
    this.#counts = undefined;
    this.#count = 0;
    this.#max = 0;
  }

  /** The smallest latency that at least this share of the samples does not exceed. */
  #at(share: number): number {
    const counts = this.#counts;
    let left = Math.ceil(share * this.#count);
    for (let bucket = 0; counts !== undefined && bucket < BUCKETS; bucket += 1) {
      const count = counts[bucket] ?? 0;
      left -= count;
      if (count > 0 && left <= 0) return Math.round(Math.min(this.#max, middle(bucket)));
    }
    return 0;
  }
}

const middle = (bucket: number): number =>
  2 ** (bucket >> SUB_BUCKET_BITS) * (1 + ((bucket & (SUB_BUCKETS - 1)) + 0.5) / SUB_BUCKETS);
