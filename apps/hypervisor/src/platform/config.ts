import type { RemioDev, Topology } from '@remio/topology';
import type { RemioConfig, RemioDevConfig } from '../remio/index.js';

const endConfig = (end: RemioDev): RemioDevConfig => ({
  type: end.type,
  bindKey: end.bindKey,
  va: end.type === 'frontend' ? end.window.base : 0n,
  size: end.type === 'frontend' ? BigInt(end.window.size) : 0n,
  interrupt: end.interrupt,
  shmem: { base: end.shmem.base, size: BigInt(end.shmem.size), id: end.shmem.id },
  ...(end.deadline === undefined ? {} : { deadline: end.deadline }),
});

/** What the remio core needs to know of a topology. */
export const remioConfigOf = (topology: Topology): RemioConfig => ({
  cpus: topology.board.cpus.length,
  slots: topology.slots,
  queue: topology.queue,
  shmems: topology.sharedMemories.map(({ size }) => BigInt(size)),
  vms: topology.vms.map((vm) => ({
    cpus: vm.cpus,
    devices: vm.remioDevs.map(endConfig),
    ipcs: vm.ipcs.map(({ shmem, size, interrupts }) => ({ shmem: shmem.id, size: BigInt(size), interrupts })),
  })),
});
