import type { Shard } from '@remio/experiments';
import { InvalidArgumentError } from 'commander';

/** The words that an option takes, as whoever reads it has them. */
export const words = <Words extends readonly string[]>(...list: Words): Words => list;

/** Every value of an option that may be repeated. */
export const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** A whole number, from 0. @throws InvalidArgumentError */
export const whole = (value: string): number => {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError('expected a whole number');
  return Number(value);
};

/** A whole number, from 1. @throws InvalidArgumentError */
export const positive = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('expected a number of 1 and up.');
  return value;
};

/** A part of an experiment's runs. @throws InvalidArgumentError */
export const shardOf = (text: string): Shard => {
  const [, index, of] = /^([1-9]\d*)\/([1-9]\d*)$/.exec(text)?.map(Number) ?? [];
  if (index === undefined || of === undefined || index > of) {
    throw new InvalidArgumentError('expected I/N, the number of a part and how many there are: 1/3, 2/3 or 3/3');
  }
  return { index, of };
};
