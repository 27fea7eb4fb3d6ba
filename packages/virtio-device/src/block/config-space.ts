import {
  BLK_CONFIG_ALIGNMENT_OFFSET,
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_CYLINDERS,
  BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT,
  BLK_CONFIG_HEADS,
  BLK_CONFIG_MAX_DISCARD_SECTORS,
  BLK_CONFIG_MAX_DISCARD_SEG,
  BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  BLK_CONFIG_MAX_SECURE_ERASE_SEG,
  BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  BLK_CONFIG_MAX_WRITE_ZEROES_SEG,
  BLK_CONFIG_MIN_IO_SIZE,
  BLK_CONFIG_NUM_QUEUES,
  BLK_CONFIG_OPT_IO_SIZE,
  BLK_CONFIG_PHYSICAL_BLOCK_EXP,
  BLK_CONFIG_SECTORS,
  BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_SIZE,
  BLK_CONFIG_SIZE_MAX,
  BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP,
  featureSet,
  SECTOR_SIZE,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_GEOMETRY,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '@remio/virtio-spec';
import type { BlockStorage } from './storage.js';

/** What GET_LIFETIME answers (5.2.6). */
export interface BlockLifetime {
  /** Reserved blocks that are used up: 0 unknown, 1 below 80%, 2 from 80%, 3 from 90%. */
  readonly preEolInfo: number;
  /** Wear of SLC and MLC cells in tenths of their life: 0 unknown, 1 to 10, 11 exceeded. */
  readonly typA: number;
  readonly typB: number;
}

/** How a block device presents itself. */
export interface BlockOptions {
  /** Identification string, up to 20 bytes of ASCII. */
  readonly id?: string;
  /** Request queues, 1 to 64. */
  readonly queues?: number;
  /** QueueSizeMax, 1 to 32768. */
  readonly queueSize?: number;
  /** Bytes of a logical block: 512 if absent. */
  readonly blockSize?: number;
  /** Most bytes of one segment of a read or write; no limit if absent. */
  readonly sizeMax?: number;
  /** Most segments of a read or write; as many as the queue holds beside header and status if absent. */
  readonly segMax?: number;
  /** What the disk's true blocks look like, in logical blocks. */
  readonly topology?: {
    /** Logical blocks of a physical one, as a power of two. */
    readonly physicalBlockExp?: number;
    /** Where the first aligned logical block is. */
    readonly alignmentOffset?: number;
    readonly minIoSize?: number;
    readonly optIoSize?: number;
  };
  readonly geometry?: { readonly cylinders: number; readonly heads: number; readonly sectors: number };
  /** Cache mode after a reset: writes may be volatile until a flush. True if absent. */
  readonly writeback?: boolean;
  /** Sectors that a discard should be aligned to: 8 if absent. */
  readonly discardAlignment?: number;
  /** Whether VIRTIO_BLK_T_SECURE_ERASE is offered: the range is overwritten, and that is made durable. */
  readonly secureErase?: boolean;
  /** The wear of the storage, where it is known. */
  readonly lifetime?: BlockLifetime;
}

/** Most segments of a discard, write zeroes or secure erase. */
export const RANGES_MAX = 32;
/** Most sectors of one such segment: 1 GiB, so that a request takes a bounded time even where zeros must be written. */
export const RANGE_SECTORS_MAX = 0x20_0000;

const DEFAULT_QUEUE_SIZE = 256;
/** 4 KiB: blocks of the file systems that images lie in. */
const DEFAULT_DISCARD_ALIGNMENT = 8;

/** What options mean, with what is absent filled in. */
export interface BlockLimits {
  readonly queues: number;
  readonly queueSize: number;
  readonly sizeMax: number;
  readonly segMax: number;
}

export function blockLimits(options: BlockOptions): BlockLimits {
  const queueSize = options.queueSize ?? DEFAULT_QUEUE_SIZE;
  return {
    queues: options.queues ?? 1,
    queueSize,
    sizeMax: options.sizeMax ?? 0xffff_ffff,
    // A chain holds the header and the status besides its data segments.
    segMax: options.segMax ?? Math.max(1, queueSize - 2),
  };
}

/** Features of a device on a storage (5.2.3): what the storage cannot do is not offered. */
export function blockFeatures(storage: BlockStorage, options: BlockOptions): bigint {
  const writable = !storage.readOnly;
  const zeroes = writable && storage.writeZeroes !== undefined;
  const offered: readonly (readonly [bit: number, offered: boolean])[] = [
    [VIRTIO_BLK_F_SIZE_MAX, options.sizeMax !== undefined],
    [VIRTIO_BLK_F_SEG_MAX, true],
    [VIRTIO_BLK_F_GEOMETRY, options.geometry !== undefined],
    [VIRTIO_BLK_F_RO, storage.readOnly],
    [VIRTIO_BLK_F_BLK_SIZE, true],
    [VIRTIO_BLK_F_FLUSH, true],
    [VIRTIO_BLK_F_TOPOLOGY, options.topology !== undefined],
    [VIRTIO_BLK_F_CONFIG_WCE, true],
    [VIRTIO_BLK_F_MQ, (options.queues ?? 1) > 1],
    [VIRTIO_BLK_F_DISCARD, writable && storage.discard !== undefined],
    [VIRTIO_BLK_F_WRITE_ZEROES, zeroes],
    // 5.2.6.2: not to be offered where the metrics cannot be had.
    [VIRTIO_BLK_F_LIFETIME, options.lifetime !== undefined],
    [VIRTIO_BLK_F_SECURE_ERASE, zeroes && options.secureErase === true],
  ];
  return featureSet(...offered.filter(([, yes]) => yes).map(([bit]) => bit));
}

/** The device configuration (5.2.4) as it is before any driver writes to it; fields without their feature are 0. */
export function blockConfig(storage: BlockStorage, options: BlockOptions): Uint8Array {
  const { queues, segMax } = blockLimits(options);
  const { topology, geometry } = options;
  const config = new Uint8Array(BLK_CONFIG_SIZE);
  const view = new DataView(config.buffer);
  setCapacity(config, storage);
  view.setUint32(BLK_CONFIG_SIZE_MAX, options.sizeMax ?? 0, true);
  view.setUint32(BLK_CONFIG_SEG_MAX, segMax, true);
  view.setUint16(BLK_CONFIG_CYLINDERS, geometry?.cylinders ?? 0, true);
  view.setUint8(BLK_CONFIG_HEADS, geometry?.heads ?? 0);
  view.setUint8(BLK_CONFIG_SECTORS, geometry?.sectors ?? 0);
  view.setUint32(BLK_CONFIG_BLK_SIZE, options.blockSize ?? SECTOR_SIZE, true);
  view.setUint8(BLK_CONFIG_PHYSICAL_BLOCK_EXP, topology?.physicalBlockExp ?? 0);
  view.setUint8(BLK_CONFIG_ALIGNMENT_OFFSET, topology?.alignmentOffset ?? 0);
  view.setUint16(BLK_CONFIG_MIN_IO_SIZE, topology?.minIoSize ?? 0, true);
  view.setUint32(BLK_CONFIG_OPT_IO_SIZE, topology?.optIoSize ?? 0, true);
  view.setUint16(BLK_CONFIG_NUM_QUEUES, queues, true);
  const alignment = options.discardAlignment ?? DEFAULT_DISCARD_ALIGNMENT;
  if (storage.discard !== undefined) {
    view.setUint32(BLK_CONFIG_MAX_DISCARD_SECTORS, RANGE_SECTORS_MAX, true);
    view.setUint32(BLK_CONFIG_MAX_DISCARD_SEG, RANGES_MAX, true);
    view.setUint32(BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT, alignment, true);
  }
  if (storage.writeZeroes !== undefined) {
    view.setUint32(BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS, RANGE_SECTORS_MAX, true);
    view.setUint32(BLK_CONFIG_MAX_WRITE_ZEROES_SEG, RANGES_MAX, true);
    // 5.2.6.2: clear if and only if no write zeroes can give room back.
    view.setUint8(BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP, storage.discard === undefined ? 0 : 1);
    if (options.secureErase === true) {
      view.setUint32(BLK_CONFIG_MAX_SECURE_ERASE_SECTORS, RANGE_SECTORS_MAX, true);
      view.setUint32(BLK_CONFIG_MAX_SECURE_ERASE_SEG, RANGES_MAX, true);
      view.setUint32(BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT, 1, true);
    }
  }
  return config;
}

/** Puts the storage's capacity into a configuration. */
export function setCapacity(config: Uint8Array, storage: BlockStorage): void {
  const view = new DataView(config.buffer, config.byteOffset);
  view.setBigUint64(BLK_CONFIG_CAPACITY, BigInt(Math.floor(storage.capacity / SECTOR_SIZE)), true);
}
