import type { HypercallFrame } from '@remio/arch';
import { assert, type CpuId, Fifo, type VmId } from '@remio/base';
import type { Completion, Seat } from '@remio/guest';
import type { LeaseTable } from '@remio/hypervisor/lease';
import type { VmRecord } from '@remio/protocol';
import type { RunnableVcpus, TurnScheduler } from './scheduler.js';

/** Instructions (or operations of a TypeScript program) that a vCPU may use before others get their turn. */
const BUDGET = 256;

/** A vCPU in its seat. */
export interface Vcpu {
  readonly vm: VmId;
  readonly cpu: CpuId;
  readonly seat: Seat;
  /** Requests that the hypervisor sent ahead to this VM; shared by its vCPUs. Absent: every call goes to the hypervisor. */
  readonly leases: LeaseTable | undefined;
}

type State = 'idle' | 'queued' | 'waiting';

/** What a vCPU's stop means to the outside. */
export interface RunnerHost {
  send(record: VmRecord): void;
  /** A vCPU went off: its program ended, or failed for `reason`. */
  onOff(vm: VmId, cpu: CpuId, reason: string | undefined): void;
  /** A CPU of the board that is one of these vCPUs: its position in the list. */
  indexOf(cpu: CpuId): number | undefined;
}

/**
 * Runs the vCPUs of a process, in the order in which they became runnable. Traps and hypercalls become records;
 * hypercalls that a lease answers never leave.
 */
export class VcpuRunner implements RunnableVcpus {
  readonly #vcpus: readonly Vcpu[];
  readonly #states: State[];
  readonly #host: RunnerHost;
  readonly #scheduler: TurnScheduler;
  readonly #queue = new Fifo<number>();

  /**
   * @param scheduler makes what calls {@link turn} or {@link run}
   */
  constructor(vcpus: readonly Vcpu[], host: RunnerHost, scheduler: (vcpus: RunnableVcpus) => TurnScheduler) {
    this.#vcpus = vcpus;
    this.#states = vcpus.map(() => 'idle');
    this.#host = host;
    this.#scheduler = scheduler(this);
    vcpus.forEach((vcpu, index) => {
      vcpu.seat.onRunnable = () => this.wake(index);
    });
  }

  /** Makes a vCPU run in the next turn. */
  wake(index: number): void {
    if (this.#states[index] !== 'idle') return;
    this.#states[index] = 'queued';
    this.#queue.push(index);
    this.#scheduler.schedule(this.#vcpu(index).cpu);
  }

  /** Ends a vCPU's open access or hypercall, and lets it run. A vCPU with nothing open was switched off meanwhile. */
  complete(index: number, completion: Completion): void {
    if (this.#states[index] !== 'waiting') return;
    this.#states[index] = 'idle';
    if (this.#vcpu(index).seat.complete(completion)) this.wake(index);
  }

  /** Starts a vCPU that is off. */
  start(index: number, entry: bigint, argument: bigint): void {
    if (this.#states[index] === 'waiting') this.#states[index] = 'idle';
    this.#vcpu(index).seat.start(entry, argument);
    this.wake(index);
  }

  stop(index: number): void {
    this.#vcpu(index).seat.stop();
    if (this.#states[index] === 'waiting') this.#states[index] = 'idle';
  }

  /** Runs every vCPU that was runnable when the turn began, once each. */
  turn(): void {
    for (let left = this.#queue.length; left > 0; left -= 1) {
      const index = this.#queue.shift();
      // An entry is stale when the vCPU was completed or stopped since.
      if (index !== undefined && this.#states[index] === 'queued') this.#run(index);
    }
    // Runnable again within the turn: they stay for the next one.
    const next = this.#queue.oldest;
    if (next !== undefined) this.#scheduler.schedule(this.#vcpu(next).cpu);
  }

  run(cpu: CpuId): void {
    this.#queue.clear();
    const index = this.#host.indexOf(cpu);
    if (index !== undefined && this.#states[index] === 'queued') this.#run(index);
  }

  #vcpu(index: number): Vcpu {
    const vcpu = this.#vcpus[index];
    assert(vcpu !== undefined, 'the vCPU is of this process');
    return vcpu;
  }

  #run(index: number): void {
    const vcpu = this.#vcpu(index);
    this.#states[index] = 'idle';
    for (;;) {
      const exit = vcpu.seat.run(BUDGET);
      switch (exit.kind) {
        case 'mmio':
          this.#states[index] = 'waiting';
          this.#host.send({ kind: 'trap', vm: vcpu.vm, cpu: vcpu.cpu, trap: exit.trap });
          return;
        case 'hypercall':
          // Set before anything is sent: in one process, the answer comes while it is.
          this.#states[index] = 'waiting';
          if (!this.#answered(vcpu, exit.frame)) return;
          this.#states[index] = 'idle';
          continue;
        case 'budget':
          this.wake(index);
          return;
        case 'off':
          this.#host.onOff(vcpu.vm, vcpu.cpu, exit.reason);
          return;
        case 'wfi':
        case 'host':
          return;
      }
    }
  }

  /** Answers a hypercall from the VM's leases, or sends it to the hypervisor. */
  #answered(vcpu: Vcpu, frame: HypercallFrame): boolean {
    const answer = vcpu.leases?.hypercall(vcpu.cpu, frame);
    if (answer === undefined || answer.kind === 'forward') {
      this.#host.send({ kind: 'hypercall', vm: vcpu.vm, cpu: vcpu.cpu, frame });
      return false;
    }
    this.#host.send(answer.posted);
    vcpu.seat.complete({ kind: 'hypercall', registers: answer.registers, pc: answer.pc });
    return true;
  }
}
