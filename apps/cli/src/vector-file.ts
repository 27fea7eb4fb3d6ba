import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Result } from '@remio/base';
import {
  type Mismatch,
  type Outcome,
  type RunMode,
  RunnerError,
  type VectorPart,
  VectorReader,
  VectorRun,
} from '@remio/hypervisor/conformance';

/** How a file went: what cannot be read or run is an error. */
export interface FileOutcome {
  readonly outcome: Outcome;
  readonly steps: number;
  /** The file has its final state: whoever wrote it came to the end. */
  readonly whole: boolean;
}

/**
 * Runs the vector of a file through the core, as it is read: its length does not matter.
 * @param modeOf how a vector is to run; gets the profile that it was recorded in
 */
export async function runVectorFile(
  file: string,
  modeOf: (recorded: RunMode['profile']) => RunMode,
): Promise<Result<FileOutcome, string>> {
  const reader = new VectorReader();
  const state: { run?: VectorRun; outcome?: Outcome | undefined; whole: boolean } = { whole: true };
  const take = (parts: readonly VectorPart[]): void => {
    for (const part of parts) {
      if (part.kind === 'head') state.run = new VectorRun(part.head, modeOf(part.head.profile));
      else if (part.kind === 'step') state.run?.step(part.step);
      else if (part.kind === 'end') state.outcome = state.run?.finish(part.end);
      else state.whole = false;
    }
  };
  try {
    const input = createReadStream(file);
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      const taken = reader.take(line);
      if (!taken.ok) return taken;
      take(taken.value);
      if (state.run?.mismatch !== undefined) break;
    }
    input.destroy();
    if (state.run?.mismatch === undefined) {
      const rest = reader.finish();
      if (!rest.ok) return rest;
      take(rest.value);
    }
  } catch (error) {
    if (error instanceof RunnerError) return { ok: false, error: error.message };
    if (!(error instanceof Error && 'code' in error)) throw error;
    return {
      ok: false,
      error: `it cannot be read: ${error.message}; give the path of a vector, such as \`remio up --record\` writes`,
    };
  }
  const { run } = state;
  if (run === undefined) return { ok: false, error: 'not a vector' };
  const outcome = state.outcome ?? run.finish(undefined);
  return { ok: true, value: { outcome, steps: run.steps, whole: state.whole } };
}

/** The first difference, for people. */
export const renderMismatch = (file: string, { step, field, expected, actual, rules }: Mismatch): string =>
  [
    `${file}: step ${step}, ${field}`,
    `  recorded ${JSON.stringify(expected, bigintAsHex)}`,
    `  now      ${JSON.stringify(actual, bigintAsHex)}`,
    ...(rules.length > 0 ? [`  rules that bit, and do not permit it: ${rules.join(', ')}`] : []),
  ].join('\n');

/** 64-bit numbers in JSON. */
export const bigintAsHex = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
