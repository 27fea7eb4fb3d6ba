import type { GuestMemory } from '@remio/guest-memory';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo } from './device.js';
import { QueueServer } from './queue-server.js';
import { allLocal } from './segments.js';

/**
 * A queue in which the driver keeps room for what the device will have to say: receive queues, control and event queues.
 * Chains wait here until they are filled, oldest first. As long as there are any, the driver is not asked to notify.
 */
export class RoomQueue {
  readonly #memory: GuestMemory;
  readonly #chains: Chain[] = [];
  #server: QueueServer | undefined;

  private constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /**
   * The queue's room; undefined if the driver did not make the queue ready.
   * @param least bytes that a chain must have room for; smaller ones come back empty
   * @param arrived called when there is more room
   */
  static of(io: DeviceIo, index: number, least: number, arrived: () => void): RoomQueue | undefined {
    const queue = new RoomQueue(io.memory);
    queue.#server = QueueServer.of(io, index, (chain) => queue.#begin(chain, least, arrived));
    return queue.#server === undefined ? undefined : queue;
  }

  /** Bytes that the oldest chain has room for; 0 if there is none. */
  get room(): number {
    return this.#chains[0]?.writableLength ?? 0;
  }

  pass(): void {
    this.#server?.pass();
  }

  resume(): void {
    this.#server?.resume();
  }

  /**
   * Fills the oldest chain from a source, if there is one and the source gives anything.
   * @param source fills as much of each buffer as it can; one that is not filled is the last
   * @returns bytes that were filled
   */
  fill(source: (buffer: Uint8Array) => number): number {
    const [chain] = this.#chains;
    if (chain === undefined) return 0;
    let filled = 0;
    for (const { offset, length } of chain.writable) {
      const count = source(this.#memory.bytes(offset, length));
      this.#memory.written(offset, count);
      filled += count;
      if (count < length) break;
    }
    if (filled === 0) return 0;
    this.#chains.shift();
    this.#release(chain);
    this.#server?.finish(chain.head, filled);
    return filled;
  }

  /** Sends one message, cut to the room of the oldest chain; false if there is no chain. */
  send(message: Uint8Array): boolean {
    let at = 0;
    return (
      this.fill((buffer) => {
        const part = message.subarray(at, at + buffer.length);
        buffer.set(part);
        at += part.length;
        return part.length;
      }) > 0
    );
  }

  /** Gives every chain back empty: the driver resets the queue (2.6.1). */
  giveBack(): void {
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

  #begin(chain: Chain, least: number, arrived: () => void): 'taken' | 'wait' {
    const server = this.#server;
    if (server === undefined) return 'wait';
    if (chain.readable.length > 0 || chain.writableLength < Math.max(1, least)) {
      server.answer(chain.head, 0);
      return 'taken';
    }
    if (!allLocal(this.#memory, chain.writable, 'write')) return 'wait';
    for (const { offset, length } of chain.writable) this.#memory.hold(offset, length);
    this.#chains.push(chain);
    server.started();
    arrived();
    return 'taken';
  }

  #release(chain: Chain): void {
    for (const { offset, length } of chain.writable) this.#memory.release(offset, length);
  }
}
