import { z } from 'zod';
import { count, size } from '../fields.js';

/** Bytes of the longest message unless a topology says otherwise, and at most. */
const MESSAGE_DEFAULT = 256;
const MESSAGE_MAX = 65_536;

export const ipcExchangeSchema = z.strictObject({
  type: z.literal('exchange'),
  side: z.enum(['first', 'second']).describe('Which of the two partitions this is; the other one says the other'),
  messages: count
    .optional()
    .describe('Messages to send, and to expect of the other side; 1000 unless it says otherwise'),
  size: size
    .refine((bytes) => bytes >= 1n && bytes <= BigInt(MESSAGE_MAX), { error: `expected 1 to ${MESSAGE_MAX} bytes` })
    .optional()
    .describe('Bytes of the longest message; 256 unless it says otherwise, the same at both sides'),
  seed: count.optional().describe('Seed of the messages; 1 unless it says otherwise, the same at both sides'),
});

/** What the program is given that exchanges messages with another partition. */
export interface IpcExchangeChoice {
  readonly side: 0 | 1;
  readonly messages: number;
  /** Bytes of the longest message. */
  readonly size: number;
  readonly seed: number;
}

export const ipcExchangeOptions = (driver: z.output<typeof ipcExchangeSchema>): IpcExchangeChoice => ({
  side: driver.side === 'first' ? 0 : 1,
  messages: driver.messages ?? 1000,
  size: driver.size === undefined ? MESSAGE_DEFAULT : Number(driver.size),
  seed: driver.seed ?? 1,
});
