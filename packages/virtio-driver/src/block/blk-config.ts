import { err, ok, type Result } from '@remio/base';
import type { GuestCpu } from '@remio/guest';
import {
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_MAX_DISCARD_SECTORS,
  BLK_CONFIG_MAX_DISCARD_SEG,
  BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
  BLK_CONFIG_MAX_SECURE_ERASE_SEG,
  BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
  BLK_CONFIG_MAX_WRITE_ZEROES_SEG,
  BLK_CONFIG_NUM_QUEUES,
  BLK_CONFIG_OPT_IO_SIZE,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_SIZE_MAX,
  BLK_CONFIG_WRITEBACK,
  hasFeature,
  SECTOR_SIZE,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '@remio/virtio-spec';
import { type DriverError, driverError } from '../driver-error.js';
import type { MmioTransport } from '../mmio-transport.js';

/** Most sectors of a disk: 2^53 bytes, so that positions are exact numbers. */
const CAPACITY_MAX = 2n ** 44n;
/** Logical blocks that make sense: a power of two up to this. */
const BLOCK_SIZE_MAX = 65536;

/** How much one discard, write zeroes or secure erase may do. */
export interface RangeLimits {
  /** Sectors of one range; at least 1. */
  readonly sectors: number;
  /** Ranges of one request; at least 1. */
  readonly ranges: number;
}

/** What a block device says of itself (5.2.4), checked. Absent: the feature was not negotiated. */
export interface BlkConfig {
  /** Sectors of 512 bytes. */
  readonly capacity: bigint;
  readonly queues: number;
  /** Most bytes of one segment, and most segments, of a read or write. */
  readonly sizeMax: number;
  readonly segMax: number;
  /** Bytes of a logical block. */
  readonly blockSize: number;
  /** Bytes of requests that the disk likes best; 0: it did not say. */
  readonly optimalSize: number;
  /** Whether writes may be volatile until a flush. */
  readonly writeback: boolean;
  readonly discard?: RangeLimits;
  readonly writeZeroes?: RangeLimits;
  readonly secureErase?: RangeLimits;
}

/** Reads the capacity, which may change at any time. */
export async function readCapacity(cpu: GuestCpu, transport: MmioTransport): Promise<Result<bigint, DriverError>> {
  const read = await transport.readConfig(cpu, () => transport.config64(cpu, BLK_CONFIG_CAPACITY));
  if (read.ok && read.value > CAPACITY_MAX) return bad(`a capacity of ${read.value} sectors`);
  return read;
}

/** Reads the configuration of a device that was found; every field is one access at least, so only those that are needed. */
export async function readBlkConfig(
  cpu: GuestCpu,
  transport: MmioTransport,
  features: bigint,
): Promise<Result<BlkConfig, DriverError>> {
  const has = (feature: number): boolean => hasFeature(features, feature);
  const read32 = async (feature: number, offset: number, otherwise: number): Promise<number> =>
    has(feature) ? transport.config32(cpu, offset) : otherwise;
  const ranges = async (feature: number, sectors: number, segments: number): Promise<RangeLimits | undefined> =>
    has(feature)
      ? { sectors: await transport.config32(cpu, sectors), ranges: await transport.config32(cpu, segments) }
      : undefined;
  const read = await transport.readConfig(cpu, async () => ({
    capacity: await transport.config64(cpu, BLK_CONFIG_CAPACITY),
    queues: has(VIRTIO_BLK_F_MQ) ? await transport.config16(cpu, BLK_CONFIG_NUM_QUEUES) : 1,
    sizeMax: await read32(VIRTIO_BLK_F_SIZE_MAX, BLK_CONFIG_SIZE_MAX, 0xffff_ffff),
    segMax: await read32(VIRTIO_BLK_F_SEG_MAX, BLK_CONFIG_SEG_MAX, 1),
    blockSize: await read32(VIRTIO_BLK_F_BLK_SIZE, BLK_CONFIG_BLK_SIZE, SECTOR_SIZE),
    optimalBlocks: await read32(VIRTIO_BLK_F_TOPOLOGY, BLK_CONFIG_OPT_IO_SIZE, 0),
    // 5.2.5.1: without CONFIG_WCE, a device with FLUSH is taken to be writeback, one without to be writethrough.
    writeback: has(VIRTIO_BLK_F_CONFIG_WCE)
      ? (await transport.config8(cpu, BLK_CONFIG_WRITEBACK)) !== 0
      : has(VIRTIO_BLK_F_FLUSH),
    discard: await ranges(VIRTIO_BLK_F_DISCARD, BLK_CONFIG_MAX_DISCARD_SECTORS, BLK_CONFIG_MAX_DISCARD_SEG),
    writeZeroes: await ranges(
      VIRTIO_BLK_F_WRITE_ZEROES,
      BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS,
      BLK_CONFIG_MAX_WRITE_ZEROES_SEG,
    ),
    secureErase: await ranges(
      VIRTIO_BLK_F_SECURE_ERASE,
      BLK_CONFIG_MAX_SECURE_ERASE_SECTORS,
      BLK_CONFIG_MAX_SECURE_ERASE_SEG,
    ),
  }));
  return read.ok ? check(read.value) : read;
}

type Read = Omit<BlkConfig, 'optimalSize' | 'discard' | 'writeZeroes' | 'secureErase'> & {
  readonly optimalBlocks: number;
} & Readonly<Record<'discard' | 'writeZeroes' | 'secureErase', RangeLimits | undefined>>;

const bad = (what: string): Result<never, DriverError> =>
  err(driverError('config', '5.2.4', `the device says ${what}`));

/** The device is not trusted (V18): what no disk has is refused, what a limit of 0 would mean is left out. */
function check({ optimalBlocks, discard, writeZeroes, secureErase, ...read }: Read): Result<BlkConfig, DriverError> {
  const { capacity, sizeMax, blockSize } = read;
  if (capacity > CAPACITY_MAX) return bad(`a capacity of ${capacity} sectors`);
  if (sizeMax < SECTOR_SIZE) return bad(`segments of ${sizeMax} bytes at most`);
  if (blockSize < SECTOR_SIZE || blockSize > BLOCK_SIZE_MAX || !Number.isInteger(Math.log2(blockSize))) {
    return bad(`blocks of ${blockSize} bytes`);
  }
  const useful = (limits: RangeLimits | undefined): RangeLimits | undefined =>
    limits !== undefined && limits.sectors > 0 && limits.ranges > 0 ? limits : undefined;
  const [trim, zero, erase] = [discard, writeZeroes, secureErase].map(useful);
  return ok({
    ...read,
    // A cut at size_max falls between sectors.
    sizeMax: sizeMax - (sizeMax % SECTOR_SIZE),
    segMax: Math.max(1, read.segMax),
    queues: Math.max(1, read.queues),
    optimalSize: optimalBlocks * blockSize,
    ...(trim === undefined ? {} : { discard: trim }),
    ...(zero === undefined ? {} : { writeZeroes: zero }),
    ...(erase === undefined ? {} : { secureErase: erase }),
  });
}
