import { libc } from './libc.js';

/**
 * Lets whoever waits for this CPU of the host have it first: for a loop that looks whether something happened, which is
 * worth nothing while it keeps those off that could make it happen.
 */
export function yieldCpu(): void {
  if (process.platform === 'linux') libc().sched_yield();
}
