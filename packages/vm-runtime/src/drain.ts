// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { nextTick } = process;

/**
 * Calls `next` when no microtask is left: every program that could go on has gone on, as far as it can without something
 * from outside. Nothing of the host's event loop comes in between.
 */
export const whenDrained = (next: () => void): void => queueMicrotask(() => nextTick(next));

/** Calls `next` after the host's event loop had its turn: signals and messages of other processes get through. */
export const afterHostTurn = (next: () => void): void => void setImmediate(next);
