import { HC_REMIO, REMIO_HYP_ASK, REMIO_HYP_NOTIFY } from '@remio/arch';
import type { CpuId, VmId } from '@remio/base';
import type { CoreEffect, CoreInput } from '@remio/hypervisor/core';

/** Parts of the way of one access, in order. */
export const HOPS = ['trap', 'interrupt', 'queue', 'service', 'return'] as const;
export type Hop = (typeof HOPS)[number];

/** What each hop is, for people. */
export const HOP_TEXT: Readonly<Record<Hop, string>> = {
  trap: 'trap and decode, in the frontend’s CPU',
  interrupt: 'message, interrupt and ASK, if the backend’s CPU were free',
  queue: 'waiting for the backend’s CPU',
  service: 'the device model answers',
  return: 'message, wake-up and return to the frontend',
};

/** An access on its way. */
interface Journey {
  readonly cpu: CpuId;
  /** What the way to a free backend CPU takes, up to the end of its ASK. */
  readonly interrupt: number;
  readonly trappedAt: number;
  readonly pendingAt: number;
  takenAt: number;
  completedAt: number;
}

/** Sums of what accesses spent on each hop. Nanoseconds. */
export class HopSums {
  count = 0;
  readonly total: Record<Hop, number> = { trap: 0, interrupt: 0, queue: 0, service: 0, return: 0 };
  /** By request id. */
  readonly #byId = new Map<bigint, Journey>();
  /** By frontend CPU. */
  readonly #byCpu = new Map<number, Journey>();
  readonly #interrupt: (backend: VmId, dm: number) => number;

  /** @param interrupt nanoseconds that the way to a free CPU of a backend takes, up to the end of its ASK */
  constructor(interrupt: (backend: VmId, dm: number) => number) {
    this.#interrupt = interrupt;
  }

  /** Sees a step of the core, at a time. @param trappedAt when the CPU's open access trapped */
  step(input: CoreInput, effects: readonly CoreEffect[], now: number, trappedAt: (cpu: CpuId) => number): void {
    if (input.kind === 'mmio') {
      for (const effect of effects) {
        if (effect.kind !== 'pending') continue;
        const journey: Journey = {
          cpu: input.cpu,
          interrupt: this.#interrupt(effect.backend, effect.dm),
          trappedAt: trappedAt(input.cpu),
          pendingAt: now,
          takenAt: 0,
          completedAt: 0,
        };
        this.#byId.set(effect.id, journey);
        this.#byCpu.set(input.cpu, journey);
      }
      return;
    }
    if (input.kind !== 'hypercall' || input.call.nr !== HC_REMIO || input.call.op === REMIO_HYP_NOTIFY) return;
    const result = effects.find((effect) => effect.kind === 'return');
    if (result?.kind !== 'return' || result.ret !== 0n) return;
    if (input.call.op === REMIO_HYP_ASK) {
      const journey = this.#byId.get(result.out?.[4] ?? -1n);
      if (journey !== undefined) journey.takenAt = now;
      return;
    }
    const journey = this.#byId.get(input.call.id);
    if (journey !== undefined) journey.completedAt = now;
    this.#byId.delete(input.call.id);
  }

  /** The vCPU of a frontend's CPU goes on. */
  resumed(cpu: CpuId, now: number): void {
    const journey = this.#byCpu.get(cpu);
    if (journey === undefined) return;
    this.#byCpu.delete(cpu);
    if (journey.completedAt === 0) return;
    const wait = journey.takenAt - journey.pendingAt;
    const interrupt = Math.min(wait, journey.interrupt);
    this.count += 1;
    this.total.trap += journey.pendingAt - journey.trappedAt;
    this.total.interrupt += interrupt;
    this.total.queue += wait - interrupt;
    this.total.service += journey.completedAt - journey.takenAt;
    this.total.return += now - journey.completedAt;
  }
}
