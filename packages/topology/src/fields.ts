import { publicKeyProblem } from '@remio/protocol';
import { z } from 'zod';

const SIZE = /^(\d+)(KiB|MiB|GiB)$/;
const DURATION = /^(\d+)(ns|us|ms|s)$/;
const UNIT: Readonly<Record<string, bigint>> = {
  KiB: 1024n,
  MiB: 1024n ** 2n,
  GiB: 1024n ** 3n,
  ns: 1n,
  us: 1000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
};

/** YAML integers arrive as bigint, so that 64 bits are exact. */
export const u64 = z
  .bigint({ error: 'expected an integer (decimal or 0x…)' })
  .refine((value) => value >= 0n && value < 1n << 64n, 'expected an integer from 0 to 2^64-1');

const scaled = (pattern: RegExp, what: string) =>
  z
    .string()
    .regex(pattern, what)
    .transform((text) => {
      const [, digits = '0', unit = ''] = pattern.exec(text) ?? [];
      return BigInt(digits) * (UNIT[unit] ?? 1n);
    });

/** Bytes, as a bigint. */
export const size = z.union([u64, scaled(SIZE, 'expected a size: bytes, or 64KiB, 16MiB, 1GiB')], {
  error: 'expected a size: bytes, or 64KiB, 16MiB, 1GiB',
});

/** Nanoseconds, as a bigint. */
export const duration = scaled(DURATION, 'expected a duration: 500us, 20ms, 5s').describe(
  'A duration: 500us, 20ms, 5s',
);

/** A small integer, as a number. */
export const count = u64.refine((value) => value < 1n << 31n, 'expected a small integer').transform(Number);

/** Cycles: an integer or a fraction, as a number. */
export const cost = z
  .union([u64.transform(Number), z.number()], { error: 'expected a number of cycles' })
  .refine((value) => value >= 0 && value <= 1e9, 'expected 0 to 10^9 cycles')
  .describe('Cycles');

export const hertz = u64
  .transform(Number)
  .refine((value) => value >= 1 && value <= 1e11, 'expected 1 to 10^11 cycles a second')
  .describe('Cycles of a CPU in a second');

export const name = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'expected a name: letters, digits, - and _');

/** A public key of CURVE. */
export const publicKey = z
  .string()
  .superRefine((text, context) => {
    const problem = publicKeyProblem(text);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  })
  .describe('A public key of CURVE: 40 characters of Z85, as `remio keys` prints it');

/** `options` are the program's own; integers become numbers where they are exact. */
export const options = z.record(z.string(), z.unknown());

/** An integer from `min` to `max`, as a number. */
export const from = (min: number, max: number) =>
  count.refine((value) => value >= min && value <= max, { error: `expected an integer from ${min} to ${max}` });

export const atMost = (max: number) => from(0, max);

type Present<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that are there: an option that a file does not name is absent, not undefined. */
export const present = <T extends object>(fields: T): Present<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
