/**
 * The Universal Scalability Law (Gunther): throughput over the number of users of a system,
 * X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)).
 */
export interface Usl {
  /** Throughput of one. */
  readonly lambda: number;
  /** Contention: the share of work that only one can do at a time. 0 to 1. */
  readonly sigma: number;
  /** Crosstalk: what each pair costs; throughput falls again beyond {@link peak}. */
  readonly kappa: number;
  /** Where throughput is largest; undefined: it never falls. */
  readonly peak: number | undefined;
  /** Share of the variation that the law explains, 0 to 1. */
  readonly fit: number;
}

/** A number of users, and the throughput that they had. */
export interface Load {
  readonly n: number;
  readonly throughput: number;
}

export const uslThroughput = ({ lambda, sigma, kappa }: Usl, n: number): number =>
  (lambda * n) / (1 + sigma * (n - 1) + kappa * n * (n - 1));

/**
 * Fits the law. N/X is linear in its parameters, so this is least squares, weighted so that it is the relative error of
 * throughput that is small; a parameter that would be negative is 0, and the others are fitted without it.
 * @returns undefined where fewer than three numbers of users were measured
 */
export function fitUsl(loads: readonly Load[]): Usl | undefined {
  const usable = loads.filter(({ n, throughput }) => n >= 1 && throughput > 0);
  if (new Set(usable.map(({ n }) => n)).size < 3) return undefined;
  const candidates = [
    [true, true],
    [true, false],
    [false, true],
    [false, false],
  ] as const;
  let best: Usl | undefined;
  for (const [contention, crosstalk] of candidates) {
    const fitted = solve(usable, contention, crosstalk);
    if (fitted !== undefined && (best === undefined || fitted.fit > best.fit)) best = fitted;
  }
  return best;
}

function solve(loads: readonly Load[], contention: boolean, crosstalk: boolean): Usl | undefined {
  const basis = (n: number): number[] => [1, ...(contention ? [n - 1] : []), ...(crosstalk ? [n * (n - 1)] : [])];
  const size = basis(1).length;
  // Normal equations, with weights 1 / (N/X)^2.
  const matrix = Array.from({ length: size }, () => Array.from({ length: size + 1 }, () => 0));
  for (const { n, throughput } of loads) {
    const y = n / throughput;
    const row = basis(n).map((value) => value / y);
    row.forEach((a, i) => {
      const line = matrix[i];
      if (line === undefined) return;
      row.forEach((b, j) => {
        line[j] = (line[j] ?? 0) + a * b;
      });
      line[size] = (line[size] ?? 0) + a;
    });
  }
  const [inverse, ...rest] = eliminate(matrix);
  if (inverse === undefined || !(inverse > 0)) return undefined;
  const lambda = 1 / inverse;
  const sigma = contention ? (rest[0] ?? 0) * lambda : 0;
  const kappa = crosstalk ? (rest[contention ? 1 : 0] ?? 0) * lambda : 0;
  if (sigma < 0 || sigma > 1 || kappa < 0) return undefined;
  const peak = kappa === 0 ? undefined : Math.sqrt((1 - sigma) / kappa);
  const law: Usl = { lambda, sigma, kappa, peak, fit: 0 };
  const mean = loads.reduce((sum, { throughput }) => sum + throughput, 0) / loads.length;
  let residual = 0;
  let total = 0;
  for (const { n, throughput } of loads) {
    const off = throughput - uslThroughput(law, n);
    residual += off * off;
    total += (throughput - mean) * (throughput - mean);
  }
  return { ...law, fit: total === 0 ? 1 : Math.max(0, 1 - residual / total) };
}

/** Gaussian elimination with pivoting, of a matrix with its right side as the last column. */
function eliminate(matrix: number[][]): number[] {
  const size = matrix.length;
  for (let column = 0; column < size; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < size; row += 1) {
      if (Math.abs(matrix[row]?.[column] ?? 0) > Math.abs(matrix[pivot]?.[column] ?? 0)) pivot = row;
    }
    const line = matrix[pivot];
    const other = matrix[column];
    if (line === undefined || other === undefined || line[column] === 0) return [];
    matrix[pivot] = other;
    matrix[column] = line;
    for (let row = 0; row < size; row += 1) {
      const target = matrix[row];
      if (row === column || target === undefined) continue;
      const factor = (target[column] ?? 0) / (line[column] ?? 1);
      for (let n = column; n <= size; n += 1) target[n] = (target[n] ?? 0) - factor * (line[n] ?? 0);
    }
  }
  return matrix.map((line, n) => (line[size] ?? 0) / (line[n] ?? 1));
}
