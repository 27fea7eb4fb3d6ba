import type { GuestMemory } from '@remio/guest-memory';
import type { DeviceQueue, QueueError } from '@remio/virtqueue';

/** What a device model may use while its driver runs it (DRIVER_OK set). */
export interface DeviceIo {
  readonly memory: GuestMemory;
  /** Negotiated features. */
  readonly features: bigint;
  /** By queue number; undefined: the driver did not make this queue ready. */
  readonly queues: readonly (DeviceQueue | undefined)[];
  /**
   * Runs `work` once, when memory that {@link GuestMemory.need} refused has become local. Whoever waits for memory asks
   * for this anew each time; whoever does not is left in peace, lest queues that wait for nothing fetch for ever.
   */
  whenLocal(work: () => void): void;
  /** Elements were pushed to this queue: interrupts the driver if it wants that. */
  used(queue: number): void;
  /** The configuration changed: raises the configuration interrupt, and moves ConfigGeneration. */
  configChanged(): void;
  /** This queue is broken: sets DEVICE_NEEDS_RESET and raises the configuration interrupt; other queues live on. */
  broken(queue: number, error: QueueError): void;
  /**
   * Runs `work` soon, after what the host has to do meanwhile: for work that must not starve others.
   * @param idle whether it only looks if there is something to do: whoever else wants the host's CPU goes first
   * @param queue number of the queue that it is for: the vCPU that serves the queue does it
   */
  defer(work: () => void, idle?: boolean, queue?: number): void;
}

/**
 * A device model, as the register model runs it. A model is deterministic: what it does outside (files, sockets)
 * goes through interfaces that it was given when it was made.
 */
export interface VirtioDevice {
  /** Device type (5). */
  readonly deviceId: number;
  /** Device-specific features offered; the register model adds those of the transport and of rings. */
  readonly features: bigint;
  /**
   * Ring features that this model cannot have, as a set: IN_ORDER where chains wait for events of their own, for
   * instance, since the first would keep back all others.
   */
  readonly withheldRingFeatures?: bigint;
  readonly queueCount: number;
  /** QueueSizeMax of every queue, 1 to 32768; of split rings, the largest power of two that is not above. */
  readonly queueSizeMax: number;
  /** What the model counts beyond its queues, by name; for observers. */
  readonly counters?: Readonly<Record<string, number>>;
  /** Whether features that were all offered go together (2.2.1); absent: all do. */
  featuresAcceptable?(features: bigint): boolean;
  /** The device configuration (4.2.2, from 0x100), little-endian. */
  readonly config: Uint8Array;
  /** The driver accepted these features, and FEATURES_OK is set: configuration that depends on them is right from now on. */
  negotiated?(features: bigint): void;
  /** The configuration changes while the device runs, by events or commands: a saved one may differ from a fresh one. */
  readonly configVaries?: boolean;
  /** The driver wrote a configuration field of which it may write; others never get here. */
  writeConfig?(offset: number, bytes: Uint8Array): void;
  /** The driver set DRIVER_OK. */
  activate(io: DeviceIo): void;
  /**
   * Called after {@link activate} when the queues took over a saved state: the chains that they have in flight are to be
   * served anew. Absent: the model cannot, and a state with chains in flight is refused.
   */
  resume?(): void;
  /** The driver notified a queue that is ready. */
  notify(queue: number): void;
  /**
   * The driver resets this queue (2.6.1), which shows nothing new any more. The reset ends when every chain that was popped
   * has been pushed, which nobody sees: so a model that keeps chains without working on them pushes them now. Absent: the
   * model keeps none. Afterwards the driver may make the queue ready again: the same object goes on, empty.
   */
  resetQueue?(queue: number): void;
  /**
   * The driver reset the device. Call `done` when nothing that the device started can touch guest memory any more;
   * until then Status does not read 0 (2.4).
   */
  reset(done: () => void): void;
  /**
   * The device is not needed any more: files are closed.
   * @param again whether this process makes the device anew: what nobody else may get meanwhile is kept for it
   */
  close?(again?: boolean): Promise<void>;
}

/** What a user's module exports as `default`: makes a device model from the topology's `options`. */
export type DeviceFactory = (options: unknown) => VirtioDevice | Promise<VirtioDevice>;
