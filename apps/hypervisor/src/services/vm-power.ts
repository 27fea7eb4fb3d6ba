/** What a service call asks of the platform. */
export type PowerEffect =
  | { readonly kind: 'cpu-on'; readonly vcpu: number; readonly entry: bigint; readonly argument: bigint }
  | { readonly kind: 'cpu-off'; readonly vcpu: number }
  /** SBI set_timer: the vCPU's one-shot timer, in counter ticks. */
  | { readonly kind: 'timer'; readonly vcpu: number; readonly deadline: bigint }
  /** SBI send_ipi: a supervisor software interrupt. */
  | { readonly kind: 'ipi'; readonly vcpu: number };

/** Which vCPUs of a VM are on. The first is started by the hypervisor, the others by calls of their siblings. */
export class VmPower {
  readonly #on: boolean[];

  constructor(vcpus: number) {
    this.#on = Array.from({ length: vcpus }, () => false);
  }

  get vcpus(): number {
    return this.#on.length;
  }

  isOn(vcpu: number): boolean {
    return this.#on[vcpu] === true;
  }

  set(vcpu: number, on: boolean): void {
    if (vcpu < this.#on.length) this.#on[vcpu] = on;
  }

  reset(): void {
    this.#on.fill(false);
  }
}
