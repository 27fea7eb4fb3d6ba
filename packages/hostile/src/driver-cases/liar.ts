import { assert } from '@remio/base';
import type { DeviceIo, MmioRegisters, VirtioDevice } from '@remio/virtio-device';
import {
  INTERRUPT_CONFIG_CHANGE,
  MMIO,
  MMIO_CONFIG,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
} from '@remio/virtio-spec';
import type { QueueConfig } from '@remio/virtqueue';
import { type ContentLie, isContent, isTrick, type Lie, type TrickLie } from './lie.js';
import { LyingQueue } from './lying-queue.js';
import { RawUsed } from './raw-used.js';

/** Interrupts of a storm. */
const STORM = 50;

/** What a backend asks of a device's registers. */
export type Registers = Pick<
  MmioRegisters,
  'read' | 'write' | 'status' | 'features' | 'queueConfig' | 'inFlight' | 'device' | 'counters'
>;

/** What is known of lies, whoever tells them. */
export class LieLog {
  /** Lies that were told, by their place in the list. */
  readonly told = new Map<Lie, number>();
  /** Resets, by the driver, of a device that had run, or of its queues. */
  resets = 0;
  /** The device has run. */
  ran = false;
  /** Told of what is new in it. */
  readonly #news: () => void;

  constructor(news: () => void = () => {}) {
    this.#news = news;
  }
  /** Completions of accesses that the hypervisor should have refused, and did not. */
  accepted = 0;

  /** Whether a lie may be told once more; counts it. */
  tell(lie: Lie): boolean {
    const told = this.told.get(lie) ?? 0;
    if ('times' in lie && lie.times !== undefined && told >= lie.times) return false;
    this.told.set(lie, told + 1);
    if (told === 0) this.#news();
    return true;
  }

  /** The driver resets a device that had run, or a queue of it. */
  reset(): void {
    this.resets += 1;
    this.#news();
  }

  /** The hypervisor took a completion that it should have refused. */
  accept(): void {
    this.accepted += 1;
    this.#news();
  }
}

/** The registers of a device and its queues, bent. Everything else is true: requests are served. */
export class Liar implements Registers {
  readonly #lies: readonly Lie[];
  readonly #log: LieLog;
  readonly #crash: () => void;
  readonly #reads = new Map<number, number>();
  #registers: MmioRegisters | undefined;
  #interrupt: () => void = () => {};
  #accesses = 0;
  #queues: readonly (LyingQueue | undefined)[] = [];
  #io: DeviceIo | undefined;

  /** @param crash ends the backend without a word */
  constructor(lies: readonly Lie[], log: LieLog, crash: () => void) {
    this.#lies = lies;
    this.#log = log;
    this.#crash = crash;
  }

  /** The device as its registers are to know it: its queues are bent. */
  bend(device: VirtioDevice): VirtioDevice {
    return new Proxy(device, {
      get: (target, key) => {
        if (key === 'activate') return (io: DeviceIo) => target.activate(this.#bendIo(io));
        if (key === 'notify') {
          return (index: number) => {
            this.#queues[index]?.kicked();
            target.notify(index);
          };
        }
        if (key === 'resetQueue') {
          return (index: number) => {
            this.#queues[index]?.renew();
            target.resetQueue?.(index);
          };
        }
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
  inFlight(index: number): number {
    return this.#true.inFlight(index);
  }

  get counters(): MmioRegisters['counters'] {
    return this.#true.counters;
  }
  queueConfig(index: number): QueueConfig | undefined {
    return this.#true.queueConfig(index);
  }

  read(offset: number, width: number): bigint {
    this.#access();
    const nth = this.#reads.get(offset) ?? 0;
    this.#reads.set(offset, nth + 1);
    const truth = Number(this.#true.read(offset, width));
    let value = truth;
    for (const lie of this.#lies) {
      const bent = this.#bendRead(lie, offset, nth, value);
      if (bent >>> 0 !== value >>> 0) this.#log.tell(lie);
      value = bent;
    }
    return BigInt(value >>> 0);
  }

  write(offset: number, width: number, value: bigint): void {
    this.#access();
    const log = this.#log;
    if (log.ran && ((offset === MMIO.Status && value === 0n) || offset === MMIO.QueueReset)) log.reset();
    this.#true.write(offset, width, value);
    log.ran ||= (this.#true.status & STATUS_DRIVER_OK) !== 0;
  }

  get #true(): MmioRegisters {
    assert(this.#registers !== undefined, 'a liar has registers to lie about');
    return this.#registers;
  }

  #access(): void {
    this.#accesses += 1;
    for (const lie of this.#lies) {
      if ('needsResetAfter' in lie && lie.needsResetAfter === this.#accesses) this.#interrupt();
      if ('eager' in lie) this.#io?.defer(() => this.#serve(lie));
    }
  }

  /** Looks at every queue, without having been told to. */
  #serve(lie: Lie): void {
    if ((this.#true.status & STATUS_DRIVER_OK) === 0) return;
    this.#io?.queues.forEach((queue, index) => {
      if (queue === undefined) return;
      this.#log.tell(lie);
      this.#true.device.notify(index);
    });
  }

  #bendRead(lie: Lie, offset: number, nth: number, value: number): number {
    if ('needsResetAfter' in lie) {
      if (this.#accesses < lie.needsResetAfter) return value;
      // A reset ends (that it may not is V17), and the bit is there again with whatever is set next.
      if (offset === MMIO.Status) return value === 0 ? 0 : value | STATUS_DEVICE_NEEDS_RESET;
      return offset === MMIO.InterruptStatus ? value | INTERRUPT_CONFIG_CHANGE : value;
    }
    if (!('register' in lie)) return value;
    const at = typeof lie.register === 'number' ? MMIO_CONFIG + lie.register : MMIO[lie.register];
    if (at !== offset) return value;
    if ('says' in lie) return lie.says[Math.min(nth, lie.says.length - 1)] ?? value;
    if ('counts' in lie) return nth;
    const from = lie.from ?? 0;
    if (nth < from || nth >= from + (lie.reads ?? Number.POSITIVE_INFINITY)) return value;
    return (value | (lie.sets ?? 0)) & ~(lie.clears ?? 0);
  }

  #bendIo(io: DeviceIo): DeviceIo {
    const of = (index: number) => (lie: TrickLie | ContentLie) => lie.queue === undefined || lie.queue === index;
    this.#queues = io.queues.map((queue, index) => {
      const trick = this.#lies.filter(isTrick).find(of(index));
      const contents = this.#lies.filter(isContent).filter(of(index));
      if (queue === undefined || (trick === undefined && contents.length === 0)) return undefined;
      return new LyingQueue(
        queue,
        { trick, contents },
        {
          memory: io.memory,
          raw: () => {
            const config = this.#true.queueConfig(index);
            return config === undefined ? undefined : new RawUsed(io.memory, queue, config);
          },
          storm: () => {
            for (let n = 0; n < STORM; n += 1) this.#interrupt();
          },
          forget: () => io.defer(() => this.#true.write(MMIO.Status, 4, 0n)),
          crash: () => this.#crash(),
          needsReset: () => io.broken(index, { code: 'trick', clause: '2.1.2', detail: 'the device has enough' }),
          tell: (lie) => this.#log.tell(lie),
        },
      );
    });
    this.#io = {
      ...io,
      queues: io.queues.map((queue, index) => this.#queues[index] ?? queue),
      used: (index) => {
        if (this.#queues[index]?.tells !== false) io.used(index);
      },
    };
    return this.#io;
  }
}
