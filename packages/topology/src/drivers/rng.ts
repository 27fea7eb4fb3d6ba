import { z } from 'zod';
import { size } from '../fields.js';

export const rngSchema = z.strictObject({
  type: z.literal('rng'),
  bytes: size.optional().describe('Bytes to read; 64KiB unless it says otherwise'),
});

/** What the entropy driver is given. */
export interface RngDriverChoice {
  readonly bytes: number;
}

export const rngOptions = (driver: z.output<typeof rngSchema>): RngDriverChoice => ({
  bytes: Number(driver.bytes ?? 65_536n),
});
