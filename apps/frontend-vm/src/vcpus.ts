import type { GuestCpu } from '@remio/guest';

/** Where tasks find the vCPUs that they are placed on. Host events and inter-processor interrupts wake them there. */
export interface VcpuPool {
  /**
   * A vCPU of the VM, by its index; it runs.
   * @throws Error that says why it cannot be started
   */
  get(index: number): Promise<GuestCpu>;
}

/**
 * The vCPUs of a frontend. Each is started when something is first placed on it, and then takes tasks, as the CPUs of a
 * kernel take threads: what a task awaits of its vCPU is carried out there.
 */
export class Vcpus implements VcpuPool {
  readonly #boot: GuestCpu;
  readonly #started = new Map<number, Promise<GuestCpu>>();

  constructor(boot: GuestCpu) {
    this.#boot = boot;
    prepare(boot);
    this.#started.set(boot.index, Promise.resolve(boot));
  }

  get(index: number): Promise<GuestCpu> {
    const known = this.#started.get(index);
    if (known !== undefined) return known;
    // What runs elsewhere waits for interrupts that the first vCPU may have to take, with no task of its own.
    if (this.#started.size === 1) void this.#boot.idle();
    const started = this.#start(index);
    this.#started.set(index, started);
    return started;
  }

  #start(index: number): Promise<GuestCpu> {
    return new Promise((resolve, reject) => {
      const program = async (cpu: GuestCpu): Promise<void> => {
        prepare(cpu);
        resolve(cpu);
        await cpu.idle();
      };
      this.#boot.startCpu(index, program).then((code) => {
        if (code !== 0n) reject(new Error(`vCPU ${index} cannot be started: ${code}`));
      }, reject);
    });
  }
}

/** What the host or another vCPU has for a task: it wakes the tasks, which look for themselves. */
function prepare(cpu: GuestCpu): void {
  cpu.onInterrupt(cpu.hostIrq, () => {});
  cpu.onInterrupt(cpu.ipiIrq, () => {});
}
