import type { CpuId } from '@remio/base';
import type { Work } from '@remio/guest';
import { yieldCpu } from '@remio/shared-memory';
import { hostScheduler, type RunnableVcpus, type TurnScheduler } from './scheduler.js';

/** What time is for the VMs of a host, and when their vCPUs run: the machine's own clock and event loop, or a model's. */
export interface HostLoop {
  /** Nanoseconds on a clock that only goes forward. */
  now(): bigint;
  /**
   * Calls `work` once, on a vCPU's behalf, when the clock may have reached `time`; perhaps earlier, if that is far off.
   * @returns what takes that back
   */
  wakeAt(time: bigint, cpu: CpuId, work: () => void): () => void;
  /** Makes what runs vCPUs when they become runnable. */
  scheduler(vcpus: RunnableVcpus): TurnScheduler;
  /** Runs `work` on a vCPU soon; `idle`: whoever else wants the CPU goes first. */
  defer(cpu: CpuId, work: () => void, idle: boolean): void;
  /** The vCPU that runs now has done such work, `amount` times. */
  spent(work: Work, amount: number): void;
}

/** Milliseconds that a timer of Node can wait. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;

// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { hrtime } = process;

/** The host's own clock and event loop. */
export const hostLoop: HostLoop = {
  now: hrtime.bigint,
  wakeAt(time, _cpu, work) {
    const left = time - hrtime.bigint();
    const wait = left <= 0n ? 0 : Math.min(Number(left / 1_000_000n) + 1, TIMEOUT_MS_MAX);
    const timer = setTimeout(work, wait);
    return () => clearTimeout(timer);
  },
  scheduler: hostScheduler,
  defer(_cpu, work, idle) {
    if (idle) yieldCpu();
    setImmediate(work);
  },
  // Work takes the time that it takes.
  spent() {},
};

/**
 * The host's event loop with a clock that goes faster than the host's: whoever waits for a time-out waits less.
 * @param rate nanoseconds that pass in one of the host's, 1 and up
 */
export function fasterLoop(rate: number): HostLoop {
  const started = hrtime.bigint();
  const now = (): bigint => started + (hrtime.bigint() - started) * BigInt(rate);
  return {
    ...hostLoop,
    now,
    wakeAt: (time, cpu, work) => hostLoop.wakeAt(hrtime.bigint() + (time - now()) / BigInt(rate), cpu, work),
  };
}
