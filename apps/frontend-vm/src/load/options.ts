/** What a client does, again and again. */
export interface LoadOptions {
  readonly type: 'mmio' | 'block';
  /** Operations in flight per vCPU, at most; `mmio` has one. */
  readonly depth: number;
  /** Nanoseconds between the end of an operation and the next, on average, exponentially distributed. */
  readonly think: number;
  /** Operations a second per vCPU, independent of what becomes of them; 0: a closed loop with `think`. */
  readonly rate: number;
  /** Nanoseconds of work before what counts, and of what counts. */
  readonly warmUp: number;
  readonly duration: number;
  readonly seed: number;
  /** `block`: bytes of a request. */
  readonly size: number;
  readonly pattern: 'random' | 'sequential';
  /** `block`: share of reads, 0 to 1; the others are writes. */
  readonly reads: number;
}

export const LOAD_DEFAULTS: LoadOptions = {
  type: 'mmio',
  depth: 1,
  think: 0,
  rate: 0,
  warmUp: 2_000_000,
  duration: 20_000_000,
  seed: 1,
  size: 4096,
  pattern: 'random',
  reads: 1,
};

/** Lets every client of a platform begin at the same time. */
export interface StartGate {
  /** This client is ready. @returns when all are: the value of the counter from which on they work */
  ready(now: number): Promise<number>;
}

/** Each client begins when it is ready. */
export const noGate: StartGate = { ready: (now) => Promise.resolve(now) };
