/** What one queue of a device did. Counts go on over resets. */
export interface QueueCounters {
  /** Notifications by the driver, each a trapped access. */
  notifications: number;
  /** Chains that were taken from the ring. */
  requests: number;
  /** Bytes of their readable buffers. */
  readBytes: number;
  /** Bytes that the device wrote into their writable buffers. */
  writtenBytes: number;
  /** Chains that could not be served: their buffers lie nowhere, or in the wrong order. */
  rejected: number;
  /** Times that the driver was to be interrupted for the queue. */
  interrupts: number;
  /** Times that the driver broke the queue, which was latched until a reset. */
  latched: number;
}

/** What a device did. Counts go on over resets. */
export interface DeviceCounters {
  /** Resets by the driver (2.4). */
  resets: number;
  /** Configuration interrupts. */
  configChanges: number;
  readonly queues: readonly QueueCounters[];
}

const newQueueCounters = (): QueueCounters => ({
  notifications: 0,
  requests: 0,
  readBytes: 0,
  writtenBytes: 0,
  rejected: 0,
  interrupts: 0,
  latched: 0,
});

/** The counters of a device with so many queues. */
export const newDeviceCounters = (queues: number): DeviceCounters => ({
  resets: 0,
  configChanges: 0,
  queues: Array.from({ length: queues }, newQueueCounters),
});
