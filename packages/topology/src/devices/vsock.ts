import { z } from 'zod';
import type { EndContext } from '../end-context.js';
import { from, name, present } from '../fields.js';

/** CIDs of guests (VirtIO 5.10.4): 0 to 2 and 2^32-1 are reserved. Integers of the language are smaller than that. */
const CID_MIN = 3;
const CID_MAX = 2 ** 31 - 1;

export const vsockSchema = z
  .strictObject({
    type: z.literal('vsock'),
    cid: from(CID_MIN, CID_MAX).describe('The guest\u2019s context id'),
    uds: z
      .string()
      .optional()
      .describe('A Unix socket, from this file: programs connect to it; host port P leads to PATH_P'),
    group: name.optional().describe('Guests of one group reach each other, by their CIDs'),
  })
  .refine(({ uds, group }) => uds !== undefined || group !== undefined, {
    error: 'expected uds: PATH for programs of the host, group: NAME for other guests, or both',
  });

/** What the socket device's model is given. */
export interface VsockModelOptions {
  readonly cid: number;
  /** Absolute path; absent: no program of the host is reached. */
  readonly uds?: string;
  /** Whose guests reach each other. */
  readonly group?: string;
}

export const vsockOptions = (
  { cid, uds, group }: z.output<typeof vsockSchema>,
  { resolve }: EndContext,
): VsockModelOptions => ({ cid, ...present({ uds: uds === undefined ? undefined : resolve(uds), group }) });
