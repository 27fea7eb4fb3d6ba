import { readFileSync } from 'node:fs';
import { parseVector, type RecordCarrier, runVector } from '@remio/hypervisor/conformance';
import { decodeHypervisorMessage, decodeVmMessage, encodeHypervisorMessage, encodeVmMessage } from '@remio/protocol';
import { EXIT, type ExitCode } from './exit-codes.js';

export interface ConformOptions {
  readonly profile: 'reference' | 'hardened';
  readonly lease: boolean;
  /** Whether accesses and calls go through the architectures' encoders and decoders. */
  readonly abi: boolean;
  readonly json: boolean;
}

/** Records go through the codec of the wire, as between processes. */
const overTheWire: RecordCarrier = {
  toVm: (records) => {
    const frame = { kind: 'records', session: 1, seq: 1, ack: 0, sentAt: 0, records } as const;
    const decoded = decodeHypervisorMessage(encodeHypervisorMessage(frame));
    if (!decoded.ok || decoded.value.kind !== 'records') throw new Error('the codec lost a frame');
    return decoded.value.records;
  },
  toHypervisor: (records) => {
    const frame = { kind: 'records', session: 1, seq: 1, ack: 0, sentAt: 0, records } as const;
    const decoded = decodeVmMessage(encodeVmMessage(frame));
    if (!decoded.ok || decoded.value.kind !== 'records') throw new Error('the codec lost a frame');
    return decoded.value.records;
  },
};

/** `remio conform`: runs vectors through the core; per failing file the first thing that is not as recorded. */
export function conform(files: readonly string[], options: ConformOptions): ExitCode {
  const mode = { profile: options.profile, abi: options.abi, lease: options.lease, carry: overTheWire };
  let passed = 0;
  let failed = 0;
  const deviations = new Map<string, number>();
  const tell = (file: string, what: object, text: string): void => {
    console.log(options.json ? JSON.stringify({ file, ...what }, bigintAsHex) : text);
  };
  for (const file of files) {
    const vector = readVector(file);
    if (!vector.ok) {
      failed += 1;
      tell(file, { status: 'unreadable', error: vector.error }, `${file}: ${vector.error}`);
      continue;
    }
    const outcome = runVector(vector.value, mode);
    if (outcome.status === 'failed') {
      failed += 1;
      const { step, field, expected, actual, rules } = outcome.mismatch;
      const lines = [
        `${file}: step ${step}, ${field}`,
        `  recorded ${JSON.stringify(expected, bigintAsHex)}`,
        `  now      ${JSON.stringify(actual, bigintAsHex)}`,
        ...(rules.length > 0 ? [`  rules that bit, and do not permit it: ${rules.join(', ')}`] : []),
      ];
      tell(file, outcome, lines.join('\n'));
      continue;
    }
    passed += 1;
    if (outcome.status === 'deviates') {
      for (const rule of outcome.rules) deviations.set(rule, (deviations.get(rule) ?? 0) + 1);
    }
    if (options.json) tell(file, outcome, '');
  }
  if (!options.json) {
    for (const [rule, count] of [...deviations].sort(([a], [b]) => (a < b ? -1 : 1))) {
      console.log(`${rule}: differs from the reference in ${count} file${count === 1 ? '' : 's'}`);
    }
  }
  console.log(options.json ? JSON.stringify({ passed, failed }) : `${passed} passed, ${failed} failed`);
  return failed === 0 ? EXIT.OK : EXIT.FAILED;
}

const bigintAsHex = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value;

function readVector(file: string): ReturnType<typeof parseVector> {
  try {
    return parseVector(readFileSync(file, 'utf8'));
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error.message : String(error) };
  }
}
