import { readSync, writeSync } from 'node:fs';
import { assert } from '@remio/base';
import { EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, EPOLLONESHOT, failure, linux } from './linux.js';

/** Descriptors that one look may find ready. */
const EVENTS_MAX = 16;
/** `struct epoll_event` is packed on x86-64 only: events u32, data u64. */
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const EVENT_DATA = process.arch === 'x64' ? 4 : 8;
/** epoll_create1's EPOLL_CLOEXEC and eventfd's EFD_CLOEXEC. */
const CLOEXEC = 0o2000000;
const FOR_EVER = -1;

/**
 * Waits for descriptors that Node's own event loop cannot watch (it knows sockets and pipes), such as those of TAP
 * interfaces. All of them together cost one thread of libuv's pool, and that only while somebody waits.
 */
export class Readiness {
  readonly #epoll: number;
  /** Readable as soon as the wait must end: when the process does, which waits for its threads. */
  readonly #wake: number;
  readonly #callbacks = new Map<number, () => void>();
  readonly #armed = new Set<number>();
  readonly #events = new Uint8Array(EVENTS_MAX * EVENT_BYTES);
  #waiting = false;

  constructor() {
    this.#epoll = check(linux().epollCreate(CLOEXEC), 'epoll_create1');
    this.#wake = check(linux().eventfd(0, CLOEXEC), 'eventfd');
    this.#control(EPOLL_CTL_ADD, this.#wake, EPOLLIN);
    process.once('exit', () => this.#interrupt());
  }

  /** Knows a descriptor from now on; `ready` is called once for each {@link arm}. */
  add(fd: number, ready: () => void): void {
    this.#callbacks.set(fd, ready);
    this.#control(EPOLL_CTL_ADD, fd, EPOLLONESHOT);
  }

  /** Asks for a call when the descriptor can be read. */
  arm(fd: number): void {
    assert(this.#callbacks.has(fd), `descriptor ${fd} is known`);
    if (this.#armed.has(fd)) return;
    this.#armed.add(fd);
    // A wait that is under way sees it as well.
    this.#control(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT);
    this.#wait();
  }

  /** Does not call for what was asked any more. */
  disarm(fd: number): void {
    if (!this.#armed.delete(fd)) return;
    this.#control(EPOLL_CTL_MOD, fd, EPOLLONESHOT);
    if (this.#armed.size === 0) this.#interrupt();
  }

  /** Forgets a descriptor, which is about to be closed. */
  remove(fd: number): void {
    this.disarm(fd);
    this.#callbacks.delete(fd);
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  #wait(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    linux().epollWait.async(this.#epoll, this.#events, EVENTS_MAX, FOR_EVER, (_error, count) => {
      this.#waiting = false;
      this.#dispatch(count);
      if (this.#armed.size > 0) this.#wait();
    });
  }

  #dispatch(count: number): void {
    const view = new DataView(this.#events.buffer);
    for (let n = 0; n < count; n += 1) {
      const fd = view.getInt32(n * EVENT_BYTES + EVENT_DATA, true);
      if (fd === this.#wake) readSync(this.#wake, new Uint8Array(COUNT.length));
      else if (this.#armed.delete(fd)) this.#callbacks.get(fd)?.();
    }
  }

  /** Ends a wait that is under way. */
  #interrupt(): void {
    if (this.#waiting) writeSync(this.#wake, COUNT);
  }

  #control(operation: number, fd: number, events: number): void {
    const event = new Uint8Array(EVENT_BYTES);
    const view = new DataView(event.buffer);
    view.setUint32(0, events, true);
    view.setInt32(EVENT_DATA, fd, true);
    check(linux().epollControl(this.#epoll, operation, fd, event), 'epoll_ctl');
  }
}

/** What an eventfd is written: a count of 64 bits. */
const COUNT = new Uint8Array(new BigUint64Array([1n]).buffer);

const check = (result: number, call: string): number => {
  // Asked for only then: looking an error's name up is dear.
  if (result < 0) assert(false, `${call} fails with ${failure()} on descriptors that are ours`);
  return result;
};

let shared: Readiness | undefined;

/** The process's one, made on first use. */
export const readiness = (): Readiness => {
  shared ??= new Readiness();
  return shared;
};
