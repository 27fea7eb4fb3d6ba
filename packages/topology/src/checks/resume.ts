import { hasFeature, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import type { TopologySource } from '../reader.js';
import type { RemioDev, Topology } from '../types.js';
import { endPath } from './places.js';

/** Checks that what is to go on where a lost backend stopped can. */
export function checkResume(source: TopologySource, topology: Topology): void {
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      const problem = end.resume === undefined ? undefined : problemOf(topology, end);
      if (problem === undefined) continue;
      const [message, fix] = problem;
      source.error('resume', endPath(vm, end, 'on_backend_loss'), message, fix);
    }
  }
}

/** Why an end cannot resume, and what to do. */
function problemOf(topology: Topology, end: RemioDev): readonly [message: string, fix: string] | undefined {
  const { device, name } = end;
  if (end.type === 'frontend') {
    return [`a frontend is not what resumes ${name}`, 'move on_backend_loss to the backend end'];
  }
  if (device !== undefined && (device.kind === 'module' || device.choice.type !== 'block')) {
    const what = device.kind === 'module' ? 'a device model of a module' : `a ${device.choice.type} device`;
    return [
      `${what} cannot resume: what it does twice is not as if it was done once`,
      'remove it, or write needs_reset',
    ];
  }
  if (hasFeature(end.ring, VIRTIO_F_RING_PACKED)) {
    return [`${name} cannot resume with packed rings: those forget what is in flight`, 'remove packed from its ring'];
  }
  if (topology.profile === 'reference') {
    return ['under profile: reference a VM that was lost does not come back', 'remove it, or use profile: hardened'];
  }
  const memory = topology.sharedMemories[end.shmem.id];
  if (memory?.via === 'service') {
    const message = `${name} cannot resume: its rings are in the frontend\u2019s process (via: service of ${memory.name})`;
    return [message, 'let the memory be mapped (via: mapping), or remove on_backend_loss'];
  }
  return undefined;
}
