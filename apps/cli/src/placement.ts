import { availableParallelism } from 'node:os';
import { isBackend, type Topology, type Vm } from '@remio/topology';

/** A process that runs VMs. */
export interface Placed {
  /** Names it in messages: its VM's name if it has one only. */
  readonly name: string;
  readonly part: 'backend-vm' | 'frontend-vm';
  readonly vms: readonly Vm[];
}

/** Up to so many VMs of a kind have a process each: a process costs 50 MiB and 0.15 s to start, and fails alone. */
const OWN_PROCESS_MAX = 16;

const partOf = (vm: Vm): Placed['part'] => (isBackend(vm) ? 'backend-vm' : 'frontend-vm');

/**
 * Places VMs on processes: those of a host of the topology together, the others each alone while they are few, and dealt
 * out over as many processes as the machine has CPUs where they are many.
 * @param processes of each kind, for VMs of no host; at least 1
 */
export function placeVms(topology: Topology, processes?: number): readonly Placed[] {
  const placed: Placed[] = [];
  const onHosts = new Set<Vm>();
  for (const { name, vms: ids } of topology.hosts) {
    const vms = ids.flatMap((id) => topology.vms[id] ?? []);
    const [first] = vms;
    if (first === undefined) continue;
    for (const vm of vms) onHosts.add(vm);
    placed.push({ name, part: partOf(first), vms });
  }
  for (const part of ['backend-vm', 'frontend-vm'] as const) {
    const vms = topology.vms.filter((vm) => partOf(vm) === part && !onHosts.has(vm));
    const count = processes ?? (vms.length > OWN_PROCESS_MAX ? Math.max(2, availableParallelism()) : vms.length);
    for (let n = 0; n < Math.min(count, vms.length); n += 1) {
      const share = vms.filter((_, index) => index % count === n);
      const [only] = share;
      placed.push({ name: share.length === 1 && only !== undefined ? only.name : `${part}s-${n}`, part, vms: share });
    }
  }
  return placed;
}
