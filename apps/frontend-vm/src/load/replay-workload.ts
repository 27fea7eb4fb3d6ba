import { type GuestCpu, GuestFault } from '@remio/guest';
import type { Workload } from './client.js';
import type { TracedAccess } from './options.js';
import type { Pace } from './pace.js';

/** Makes the register accesses of a trace, one after the other, again and again. */
export function replayWorkload(cpu: GuestCpu, trace: readonly TracedAccess[]): Workload {
  let next = 0;
  return {
    depth: 1,
    async make(came, ended) {
      for (const at of came) {
        const access = trace[next % trace.length];
        next += 1;
        if (access === undefined) continue;
        let good = true;
        try {
          await carryOut(cpu, access);
        } catch (error) {
          if (!(error instanceof GuestFault)) throw error;
          good = false;
        }
        ended(at, access.width, good);
      }
    },
  };
}

async function carryOut(cpu: GuestCpu, { address, width, value }: TracedAccess): Promise<void> {
  const at = BigInt(address);
  const stored = BigInt(value ?? '0x0');
  const load = value === undefined;
  switch (width) {
    case 1:
      await (load ? cpu.load8(at) : cpu.store8(at, Number(stored)));
      return;
    case 2:
      await (load ? cpu.load16(at) : cpu.store16(at, Number(stored)));
      return;
    case 4:
      await (load ? cpu.load32(at) : cpu.store32(at, Number(stored)));
      return;
    case 8:
      await (load ? cpu.load64(at) : cpu.store64(at, stored));
      return;
  }
}

/** The pace of a trace: each access at its time, or as soon as the one before has ended. */
export class TracePace implements Pace {
  readonly #trace: readonly TracedAccess[];
  readonly #recorded: boolean;
  /** Where this round of the trace begins. */
  #start: number;
  #next = 0;
  #inFlight = false;

  /** @param recorded whether accesses come when they came then; time that they wait for others counts */
  constructor(trace: readonly TracedAccess[], recorded: boolean, start: number) {
    this.#trace = trace;
    this.#recorded = recorded;
    this.#start = start;
  }

  get due(): number | undefined {
    const access = this.#trace[this.#next];
    if (this.#inFlight || access === undefined) return undefined;
    return this.#recorded ? this.#start + access.at : this.#start;
  }

  take(now: number): number {
    const at = this.#recorded ? (this.due ?? now) : now;
    this.#inFlight = true;
    this.#next += 1;
    return at;
  }

  ended(now: number): void {
    this.#inFlight = false;
    if (this.#next < this.#trace.length) return;
    // From the beginning, right after the end.
    this.#next = 0;
    this.#start = now - (this.#trace[0]?.at ?? 0);
  }
}
