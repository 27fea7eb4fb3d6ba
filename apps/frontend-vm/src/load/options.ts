/** A register access that was recorded. Plain data: numbers of 64 bits as `0x…`. */
export interface TracedAccess {
  /** Nanoseconds since the first access of the recording; 0 if nobody knows. */
  readonly at: number;
  readonly address: string;
  readonly width: 1 | 2 | 4 | 8;
  /** What a store writes; absent: a load. */
  readonly value?: string;
}

/** What a client does, again and again. */
export interface LoadOptions {
  /** `network` and `console`: whatever is at the other end sends everything back. */
  readonly type: 'mmio' | 'block' | 'network' | 'console' | 'replay';
  /** Operations in flight per vCPU, at most; `mmio` has one. */
  readonly depth: number;
  /** Nanoseconds between the end of an operation and the next, on average, exponentially distributed. */
  readonly think: number;
  /** Operations a second per vCPU, independent of what becomes of them; 0: a closed loop with `think`. */
  readonly rate: number;
  /** Operations that come together, at a rate. */
  readonly burst: number;
  /** Nanoseconds of work before what counts, and of what counts. */
  readonly warmUp: number;
  readonly duration: number;
  readonly seed: number;
  /** Bytes of a request, of a frame with its header, or of what is written at once. */
  readonly size: number;
  readonly pattern: 'random' | 'sequential';
  /** `block`: share of reads, 0 to 1; the others are writes. */
  readonly reads: number;
  /** `replay`: by vCPU, what it accesses; and whether at the recorded times, or as fast as it goes. */
  readonly trace?: readonly (readonly TracedAccess[])[];
  readonly pace?: 'recorded' | 'asap';
  /** What it does at the same time on some of its devices; told apart. */
  readonly beside?: Omit<LoadOptions, 'beside'> & { readonly devices: readonly string[] };
}

export const LOAD_DEFAULTS: LoadOptions = {
  type: 'mmio',
  depth: 1,
  think: 0,
  rate: 0,
  burst: 1,
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
