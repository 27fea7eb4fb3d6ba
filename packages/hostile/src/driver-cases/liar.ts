import type { Registers } from '@remio/backend-vm';
import { assert } from '@remio/base';
import type { DeviceIo, MmioRegisters, VirtioDevice } from '@remio/virtio-device';
import { INTERRUPT_CONFIG_CHANGE, MMIO, MMIO_CONFIG, STATUS_DEVICE_NEEDS_RESET } from '@remio/virtio-spec';
import type { QueueConfig } from '@remio/virtqueue';
import { isTrick, type Lie } from './lie.js';
import { LyingQueue } from './lying-queue.js';
import { RawUsed } from './raw-used.js';

/** Interrupts of a storm. */
const STORM = 50;

/** The registers of a device and its queues, bent. Everything else is true: requests are served. */
export class Liar implements Registers {
  readonly #lies: readonly Lie[];
  readonly #reads = new Map<number, number>();
  #registers: MmioRegisters | undefined;
  #interrupt: () => void = () => {};
  #accesses = 0;

  constructor(lies: readonly Lie[]) {
    this.#lies = lies;
  }

  /** The device as its registers are to know it: its queues are bent. */
  bend(device: VirtioDevice): VirtioDevice {
    return new Proxy(device, {
      get: (target, key) => {
        if (key === 'activate') return (io: DeviceIo) => target.activate(this.#bendIo(io));
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  /** Takes the place of these registers. */
  replace(registers: MmioRegisters, interrupt: () => void): this {
    this.#registers = registers;
    this.#interrupt = interrupt;
    return this;
  }

  get status(): number {
    return this.#true.status;
  }
  get features(): bigint {
    return this.#true.features;
  }
  get device(): VirtioDevice {
    return this.#true.device;
  }
  queueConfig(index: number): QueueConfig | undefined {
    return this.#true.queueConfig(index);
  }

  read(offset: number, width: number): bigint {
    this.#access();
    const nth = this.#reads.get(offset) ?? 0;
    this.#reads.set(offset, nth + 1);
    let value = Number(this.#true.read(offset, width));
    for (const lie of this.#lies) value = this.#bendRead(lie, offset, nth, value);
    return BigInt(value >>> 0);
  }

  write(offset: number, width: number, value: bigint): void {
    this.#access();
    this.#true.write(offset, width, value);
  }

  get #true(): MmioRegisters {
    assert(this.#registers !== undefined, 'a liar has registers to lie about');
    return this.#registers;
  }

  #access(): void {
    this.#accesses += 1;
    const now = this.#lies.some((lie) => 'needsResetAfter' in lie && lie.needsResetAfter === this.#accesses);
    if (now) this.#interrupt();
  }

  #bendRead(lie: Lie, offset: number, nth: number, value: number): number {
    if (isTrick(lie)) return value;
    if ('needsResetAfter' in lie) {
      if (this.#accesses < lie.needsResetAfter) return value;
      // A reset ends (that it may not is V17), and the bit is there again with whatever is set next.
      if (offset === MMIO.Status) return value === 0 ? 0 : value | STATUS_DEVICE_NEEDS_RESET;
      return offset === MMIO.InterruptStatus ? value | INTERRUPT_CONFIG_CHANGE : value;
    }
    const at = typeof lie.register === 'number' ? MMIO_CONFIG + lie.register : MMIO[lie.register];
    if (at !== offset) return value;
    if ('says' in lie) return lie.says[Math.min(nth, lie.says.length - 1)] ?? value;
    if ('counts' in lie) return nth;
    const from = lie.from ?? 0;
    if (nth < from || nth >= from + (lie.reads ?? Number.POSITIVE_INFINITY)) return value;
    return (value | (lie.sets ?? 0)) & ~(lie.clears ?? 0);
  }

  #bendIo(io: DeviceIo): DeviceIo {
    const lie = this.#lies.find(isTrick);
    if (lie === undefined) return io;
    const queues = io.queues.map((queue, index) => {
      if (queue === undefined) return undefined;
      return new LyingQueue(queue, lie.trick, lie.after, {
        raw: () => {
          const config = this.#true.queueConfig(index);
          assert(config !== undefined, 'a queue that runs has a configuration');
          return new RawUsed(io.memory, queue, config);
        },
        storm: () => {
          for (let n = 0; n < STORM; n += 1) this.#interrupt();
        },
        forget: () => io.defer(() => this.#true.write(MMIO.Status, 4, 0n)),
        needsReset: () => io.broken(index, { code: 'trick', clause: '2.1.2', detail: 'the device has enough' }),
      });
    });
    return {
      ...io,
      queues,
      used: (index) => {
        if (queues[index]?.tells !== false) io.used(index);
      },
    };
  }
}
