/** Runs work in turns: at once, but never so long that the host's own events starve. */
export interface TurnScheduler {
  /** Asks for a turn; asked during one, another follows it. */
  schedule(): void;
}

// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { nextTick } = process;

/** Turns in a row before the host's event loop gets its own. */
const ROW_MAX = 512;

/**
 * A scheduler on the host's event loop. A turn runs where it is asked for: a program asks from its own continuation, and
 * is there again before anything else could happen. After many turns in a row comes a macrotask, so that sockets, files
 * and timers are served while vCPUs are busy. It parts what would have travelled in one frame, so only a row counts.
 */
export const hostScheduler = (turn: () => void): TurnScheduler => {
  let running = false;
  let again = false;
  let deferred = false;
  let row = 0;
  const run = (): void => {
    running = true;
    do {
      again = false;
      turn();
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
      // The next tick comes when no microtask is left: then the row is over.
      if (row === 0) nextTick(endRow);
      row += 1;
      if (running) again = true;
      else if (row > ROW_MAX) defer();
      else run();
    },
  };
};
