import { z } from 'zod';
import type { EndContext } from '../end-context.js';
import { count } from '../fields.js';
import { type LineChoice, lineCount, lineFields, lineOf } from '../line.js';

const portSchema = z
  .strictObject({
    port: z.union([count, z.string()]).optional().describe('Number or name of the port; absent: its place in the list'),
    echo: z.literal(true).optional().describe('Whatever comes goes back'),
    ...lineFields,
  })
  .refine(
    ({ echo, port: _, ...line }) => lineCount(line) + (echo === undefined ? 0 : 1) === 1,
    'expected exactly one of echo, pty, listen, connect, stdio, or files (input, output)',
  );

export const consoleDriverSchema = z.strictObject({
  type: z.literal('console'),
  ports: z.array(portSchema).describe('Where the guest takes each port to'),
});

/** Where the guest takes a port to: to a line of its host, or back where it came from. */
export interface ConsoleDriverPort {
  readonly port: number | string;
  readonly line: LineChoice | { readonly kind: 'echo' };
}

/** What the console driver is given. */
export interface ConsoleDriverChoice {
  readonly ports: readonly ConsoleDriverPort[];
}

export const consoleDriverOptions = (
  { ports }: z.output<typeof consoleDriverSchema>,
  { resolve }: EndContext,
): ConsoleDriverChoice => ({
  ports: ports.map(({ port, echo, ...fields }, id) => ({
    port: port ?? id,
    line: (echo === undefined ? lineOf(fields, resolve) : undefined) ?? { kind: 'echo' },
  })),
});
