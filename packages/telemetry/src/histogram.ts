import * as hdr from 'hdr-histogram-js';

/** Significant digits that are kept of a value. */
const DIGITS = 3;

/** Latencies in nanoseconds as an HDR histogram: to three digits, from a nanosecond to hours, and to be joined with others. */
export class Histogram {
  readonly #histogram: hdr.Histogram;

  private constructor(histogram: hdr.Histogram) {
    this.#histogram = histogram;
  }

  static create(): Histogram {
    return new Histogram(
      hdr.build({ bitBucketSize: 'packed', numberOfSignificantValueDigits: DIGITS, useWebAssembly: false }),
    );
  }

  /** What {@link encode} gave. */
  static decode(text: string): Histogram {
    return new Histogram(hdr.decodeFromCompressedBase64(text, 'packed'));
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  get max(): number {
    return this.#histogram.maxValue;
  }

  get mean(): number {
    return this.#histogram.totalCount === 0 ? 0 : this.#histogram.mean;
  }

  /** @param nanoseconds 0 and up */
  record(nanoseconds: number): void {
    this.#histogram.recordValue(Math.max(0, Math.round(nanoseconds)));
  }

  /** Adds what another has. */
  add(other: Histogram): void {
    this.#histogram.add(other.#histogram);
  }

  /** The value that so many percent of the samples do not exceed: 50, 99.9. */
  at(percent: number): number {
    return this.#histogram.totalCount === 0 ? 0 : this.#histogram.getValueAtPercentile(percent);
  }

  /** In HdrHistogram’s own compressed form, as base64: other tools read it. */
  encode(): string {
    return hdr.encodeIntoCompressedBase64(this.#histogram);
  }
}
