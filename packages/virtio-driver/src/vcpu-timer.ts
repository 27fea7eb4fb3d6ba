import type { GuestCpu } from '@remio/guest';

/** Work that is to be done at a time. */
interface Call {
  readonly at: bigint;
  run?(): void | Promise<void>;
}

/** Shares the one-shot timer of a vCPU among its tasks and drivers. */
export class VcpuTimer {
  readonly #cpu: GuestCpu;
  readonly #calls = new Set<Call>();
  /** What the timer is armed for. */
  #armed: bigint | undefined;

  private constructor(cpu: GuestCpu) {
    this.#cpu = cpu;
    cpu.onInterrupt(cpu.timerIrq, () => this.#fire());
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

  /**
   * Waits for an interrupt, or until the vCPU's counter has reached a value, whichever comes first.
   * @param unless what was waited for has happened while the timer was being armed
   */
  async waitForInterrupt(until: bigint, unless: () => boolean = () => false): Promise<void> {
    const mine = { at: until };
    this.#calls.add(mine);
    await this.#arm();
    if (this.#cpu.counter() < until && !unless()) await this.#cpu.waitForInterrupt();
    this.#calls.delete(mine);
  }

  /**
   * Has work done by the timer's interrupt, when the vCPU's counter has reached a value: whatever the vCPU's tasks do
   * meanwhile, they go on after it.
   */
  at(deadline: bigint, run: () => void | Promise<void>): void {
    this.#calls.add({ at: deadline, run });
    void this.#arm();
  }

  /** What is due is done; who only waits is woken by the interrupt, and asks again. */
  #fire(): void | Promise<void> {
    this.#armed = undefined;
    for (const call of this.#calls) if (call.run !== undefined) return this.#run();
  }

  async #run(): Promise<void> {
    const now = this.#cpu.counter();
    for (const call of [...this.#calls]) {
      if (call.run === undefined || call.at > now) continue;
      this.#calls.delete(call);
      await call.run();
    }
    await this.#arm();
  }

  async #arm(): Promise<void> {
    let first: bigint | undefined;
    for (const { at } of this.#calls) if (first === undefined || at < first) first = at;
    if (first === undefined || (this.#armed !== undefined && this.#armed <= first)) return;
    this.#armed = first;
    await this.#cpu.setTimer(first);
  }
}

const timers = new WeakMap<GuestCpu, VcpuTimer>();
