import { z } from 'zod';
import type { EndContext, EndProblem, TopologyFiles } from '../end-context.js';
import { count } from '../fields.js';

/** Bytes of a tag (5.11.4). */
const TAG_MAX = 36;
/** Request queues, at most. */
const QUEUES_MAX = 64;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

export const fsSchema = z.strictObject({
  type: z.literal('fs'),
  tag: z
    .string()
    .refine((tag) => tag.length > 0 && bytesOf(tag) <= TAG_MAX, 'expected 1 to 36 bytes of text')
    .describe('Name of the file system, for the driver'),
  directory: z.string().describe('Path of the directory that is shared, from this file'),
  read_only: z.boolean().optional(),
  queues: count
    .refine((queues) => queues >= 1 && queues <= QUEUES_MAX, 'expected 1 to 64 queues')
    .optional()
    .describe('Request queues, 1 to 64'),
});

/** What the file system device's model is given. */
export interface FsModelOptions {
  readonly tag: string;
  /** Absolute path. */
  readonly directory: string;
  readonly readOnly: boolean;
  readonly queues?: number;
}

export const fsOptions = (device: z.output<typeof fsSchema>, context: EndContext): FsModelOptions => ({
  tag: device.tag,
  directory: context.images?.[context.name] ?? context.resolve(device.directory),
  readOnly: device.read_only ?? false,
  ...(device.queues === undefined ? {} : { queues: device.queues }),
});

export function fsProblems(options: FsModelOptions, files: TopologyFiles): readonly EndProblem[] {
  const message = files.directoryProblem(options.directory, options.readOnly);
  return message === undefined
    ? []
    : [{ rule: 'directory', field: 'directory', message, fix: 'name a directory, or pass --image NAME=DIRECTORY' }];
}
