import type { Prng } from './prng.js';

/** Fixed by the language, to the bit. */
const { LN2 } = Math;

/**
 * The natural logarithm of a positive number, by operations that IEEE 754 fixes: `Math.log` may differ between machines
 * in its last bit, and a simulation would drift apart.
 */
export function fixedLog(value: number): number {
  let mantissa = value;
  let exponent = 0;
  for (; mantissa >= 1.5; mantissa /= 2) exponent += 1;
  for (; mantissa < 0.75; mantissa *= 2) exponent -= 1;
  // ln m = 2 artanh((m-1)/(m+1)); with m from 0.75 to 1.5, the terms fall below 2^-53 before the 25th power.
  const z = (mantissa - 1) / (mantissa + 1);
  const square = z * z;
  let power = z;
  let sum = 0;
  for (let n = 1; n <= 25; n += 2) {
    sum += power / n;
    power *= square;
  }
  return 2 * sum + exponent * LN2;
}

/** A random number from 0 to 1, neither of them. */
export const unit = (random: Prng): number => (random.u32() + 0.5) / 0x1_0000_0000;

/** An exponentially distributed random number of mean 1: gaps between events that come independently. */
export const exponential = (random: Prng): number => -fixedLog(unit(random));
