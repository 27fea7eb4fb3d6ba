import { type Result, restoring } from '@remio/base';

/** What a service call asks of the platform. */
export type PowerEffect =
  | { readonly kind: 'cpu-on'; readonly vcpu: number; readonly entry: bigint; readonly argument: bigint }
  | { readonly kind: 'cpu-off'; readonly vcpu: number }
  /** SBI set_timer: the vCPU's one-shot timer, in counter ticks. */
  | { readonly kind: 'timer'; readonly vcpu: number; readonly deadline: bigint }
  /** SBI send_ipi: a supervisor software interrupt. */
  | { readonly kind: 'ipi'; readonly vcpu: number };

/** Whether a vCPU is on; `pending`: a sibling has called for it, and its CPU has not taken the call yet. */
export type PowerState = 'off' | 'pending' | 'on';

/** Which vCPUs of a VM are on. The first is started by the hypervisor, the others by calls of their siblings. */
export class VmPower {
  readonly #states: PowerState[];

  constructor(vcpus: number) {
    this.#states = Array.from({ length: vcpus }, () => 'off');
  }

  get vcpus(): number {
    return this.#states.length;
  }

  state(vcpu: number): PowerState {
    return this.#states[vcpu] ?? 'off';
  }

  set(vcpu: number, state: PowerState): void {
    if (vcpu < this.#states.length) this.#states[vcpu] = state;
  }

  reset(): void {
    this.#states.fill('off');
  }

  /** The states by vCPU. */
  save(): readonly PowerState[] {
    return [...this.#states];
  }

  /** Takes over what {@link save} gave; returns what is wrong with it, having changed nothing. */
  restore(state: unknown): Result<void, string> {
    return restoring(state, (saved) => {
      const states = saved.list(this.#states.length).map((entry) => entry.oneOf('off', 'pending', 'on'));
      for (const [vcpu, entry] of states.entries()) this.#states[vcpu] = entry;
    });
  }
}
