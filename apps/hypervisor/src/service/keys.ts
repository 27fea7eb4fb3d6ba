import { join } from 'node:path';
import { err, ok, type Result } from '@remio/base';
import { type CurveKeyPair, OBSERVER } from '@remio/protocol';
import type { Topology } from '@remio/topology';
import {
  HYPERVISOR_KEY_FILE,
  HYPERVISOR_PUBLIC_FILE,
  type HypervisorKeys,
  type PeerKeys,
  peerKeyFile,
  readKeyFile,
  readPublicKey,
} from '@remio/transport';

/** Public keys by the names of VMs, and of observers; undefined: the topology has none. */
function publicKeys({ keys, vms }: Topology): ReadonlyMap<string, string> | undefined {
  if (keys === undefined) return undefined;
  const ofVms = vms.flatMap(({ name, key }) => (key === undefined ? [] : [[name, key] as const]));
  return new Map([...ofVms, [OBSERVER, keys.observer]]);
}

const noKeys = ({ file }: Topology): string =>
  `${file} has no keys: \`remio keys ${file} -o DIR --write\` makes them; or leave out --keys`;

/** A secret key, which must be the one that belongs to the topology's public one. */
function readOwn(directory: string, file: string, expected: string, what: string): Result<CurveKeyPair, string> {
  const path = join(directory, file);
  const read = readKeyFile(path);
  if (!read.ok || read.value.publicKey === expected) return read;
  return err(
    `key file ${path}: it has the public key ${read.value.publicKey}, and the topology has ${expected} at ${what}`,
  );
}

/** The hypervisor's keys, of a directory that `remio keys` made; or why they cannot be used. */
export function hypervisorKeys(topology: Topology, directory: string): Result<HypervisorKeys, string> {
  const peers = publicKeys(topology);
  if (topology.keys === undefined || peers === undefined) return err(noKeys(topology));
  const own = readOwn(directory, HYPERVISOR_KEY_FILE, topology.keys.hypervisor, 'keys.hypervisor');
  return own.ok ? ok({ own: own.value, peers }) : own;
}

/**
 * A peer's keys, of a directory that `remio keys` made; or why they cannot be used.
 * @param names of the VMs, or of observers, that it must have the keys of
 */
export function peerKeys(topology: Topology, names: readonly string[], directory: string): Result<PeerKeys, string> {
  const known = publicKeys(topology);
  if (topology.keys === undefined || known === undefined) return err(noKeys(topology));
  const own = new Map<string, CurveKeyPair>();
  for (const name of names) {
    const what = name === OBSERVER ? 'keys.observer' : `keys.vms.${name}`;
    const pair = readOwn(directory, peerKeyFile(name), known.get(name) ?? '', what);
    if (!pair.ok) return pair;
    own.set(name, pair.value);
  }
  return ok({ hypervisor: topology.keys.hypervisor, own });
}

/** The keys of an observer that has no topology: the hypervisor's public key is in the directory as well. */
export function observerKeys(directory: string): Result<PeerKeys, string> {
  const hypervisor = readPublicKey(join(directory, HYPERVISOR_PUBLIC_FILE));
  if (!hypervisor.ok) return hypervisor;
  const own = readKeyFile(join(directory, peerKeyFile(OBSERVER)));
  return own.ok ? ok({ hypervisor: hypervisor.value, own: new Map([[OBSERVER, own.value]]) }) : own;
}
