import { assert, err, type Result } from '@remio/base';
import type { DeviceQueue, Popped, QueueError, Recalled, Used } from '@remio/virtqueue';
import type { QueueCounters } from './counters.js';

const LEAVING: QueueError = { code: 'queue-reset', clause: '2.6.1', detail: 'the driver is resetting the queue' };

const EMPTY: Popped = { kind: 'empty' };

/**
 * A queue as its device model has it: one object, whatever queues the driver makes ready behind it after a reset
 * (2.6.1). While it is reset, what the model took earlier comes back and goes nowhere, and nothing new is to be had.
 */
export class RunningQueue implements DeviceQueue {
  readonly counters: QueueCounters;
  #queue: DeviceQueue | undefined;
  #size: number;
  /** While the queue is reset: chains that the model has. */
  readonly #leaving = new Set<number>();

  /** @param queue undefined: the queue was reset, and is not ready again */
  constructor(queue: DeviceQueue | undefined, counters: QueueCounters) {
    this.#queue = queue;
    this.counters = counters;
    this.#size = queue?.size ?? 0;
  }

  /** Whether there is a queue, and no reset of it is under way. */
  get runs(): boolean {
    return this.#queue !== undefined;
  }

  /** Whether the queue is being reset: the model has chains of it. */
  get resetting(): boolean {
    return this.#leaving.size > 0;
  }

  /** Of the queue that runs, or ran last: what bounds the work of one pass. */
  get size(): number {
    return this.#size;
  }

  get inFlight(): number {
    return this.#queue?.inFlight ?? this.#leaving.size;
  }

  get error(): QueueError | undefined {
    return this.#queue?.error;
  }

  /** Takes the queue away from the driver; the reset ends when the model has no chain of it any more. */
  stop(): void {
    const queue = this.#queue;
    assert(queue !== undefined, 'a queue that is reset runs');
    this.#queue = undefined;
    for (const head of queue.heads()) this.#leaving.add(head);
  }

  /** The driver made the queue ready again. */
  start(queue: DeviceQueue): void {
    assert(!this.runs && !this.resetting, 'a queue starts after its reset has ended');
    this.#queue = queue;
    this.#size = queue.size;
  }

  notified(): void {
    this.counters.notifications += 1;
    this.#queue?.notified();
  }

  pop(): Popped {
    const queue = this.#queue;
    if (queue === undefined) return EMPTY;
    const popped = queue.pop();
    if (popped.kind === 'chain') {
      this.counters.requests += 1;
      this.counters.readBytes += popped.chain.readableLength;
    } else if (popped.kind === 'rejected') this.counters.rejected += 1;
    return popped;
  }

  push(head: number, written: number): boolean {
    if (this.#queue === undefined) return this.#leave([{ head, written }]);
    if (!this.#queue.push(head, written)) return false;
    this.counters.writtenBytes += written;
    return true;
  }

  pushAll(used: readonly Used[]): boolean {
    if (this.#queue === undefined) return this.#leave(used);
    if (!this.#queue.pushAll(used)) return false;
    for (const { written } of used) this.counters.writtenBytes += written;
    return true;
  }

  shouldInterrupt(): boolean | 'wait' {
    return this.#queue?.shouldInterrupt() ?? false;
  }

  setNotifications(wanted: boolean): void {
    this.#queue?.setNotifications(wanted);
  }

  heads(): readonly number[] {
    return this.#queue?.heads() ?? [...this.#leaving];
  }

  recall(head: number): Recalled {
    // What has not been begun need not be.
    return this.#queue?.recall(head) ?? { kind: 'rejected', head, error: LEAVING };
  }

  save(): unknown {
    return this.#queue?.save() ?? null;
  }

  restore(state: unknown): Result<void, string> {
    return this.#queue?.restore(state) ?? err('the queue does not run');
  }

  #leave(used: readonly Used[]): boolean {
    for (const { head } of used) assert(this.#leaving.delete(head), 'what is pushed was popped, and not pushed yet');
    return true;
  }
}
