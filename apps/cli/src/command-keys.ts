import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CurveKeyPair, OBSERVER } from '@remio/protocol';
import {
  BUILTIN_PROGRAMS,
  loadTopology,
  loadTopologyText,
  renderKeys,
  replaceKeys,
  type TopologyKeys,
} from '@remio/topology';
import {
  HYPERVISOR_KEY_FILE,
  HYPERVISOR_PUBLIC_FILE,
  KEY_FILE_MODE,
  makeKeyPair,
  peerKeyFile,
  readKeyFile,
  renderKeyFile,
} from '@remio/transport';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { replaceFile } from './replace-file.js';
import { requireFile } from './topology-file.js';

export interface KeysOptions {
  /** Directory of the secret keys. */
  readonly output: string;
  /** Put the public keys into the topology. */
  readonly write: boolean;
  /** Keep the secret keys that are there, and make the others. */
  readonly add: boolean;
  /** Make all anew. */
  readonly force: boolean;
  readonly json: boolean;
}

const DIRECTORY_MODE = 0o700;
const PUBLIC_MODE = 0o644;

/** `remio keys`: makes the keys of a topology, and says, or writes, how they are bound to its VMs. */
export function keys(file: string, options: KeysOptions): ExitCode {
  if (options.add && options.force) {
    throw new CommandError('--add keeps keys, and --force replaces them: give one of the two', EXIT.USAGE);
  }
  requireFile(file);
  const read = loadTopology(file, LOAD);
  if (read.diagnostics.some(({ rule }) => rule === 'file')) throw new CommandError(read.text, EXIT.USAGE);
  const text = readFileSync(file, 'utf8');
  const vms = vmsOf(file, text);
  const pairs = new Map(
    [HYPERVISOR_KEY_FILE, ...[OBSERVER, ...vms].map(peerKeyFile)].map((name) => [name, keyOf(name, options)]),
  );
  const publicKey = (name: string): string => pairs.get(name)?.publicKey ?? '';
  const made: TopologyKeys = {
    hypervisor: publicKey(HYPERVISOR_KEY_FILE),
    observer: publicKey(peerKeyFile(OBSERVER)),
    vms: new Map(vms.map((name) => [name, publicKey(peerKeyFile(name))])),
  };
  const section = renderKeys(made);
  const bound = options.write ? withKeys(file, text, section) : undefined;
  try {
    // Not the directories above it: Node 20 looks for ever for one that can be made in /proc.
    if (!existsSync(options.output)) mkdirSync(options.output, { mode: DIRECTORY_MODE });
    for (const [name, pair] of pairs) writeKey(join(options.output, name), renderKeyFile(pair), KEY_FILE_MODE, options);
    const open = renderKeyFile({ publicKey: made.hypervisor });
    writeKey(join(options.output, HYPERVISOR_PUBLIC_FILE), open, PUBLIC_MODE, { ...options, force: true });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the keys cannot be written: ${reason}`, EXIT.ENVIRONMENT);
  }
  if (bound !== undefined) replaceFile(file, bound);
  tell(file, [...pairs.keys(), HYPERVISOR_PUBLIC_FILE], section, made, options);
  return EXIT.OK;
}

/** Names of the VMs, whatever keys the file has now. */
function vmsOf(file: string, text: string): readonly string[] {
  const without = replaceKeys(text, '');
  const { topology, text: problems } = loadTopologyText(without.ok ? without.value : text, file, LOAD);
  if (topology === undefined) throw new CommandError(problems, EXIT.USAGE);
  return topology.vms.map(({ name }) => name);
}

/** Images and modules need not be there. */
const LOAD = { programs: BUILTIN_PROGRAMS, filesOf: [] };

/** The text with the keys in it, which is checked as every topology is. */
function withKeys(file: string, text: string, section: string): string {
  const bound = replaceKeys(text, section);
  const problem = bound.ok ? undefined : bound.error;
  if (!bound.ok) {
    const advice = 'leave out --write, and put what is printed there yourself';
    throw new CommandError(`${file} cannot be changed: ${problem}; ${advice}`, EXIT.USAGE);
  }
  const { topology, text: problems } = loadTopologyText(bound.value, file, LOAD);
  if (topology === undefined) throw new CommandError(problems, EXIT.USAGE);
  return bound.value;
}

/** A key that is there and may stay, or a new one. */
function keyOf(name: string, { output, add, force }: KeysOptions): CurveKeyPair {
  const path = join(output, name);
  if (force || !existsSync(path)) return makeKeyPair();
  if (!add) {
    const advice = 'with --add what is there is kept and the rest made, with --force all are made anew';
    throw new CommandError(`${path} is there already: ${advice}`, EXIT.USAGE);
  }
  const read = readKeyFile(path);
  if (!read.ok) throw new CommandError(read.error, EXIT.USAGE);
  return read.value;
}

function writeKey(path: string, text: string, mode: number, { force }: KeysOptions): void {
  if (!force && existsSync(path)) return;
  // Nobody ever sees half of a file, or one with another mode.
  const draft = `${path}.${process.pid}.tmp`;
  writeFileSync(draft, text, { mode, flag: 'wx' });
  renameSync(draft, path);
}

function tell(
  file: string,
  names: readonly string[],
  section: string,
  { hypervisor, observer, vms }: TopologyKeys,
  { output, write, json }: KeysOptions,
): void {
  if (json) {
    console.log(JSON.stringify({ output, files: names, keys: { hypervisor, observer, vms: Object.fromEntries(vms) } }));
    return;
  }
  console.error(`${names.join(', ')} in ${output}`);
  if (write) console.error(`${file} has the public keys`);
  else {
    console.error(`${file} is to have this, which --write puts there:\n`);
    console.log(section.trimEnd());
  }
}
