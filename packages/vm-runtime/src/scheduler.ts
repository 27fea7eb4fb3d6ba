/** Runs work in turns: as soon as possible, but never so long that the host's own events starve. */
export interface TurnScheduler {
  /** Asks for a turn; several asks before it are one. */
  schedule(): void;
}

/** Turns that follow each other as microtasks before the host's event loop gets its own. */
const MICROTASK_TURNS_MAX = 64;

/**
 * A scheduler on the host's event loop: microtasks for promptness, and after a number of them in a row one
 * macrotask, so that sockets, files and timers are served while vCPUs are busy.
 */
export const hostScheduler = (turn: () => void): TurnScheduler => {
  let scheduled = false;
  let row = 0;
  const run = (): void => {
    scheduled = false;
    turn();
  };
  const afterMacrotask = (): void => {
    row = 0;
    run();
  };
  return {
    schedule() {
      if (scheduled) return;
      scheduled = true;
      row += 1;
      if (row > MICROTASK_TURNS_MAX) setImmediate(afterMacrotask);
      else queueMicrotask(run);
    },
  };
};
