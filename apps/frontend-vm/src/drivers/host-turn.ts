/** Lets the host serve others before the next turn. */
export const hostTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
