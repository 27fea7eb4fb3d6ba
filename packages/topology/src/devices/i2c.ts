import { z } from 'zod';
import { count } from '../fields.js';

/** Addresses of 7 bits that the bus does not reserve (5.16.6.1). */
const address = count
  .refine((value) => value >= 0x08 && value <= 0x77, 'expected an address from 0x08 to 0x77')
  .describe('Address on the bus, 7 bits');

const eeprom = z.strictObject({
  type: z.literal('eeprom').describe('256 bytes, like a 24C02'),
  address,
  content: z.string().optional().describe('What it holds from address 0 on'),
});

/** Thousandths of a degree that the chip can say. */
const MILLICELSIUS_MIN = -55_000n;
const MILLICELSIUS_MAX = 125_000n;

const lm75 = z.strictObject({
  type: z.literal('lm75').describe('A temperature sensor'),
  address,
  millicelsius: z
    .bigint({ error: 'expected an integer' })
    .refine(
      (value) => value >= MILLICELSIUS_MIN && value <= MILLICELSIUS_MAX,
      'expected thousandths of a degree, from -55000 to 125000',
    )
    .transform(Number)
    .describe('What it feels, in thousandths of a degree'),
});

export const i2cSchema = z.strictObject({
  type: z.literal('i2c'),
  chips: z
    .array(z.union([eeprom, lm75], { error: 'expected { type: eeprom, … } or { type: lm75, … }' }))
    .refine(
      (chips) => new Set(chips.map((chip) => chip.address)).size === chips.length,
      'expected chips at different addresses',
    ),
});

/** A chip on the bus. */
export type I2cChip =
  | { readonly type: 'eeprom'; readonly address: number; readonly content: string }
  | { readonly type: 'lm75'; readonly address: number; readonly millicelsius: number };

/** What the I2C adapter's model is given. */
export interface I2cModelOptions {
  readonly chips: readonly I2cChip[];
}

export const i2cOptions = ({ chips }: z.output<typeof i2cSchema>): I2cModelOptions => ({
  chips: chips.map((chip) => (chip.type === 'eeprom' ? { ...chip, content: chip.content ?? '' } : chip)),
});
