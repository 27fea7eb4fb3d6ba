import { createHash } from 'node:crypto';
import { Prng, type Result } from '@remio/base';
import { type GuestCpu, type GuestIpc, type GuestVm, ipcNotify, ProgramError } from '@remio/guest';
import type { IpcExchangeChoice } from '@remio/topology';
import { MessageRing } from './message-ring.js';

/** Events of the channel's memory: a message came; there is room again. A partition may have one interrupt for both. */
const EVENT_MESSAGE = 0;
const EVENT_ROOM = 1;

/** What one side has to say, message by message: the other side knows it as well. */
export class Messages {
  readonly #prng: Prng;
  readonly #max: number;

  /** @param side whose messages */
  constructor({ seed, size }: Pick<IpcExchangeChoice, 'seed' | 'size'>, side: 0 | 1) {
    this.#prng = new Prng(2 * seed + side);
    this.#max = size;
  }

  /** The next message: 1 to `size` bytes. */
  next(): Uint8Array {
    const message = new Uint8Array(1 + this.#prng.below(this.#max));
    this.#prng.fill(message);
    return message;
  }
}

/** The messages of one side on their way, and what became of them. */
class Stream {
  readonly #messages: Messages;
  readonly #hash = createHash('sha256');
  #next: Uint8Array;
  bytes = 0;

  /** @param done messages that an earlier run of the partition is through with */
  constructor(options: IpcExchangeChoice, side: 0 | 1, done: number) {
    this.#messages = new Messages(options, side);
    for (let n = 0; n < done; n += 1) this.#messages.next();
    this.#next = this.#messages.next();
  }

  get next(): Uint8Array {
    return this.#next;
  }

  /** The next message went, or came, as these bytes. */
  pass(message: Uint8Array): void {
    this.#hash.update(message);
    this.bytes += message.length;
    this.#next = this.#messages.next();
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

/**
 * Exchanges messages with another partition through shared memory and doorbells: both send at once, each knows what the
 * other has to say, and every byte is compared.
 * @throws Error that says why the channel is of no use
 */
export const exchange =
  (options: IpcExchangeChoice) =>
  async (cpu: GuestCpu, ipc: GuestIpc, vm: GuestVm): Promise<void> => {
    const ring = orThrow(MessageRing.open(ipc.shmem, options.side, options.size));
    let interrupts = 0;
    let doorbells = 0;
    for (const irq of ipc.interrupts) {
      cpu.onInterrupt(irq, () => {
        interrupts += 1;
      });
      await cpu.enableInterrupt(irq);
    }
    const notify = async (event: number): Promise<void> => {
      const code = await ipcNotify(cpu, ipc.index, event);
      if (code !== 0n) throw new ProgramError(`the doorbell of ${ipc.name} answered ${code}`);
      doorbells += 1;
    };
    const roomEvent = ipc.interrupts.length > EVENT_ROOM ? EVENT_ROOM : EVENT_MESSAGE;

    const outgoing = new Stream(options, options.side, ring.sent);
    const incoming = new Stream(options, options.side === 0 ? 1 : 0, ring.received);
    const start = vm.hostTime();
    let mismatches = 0;
    /** Sends and receives what can be; whether anything could. */
    const look = (): boolean => {
      let moved = false;
      while (ring.sent < options.messages && orThrow(ring.send(outgoing.next))) {
        outgoing.pass(outgoing.next);
        moved = true;
      }
      for (;;) {
        const message = ring.received < options.messages ? orThrow(ring.receive()) : undefined;
        if (message === undefined) return moved;
        if (Buffer.compare(message, incoming.next) !== 0) mismatches += 1;
        incoming.pass(message);
        moved = true;
      }
    };
    for (;;) {
      look();
      if (ring.takeMessageWanted()) await notify(EVENT_MESSAGE);
      if (ring.takeRoomWanted()) await notify(roomEvent);
      if (ring.sent >= options.messages && ring.received >= options.messages) break;
      ring.setWaiting(ring.received < options.messages, ring.sent < options.messages);
      // Between this look and the WFI nothing is awaited: a doorbell that rings meanwhile ends the WFI at once.
      if (!look()) await cpu.waitForInterrupt();
      ring.setWaiting(false, false);
    }
    vm.report({
      kind: 'ipc-exchange',
      ipc: ipc.name,
      sent: ring.sent,
      received: ring.received,
      bytesSent: outgoing.bytes,
      bytesReceived: incoming.bytes,
      sentSha256: outgoing.digest(),
      receivedSha256: incoming.digest(),
      mismatches,
      doorbells,
      interrupts,
      ns: Number(vm.hostTime() - start),
    });
    if (mismatches > 0) throw new ProgramError(`${mismatches} messages are not what the other partition sent`);
  };

/** @throws Error with what is wrong */
function orThrow<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new ProgramError(result.error);
}
