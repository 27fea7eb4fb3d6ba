import type { Path } from '../path.js';
import type { TopologySource } from '../reader.js';
import { similarName } from '../similar.js';
import type { Topology } from '../types.js';

/** Checks whose keys there are: the key is all by which the hypervisor knows who talks to it. */
export function checkKeys(source: TopologySource, { keys, vms }: Topology): void {
  if (keys === undefined) return;
  const names = new Set(vms.map(({ name }) => name));
  const without = vms.flatMap(({ name, key }) => (key === undefined ? [name] : []));
  for (const name of Object.keys(source.data?.keys?.vms ?? {})) {
    if (names.has(name)) continue;
    const near = similarName(name, without);
    const path: Path = ['keys', 'vms', name];
    const fix = near === undefined ? 'remove it, or name one of `vms`' : `write ${near}`;
    source.error('keys', path, `there is no VM ${name}`, fix);
  }
  const owners = new Map<string, string>();
  const own = (key: string, owner: string, path: Path): void => {
    const other = owners.get(key);
    if (other === undefined) owners.set(key, owner);
    else source.error('keys', path, `${owner} has the key of ${other}`, 'make one for each: `remio keys` does');
  };
  own(keys.hypervisor, 'the hypervisor', ['keys', 'hypervisor']);
  own(keys.observer, 'the observer', ['keys', 'observer']);
  for (const { name, key } of vms) {
    const path: Path = ['keys', 'vms', name];
    if (key !== undefined) own(key, `VM ${name}`, path);
    else source.error('keys', path, `VM ${name} has no key`, 'make one: `remio keys` does, and --add keeps the others');
  }
}
