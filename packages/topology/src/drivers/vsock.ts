import { z } from 'zod';
import type { EndContext } from '../end-context.js';
import { count } from '../fields.js';

const CID_HOST = 2;

export const vsockDriverSchema = z.strictObject({
  type: z.literal('vsock'),
  accept: z
    .array(z.strictObject({ port: count, connect: z.string() }))
    .optional()
    .describe('Ports that the guest listens on, and the Unix socket that each connection is taken to'),
  dial: z
    .array(z.strictObject({ listen: z.string(), port: count, cid: count.optional() }))
    .optional()
    .describe('Unix sockets that are listened on, and the port (of the host, or of another CID) that each leads to'),
});

/** What the socket driver is given. Paths are absolute. */
export interface VsockDriverChoice {
  readonly accept: readonly { readonly port: number; readonly connect: string }[];
  readonly dial: readonly { readonly listen: string; readonly port: number; readonly cid: number }[];
}

export const vsockDriverOptions = (
  { accept = [], dial = [] }: z.output<typeof vsockDriverSchema>,
  { resolve }: EndContext,
): VsockDriverChoice => ({
  accept: accept.map(({ port, connect }) => ({ port, connect: resolve(connect) })),
  dial: dial.map(({ listen, port, cid }) => ({ listen: resolve(listen), port, cid: cid ?? CID_HOST })),
});
