import { z } from 'zod';
import type { EndContext, EndProblem, TopologyFiles } from '../end-context.js';
import { atMost, count, from, present, size } from '../fields.js';

/** Queues that a device may have: what the register model and its snapshots are tested with. */
const QUEUES_MAX = 64;
const QUEUE_SIZE_MAX = 32768;
const BLOCK_SIZE_MAX = 65536;

const bytes = size.transform(Number);

export const blockSchema = z.strictObject({
  type: z.literal('block'),
  image: z.string().describe('Path of a raw disk image, from this file; it may be sparse'),
  read_only: z.boolean().optional(),
  queues: from(1, QUEUES_MAX).optional().describe('Request queues, 1 to 64'),
  queue_size: from(1, QUEUE_SIZE_MAX)
    .optional()
    .describe('QueueSizeMax; of split rings, the largest power of two that is not above'),
  id: z.string().max(20).optional().describe('Identification string'),
  block_size: bytes
    .refine((value) => value >= 512 && value <= BLOCK_SIZE_MAX && Number.isInteger(Math.log2(value)), {
      error: 'expected a power of two from 512 to 64KiB',
    })
    .optional()
    .describe('Bytes of a logical block'),
  size_max: bytes
    .refine((value) => value >= 512 && value < 2 ** 32, { error: 'expected a size from 512 to 4GiB' })
    .optional()
    .describe('Most bytes of one segment of a request'),
  seg_max: from(1, QUEUE_SIZE_MAX).optional().describe('Most segments of a request'),
  topology: z
    .strictObject({
      physical_block_exp: atMost(0xff).optional().describe('Logical blocks of a physical one, as a power of two'),
      alignment_offset: atMost(0xff).optional(),
      min_io_size: atMost(0xffff).optional().describe('Logical blocks'),
      opt_io_size: count.optional().describe('Logical blocks'),
    })
    .optional()
    .describe('What the disk\u2019s true blocks look like'),
  geometry: z
    .strictObject({ cylinders: atMost(0xffff), heads: atMost(0xff), sectors: atMost(0xff) })
    .optional()
    .describe('Disk-style geometry'),
  writeback: z
    .boolean()
    .optional()
    .describe('Cache mode after a reset; false: every write is durable before it is answered'),
  secure_erase: z.boolean().optional().describe('Offers SECURE_ERASE: ranges are overwritten with zeros'),
  lifetime: z
    .strictObject({ pre_eol_info: atMost(3), typ_a: atMost(11), typ_b: atMost(11) })
    .optional()
    .describe('Offers GET_LIFETIME, which answers this'),
});

/** What the block device's model is given. */
export interface BlockModelOptions {
  /** Absolute path. */
  readonly image: string;
  readonly readOnly: boolean;
  readonly queues?: number;
  readonly queueSize?: number;
  readonly id?: string;
  readonly blockSize?: number;
  readonly sizeMax?: number;
  readonly segMax?: number;
  readonly topology?: {
    readonly physicalBlockExp?: number;
    readonly alignmentOffset?: number;
    readonly minIoSize?: number;
    readonly optIoSize?: number;
  };
  readonly geometry?: { readonly cylinders: number; readonly heads: number; readonly sectors: number };
  readonly writeback?: boolean;
  readonly secureErase?: boolean;
  readonly lifetime?: { readonly preEolInfo: number; readonly typA: number; readonly typB: number };
}

export function blockOptions(device: z.output<typeof blockSchema>, context: EndContext): BlockModelOptions {
  const { topology, lifetime } = device;
  return {
    image: context.images?.[context.name] ?? context.images?.['*'] ?? context.resolve(device.image),
    readOnly: device.read_only ?? false,
    ...present({
      queues: device.queues,
      queueSize: device.queue_size,
      id: device.id,
      blockSize: device.block_size,
      sizeMax: device.size_max,
      segMax: device.seg_max,
      topology:
        topology === undefined
          ? undefined
          : present({
              physicalBlockExp: topology.physical_block_exp,
              alignmentOffset: topology.alignment_offset,
              minIoSize: topology.min_io_size,
              optIoSize: topology.opt_io_size,
            }),
      geometry: device.geometry,
      writeback: device.writeback,
      secureErase: device.secure_erase,
      lifetime:
        lifetime === undefined
          ? undefined
          : { preEolInfo: lifetime.pre_eol_info, typA: lifetime.typ_a, typB: lifetime.typ_b },
    }),
  };
}

export function blockProblems(options: BlockModelOptions, files: TopologyFiles): readonly EndProblem[] {
  const message = files.imageProblem(options.image, options.readOnly);
  return message === undefined
    ? []
    : [{ rule: 'image', field: 'image', message, fix: 'name a disk image, or pass --image FILE' }];
}
