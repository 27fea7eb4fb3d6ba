import { type DeviceRef, deviceQueues, type RemioDev, type Topology, type Vm } from '@remio/topology';
import type { Settings } from '../language.js';
import { roomFor } from '../room.js';
import { traceMisfits } from '../trace.js';
import { ECHOED, FAMILY, type Family, sizeOf } from '../workload-rules.js';
import { globOf } from './topology-path.js';
import type { Role } from './with-workload.js';

/** Something that does not fit, and where in the topology. */
export interface Misfit {
  /** Such as `vms.backend.cpus`. */
  readonly path: string;
  readonly message: string;
}

/** Devices of a family, for people. */
const WORDS: Readonly<Record<Family, string>> = { block: 'disk', net: 'network device', console: 'console' };

/** What keeps the frontends of a topology from making their load: said before anything runs. */
export function misfits(topology: Topology, roles: ReadonlyMap<string, Role>, settings: Settings): readonly Misfit[] {
  const served = new Map(
    topology.vms.flatMap((vm) =>
      vm.remioDevs.flatMap((end) => (end.device === undefined ? [] : [[end.bindKey, end.device] as const])),
    ),
  );
  const found = topology.vms.flatMap((vm) => {
    const role = roles.get(vm.name);
    if (role !== 'frontend' && role !== 'noisy') return [];
    const workload = role === 'noisy' ? settings.noisy : settings.workload;
    return vm.remioDevs.flatMap((end) => misfitsOf(topology, vm, end, served.get(end.bindKey), workload));
  });
  for (const section of ['workload', 'noisy'] as const) {
    for (const pattern of settings[section].vms) {
      if (topology.vms.some(({ name }) => globOf(pattern).test(name))) continue;
      const message = `there is no VM ${pattern}; there are ${topology.vms.map(({ name }) => name).join(', ')}`;
      found.push({ path: `${section}.vms`, message });
    }
  }
  const { trace } = settings;
  const { type, vms, recording = '' } = settings.workload;
  const frontends = topology.vms.filter(({ name }) => roles.get(name) === 'frontend');
  if (trace !== undefined) found.push(...traceMisfits(topology, frontends, recording, trace));
  if (found.length > 0 || frontends.length > 0) return found;
  const names = vms.join(', ');
  const device = type === 'replay' ? 'device' : WORDS[FAMILY[type]];
  const message = `no VM that \`workload.vms\` (${names}) names uses a ${device} and serves nothing: nobody makes any load`;
  return [{ path: 'vms', message }];
}

function misfitsOf(
  topology: Topology,
  vm: Vm,
  end: RemioDev,
  device: DeviceRef | undefined,
  workload: Settings['workload'],
): readonly Misfit[] {
  const found: Misfit[] = [];
  const path = `vms.${vm.name}.remio_devs[${end.dm}]`;
  const memory = topology.sharedMemories[end.shmem.id];
  const room = roomFor(workload, vm.cpus.length);
  if (end.shmem.size < room) {
    const cpus = vm.cpus.length === 1 ? '1 vCPU' : `${vm.cpus.length} vCPUs`;
    const need = `for ${cpus} with depth ${workload.depth} and size ${sizeOf(workload)} it needs ${room}`;
    const message = `shared memory ${memory?.name} of device ${end.name} has ${end.shmem.size} bytes; ${need}`;
    found.push({ path: `shared_memories.${memory?.name}.size`, message });
  }
  if (ECHOED.includes(workload.type) && vm.cpus.length > 1) {
    const message = `${vm.name} has ${vm.cpus.length} vCPUs; a ${workload.type} workload has one`;
    found.push({ path: `vms.${vm.name}.cpus`, message });
  }
  if (device?.kind !== 'builtin' || device.choice.type !== 'block' || workload.type !== 'block') return found;
  const queues = deviceQueues(device.choice);
  if (queues < vm.cpus.length) {
    const message = `device ${end.name} has ${queues} queues for ${vm.cpus.length} vCPUs of ${vm.name}; each needs one`;
    found.push({ path, message });
  }
  if (device.choice.options.readOnly && workload.reads < 1) {
    const message = `device ${end.name} is read-only, and \`workload.reads\` is ${workload.reads}; write \`reads: 1\``;
    found.push({ path, message });
  }
  return found;
}
