import type { Result } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import { SplitDeviceQueue } from './split-device-queue.js';
import { SplitDriverQueue } from './split-driver-queue.js';
import { layoutSplitQueue } from './split-layout.js';
import type { DeviceQueue, DriverQueue, QueueConfig, QueueError } from './types.js';

/**
 * Makes a queue run that the driver has programmed, in the layout that was negotiated: the device's side.
 * @returns which clause the configuration violates
 */
export const activateDeviceQueue = (
  memory: GuestMemory,
  config: QueueConfig,
  features: bigint,
): Result<DeviceQueue, QueueError> => SplitDeviceQueue.activate(memory, config, features);

/** Prepares a queue in memory, in the layout that was negotiated: the driver's side. The device does not know it yet. */
export const createDriverQueue = <Token>(
  memory: GuestMemory,
  config: QueueConfig,
  features: bigint,
): Result<DriverQueue<Token>, QueueError> => SplitDriverQueue.create<Token>(memory, config, features);

/** Where the areas of a queue lie when they follow each other from `base`, and how many bytes they take. */
export const layoutQueue = (
  base: bigint,
  size: number,
  _features: bigint,
): { readonly config: QueueConfig; readonly bytes: number } => layoutSplitQueue(base, size);
