import { z } from 'zod';

/** Lines of a device, at most. */
const LINES_MAX = 1024;

const line = z.strictObject({
  name: z
    .string()
    .regex(/^[ -~]+$/, 'expected printable ASCII')
    .optional()
    .describe('Name of the line, for the driver'),
  wire: z.string().optional().describe('Name of the line that drives this one while it is an output'),
  pull: z
    .enum(['up', 'down'])
    .optional()
    .describe('The level while nobody drives the line; down unless it says otherwise'),
});

const namesOf = (lines: readonly { readonly name?: string | undefined }[]): readonly string[] =>
  lines.flatMap(({ name }) => name ?? []);

export const gpioSchema = z.strictObject({
  type: z.literal('gpio'),
  lines: z
    .array(line)
    .min(1)
    .max(LINES_MAX)
    .refine((lines) => new Set(namesOf(lines)).size === namesOf(lines).length, 'expected lines with different names')
    .refine(
      (lines) => lines.every(({ wire }) => wire === undefined || namesOf(lines).includes(wire)),
      'expected wires to lines of this device',
    ),
});

/** A line as the GPIO model knows it. */
export interface GpioModelLine {
  readonly name: string;
  /** Position of the line that drives this one. */
  readonly wire?: number;
  readonly pull: 0 | 1;
}

/** What the GPIO device's model is given. */
export interface GpioModelOptions {
  readonly lines: readonly GpioModelLine[];
}

export const gpioOptions = ({ lines }: z.output<typeof gpioSchema>): GpioModelOptions => ({
  lines: lines.map(({ name, wire, pull }) => ({
    name: name ?? '',
    ...(wire === undefined ? {} : { wire: lines.findIndex((other) => other.name === wire) }),
    pull: pull === 'up' ? 1 : 0,
  })),
});
