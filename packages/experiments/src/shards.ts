import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Plan } from './plan.js';
import { platformFile } from './platform.js';

/** A part of an experiment's runs, made by itself. */
export interface Shard {
  /** 1 to `of`. */
  readonly index: number;
  readonly of: number;
}

export const showShard = ({ index, of }: Shard): string => `${index}/${of}`;

/**
 * Who of several makes the item at a position: dealt out back and forth, so that neither a dimension that has as many values
 * as there are shards, nor points that grow along the sweep, are all one's.
 * @param position 0 and up
 * @returns 1 to `of`
 */
export function shardAt(position: number, of: number): number {
  const round = Math.floor(position / of);
  const place = position % of;
  return 1 + (round % 2 === 0 ? place : of - 1 - place);
}

/** Items that are a shard's, by their position; all of them without one. */
export const itemsOf = <T>(items: readonly T[], shard: Shard | undefined): readonly T[] =>
  shard === undefined ? items : items.filter((_, position) => shardAt(position, shard.of) === shard.index);

/** What the folder of a shard says of it: what must be the same for all that belong together. */
const noteSchema = z.strictObject({
  index: z.number().int().min(1),
  of: z.number().int().min(1),
  /** Whether runs of the analysis of constants are part of it. */
  sensitivity: z.boolean(),
  /** Remio's. */
  version: z.string(),
  /** Of all that decides what runs give, as this version reads the experiment. */
  inputs: z.string(),
});
export type ShardNote = z.output<typeof noteSchema>;

/** @throws Error if it is no note of a shard */
export const parseShardNote = (text: string): ShardNote => noteSchema.parse(JSON.parse(text));

export const shardNote = (plan: Plan, shard: Shard, sensitivity: boolean): ShardNote => ({
  ...shard,
  sensitivity,
  version: remioVersion(),
  inputs: inputsDigest(plan),
});

/** The version of these experiments, and so of what they run. */
export const remioVersion = (): string =>
  (JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')) as { version: string }).version;

/** A digest of all that decides what an experiment's runs give, wherever its files lie. */
export function inputsDigest({ text, bases, points, repetitions, seed, clock }: Plan): string {
  const hash = createHash('sha256');
  const add = (value: unknown): void => {
    hash.update(`${JSON.stringify(value, (_, inner) => (typeof inner === 'bigint' ? `${inner}n` : inner))}\n`);
  };
  add([text, repetitions, seed, clock, bases.map((base) => [base.name, base.text])]);
  for (const { id, at, settings } of points) {
    const { base: _, ...own } = settings;
    add([id, at, own, platformFile(settings)]);
  }
  return hash.digest('hex');
}
