/** What a driver's `timeout` is, in nanoseconds, unless it says otherwise. */
export const TIMEOUT = 30_000_000_000n;

export const TIMEOUT_TEXT =
  'How long the device may end no request until the driver resets it; 30s unless it says otherwise';
