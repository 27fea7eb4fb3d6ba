import type { GuestMemory } from '@remio/guest-memory';
import {
  CONSOLE_CONTROL_EVENT,
  CONSOLE_CONTROL_ID,
  CONSOLE_CONTROL_RECEIVEQ,
  CONSOLE_CONTROL_SIZE,
  CONSOLE_CONTROL_TRANSMITQ,
  CONSOLE_CONTROL_VALUE,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { RoomQueue } from '../room-queue.js';
import { allLocal, slice } from '../segments.js';

/** A control message of the driver (5.3.6.2). */
export interface ControlMessage {
  readonly port: number;
  readonly event: number;
  readonly value: number;
}

/** Makes a control message; some events are followed by data. */
export function controlMessage(port: number, event: number, value: number, data?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CONSOLE_CONTROL_SIZE + (data?.length ?? 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(CONSOLE_CONTROL_ID, port, true);
  view.setUint16(CONSOLE_CONTROL_EVENT, event, true);
  view.setUint16(CONSOLE_CONTROL_VALUE, value, true);
  if (data !== undefined) bytes.set(data, CONSOLE_CONTROL_SIZE);
  return bytes;
}

/** The control queues of a console device with several ports (5.3.6.2). */
export class ControlQueues {
  readonly #memory: GuestMemory;
  #receive: RoomQueue | undefined;
  #transmit: QueueServer | undefined;

  /**
   * @param received takes what the driver says
   * @param arrived called when there is more room to say something to the driver
   */
  constructor(io: DeviceIo, received: (message: ControlMessage) => void, arrived: () => void) {
    this.#memory = io.memory;
    this.#receive = RoomQueue.of(io, CONSOLE_CONTROL_RECEIVEQ, CONSOLE_CONTROL_SIZE, arrived);
    this.#transmit = QueueServer.of(io, CONSOLE_CONTROL_TRANSMITQ, (chain) => this.#take(chain, received));
  }

  /** Whether there is room to say something. */
  get room(): boolean {
    return (this.#receive?.room ?? 0) > 0;
  }

  send(message: Uint8Array): void {
    this.#receive?.send(message);
  }

  pass(): void {
    this.#receive?.pass();
    this.#transmit?.pass();
  }

  resume(): void {
    this.#receive?.resume();
    this.#transmit?.resume();
  }

  /** The driver resets one of the queues (2.6.1). */
  resetQueue(queue: number): void {
    if (queue === CONSOLE_CONTROL_RECEIVEQ) this.#receive?.giveBack();
  }

  drop(): void {
    this.#receive?.drop();
    this.#receive = undefined;
    this.#transmit = undefined;
  }

  /** A message that is too short says nothing; it comes back as every message does. */
  #take(chain: Chain, received: (message: ControlMessage) => void): 'taken' | 'wait' {
    const header = slice(chain.readable, 0, CONSOLE_CONTROL_SIZE);
    if (!allLocal(this.#memory, header, 'read')) return 'wait';
    this.#transmit?.answer(chain.head, 0);
    if (chain.readableLength < CONSOLE_CONTROL_SIZE) return 'taken';
    const bytes = new Uint8Array(CONSOLE_CONTROL_SIZE);
    let at = 0;
    for (const { offset, length } of header) {
      bytes.set(this.#memory.bytes(offset, length), at);
      at += length;
    }
    const view = new DataView(bytes.buffer);
    received({
      port: view.getUint32(CONSOLE_CONTROL_ID, true),
      event: view.getUint16(CONSOLE_CONTROL_EVENT, true),
      value: view.getUint16(CONSOLE_CONTROL_VALUE, true),
    });
    return 'taken';
  }
}
