import { z } from 'zod';
import { count, size } from '../fields.js';

export const fsCheckSchema = z.strictObject({
  type: z.literal('fs-check'),
  directory: z
    .string()
    .regex(/^[^/\0]+$/, 'expected one name')
    .optional()
    .describe('Directory that is made, and filled; `guest` unless it says otherwise'),
  files: count.optional().describe('Files to write; 8 unless it says otherwise'),
  size: size.optional().describe('Bytes of each; 256KiB unless it says otherwise'),
  seed: count.optional().describe('Seed of what is written'),
});

/** What the check of a file system is given. */
export interface FsCheckChoice {
  readonly directory: string;
  readonly files: number;
  readonly size: number;
  readonly seed: number;
}

export const fsCheckOptions = (driver: z.output<typeof fsCheckSchema>): FsCheckChoice => ({
  directory: driver.directory ?? 'guest',
  files: driver.files ?? 8,
  size: Number(driver.size ?? 262_144n),
  seed: driver.seed ?? 1,
});
