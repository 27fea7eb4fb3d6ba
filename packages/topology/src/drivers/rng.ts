import { z } from 'zod';
import { duration, size } from '../fields.js';
import { TIMEOUT, TIMEOUT_TEXT } from './timeout.js';

export const rngSchema = z.strictObject({
  type: z.literal('rng'),
  bytes: size.optional().describe('Bytes to read; 64KiB unless it says otherwise'),
  timeout: duration.optional().describe(TIMEOUT_TEXT),
});

/** What the entropy driver is given. */
export interface RngDriverChoice {
  readonly bytes: number;
  /** Nanoseconds. */
  readonly timeout: number;
}

export const rngOptions = (driver: z.output<typeof rngSchema>): RngDriverChoice => ({
  bytes: Number(driver.bytes ?? 65_536n),
  timeout: Number(driver.timeout ?? TIMEOUT),
});
