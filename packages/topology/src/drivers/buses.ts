import { z } from 'zod';
import { count } from '../fields.js';

/** Looks for chips on an I2C bus, reads temperatures, tries out EEPROMs. */
export const i2cCheckSchema = z.strictObject({ type: z.literal('i2c-check') });

export const gpioCheckSchema = z.strictObject({
  type: z.literal('gpio-check'),
  output: z.string().describe('Name of the line that is driven'),
  input: z.string().describe('Name of the line that is sensed'),
  edges: count.optional().describe('Edges to make; 100 unless it says otherwise'),
});

/** What the check of a GPIO device is given. */
export interface GpioCheckChoice {
  readonly output: string;
  readonly input: string;
  readonly edges: number;
}

export const gpioCheckOptions = (driver: z.output<typeof gpioCheckSchema>): GpioCheckChoice => ({
  output: driver.output,
  input: driver.input,
  edges: driver.edges ?? 100,
});
