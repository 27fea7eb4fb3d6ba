import { err, ok, type Result } from '@remio/base';
import { type CoreInput, type Profile, type RemioConfig, RemioCore } from '../remio/index.js';
import { plain } from './recorder.js';

/** How a replay went. */
export interface Replay {
  readonly steps: number;
  /** The first step whose effects are others than recorded. */
  readonly difference?: { readonly step: number; readonly recorded: unknown; readonly now: unknown };
}

/** Turns `0x…` texts back into the numbers they stand for. */
const revive = (value: unknown): unknown => {
  if (typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revive(inner)]));
  }
  return value;
};

interface Header {
  readonly format?: unknown;
  readonly profile?: unknown;
  readonly machine?: unknown;
}

/**
 * Runs a recording again: the same inputs, in the same order, through a new core.
 * @param lines of a `remio-recording/1` file
 * @returns what is wrong with the recording
 */
export function replay(lines: readonly string[]): Result<Replay, string> {
  const [first, ...rest] = lines;
  let steps = 0;
  try {
    const header = JSON.parse(first ?? '') as Header;
    const { profile } = header;
    if (header.format !== 'remio-recording/1' || (profile !== 'reference' && profile !== 'hardened')) {
      return err('line 1: not a remio-recording/1');
    }
    const core = RemioCore.create(revive(header.machine) as RemioConfig, profile satisfies Profile);
    if (!core.ok) return err(`line 1: the machine is refused: ${core.error.code}`);
    for (const line of rest) {
      if (line === '') continue;
      const entry = JSON.parse(line) as { readonly input?: unknown; readonly effects?: unknown };
      if (entry.input === undefined) continue;
      steps += 1;
      const effects = plain(core.value.step(revive(entry.input) as CoreInput));
      if (JSON.stringify(effects) !== JSON.stringify(entry.effects)) {
        return ok({ steps, difference: { step: steps, recorded: entry.effects, now: effects } });
      }
    }
    return ok({ steps });
  } catch (error) {
    return err(`line ${steps + 2}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
