import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type StarOptions, starTopology, type Topology } from '@remio/topology';
import { scratchDirectory } from '../running-platform.js';
import { topologyOf } from '../topology-file.js';

/** Devices that one backend of the stars serves. */
const PER_BACKEND = 200;

/** The file of a star of so many VMs, frontends and backends, and what removes it. */
export function starFile(
  vms: number,
  work: StarOptions['work'],
  amount: number,
): { readonly file: string; remove(): void } {
  let frontends = vms - 1;
  while (frontends + Math.ceil(frontends / PER_BACKEND) > vms) frontends -= 1;
  const scratch = scratchDirectory();
  const file = join(scratch.path, 'star.yaml');
  writeFileSync(file, starTopology({ arch: 'aarch64', frontends, vcpus: 1, perBackend: PER_BACKEND, work, amount }));
  return { file, remove: () => scratch.remove() };
}

/** The star itself. */
export function star(vms: number, work: StarOptions['work'], amount: number): Topology {
  const { file, remove } = starFile(vms, work, amount);
  try {
    return topologyOf(file, [], 'quiet');
  } finally {
    remove();
  }
}
