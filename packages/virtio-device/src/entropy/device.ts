import { DEVICE_ID_ENTROPY, ENTROPY_REQUESTQ } from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { allLocal, slice } from '../segments.js';

/** Fills all of `bytes` with random bytes. */
export type RandomSource = (bytes: Uint8Array) => void;

/**
 * Most bytes that one request gets: whatever a driver asks for, one request keeps the device busy for microseconds only.
 * The driver asks again for the rest (5.4.6.2: less than the entire buffer may be used).
 */
export const ENTROPY_PIECE = 64 * 1024;

/** An entropy device (5.4): fills buffers with bytes of a {@link RandomSource}, straight in guest memory. */
export class EntropyDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_ENTROPY;
  readonly features = 0n;
  readonly queueCount = 1;
  readonly queueSizeMax = 64;
  readonly config = new Uint8Array(0);
  readonly #random: RandomSource;
  #server: QueueServer | undefined;

  constructor(random: RandomSource) {
    this.#random = random;
  }

  activate(io: DeviceIo): void {
    const server: QueueServer | undefined = QueueServer.of(io, ENTROPY_REQUESTQ, (chain) =>
      server === undefined ? 'wait' : this.#fill(io, server, chain),
    );
    this.#server = server;
  }

  resume(): void {
    this.#server?.resume();
  }

  notify(_queue: number): void {
    this.#server?.pass();
  }

  reset(done: () => void): void {
    this.#server = undefined;
    done();
  }

  #fill({ memory }: DeviceIo, server: QueueServer, chain: Chain): 'taken' | 'wait' {
    // 5.4.6.1: no device-readable buffers. What is no request of this device comes back with nothing in it.
    const wrong = chain.readable.length > 0;
    const segments = wrong ? [] : slice(chain.writable, 0, ENTROPY_PIECE);
    if (!allLocal(memory, segments, 'write')) return 'wait';
    let filled = 0;
    for (const { offset, length } of segments) {
      this.#random(memory.bytes(offset, length));
      memory.written(offset, length);
      filled += length;
    }
    server.answer(chain.head, filled);
    return 'taken';
  }
}
