import { type IrqId, irqId } from '@remio/base';
import type { Delivery } from '../irqc/index.js';
import type { RuleId } from '../remio/index.js';
import type { Cpu, Machine } from './machine.js';

/** What interrupts need of the platform. */
export interface InterruptsHost {
  /** An interrupt reaches a vCPU. */
  raise(cpu: Cpu, irq: IrqId): void;
  /** An interrupt controller did otherwise than the reference would. */
  rule(rule: RuleId, cpu: Cpu): void;
}

/** Interrupts of the platform on their way through the VMs' interrupt controllers to the vCPUs. */
export class Interrupts {
  readonly #cpus: readonly (Cpu | undefined)[];
  readonly #host: InterruptsHost;
  /** The CPU on which the hypervisor injects now. */
  #receiver: Cpu | undefined;
  readonly #onRule = (rule: RuleId): void => {
    if (this.#receiver !== undefined) this.#host.rule(rule, this.#receiver);
  };

  /** @param cpus by CPU of the board; undefined: no VM has it */
  constructor(cpus: readonly (Cpu | undefined)[], host: InterruptsHost) {
    this.#cpus = cpus;
    this.#host = host;
  }

  /** Makes an interrupt pending in the VM of a CPU, on that CPU. */
  inject(cpu: Cpu, irq: number): void {
    this.#receiver = cpu;
    this.hand(cpu.machine, cpu.machine.irqc.inject(irq, cpu.vcpu, this.#onRule));
  }

  /** What an interrupt controller delivers reaches its vCPUs. */
  hand(machine: Machine, deliveries: readonly Delivery[]): void {
    for (const { vcpu, irq } of deliveries) {
      const cpu = this.#cpus[machine.cpus[vcpu] ?? -1];
      if (cpu === undefined) continue;
      machine.stats.interrupts += 1;
      cpu.stats.interrupts += 1;
      this.#host.raise(cpu, irqId(irq));
    }
  }
}
