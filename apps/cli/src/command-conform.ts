import type { RecordCarrier } from '@remio/hypervisor/conformance';
import { decodeHypervisorMessage, decodeVmMessage, encodeHypervisorMessage, encodeVmMessage } from '@remio/protocol';
import { EXIT, type ExitCode } from './exit-codes.js';
import { Progress } from './progress.js';
import { bigintAsHex, renderMismatch, runVectorFile } from './vector-file.js';

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
export async function conform(files: readonly string[], options: ConformOptions): Promise<ExitCode> {
  const mode = { profile: options.profile, abi: options.abi, lease: options.lease, carry: overTheWire };
  let passed = 0;
  let failed = 0;
  const deviations = new Map<string, number>();
  const progress = new Progress(files.length, options);
  const tell = (file: string, what: object, text: string): void => {
    progress.clear();
    console.log(options.json ? JSON.stringify({ file, ...what }, bigintAsHex) : text);
  };
  for (const [index, file] of files.entries()) {
    progress.at(index, file);
    const ran = await runVectorFile(file, () => mode);
    const problem = !ran.ok ? ran.error : ran.value.whole ? undefined : 'it ends among its steps';
    if (!ran.ok || problem !== undefined) {
      failed += 1;
      tell(file, { status: 'unreadable', error: problem }, `${file}: ${problem}`);
      continue;
    }
    const { outcome } = ran.value;
    if (outcome.status === 'failed') {
      failed += 1;
      tell(file, outcome, renderMismatch(file, outcome.mismatch));
      continue;
    }
    passed += 1;
    if (outcome.status === 'deviates') {
      for (const rule of outcome.rules) deviations.set(rule, (deviations.get(rule) ?? 0) + 1);
    }
    if (options.json) tell(file, outcome, '');
  }
  progress.clear();
  if (!options.json) {
    for (const [rule, count] of [...deviations].sort(([a], [b]) => (a < b ? -1 : 1))) {
      console.log(`${rule}: differs from the reference in ${count} file${count === 1 ? '' : 's'}`);
    }
  }
  console.log(options.json ? JSON.stringify({ passed, failed }) : `${passed} passed, ${failed} failed`);
  return failed === 0 ? EXIT.OK : EXIT.FAILED;
}
