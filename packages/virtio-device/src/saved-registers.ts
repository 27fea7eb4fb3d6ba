import type { SavedValue } from '@remio/base';
import {
  hasFeature,
  INTERRUPT_CONFIG_CHANGE,
  INTERRUPT_USED_BUFFER,
  STATUS_ACKNOWLEDGE,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER,
  STATUS_DRIVER_OK,
  STATUS_FAILED,
  STATUS_FEATURES_OK,
  VIRTIO_F_RING_RESET,
  VIRTIO_F_VERSION_1,
} from '@remio/virtio-spec';
import type { VirtioDevice } from './device.js';

/** Status bits that a driver may add, and what must be set before (3.1.1, in this order). */
export const PREREQUISITES: readonly (readonly [bit: number, needs: number])[] = [
  [STATUS_ACKNOWLEDGE, 0],
  [STATUS_DRIVER, STATUS_ACKNOWLEDGE],
  [STATUS_FEATURES_OK, STATUS_ACKNOWLEDGE | STATUS_DRIVER],
  [STATUS_DRIVER_OK, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK],
];

/**
 * 2.2.1, 6.1: a subset of what was offered, with VERSION_1 and with what its features need; ACCESS_PLATFORM says that the
 * driver uses shared memory.
 */
export const featuresAcceptable = (features: bigint, offered: bigint, device: VirtioDevice): boolean =>
  (features & ~offered) === 0n &&
  hasFeature(features, VIRTIO_F_VERSION_1) &&
  device.featuresAcceptable?.(features) !== false;

/** The registers of a device, and its queues, as plain data: survives JSON. */
export interface SavedRegisters {
  readonly format: 'virtio-mmio/1';
  readonly deviceId: number;
  readonly status: number;
  /** A reset waits for what the device has in flight outside. */
  readonly resetting: boolean;
  readonly interruptStatus: number;
  readonly generation: number;
  readonly deviceFeaturesSel: number;
  readonly driverFeaturesSel: number;
  /** `0x…` */
  readonly driverFeatures: string;
  readonly queueSel: number;
  /** The device configuration, byte by byte. */
  readonly config: readonly number[];
  readonly queues: readonly {
    readonly size: number;
    /** QueueDesc, QueueDriver and QueueDevice: low halves, then high ones. */
    readonly halves: readonly number[];
    readonly ready: boolean;
    /** The state of a queue that runs. */
    readonly running: unknown;
    /** The driver has reset the queue (2.6.1), and not made it ready again. */
    readonly reset: boolean;
  }[];
}

/** What {@link readRegisters} found, not yet taken over. */
export interface RegisterImage extends Omit<SavedRegisters, 'format' | 'deviceId' | 'driverFeatures' | 'queues'> {
  readonly driverFeatures: bigint;
  readonly queues: readonly {
    readonly size: number;
    readonly halves: readonly number[];
    readonly ready: boolean;
    readonly running: SavedValue;
    readonly reset: boolean;
  }[];
}

const U32_MAX = 0xffff_ffff;

/** Reads saved registers, and refuses those that no driver could have brought this device to. */
export function readRegisters(saved: SavedValue, device: VirtioDevice, offered: bigint): RegisterImage {
  saved.field('format').oneOf('virtio-mmio/1');
  saved.field('deviceId').integer(device.deviceId, device.deviceId);
  const u32 = (name: string): number => saved.field(name).integer(0, U32_MAX);
  const status = readStatus(saved.field('status'));
  const driverFeatures = saved.field('driverFeatures').u64();
  if ((status & STATUS_FEATURES_OK) !== 0 && !featuresAcceptable(driverFeatures, offered, device)) {
    saved.field('driverFeatures').refuse('features that the device offers, with VERSION_1');
  }
  const interruptStatus = saved.field('interruptStatus').integer(0, INTERRUPT_USED_BUFFER | INTERRUPT_CONFIG_CHANGE);
  const resetting = saved.field('resetting').boolean();
  if (resetting && (status & STATUS_DRIVER_OK) === 0) saved.field('resetting').refuse('a device that runs');
  const config = saved
    .field('config')
    .list(device.config.length)
    .map((byte) => byte.integer(0, 0xff));
  if (
    device.writeConfig === undefined &&
    device.configVaries !== true &&
    config.some((byte, n) => byte !== device.config[n])
  ) {
    saved.field('config').refuse('the configuration of this device');
  }
  return {
    status,
    resetting,
    interruptStatus,
    generation: u32('generation'),
    deviceFeaturesSel: u32('deviceFeaturesSel'),
    driverFeaturesSel: u32('driverFeaturesSel'),
    driverFeatures,
    queueSel: u32('queueSel'),
    config,
    queues: saved
      .field('queues')
      .list(device.queueCount)
      .map((queue) => readQueue(queue, status, driverFeatures)),
  };
}

function readStatus(saved: SavedValue): number {
  const status = saved.integer(0, 0xff);
  for (const [bit, needs] of PREREQUISITES) {
    if ((status & bit) !== 0 && (status & needs) !== needs) saved.refuse('status bits in the order of 3.1.1');
  }
  const known = PREREQUISITES.reduce((bits, [bit]) => bits | bit, STATUS_FAILED | STATUS_DEVICE_NEEDS_RESET);
  if ((status & ~known) !== 0) saved.refuse('status bits of 2.1');
  // 2.1.2: what can break is a queue, and queues run from DRIVER_OK on.
  if ((status & STATUS_DEVICE_NEEDS_RESET) !== 0 && (status & STATUS_DRIVER_OK) === 0) {
    saved.refuse('DEVICE_NEEDS_RESET with DRIVER_OK only');
  }
  return status;
}

function readQueue(saved: SavedValue, status: number, features: bigint): RegisterImage['queues'][number] {
  const ready = saved.field('ready').boolean();
  if (ready && (status & STATUS_FEATURES_OK) === 0) saved.field('ready').refuse('false before FEATURES_OK');
  const running = saved.field('running');
  if (!running.isNull && !(ready && (status & STATUS_DRIVER_OK) !== 0)) {
    running.refuse('null for a queue that does not run');
  }
  // A queue that is ready and does not run could not be started.
  const startable = (status & STATUS_DRIVER_OK) === 0 || (status & STATUS_DEVICE_NEEDS_RESET) !== 0;
  if (running.isNull && ready && !startable) running.refuse('the state of a queue that runs');
  const reset = saved.field('reset').boolean();
  const resettable = !ready && (status & STATUS_DRIVER_OK) !== 0 && hasFeature(features, VIRTIO_F_RING_RESET);
  if (reset && !resettable) saved.field('reset').refuse('false for a queue that was not reset');
  return {
    size: saved.field('size').integer(0, U32_MAX),
    halves: saved
      .field('halves')
      .list(6)
      .map((half) => half.integer(0, U32_MAX)),
    ready,
    running,
    reset,
  };
}
