import { assert } from '@remio/base';
import { afterHostTurn, whenDrained } from '@remio/vm-runtime';
import { EventQueue } from './event-queue.js';
import type { Side, Task, WorldCpu } from './world-cpu.js';

/** Why a world ended. `idle`: nothing can happen any more, for everybody waits. */
export type Ending = 'stopped' | 'idle' | 'time-limit' | 'event-limit';

export interface ScheduleLimits {
  /** Nanoseconds of virtual time after which nothing happens any more. */
  readonly until: number;
  /** Events after which nothing happens any more: time may stand still. */
  readonly eventsMax: number;
}

/** Events after which the host's event loop gets its turn. */
const HOST_TURN = 1 << 16;

/**
 * Virtual time, and the CPUs in it: tasks come to a CPU, which does one at a time; each takes as long as was paid for while
 * it ran. A program that goes on because of a task does so as part of it.
 */
export class CpuSchedule {
  readonly #events = new EventQueue();
  readonly #limits: ScheduleLimits;
  readonly #wake: (cpu: WorldCpu) => number;
  #time = 0;
  /** The CPU whose task runs, and what it has cost so far. */
  #current: WorldCpu | undefined;
  #spent = 0;
  #happened = 0;
  #stopped = false;
  #ended: (ending: Ending) => void = () => {};

  /** @param wake nanoseconds that an idle CPU takes to wake for a task */
  constructor(limits: ScheduleLimits, wake: (cpu: WorldCpu) => number) {
    this.#limits = limits;
    this.#wake = wake;
  }

  /** When the event that happens now began, in nanoseconds. */
  get time(): number {
    return this.#time;
  }

  /** Nanoseconds of virtual time, on the clock of the CPU that runs. */
  get now(): number {
    return this.#time + this.#spent;
  }

  /** The CPU that runs now; undefined between tasks. */
  get current(): WorldCpu | undefined {
    return this.#current;
  }

  /** Events that happened. */
  get happened(): number {
    return this.#happened;
  }

  /** Lets happen what happens, from `begin` on, until {@link stop}, a limit, or the end of all events. */
  run(begin: () => void): Promise<Ending> {
    return new Promise((resolve) => {
      this.#ended = resolve;
      begin();
      whenDrained(this.#go);
    });
  }

  /** Ends the run after what happens now. */
  stop(): void {
    this.#stopped = true;
  }

  /** Something happens at a time, on no CPU. */
  at(time: number, happen: () => void): void {
    this.#events.add(Math.max(time, this.now), happen);
  }

  /** A task comes to a CPU at a time. */
  arrive(cpu: WorldCpu, time: number, task: Task): void {
    this.#events.add(time, () => {
      cpu.inbox.push(task);
      if (cpu.due) return;
      if (cpu.freeAt <= this.#time) this.#begin(cpu);
      else this.#wait(cpu);
    });
  }

  /** A task of a CPU's own, for when it has done what came before. */
  queue(cpu: WorldCpu, task: Task): void {
    cpu.inbox.push(task);
    if (cpu !== this.#current && !cpu.due) this.#wait(cpu);
  }

  /** The CPU that runs now has worked for so many nanoseconds. */
  pay(nanoseconds: number, side: Side): void {
    const cpu = this.#current;
    if (cpu === undefined) return;
    this.#spent += nanoseconds;
    cpu.busy[side] += nanoseconds;
  }

  readonly #go = (): void => {
    if (this.#current !== undefined) this.#finish(this.#current);
    for (;;) {
      if (this.#stopped) return this.#ended('stopped');
      const event = this.#events.take();
      if (event === undefined) return this.#ended('idle');
      if (event.time > this.#limits.until) return this.#ended('time-limit');
      this.#time = event.time;
      this.#happened += 1;
      if (this.#happened > this.#limits.eventsMax) return this.#ended('event-limit');
      event.happen();
      // A program may go on: its continuation is part of the task.
      if (this.#current === undefined) continue;
      if (this.#happened % HOST_TURN === 0) afterHostTurn(this.#go);
      else whenDrained(this.#go);
      return;
    }
  };

  /** The CPU takes its next task when it is free. */
  #wait(cpu: WorldCpu): void {
    cpu.due = true;
    this.#events.add(Math.max(this.#time, cpu.freeAt), () => {
      cpu.due = false;
      this.#begin(cpu);
    });
  }

  #begin(cpu: WorldCpu): void {
    assert(this.#current === undefined, 'one task runs at a time');
    const idle = cpu.freeAt < this.#time;
    const task = cpu.take();
    if (task === undefined) return;
    this.#current = cpu;
    this.#spent = 0;
    if (task.wakes && idle) this.pay(this.#wake(cpu), 'hypervisor');
    task.run();
    if (!task.guest) this.#finish(cpu);
  }

  #finish(cpu: WorldCpu): void {
    cpu.freeAt = this.#time + this.#spent;
    this.#spent = 0;
    this.#current = undefined;
    if (cpu.hasWork && !cpu.due) this.#wait(cpu);
  }
}
