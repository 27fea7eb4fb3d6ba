import { z } from 'zod';
import { count, duration, size } from '../fields.js';
import { TIMEOUT, TIMEOUT_TEXT } from './timeout.js';

export const blkVerifySchema = z.strictObject({
  type: z.literal('blk-verify'),
  read_size: size.optional().describe('Bytes of one read of the whole disk; 256KiB unless it says otherwise'),
  depth: count.optional().describe('Reads in flight; 4 unless it says otherwise'),
  writes: count.optional().describe('Random blocks to write and read back; 256 unless it says otherwise'),
  write_size: size.optional().describe('Bytes of a block; 4KiB unless it says otherwise'),
  seed: count.optional().describe('Seed of the random blocks; 1 unless it says otherwise'),
  timeout: duration.optional().describe(TIMEOUT_TEXT),
});

/** What the driver is given that reads a disk whole, and checks that it keeps what is written. */
export interface BlkVerifyChoice {
  readonly readSize: number;
  readonly depth: number;
  readonly writes: number;
  readonly writeSize: number;
  readonly seed: number;
  /** Nanoseconds. */
  readonly timeout: number;
}

export const blkVerifyOptions = (driver: z.output<typeof blkVerifySchema>): BlkVerifyChoice => ({
  readSize: Number(driver.read_size ?? 262_144n),
  depth: driver.depth ?? 4,
  writes: driver.writes ?? 256,
  writeSize: Number(driver.write_size ?? 4096n),
  seed: driver.seed ?? 1,
  timeout: Number(driver.timeout ?? TIMEOUT),
});
