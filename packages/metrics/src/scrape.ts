import type { Latency } from '@remio/telemetry';
import { Counter, Gauge, type Metric, Registry, type RegistryContentType } from 'prom-client';
import { type LabelsOf, METRICS, type MetricName, type MetricOf } from './catalogue.js';

/** Upper bounds of latency buckets, in seconds: five to a decade, from 10 us to 1 s. */
export const LATENCY_BOUNDS: readonly number[] = [
  1e-5, 2e-5, 4e-5, 6e-5, 8e-5, 1e-4, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3, 2e-3, 4e-3, 1e-2, 2e-2, 1e-1, 1,
];
const NS_PER_S = 1e9;
const BOUNDS_NS = LATENCY_BOUNDS.map((bound) => bound * NS_PER_S);

/** What a histogram's samples are called in the text. */
interface KeptValue {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** A histogram whose samples were counted elsewhere. */
class KeptHistogram {
  readonly #kept: KeptValue[] = [];
  readonly #name: string;

  /** The library shows whatever metric says of itself what its own say. */
  constructor({ name, help, registers }: MetricSettings) {
    this.#name = name;
    const get = async () => ({ name, help, type: 'histogram', values: this.#kept, aggregator: 'sum' });
    const metric = { name, help, type: 'histogram', get } as unknown as Metric;
    for (const registry of registers) registry.registerMetric(metric);
  }

  take(labels: Readonly<Record<string, string>>, latency: Latency): void {
    const { atMost, count, sum } = latency.histogram(BOUNDS_NS);
    const bucket = (le: string | number, value: number): KeptValue => ({
      metricName: `${this.#name}_bucket`,
      labels: { le, ...labels },
      value,
    });
    this.#kept.push(...LATENCY_BOUNDS.map((bound, n) => bucket(bound, atMost[n] ?? 0)), bucket('+Inf', count));
    this.#kept.push({ metricName: `${this.#name}_sum`, labels, value: sum / NS_PER_S });
    this.#kept.push({ metricName: `${this.#name}_count`, labels, value: count });
  }
}

/** What a metric is made with. */
interface MetricSettings {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  readonly registers: Registry<RegistryContentType>[];
}

/**
 * One answer to Prometheus: whoever has counters adds what they say now. Nothing is kept between two answers, so nothing
 * is counted twice, and nobody who is not asked does any work.
 */
export class Scrape {
  readonly #registry = new Registry<RegistryContentType>();
  readonly #counters = new Map<MetricName, Counter>();
  readonly #gauges = new Map<MetricName, Gauge>();
  readonly #histograms = new Map<MetricName, KeptHistogram>();

  /** @param openMetrics whether the answer is in the format of OpenMetrics, or Prometheus' own */
  constructor(openMetrics: boolean) {
    this.#registry.setContentType(openMetrics ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  count<N extends MetricOf<'counter'>>(name: N, labels: LabelsOf<N>, value: number): void {
    this.#made(this.#counters, name, (settings) => new Counter(settings)).inc(labels, value);
  }

  gauge<N extends MetricOf<'gauge'>>(name: N, labels: LabelsOf<N>, value: number): void {
    this.#made(this.#gauges, name, (settings) => new Gauge(settings)).set(labels, value);
  }

  latency<N extends MetricOf<'histogram'>>(name: N, labels: LabelsOf<N>, latency: Latency): void {
    if (latency.count === 0) return;
    this.#made(this.#histograms, name, (settings) => new KeptHistogram(settings)).take(labels, latency);
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #made<M>(known: Map<MetricName, M>, name: MetricName, make: (settings: MetricSettings) => M): M {
    const found = known.get(name);
    if (found !== undefined) return found;
    const { help, labels } = METRICS[name];
    const made = make({ name, help, labelNames: [...labels], registers: [this.#registry] });
    known.set(name, made);
    return made;
  }
}
