import { assert } from '@remio/base';
import type { LocalMemory } from '@remio/guest-memory';
import { MemoryServer } from '../memory-server.js';
import { RemoteMemory } from '../remote-memory.js';

/** A device's view of memory that a driver has, and the way between them: messages move when a test lets them. */
export class RemoteLink {
  readonly memory: RemoteMemory;
  readonly server: MemoryServer;
  /** Messages that the server was sent, one after another. */
  requests = 0;
  readonly #toServer: Uint8Array[] = [];
  readonly #toDevice: Uint8Array[] = [];
  #due = false;

  constructor(near: LocalMemory) {
    this.server = new MemoryServer(near);
    this.memory = new RemoteMemory(near.base, near.size, {
      due: () => {
        this.#due = true;
      },
      send: (message) => {
        this.requests += 1;
        this.#toServer.push(message);
      },
    });
    this.memory.open();
  }

  /** The device's step is over, if there was one. */
  endStep(): boolean {
    const due = this.#due;
    this.#due = false;
    if (due) this.memory.flush();
    return due;
  }

  /** One message reaches the server, if one is on its way. */
  moveOut(): boolean {
    const request = this.#toServer.shift();
    if (request === undefined) return false;
    const wrong = this.server.handle(request, (message) => this.#toDevice.push(message));
    assert(wrong === undefined, `the server understands: ${wrong}`);
    return true;
  }

  /** One message reaches the device, which goes on, one step: with whatever else `happens` before it is over. */
  moveBack(happens: () => void = () => {}): boolean {
    const message = this.#toDevice.shift();
    if (message === undefined) return false;
    const wrong = this.memory.receive(message);
    assert(wrong === undefined, `the device understands: ${wrong}`);
    happens();
    this.endStep();
    return true;
  }

  /** Something of the driver's reaches the device by the same way: what was sent before it comes first. */
  reachDevice(): void {
    while (this.moveBack());
  }

  /** Something of the device's reaches the driver by the same way: what was written before it comes first. */
  reachDriver(): void {
    this.memory.settle();
    while (this.moveOut());
  }

  /** One thing that is due happens, as if nothing took time; false if nothing is. */
  move(): boolean {
    return this.endStep() || this.moveOut() || this.moveBack();
  }
}
