import type { VmId } from '@remio/base';
import type { TopologySource } from './reader.js';
import type { Topology, Vm } from './types.js';

/** Whether a VM serves devices: a process runs such VMs, or such as only use them. */
export const isBackend = (vm: Vm): boolean => vm.remioDevs.some((end) => end.type === 'backend');

/** Checks which VMs share a process. */
export function checkHosts(source: TopologySource, topology: Topology): void {
  const owners = new Map<VmId, string>();
  for (const { name, vms } of topology.hosts) {
    const [first] = vms.flatMap((id) => topology.vms[id] ?? []);
    if (first === undefined)
      source.error('host', ['hosts', name], `host ${name} runs no VM`, 'give it one, or remove it');
    if (name === 'hypervisor' || topology.vms.some((vm) => vm.name === name && !vms.includes(vm.id))) {
      source.error('host', ['hosts', name], `${name} is the name of another process`, 'choose another name');
    }
    vms.forEach((id, n) => {
      const vm = topology.vms[id];
      const owner = owners.get(id);
      if (vm === undefined || first === undefined) return;
      if (owner !== undefined) {
        source.error('host', ['hosts', name, n], `VM ${vm.name} is on host ${owner} already`, 'name it once');
      }
      owners.set(id, name);
      if (isBackend(vm) !== isBackend(first)) {
        const [is, other] = isBackend(vm) ? ['serves', 'uses'] : ['uses', 'serves'];
        const message = `VM ${vm.name} ${is} devices, and ${first.name} ${other} them: they run in different programs`;
        source.error('host', ['hosts', name, n], message, 'give backends and frontends hosts of their own');
      }
    });
  }
}
