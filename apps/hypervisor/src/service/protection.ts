import { err, ok, type Result } from '@remio/base';
import type { Topology } from '@remio/topology';
import type { HypervisorKeys } from '@remio/transport';
import { exposureProblem } from './exposure.js';
import { hypervisorKeys } from './keys.js';

/** How an endpoint is to be protected. */
export interface ProtectionOptions {
  readonly topology: Topology;
  readonly endpoint: string;
  /** Directory of the secret keys. */
  readonly keys?: string | undefined;
  /** Not at all, wherever it is bound. */
  readonly plaintext: boolean;
}

/** The keys of an endpoint, or none, if it may be bound so; else why it is not. */
export function protectionOf(options: ProtectionOptions): Result<HypervisorKeys | undefined, string> {
  const { topology, endpoint, keys, plaintext } = options;
  if (keys !== undefined) {
    if (plaintext) return err('--keys and --plaintext contradict each other: give one of them');
    return hypervisorKeys(topology, keys);
  }
  const problem = plaintext ? undefined : exposureProblem(endpoint, topology.keys !== undefined);
  return problem === undefined ? ok(undefined) : err(problem);
}
