import type { GuestMemory } from '@remio/guest-memory';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { allLocal, slice } from '../segments.js';

/**
 * A queue of bytes that the driver sends. Chains stay where they are until whoever takes the bytes has taken all of them,
 * so that a slow reader outside slows the driver down, and nothing is kept here but positions.
 */
export class TransmitQueue {
  readonly #memory: GuestMemory;
  readonly #chains: Chain[] = [];
  /** Bytes of the oldest chain that were taken. */
  #taken = 0;
  #server: QueueServer | undefined;

  private constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /**
   * The queue's bytes; undefined if the driver did not make the queue ready.
   * @param arrived called when there are more bytes
   */
  static of(io: DeviceIo, index: number, arrived: () => void): TransmitQueue | undefined {
    const queue = new TransmitQueue(io.memory);
    queue.#server = QueueServer.of(io, index, (chain) => queue.#begin(chain, arrived));
    return queue.#server === undefined ? undefined : queue;
  }

  /** Whether every byte was taken. */
  get empty(): boolean {
    return this.#chains.length === 0;
  }

  pass(): void {
    this.#server?.pass();
  }

  resume(): void {
    this.#server?.resume();
  }

  /**
   * Gives bytes to a sink, in order, until it takes no more.
   * @param sink takes as many of the bytes as it can
   */
  drain(sink: (bytes: Uint8Array) => number): void {
    for (;;) {
      const [chain] = this.#chains;
      if (chain === undefined) return;
      for (const { offset, length } of slice(chain.readable, this.#taken, chain.readableLength)) {
        const count = sink(this.#memory.bytes(offset, length));
        this.#taken += count;
        if (count < length) return;
      }
      this.#chains.shift();
      this.#taken = 0;
      this.#release(chain);
      this.#server?.finish(chain.head, 0);
    }
  }

  /** Gives every chain back, whatever was not taken: the driver resets the queue (2.6.1). */
  giveBack(): void {
    this.#taken = 0;
    for (const chain of this.#chains.splice(0)) {
      this.#release(chain);
      this.#server?.finish(chain.head, 0);
    }
    this.pass();
  }

  /** Lets go of everything: the device was reset. */
  drop(): void {
    for (const chain of this.#chains.splice(0)) this.#release(chain);
    this.#server = undefined;
  }

  #begin(chain: Chain, arrived: () => void): 'taken' | 'wait' {
    const server = this.#server;
    if (server === undefined) return 'wait';
    // 5.3.6.1: no device-writable buffers. What cannot be sent comes back.
    if (chain.writable.length > 0 || chain.readableLength === 0) {
      server.answer(chain.head, 0);
      return 'taken';
    }
    if (!allLocal(this.#memory, chain.readable, 'read')) return 'wait';
    for (const { offset, length } of chain.readable) this.#memory.hold(offset, length);
    this.#chains.push(chain);
    server.started();
    arrived();
    return 'taken';
  }

  #release(chain: Chain): void {
    for (const { offset, length } of chain.readable) this.#memory.release(offset, length);
  }
}
