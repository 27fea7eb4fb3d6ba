/** Two-sided 95% quantiles of Student's t, by degrees of freedom from 1. */
const T95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/** Between the values of the table it goes down: the one below is on the safe side. */
const t95 = (freedom: number): number => T95[Math.max(1, Math.min(T95.length, Math.floor(freedom))) - 1] ?? 2.042;

/** A mean, and how far the true one may lie from it with 95% confidence. */
export interface Estimate {
  readonly count: number;
  readonly mean: number;
  readonly deviation: number;
  /** Half the width of the 95% confidence interval; 0 where all samples are the same, infinite for one sample. */
  readonly margin: number;
}

/** What samples say of a figure. At least one sample. */
export function estimate(samples: readonly number[]): Estimate {
  const count = samples.length;
  const mean = samples.reduce((a, b) => a + b, 0) / count;
  if (count < 2) return { count, mean, deviation: 0, margin: Number.POSITIVE_INFINITY };
  const variance = samples.reduce((sum, value) => sum + (value - mean) * (value - mean), 0) / (count - 1);
  const deviation = Math.sqrt(variance);
  return { count, mean, deviation, margin: (t95(count - 1) * deviation) / Math.sqrt(count) };
}

/** How much larger one figure is than another. */
export interface Difference {
  readonly mean: number;
  readonly margin: number;
  /** Of the first figure: 0.1 is 10% more. */
  readonly relative: number;
  /** Whether repetitions alone would hardly explain it: the 95% interval does not contain 0. */
  readonly clear: boolean;
}

/** The difference of two means by Welch's t interval. */
export function difference(from: readonly number[], to: readonly number[]): Difference {
  const a = estimate(from);
  const b = estimate(to);
  const mean = b.mean - a.mean;
  const relative = a.mean === 0 ? 0 : mean / a.mean;
  if (a.count < 2 || b.count < 2) return { mean, margin: Number.POSITIVE_INFINITY, relative, clear: false };
  const va = (a.deviation * a.deviation) / a.count;
  const vb = (b.deviation * b.deviation) / b.count;
  if (va + vb === 0) return { mean, margin: 0, relative, clear: mean !== 0 };
  const freedom = ((va + vb) * (va + vb)) / ((va * va) / (a.count - 1) + (vb * vb) / (b.count - 1));
  const margin = t95(freedom) * Math.sqrt(va + vb);
  return { mean, margin, relative, clear: Math.abs(mean) > margin };
}
