import type { GuestCpu } from '@remio/guest';

/** Shares the one-shot timer of a vCPU among its tasks. */
export class VcpuTimer {
  readonly #cpu: GuestCpu;
  readonly #deadlines = new Set<{ readonly at: bigint }>();
  /** What the timer is armed for. */
  #armed: bigint | undefined;

  private constructor(cpu: GuestCpu) {
    this.#cpu = cpu;
    cpu.onInterrupt(cpu.timerIrq, () => {
      this.#armed = undefined;
    });
  }

  /** The timer of a vCPU. */
  static of(cpu: GuestCpu): VcpuTimer {
    let timer = timers.get(cpu);
    if (timer === undefined) {
      timer = new VcpuTimer(cpu);
      timers.set(cpu, timer);
    }
    return timer;
  }

  /** Waits for an interrupt, or until the vCPU's counter has reached a value, whichever comes first. */
  async waitForInterrupt(until: bigint): Promise<void> {
    const mine = { at: until };
    this.#deadlines.add(mine);
    await this.#arm();
    if (this.#cpu.counter() < until) await this.#cpu.waitForInterrupt();
    this.#deadlines.delete(mine);
  }

  async #arm(): Promise<void> {
    let first: bigint | undefined;
    for (const { at } of this.#deadlines) if (first === undefined || at < first) first = at;
    if (first === undefined || (this.#armed !== undefined && this.#armed <= first)) return;
    this.#armed = first;
    await this.#cpu.setTimer(first);
  }
}

const timers = new WeakMap<GuestCpu, VcpuTimer>();
