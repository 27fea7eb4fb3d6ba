import type { Path, TopologySource } from './reader.js';
import type { Ipc, Topology, Vm } from './types.js';

const ipcPath = (vm: Vm, ipc: Ipc, ...rest: readonly string[]): Path => ['vms', vm.name, 'ipcs', ipc.index, ...rest];

/** Checks IPC objects: what the reference does with a wrong one is a warning under it, and refused under `hardened`. */
export function checkIpcs(source: TopologySource, topology: Topology): void {
  const tell = topology.profile === 'reference' ? source.warning.bind(source) : source.error.bind(source);
  for (const vm of topology.vms) {
    const seen = new Set<number>();
    for (const ipc of vm.ipcs) {
      if (ipc.size > ipc.shmem.size) {
        const message = `shared memory ${ipc.name} has ${ipc.shmem.size} bytes: ${ipc.size} cannot be mapped, and the reference cuts the rest off`;
        tell('ipc-size', ipcPath(vm, ipc, 'size'), message, 'leave size out, or make the shared memory larger');
      } else if (ipc.size === 0) {
        source.error('ipc-size', ipcPath(vm, ipc, 'size'), 'it maps nothing', 'leave size out, or write a size');
      }
      if (seen.has(ipc.shmem.id)) {
        const message = `VM ${vm.name} has an IPC object on ${ipc.name} already: this one is never rung`;
        tell('ipc-twice', ipcPath(vm, ipc, 'memory'), message, 'put the interrupts of both into the first one');
      }
      seen.add(ipc.shmem.id);
    }
  }
  checkPeers(source, topology);
}

/** Who has what on each memory; takes the time of looking at each IPC object and device once. */
function checkPeers(source: TopologySource, topology: Topology): void {
  const users = new Map<number, { readonly vm: Vm; readonly ipc: Ipc; alone: boolean }>();
  const devices = new Map<number, string>();
  for (const vm of topology.vms) {
    for (const ipc of vm.ipcs) {
      const first = users.get(ipc.shmem.id);
      if (first === undefined) users.set(ipc.shmem.id, { vm, ipc, alone: true });
      else if (first.vm !== vm) first.alone = false;
    }
    for (const { shmem, name } of vm.remioDevs) if (!devices.has(shmem.id)) devices.set(shmem.id, name);
  }
  for (const memory of topology.sharedMemories) {
    const first = users.get(memory.id);
    if (first === undefined) continue;
    const path = ipcPath(first.vm, first.ipc, 'memory');
    if (memory.via === 'service') {
      const message = `shared memory ${memory.name} is reached through the memory service, which is for devices`;
      source.error('ipc-peer', path, message, 'leave via out: an IPC object is memory that all its VMs map');
    }
    if (first.alone) {
      const message = `only ${first.vm.name} has an IPC object on ${memory.name}: nobody hears it`;
      source.warning('ipc-peer', path, message, 'give another VM an IPC object on this memory');
    }
    const device = devices.get(memory.id);
    if (device !== undefined) {
      const message = `shared memory ${memory.name} is that of device ${device} as well: messages and virtqueues lie on top of each other`;
      source.warning('ipc-peer', path, message, 'add a shared memory for IPC');
    }
  }
}
