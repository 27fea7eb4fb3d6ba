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

/** A vCPU, and whether it is to run (`queued`) or waits for the end of what it asked for. */
interface Slot extends Vcpu {
  state: 'idle' | 'queued' | 'waiting';
  /** It runs, or its program goes on in microtasks: it may ask for something any moment. */
  going: boolean;
}

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
  readonly #slots: readonly Slot[];
  readonly #host: RunnerHost;
  readonly #scheduler: TurnScheduler;
  readonly #queue = new Fifo<Slot>();
  /** vCPUs that are {@link Slot.going}. */
  #going = 0;

  /**
   * @param scheduler makes what calls {@link turn} or {@link run}
   */
  constructor(vcpus: readonly Vcpu[], host: RunnerHost, scheduler: (vcpus: RunnableVcpus) => TurnScheduler) {
    this.#slots = vcpus.map(({ vm, cpu, seat, leases }) => ({ vm, cpu, seat, leases, state: 'idle', going: false }));
    this.#host = host;
    this.#scheduler = scheduler(this);
    for (const slot of this.#slots) {
      slot.seat.onRunnable = () => this.#wake(slot);
      slot.seat.onHypercall = (frame) => this.#hypercall(slot, frame);
    }
  }

  /**
   * Whether vCPUs may ask for something before anything else happens on the host: otherwise all of them wait for the
   * hypervisor or for an interrupt. A program that waits for the host itself, such as for a file, counts as well.
   */
  get going(): boolean {
    return this.#going > 0;
  }

  /** Ends a vCPU's open access or hypercall, and lets it run. A vCPU with nothing open was switched off meanwhile. */
  complete(index: number, completion: Completion): void {
    const slot = this.#slot(index);
    if (slot.state !== 'waiting') return;
    slot.state = 'idle';
    this.#goes(slot, true);
    if (slot.seat.complete(completion)) this.#wake(slot);
  }

  /** Starts a vCPU that is off. */
  start(index: number, entry: bigint, argument: bigint): void {
    const slot = this.#slot(index);
    if (slot.state === 'waiting') slot.state = 'idle';
    slot.seat.start(entry, argument);
    this.#wake(slot);
  }

  stop(index: number): void {
    const slot = this.#slot(index);
    slot.seat.stop();
    if (slot.state === 'waiting') slot.state = 'idle';
    if (slot.state === 'idle') this.#goes(slot, false);
  }

  /** Runs every vCPU that was runnable when the turn began, once each. */
  turn(): void {
    for (let left = this.#queue.length; left > 0; left -= 1) {
      const slot = this.#queue.shift();
      // An entry is stale when the vCPU was completed or stopped since.
      if (slot?.state === 'queued') this.#run(slot);
    }
    // Runnable again within the turn: they stay for the next one.
    const next = this.#queue.oldest;
    if (next !== undefined) this.#scheduler.schedule(next.cpu);
  }

  run(cpu: CpuId): void {
    this.#queue.clear();
    const slot = this.#slots[this.#host.indexOf(cpu) ?? -1];
    if (slot?.state === 'queued') this.#run(slot);
  }

  /** Makes a vCPU run in the next turn. */
  #wake(slot: Slot): void {
    if (slot.state !== 'idle') return;
    slot.state = 'queued';
    this.#goes(slot, true);
    this.#queue.push(slot);
    this.#scheduler.schedule(slot.cpu);
  }

  #goes(slot: Slot, going: boolean): void {
    if (slot.going === going) return;
    slot.going = going;
    this.#going += going ? 1 : -1;
  }

  #slot(index: number): Slot {
    const slot = this.#slots[index];
    assert(slot !== undefined, 'the vCPU is of this process');
    return slot;
  }

  #run(slot: Slot): void {
    const { vm, cpu, seat } = slot;
    slot.state = 'idle';
    for (;;) {
      const exit = seat.run(BUDGET);
      switch (exit.kind) {
        case 'mmio':
          slot.state = 'waiting';
          this.#goes(slot, false);
          this.#host.send({ kind: 'trap', vm, cpu, trap: exit.trap });
          return;
        case 'hypercall':
          if (!this.#hypercall(slot, exit.frame)) return;
          continue;
        case 'budget':
          this.#wake(slot);
          return;
        case 'off':
          this.#goes(slot, false);
          this.#host.onOff(vm, cpu, exit.reason);
          return;
        case 'wfi':
          this.#goes(slot, false);
          return;
        case 'host':
          return;
      }
    }
  }

  /** Answers a hypercall from the VM's leases; or sends it to the hypervisor, and gives false. */
  #hypercall(slot: Slot, frame: HypercallFrame): boolean {
    const { vm, cpu, leases } = slot;
    const answer = leases?.hypercall(cpu, frame);
    if (answer === undefined || answer.kind === 'forward') {
      // Set before anything is sent: in one process, the answer comes while it is.
      slot.state = 'waiting';
      this.#goes(slot, false);
      this.#host.send({ kind: 'hypercall', vm, cpu, frame });
      return false;
    }
    this.#host.send(answer.posted);
    slot.seat.complete({ kind: 'hypercall', registers: answer.registers, pc: answer.pc });
    return true;
  }
}
