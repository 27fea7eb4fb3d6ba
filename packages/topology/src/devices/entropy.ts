import { z } from 'zod';
import { count } from '../fields.js';

export const entropySchema = z.strictObject({
  type: z.literal('entropy'),
  seed: count.optional().describe('The same bytes every time, for runs that must repeat; absent: the host\u2019s'),
});

/** What the entropy device's model is given. */
export interface EntropyModelOptions {
  /** Of a generator whose bytes are the same every time; absent: the host's cryptographic generator. */
  readonly seed?: number;
}

export const entropyOptions = (device: z.output<typeof entropySchema>): EntropyModelOptions => ({
  ...(device.seed === undefined ? {} : { seed: device.seed }),
});
