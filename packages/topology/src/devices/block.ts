import { z } from 'zod';
import type { EndContext, EndProblem, TopologyFiles } from '../end-context.js';
import { count } from '../fields.js';

export const blockSchema = z.strictObject({
  type: z.literal('block'),
  image: z.string().describe('Path of a raw disk image, from this file'),
  read_only: z.boolean().optional(),
  queues: count.optional().describe('Request queues, 1 to 64'),
  queue_size: count.optional().describe('QueueSizeMax, a power of two'),
  id: z.string().max(20).optional().describe('Identification string'),
});

/** What the block device's model is given. */
export interface BlockModelOptions {
  /** Absolute path. */
  readonly image: string;
  readonly readOnly: boolean;
  readonly queues?: number;
  readonly queueSize?: number;
  readonly id?: string;
}

export const blockOptions = (device: z.output<typeof blockSchema>, context: EndContext): BlockModelOptions => ({
  image: context.images?.[context.name] ?? context.images?.['*'] ?? context.resolve(device.image),
  readOnly: device.read_only ?? false,
  ...(device.queues === undefined ? {} : { queues: device.queues }),
  ...(device.queue_size === undefined ? {} : { queueSize: device.queue_size }),
  ...(device.id === undefined ? {} : { id: device.id }),
});

export function blockProblems(options: BlockModelOptions, files: TopologyFiles): readonly EndProblem[] {
  const message = files.imageProblem(options.image, options.readOnly);
  return message === undefined
    ? []
    : [{ rule: 'image', field: 'image', message, fix: 'name a disk image, or pass --disk FILE' }];
}
