import { type CpuId, Fifo } from '@remio/base';
import type { Vm } from '@remio/topology';

/** Whose work a CPU does. */
export type Side = 'guest' | 'hypervisor';

/** Something that a CPU is to do. What it costs is charged while it runs. */
export interface Task {
  readonly run: () => void;
  /** It comes by an interrupt: a CPU that stands by wakes for it. */
  readonly wakes: boolean;
  /** A guest program may go on because of it: its continuation is part of the task. */
  readonly guest: boolean;
}

/** A CPU with a clock of its own: one task at a time, the others wait for it. */
export class WorldCpu {
  readonly id: CpuId;
  readonly vm: Vm;
  /** When what it does now is done. */
  freeAt = 0;
  /** Its vCPU is paused by an access: it stands by in the hypervisor. */
  paused = false;
  /** When the access that is open trapped. */
  trappedAt = 0;
  /** Nanoseconds that it worked. */
  readonly busy: Record<Side, number> = { guest: 0, hypervisor: 0 };
  /** Nanoseconds that its vCPU was paused by accesses. */
  pausedFor = 0;
  pausedSince = 0;
  /** Tasks that go on with what it did last, before anything else. */
  readonly next = new Fifo<Task>();
  readonly inbox = new Fifo<Task>();
  /** An event is due at which it takes its next task. */
  due = false;

  constructor(id: CpuId, vm: Vm) {
    this.id = id;
    this.vm = vm;
  }

  get hasWork(): boolean {
    return this.next.length > 0 || this.inbox.length > 0;
  }

  take(): Task | undefined {
    return this.next.shift() ?? this.inbox.shift();
  }
}
