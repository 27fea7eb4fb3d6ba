import type { Vm } from '@remio/topology';
import { HYPERVISOR_KEY_FILE, peerKeyFile } from '@remio/transport';

/** Where engines of containers put secrets, each in a file of its name. */
const SECRETS = '/run/secrets';

/** What a process is told of its keys in a container. */
export const KEY_ARGUMENTS: readonly string[] = ['--keys', SECRETS];

/** Files, of those that `remio keys` makes, which the hypervisor needs, or a process that runs one or all of some VMs. */
export const keyFilesOf = (who: 'hypervisor' | readonly Vm[]): readonly string[] =>
  who === 'hypervisor' ? [HYPERVISOR_KEY_FILE] : who.map(({ name }) => peerKeyFile(name));
