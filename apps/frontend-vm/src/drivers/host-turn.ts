/**
 * Turns without a frame until a vCPU waits for an interrupt: until then its driver looks at the rings itself. An interrupt
 * costs two trapped register accesses, and a notification the other way one.
 */
export const IDLE_TURNS = 48;

/** Lets the host serve others before the next turn. */
export const hostTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
