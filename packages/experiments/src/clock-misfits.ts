import { type Topology, usesStdio } from '@remio/topology';
import type { Misfit } from './base/misfits.js';

/** Device models that have nothing to do with their host, or that virtual time has its own host for. */
const MODELLED: readonly string[] = ['block', 'gpio', 'i2c', 'entropy'];

/** Device models that a workload of virtual time has another end for. */
const ECHOED: readonly string[] = ['net', 'console'];

/**
 * What of a topology cannot be in virtual time: devices that talk to the host, and memory on another one.
 * @param underLoad VMs that run a workload instead of their programs
 */
export function virtualMisfits(
  topology: Topology,
  underLoad: (vm: string) => boolean = () => false,
): readonly Misfit[] {
  const loaded = new Set(
    topology.vms.filter(({ name }) => underLoad(name)).flatMap((vm) => vm.remioDevs.map(({ bindKey }) => bindKey)),
  );
  const memories = topology.sharedMemories.flatMap(({ name, via }): readonly Misfit[] => {
    if (via !== 'service') return [];
    const what = `shared memory ${name} goes by the memory service, and virtual time has one host only`;
    return [{ path: `shared_memories.${name}.via`, message: `${what}: leave out \`via\`` }];
  });
  const devices = topology.vms.flatMap((vm) =>
    vm.remioDevs.flatMap(({ dm, name, device, bindKey }): readonly Misfit[] => {
      if (device?.kind !== 'builtin') return [];
      const path = `vms.${vm.name}.remio_devs[${dm}].device`;
      const { choice } = device;
      if (choice.type === 'entropy' && choice.options.seed === undefined) {
        const message = `device ${name} of VM ${vm.name} takes random bytes from the host; give it a seed`;
        return [{ path, message }];
      }
      if (MODELLED.includes(choice.type) || (ECHOED.includes(choice.type) && loaded.has(bindKey))) return [];
      const what = `device ${name} of VM ${vm.name} is a ${choice.type} device, which talks to the host`;
      return [{ path, message: `${what}: virtual time has ${MODELLED.join(', ')}` }];
    }),
  );
  return [...memories, ...devices];
}

/** What of a topology cannot be in an experiment on the wall clock. */
export function wallMisfits(topology: Topology): readonly Misfit[] {
  return topology.vms
    .filter((vm) => usesStdio([vm]))
    .map(({ name }) => {
      const what = `VM ${name} has standard input and output, which are the experiment’s`;
      return { path: `vms.${name}`, message: `${what}: name it in \`workload.vms\`, or give its console another end` };
    });
}
