import { assert } from '@remio/base';
import type { Chain, DeviceQueue, Popped } from '@remio/virtqueue';
import type { DeviceIo } from './device.js';

/**
 * Starts serving a chain.
 * @returns `wait` if memory that it needs is not local yet: nothing was changed, and it is begun again; `taken`
 *   otherwise. What is taken ends with one call of {@link QueueServer.answer} (now) or, after
 *   {@link QueueServer.started}, of {@link QueueServer.finish} (later).
 */
export type BeginChain = (chain: Chain) => 'taken' | 'wait';

/** A chain whose answer is known and not yet in the ring. */
interface Answer {
  readonly head: number;
  readonly written: number;
  /** Writes what comes last, such as a status byte; false if its memory is not local yet. */
  readonly seal: (() => boolean) | undefined;
}

/**
 * Serves one queue of requests, for any device whose driver makes requests and waits for their answers: takes chains,
 * hands them to the device, returns them. Bounded work per pass, whatever the ring says, so that no queue starves others.
 *
 * While requests are in flight the driver is asked not to notify: the ring is looked at whenever one ends. Each
 * notification is a trap of the frontend and two exchanges, so this is where a busy device saves them.
 */
export class QueueServer {
  readonly #io: DeviceIo;
  readonly #index: number;
  readonly #queue: DeviceQueue;
  readonly #begin: BeginChain;
  readonly #patienceMax: number;
  /** Heads in flight in a queue that took over a saved state, to be served anew. */
  readonly #resumed: number[] = [];
  /** Taken from the ring, memory not local yet. */
  readonly #staged: Chain[] = [];
  readonly #answers: Answer[] = [];
  #inFlight = 0;
  /** A pass is scheduled. */
  #deferred = false;
  /** Turns to look at an empty ring for: as many as can pay, if requests came together or looking paid off, else fewer. */
  #patience = 0;
  /** Turns in which the ring has been empty. */
  #waited = 0;
  /** Elements were pushed since the driver was last considered for an interrupt. */
  #dirty = false;
  /** Something that is needed is not local yet. */
  #waits = false;

  private constructor(io: DeviceIo, index: number, queue: DeviceQueue, begin: BeginChain, patienceMax: number) {
    this.#io = io;
    this.#index = index;
    this.#queue = queue;
    this.#begin = begin;
    // A look at far memory costs as much as a notification.
    this.#patienceMax = io.memory.far ? 0 : patienceMax;
  }

  /**
   * A server for a queue of the device; undefined if the driver did not make it ready.
   * @param patienceMax turns of the host in which an empty ring is looked at before the driver is asked for
   *   notifications again, where requests come in rows. A notification costs the frontend a trap and four frames,
   *   hundreds of microseconds; a turn costs two or three.
   */
  static of(io: DeviceIo, index: number, begin: BeginChain, patienceMax = 0): QueueServer | undefined {
    const queue = io.queues[index];
    return queue === undefined ? undefined : new QueueServer(io, index, queue, begin, patienceMax);
  }

  /** Chains handed to the device that it has not finished. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Answers what is finished, then takes what is there, and again when memory that it lacked is local. */
  pass(): void {
    this.#serve();
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#io.used(this.#index);
  }

