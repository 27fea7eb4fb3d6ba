import { z } from 'zod';
import type { EndContext } from '../end-context.js';
import { from, present } from '../fields.js';

/** Clients that a server takes at the same time, unless it says otherwise. */
const CONNECTIONS = 16;
/** IANA's port for NBD. */
const PORT = 10809;

export const nbdSchema = z
  .strictObject({
    type: z.literal('nbd'),
    socket: z.string().optional().describe('Path of a Unix socket, from this file'),
    tcp: z
      .strictObject({
        host: z.string().optional().describe('Address to listen on; 127.0.0.1 unless it says otherwise'),
        port: from(0, 0xffff).optional().describe(`Port; 0: any that is free; ${PORT} unless it says otherwise`),
      })
      .optional(),
    export: z.string().max(255).optional().describe('Name of the export; the device\u2019s unless it says otherwise'),
    connections: from(1, 256).optional().describe(`Clients at the same time; ${CONNECTIONS} unless it says otherwise`),
  })
  .refine(({ socket, tcp }) => socket !== undefined || tcp !== undefined, {
    error: 'expected socket: PATH, tcp: { port: N }, or both',
  });

/** What the driver that exports a disk over NBD is given. */
export interface NbdDriverChoice {
  /** Absolute path of the Unix socket to listen on. */
  readonly socket?: string;
  readonly tcp?: { readonly host: string; readonly port: number };
  readonly exportName: string;
  readonly connections: number;
}

export const nbdOptions = (driver: z.output<typeof nbdSchema>, context: EndContext): NbdDriverChoice => ({
  ...present({
    socket: driver.socket === undefined ? undefined : context.resolve(driver.socket),
    tcp: driver.tcp === undefined ? undefined : { host: driver.tcp.host ?? '127.0.0.1', port: driver.tcp.port ?? PORT },
  }),
  exportName: driver.export ?? context.name,
  connections: driver.connections ?? CONNECTIONS,
});
