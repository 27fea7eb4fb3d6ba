import type { GuestMemory } from '@remio/guest-memory';
import {
  GPIO_EVENTQ,
  GPIO_IRQ_REQUEST_SIZE,
  GPIO_IRQ_RESPONSE_SIZE,
  VIRTIO_GPIO_IRQ_STATUS_INVALID,
  VIRTIO_GPIO_IRQ_STATUS_VALID,
} from '@remio/virtio-spec';
import type { Chain, DeviceQueue } from '@remio/virtqueue';
import type { DeviceIo } from '../device.js';
import { allLocal, gather, slice } from '../segments.js';
import type { GpioLines } from './lines.js';

/**
 * The event queue of a GPIO device (5.18.7): each chain unmasks the interrupt of one line, and comes back when it is due.
 * Chains wait for events of their own, so the driver is always asked to notify.
 */
export class GpioEventQueue {
  readonly #io: DeviceIo;
  readonly #queue: DeviceQueue;
  readonly #memory: GuestMemory;
  readonly #lines: GpioLines;
  /** Taken, memory not local yet. */
  #staged: Chain | undefined;
  /** Unmasked, waiting for their interrupts. */
  readonly #waiting = new Set<Chain>();
  /** On their way back, with how much was written. */
  readonly #returning: { readonly head: number; readonly written: number }[] = [];
  /** Something that is needed is not local yet. */
  #waits = false;

  private constructor(io: DeviceIo, queue: DeviceQueue, lines: GpioLines) {
    this.#io = io;
    this.#queue = queue;
    this.#memory = io.memory;
    this.#lines = lines;
  }

  /** Undefined if the driver did not make the queue ready. */
  static of(io: DeviceIo, lines: GpioLines): GpioEventQueue | undefined {
    const queue = io.queues[GPIO_EVENTQ];
    return queue === undefined ? undefined : new GpioEventQueue(io, queue, lines);
  }

  /** Takes what the driver unmasks, at most as much as the ring holds, and returns what is due. */
  pass(): void {
    for (let taken = 0; taken < this.#queue.size; taken += 1) {
      const chain = this.#staged ?? this.#take();
      this.#staged = undefined;
      if (chain === undefined) break;
      if (!this.#begin(chain)) {
        this.#staged = chain;
        this.#wait();
        break;
      }
    }
    this.#flush();
  }

  /** The driver resets the queue (2.6.1): every chain goes back, and no interrupt is unmasked any more. */
  giveBack(): void {
    for (const chain of [...this.#waiting]) this.#end(chain, VIRTIO_GPIO_IRQ_STATUS_INVALID);
    this.#flush();
  }

  /** Lets go of everything: the device was reset. */
  drop(): void {
    for (const chain of this.#waiting) this.#release(chain);
    this.#waiting.clear();
  }

  /** Goes on when memory is local. */
  #wait(): void {
    if (this.#waits) return;
    this.#waits = true;
    this.#io.whenLocal(() => {
      this.#waits = false;
      this.pass();
    });
  }

  #take(): Chain | undefined {
    const popped = this.#queue.pop();
    if (popped.kind === 'chain') return popped.chain;
    if (popped.kind === 'rejected') this.#returning.push({ head: popped.head, written: 0 });
    if (popped.kind === 'wait') this.#wait();
    if (popped.kind === 'broken') this.#io.broken(GPIO_EVENTQ, popped.error);
    return undefined;
  }

  /** False: memory is not local yet. */
  #begin(chain: Chain): boolean {
    if (chain.readableLength < GPIO_IRQ_REQUEST_SIZE || chain.writableLength < GPIO_IRQ_RESPONSE_SIZE) {
      this.#returning.push({ head: chain.head, written: 0 });
      return true;
    }
    const request = gather(this.#memory, chain.readable, GPIO_IRQ_REQUEST_SIZE);
    if (request === undefined || !allLocal(this.#memory, statusOf(chain), 'write')) return false;
    for (const { offset, length } of statusOf(chain)) this.#memory.hold(offset, length);
    this.#waiting.add(chain);
    const unmasked = this.#lines.unmask(request.getUint16(0, true), (valid) => {
      if (!this.#waiting.has(chain)) return;
      this.#end(chain, valid ? VIRTIO_GPIO_IRQ_STATUS_VALID : VIRTIO_GPIO_IRQ_STATUS_INVALID);
      this.#flush();
    });
    if (!unmasked) this.#end(chain, VIRTIO_GPIO_IRQ_STATUS_INVALID);
    return true;
  }

  #end(chain: Chain, status: number): void {
    for (const { offset, length } of statusOf(chain)) {
      this.#memory.writeU8(offset, status);
      this.#memory.written(offset, length);
    }
    this.#release(chain);
    this.#waiting.delete(chain);
    this.#returning.push({ head: chain.head, written: GPIO_IRQ_RESPONSE_SIZE });
  }

  #release(chain: Chain): void {
    for (const { offset, length } of statusOf(chain)) this.#memory.release(offset, length);
  }

  #flush(): void {
    let pushed = false;
    for (let next = this.#returning[0]; next !== undefined; next = this.#returning[0]) {
      if (!this.#queue.push(next.head, next.written)) {
        this.#wait();
        break;
      }
      this.#returning.shift();
      pushed = true;
    }
    if (pushed) this.#io.used(GPIO_EVENTQ);
  }
}

/** Where the status byte of a chain belongs. */
const statusOf = (chain: Chain) => slice(chain.writable, 0, GPIO_IRQ_RESPONSE_SIZE);
