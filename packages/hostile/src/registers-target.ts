import { guestAddress } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import { MmioRegisters, type VirtioDevice } from '@remio/virtio-device';
import type { DeviceTarget, Width } from './device-target.js';

/** Where the shared memory lies, and the window, far from it. */
const BASE = guestAddress(0xd000_0000n);
const WINDOW = 0x0a00_3e00n;
const MEMORY_SIZE = 0x40_0000;
/** What a device puts off during one pause: more is a device that spins. */
const DEFERRED_MAX = 10_000;
/** Turns of the host that {@link RegistersTarget.until} waits for. */
const TURNS_MAX = 200;

/** A device model behind its registers, with nothing in between. */
export class RegistersTarget implements DeviceTarget {
  readonly memory: LocalMemory;
  readonly window = WINDOW;
  readonly registers: MmioRegisters;
  #interrupts = 0;
  readonly #deferred: (() => void)[] = [];
  readonly #turn: () => Promise<void>;

  /**
   * @param turn lets the host's own events happen, for models that wait for them
   * @param memorySize bytes that driver and device share
   */
  constructor(device: VirtioDevice, turn: () => Promise<void> = () => Promise.resolve(), memorySize = MEMORY_SIZE) {
    this.#turn = turn;
    this.memory = allocateMemory(BASE, memorySize);
    this.registers = new MmioRegisters(device, this.memory, {
      interrupt: () => {
        this.#interrupts += 1;
      },
      defer: (work) => this.#deferred.push(work),
    });
  }

  read(offset: number, width: Width): Promise<bigint> {
    return Promise.resolve(this.registers.read(offset, width));
  }

  write(offset: number, width: Width, value: bigint): Promise<void> {
    this.registers.write(offset, width, value);
    return Promise.resolve();
  }

  interrupts(): number {
    return this.#interrupts;
  }

  /** @throws Error if the device puts off ever more: it spins */
  async pause(): Promise<void> {
    for (let n = 0; ; n += 1) {
      const work = this.#deferred.shift();
      if (work === undefined) break;
      if (n >= DEFERRED_MAX) throw new Error('the device spins');
      work();
    }
    await this.#turn();
  }

  async until(done: () => Promise<boolean>): Promise<boolean> {
    for (let n = 0; n < TURNS_MAX; n += 1) {
      if (await done()) return true;
      await this.pause();
    }
    return false;
  }
}
