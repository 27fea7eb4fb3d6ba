import { assert, err, type Result, type SavedValue } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import { MMIO } from '@remio/virtio-spec';
import {
  activateDeviceQueue,
  type DeviceQueue,
  type InFlightTable,
  type QueueConfig,
  type QueueError,
  queueSizeWithin,
} from '@remio/virtqueue';
import type { QueueCounters } from './counters.js';
import type { VirtioDevice } from './device.js';
import { QueueRegisters } from './queue-registers.js';
import { RunningQueue } from './running-queue.js';
import type { RegisterImage, SavedRegisters } from './saved-registers.js';

/**
 * The queues of a device: what the driver programmed for each, what runs of it, and which are broken. When a queue may be
 * changed, and what follows, is the affair of the device's registers.
 */
export class DeviceQueues {
  readonly #device: VirtioDevice;
  /** The memory of the device now: another when its driver runs elsewhere. */
  readonly #memory: () => GuestMemory;
  readonly #registers: readonly QueueRegisters[];
  readonly #counters: readonly QueueCounters[];
  #running: (RunningQueue | undefined)[] = [];
  /** Accounts of what the queues have in flight, where they are kept. */
  readonly #tables: readonly InFlightTable[];
  /** Queues of which the driver was told that they are broken. */
  readonly #latched = new Set<number>();

  constructor(
    device: VirtioDevice,
    memory: () => GuestMemory,
    counters: readonly QueueCounters[],
    tables: readonly InFlightTable[] = [],
  ) {
    this.#device = device;
    this.#tables = tables;
    this.#memory = memory;
    this.#registers = counters.map(() => new QueueRegisters());
    this.#counters = counters;
  }

  /** Queues by number, as the device's model has them: undefined where none was made ready. */
  get running(): readonly (RunningQueue | undefined)[] {
    return this.#running;
  }

  /** Whether the driver made the queue ready. */
  ready(index: number): boolean {
    return this.#registers[index]?.ready === true;
  }

  /** A queue as the driver programmed it, if it is ready. */
  config(index: number): QueueConfig | undefined {
    const queue = this.#registers[index];
    return queue?.ready ? queue.config : undefined;
  }

  /** 2.7, 2.8: a split queue has a power of two of descriptors, a packed one any number; 0: there is no such queue. */
  sizeMax(index: number, features: bigint): number {
    return this.#registers[index] === undefined ? 0 : queueSizeWithin(this.#device.queueSizeMax, features);
  }

  /**
   * A write of a queue's registers (4.2.2).
   * @param active whether the device runs
   * @returns `refused`: it cannot be changed now; an error: the queue cannot run as it was programmed
   */
  write(
    index: number,
    offset: number,
    value: number,
    active: boolean,
    features: bigint,
  ): 'done' | 'refused' | QueueError {
    const queue = this.#registers[index];
    const running = this.#running[index];
    // 2.6.1.2: of a device that runs, a queue that was reset is set up as at the start.
    const stopped = !active || (running !== undefined && !running.runs && !running.resetting);
    if (queue === undefined || !stopped || (queue.ready && offset !== MMIO.QueueReady)) return 'refused';
    if (offset !== MMIO.QueueReady) {
      queue.write(offset, value);
      return 'done';
    }
    queue.ready = value === 1;
    if (!queue.ready || running === undefined) return 'done';
    const started = this.#begin(queue, index, features);
    if (!started.ok) return started.error;
    running.start(started.value);
    return 'done';
  }

  /**
   * The device goes live: queues that are ready run.
   * @param broken told of those that cannot
   */
  activate(features: bigint, broken: (index: number, error: QueueError) => void): void {
    this.#running = this.#registers.map((queue, index) => {
      if (!queue.ready) return undefined;
      const started = this.#begin(queue, index, features);
      if (started.ok) return this.#run(index, started.value);
      broken(index, started.error);
      return undefined;
    });
  }

  /** 2.6.1.1: nothing more is taken from the queue; its reset ends when what was taken has ended. */
  reset(index: number): boolean {
    const queue = this.#registers[index];
    const running = this.#running[index];
    if (queue === undefined || running?.runs !== true) return false;
    queue.clear();
    this.#latched.delete(index);
    running.stop();
    return true;
  }

  /** Marks a queue as broken; false if it is already. */
  latch(index: number): boolean {
    if (this.#latched.has(index)) return false;
    this.#latched.add(index);
    const counters = this.#counters[index];
    if (counters !== undefined) counters.latched += 1;
    return true;
  }

  /** The device was reset. */
  clear(): void {
    this.#running = [];
    this.#latched.clear();
    for (const queue of this.#registers) queue.clear();
  }

  /** @param kept what runs has an account of its own: it is said only that it runs */
  save(kept = false): SavedRegisters['queues'] {
    return this.#registers.map(({ size, halves, ready }, index) => ({
      size,
      halves: [...halves],
      ready,
      running: kept ? (this.#running[index]?.runs === true ? KEPT : null) : (this.#running[index]?.save() ?? null),
      reset: !ready && this.#running[index]?.runs === false,
    }));
  }

  /** Takes over what {@link save} gave; refuses what cannot run. */
  takeOver(queues: RegisterImage['queues'], features: bigint): void {
    this.#running = queues.map(({ size, halves, ready, running, reset }, index) => {
      const queue = this.#registers[index];
      assert(queue !== undefined, 'a device has registers for each queue');
      queue.size = size;
      queue.halves.set(halves);
      queue.ready = ready;
      if (running.isNull) return reset ? this.#run(index, undefined) : undefined;
      return this.#run(index, this.#restore(queue, index, running, features));
    });
  }

  #restore(queue: QueueRegisters, index: number, saved: SavedValue, features: bigint): DeviceQueue {
    const started = this.#start(queue, index, features);
    if (!started.ok) return saved.refuse(`null: the queue cannot run, ${started.error.detail}`);
    const { value } = started;
    saved.give((state) => (state === KEPT ? (value.resume?.() ?? NO_ACCOUNT) : value.restore(state)));
    if (started.value.inFlight > 0 && this.#device.resume === undefined) {
      saved.refuse('no chains in flight: this device cannot serve them anew');
    }
    return started.value;
  }

  /** A queue begins, and has nothing in flight. */
  #begin(queue: QueueRegisters, index: number, features: bigint): Result<DeviceQueue, QueueError> {
    this.#tables[index]?.clear();
    return this.#start(queue, index, features);
  }

  #start({ config }: QueueRegisters, index: number, features: bigint): Result<DeviceQueue, QueueError> {
    const max = queueSizeWithin(this.#device.queueSizeMax, features);
    return config.size <= max
      ? activateDeviceQueue(this.#memory(), config, features, this.#tables[index])
      : err(sizeError(config.size, max));
  }

  #run(index: number, queue: DeviceQueue | undefined): RunningQueue {
    const counters = this.#counters[index];
    assert(counters !== undefined, 'a device has counters for each queue');
    return new RunningQueue(queue, counters);
  }
}

/** In the place of a queue's state: its account has it. */
const KEPT = 'kept';

const NO_ACCOUNT = err('the state of a queue that has an account of its own');

const sizeError = (size: number, max: number): QueueError => ({
  code: 'queue-size',
  clause: '4.2.2.2',
  detail: `size ${size} is above QueueSizeMax ${max}`,
});
