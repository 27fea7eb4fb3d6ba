import { z } from 'zod';
import type { EndContext } from '../end-context.js';
import { type LineChoice, lineCount, lineFields, lineOf, ONE_LINE } from '../line.js';

/** Ports of one device. */
const PORTS_MAX = 32;
/** Bytes of a port's name. */
const NAME_MAX = 128;

const portSchema = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .refine((name) => new TextEncoder().encode(name).length <= NAME_MAX, `expected at most ${NAME_MAX} bytes`)
      .optional()
      .describe('For the guest to find the port by'),
    console: z
      .boolean()
      .optional()
      .describe('Whether the guest should treat it as a console; absent: port 0 without a name is one'),
    ...lineFields,
  })
  .refine((port) => lineCount(port) === 1, ONE_LINE);

export const consoleSchema = z.strictObject({
  type: z.literal('console'),
  ports: z.array(portSchema).min(1).max(PORTS_MAX).describe('By port number'),
});

/** What one port of the console device's model is given. */
export interface ConsolePortChoice {
  readonly name?: string;
  readonly console: boolean;
  readonly line: LineChoice;
}

/** What the console device's model is given. */
export interface ConsoleModelOptions {
  readonly ports: readonly ConsolePortChoice[];
}

export const consoleOptions = (
  { ports }: z.output<typeof consoleSchema>,
  { resolve }: EndContext,
): ConsoleModelOptions => ({
  ports: ports.flatMap(({ name, console: isConsole, ...fields }, id) => {
    const line = lineOf(fields, resolve);
    // The schema lets no port through that leads nowhere.
    if (line === undefined) return [];
    return [{ ...(name === undefined ? {} : { name }), console: isConsole ?? (id === 0 && name === undefined), line }];
  }),
});
