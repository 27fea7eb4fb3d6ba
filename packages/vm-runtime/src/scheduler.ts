import type { CpuId } from '@remio/base';

/** vCPUs that want to run. */
export interface RunnableVcpus {
  /** Runs every vCPU that was runnable when it was called, once each, in the order in which they became so. */
  turn(): void;
  /** Runs one vCPU, if it is runnable: where each has a clock of its own. Whoever calls this never calls {@link turn}. */
  run(cpu: CpuId): void;
}

/** Runs vCPUs. */
export interface TurnScheduler {
  /** A vCPU became runnable. */
  schedule(cpu: CpuId): void;
}

// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { nextTick } = process;

/** Turns in a row before the host's event loop gets its own. */
const ROW_MAX = 512;
/** Turns after which it is looked whether they are in a row at all: a look costs more than a turn. */
const ROW_LOOK = 64;

/**
 * A scheduler on the host's event loop: runs vCPUs at once, but never so long that the host's own events starve. A turn
 * runs where it is asked for: a program asks from its own continuation, and is there again before anything else could
 * happen. After many turns in a row comes a macrotask, so that sockets, files and timers are served while vCPUs are busy.
 * It parts what would have travelled in one frame, so only a row counts.
 */
export const hostScheduler = (vcpus: RunnableVcpus): TurnScheduler => {
  let running = false;
  let again = false;
  let deferred = false;
  let row = 0;
  const run = (): void => {
    running = true;
    do {
      again = false;
      vcpus.turn();
    } while (again && row < ROW_MAX);
    running = false;
    if (again) defer();
  };
  const defer = (): void => {
    if (deferred) return;
    deferred = true;
    setImmediate(() => {
      deferred = false;
      row = 0;
      run();
    });
  };
  const endRow = (): void => {
    row = 0;
  };
  return {
    schedule() {
      row += 1;
      // The next tick comes when no microtask is left: then the row is over.
      if (row === ROW_LOOK) nextTick(endRow);
      if (running) again = true;
      else if (row > ROW_MAX) defer();
      else run();
    },
  };
};
