import { Prng } from '@remio/base';
import type { GuestCpu, GuestVm } from '@remio/guest';
import { Histogram } from '@remio/telemetry/histogram';
import { VcpuTimer } from '@remio/virtio-driver';
import type { LoadOptions } from './options.js';
import { ClosedPace, OpenPace, type Pace } from './pace.js';
import { TracePace } from './replay-workload.js';

/** What a client did in the time that counts. */
export interface LoadFigures {
  /** Those that succeeded; latencies are theirs. */
  operations: number;
  bytes: number;
  errors: number;
  readonly latency: Histogram;
}

export const noFigures = (): LoadFigures => ({ operations: 0, bytes: 0, errors: 0, latency: Histogram.create() });

/** Makes operations. */
export interface Workload {
  /** Operations that can be in flight. */
  readonly depth: number;
  /**
   * Makes operations, together as far as it can. Each `came` is when one came; it goes back through `ended`.
   * May return before they have ended.
   */
  make(came: readonly number[], ended: (came: number, bytes: number, good: boolean) => void): Promise<void>;
  /**
   * Ends what has come back, and asks to be interrupted for what comes next; absent: interrupts do all of it.
   * @returns true if something came meanwhile: look again before waiting
   */
  look?(): Promise<boolean>;
}

/** One vCPU's operations from a time on, at a pace. */
export class LoadClient {
  readonly #cpu: GuestCpu;
  readonly #vm: GuestVm;
  readonly #options: LoadOptions;
  readonly #workload: Workload;
  readonly #figures: LoadFigures;
  #inFlight = 0;
  /** Operations ended since it was last looked. */
  #moved = false;

  constructor(cpu: GuestCpu, vm: GuestVm, options: LoadOptions, workload: Workload, figures: LoadFigures) {
    this.#cpu = cpu;
    this.#vm = vm;
    this.#options = options;
    this.#workload = workload;
    this.#figures = figures;
  }

  /** Works from `start` on; settles when what was begun within the time has ended. */
  async run(start: number): Promise<void> {
    const { warmUp, duration } = this.#options;
    const cpu = this.#cpu;
    const timer = VcpuTimer.of(cpu);
    cpu.onInterrupt(cpu.ipiIrq, () => {});
    const from = start + warmUp;
    const to = from + duration;
    const pace = this.#pace(start);
    const ended = (came: number, bytes: number, good: boolean): void => {
      const now = this.#now();
      this.#inFlight -= 1;
      this.#moved = true;
      pace.ended(now);
      if (now < from || now >= to) return;
      if (!good) {
        this.#figures.errors += 1;
        return;
      }
      this.#figures.operations += 1;
      this.#figures.bytes += bytes;
      this.#figures.latency.record(now - came);
    };
    for (;;) {
      const came: number[] = [];
      const now = this.#now();
      for (let { due } = pace; due !== undefined && due <= now && now < to; { due } = pace) came.push(pace.take(now));
      this.#moved = false;
      if (came.length > 0) {
        this.#inFlight += came.length;
        this.#vm.spent('driver-request', came.length);
        await this.#workload.make(came, ended);
      } else if ((now >= to || pace.due === undefined) && this.#inFlight === 0) return;
      // Not awaited where there is none: the tasks of a vCPU would take other turns.
      const more = this.#workload.look !== undefined && (await this.#workload.look());
      if (this.#moved || more) continue;
      const { due } = pace;
      // What is in flight ends by an interrupt; what is due, by the clock.
      if (due === undefined || (this.#now() >= to && this.#inFlight > 0)) await cpu.waitForInterrupt();
      else await timer.waitForInterrupt(BigInt(Math.min(due, to)), () => this.#moved);
    }
  }

  #pace(start: number): Pace {
    const { type, seed, depth, think, rate, burst, trace, pace } = this.#options;
    if (type === 'replay') return new TracePace(trace?.[this.#cpu.index] ?? [], pace !== 'asap', start);
    const random = new Prng(seed);
    const most = Math.min(depth, this.#workload.depth);
    return rate > 0 ? new OpenPace(random, { rate, burst }, most, start) : new ClosedPace(random, most, think, start);
  }

  #now(): number {
    return Number(this.#cpu.counter());
  }
}