  /** Memory is not local yet: nothing can go on now. */
  #wait(): 'stop' {
    if (this.#waits) return 'stop';
    this.#waits = true;
    this.#io.whenLocal(() => {
      this.#waits = false;
      this.pass();
    });
    return 'stop';
  }

  /**
   * Serves anew what the queue has in flight, after it took over a saved state. A request of which only the answer was
   * missing is carried out twice: to the driver it was in flight all the time, so any moment is a right one.
   */
  resume(): void {
    this.#resumed.push(...this.#queue.heads());
    this.#defer();
  }

  /** A chain that was begun ends later, by {@link finish}. */
  started(): void {
    this.#inFlight += 1;
  }

  /** A chain that was {@link started} has ended; answers that come together raise one interrupt. */
  finish(head: number, written: number, seal?: () => boolean): void {
    assert(this.#inFlight > 0, 'what is finished was started');
    this.#inFlight -= 1;
    this.answer(head, written, seal);
    this.#defer();
  }

  /**
   * Returns a chain, from within `begin`.
   * @param written bytes written to its writable buffers
   * @param seal writes what comes last, such as a status byte; false if its memory is not local yet
   */
  answer(head: number, written: number, seal?: () => boolean): void {
    this.#answers.push({ head, written, seal });
  }

  #serve(): void {
    const queue = this.#queue;
    if (!this.#flush() || !this.#recall()) return;
    for (;;) {
      const chain = this.#staged[0];
      if (chain === undefined) break;
      if (this.#begin(chain) === 'wait') {
        this.#wait();
        return;
      }
      this.#staged.shift();
    }
    // The look at far memory that costs an exchange is the last one: the driver is asked for notifications in the same.
    const last = this.#io.memory.far && this.#inFlight === 0;
    queue.setNotifications(last);
    for (let taken = 0; ; taken += 1) {
      if (taken >= queue.size) {
        this.#defer();
        return;
      }
      let next = this.#take();
      if (next === 'taken') {
        if (last && taken === 0) queue.setNotifications(false);
        continue;
      }
      if (next === 'stop') break;
      if (taken > 0) this.#found(taken);
      if (this.#inFlight > 0 || (last && taken === 0)) break;
      if (this.#waited < this.#patience) {
        this.#waited += 1;
        this.#defer(true);
        break;
      }
      // Nothing is left to wait for: ask for notifications, then look once more (2.7.10).
      queue.setNotifications(true);
      next = this.#take();
      if (next === 'stop') break;
      if (next === 'empty') {
        // Looking was in vain.
        if (this.#waited > 0) this.#patience >>= 1;
        this.#waited = 0;
        break;
      }
      queue.setNotifications(false);
    }
    // A driver that broke its ring is told so, and nothing else.
    if (queue.error === undefined) this.#flush();
  }

  /** Requests were in the ring: a driver that has several in flight will soon have more. */
  #found(count: number): void {
    if (count > 1 || this.#waited > 0) this.#patience = this.#patienceMax;
    this.#waited = 0;
  }

  /** Takes chains that were in flight out of memory again; false if nothing can go on now. */
  #recall(): boolean {
    for (;;) {
      const head = this.#resumed[0];
      if (head === undefined) return true;
      const recalled = this.#queue.recall(head);
      if (recalled.kind === 'chain' || recalled.kind === 'rejected') this.#resumed.shift();
      if (this.#accept(recalled) === 'stop') return false;
    }
  }

  /** Takes one chain from the ring. `stop`: nothing can go on now. */
  #take(): 'taken' | 'empty' | 'stop' {
    return this.#accept(this.#queue.pop());
  }

  #accept(popped: Popped): 'taken' | 'empty' | 'stop' {
    switch (popped.kind) {
      case 'chain':
        if (this.#begin(popped.chain) === 'taken') return 'taken';
        this.#staged.push(popped.chain);
        return this.#wait();
      case 'rejected':
        this.answer(popped.head, 0);
        return 'taken';
      case 'empty':
        return 'empty';
      case 'wait':
        return this.#wait();
      case 'broken':
        this.#io.broken(this.#index, popped.error);
        return 'stop';
    }
  }

  #defer(idle = false): void {
    if (this.#deferred) return;
    this.#deferred = true;
    const pass = (): void => {
      this.#deferred = false;
      this.pass();
    };
    this.#io.defer(pass, idle, this.#index);
  }

  /** Writes answers to the ring, oldest first; false if memory is not local yet. */
  #flush(): boolean {
    for (;;) {
      const next = this.#answers[0];
      if (next === undefined) return true;
      if (next.seal?.() === false || !this.#queue.push(next.head, next.written)) {
        this.#wait();
        return false;
      }
      this.#answers.shift();
      this.#dirty = true;
    }
  }
}
