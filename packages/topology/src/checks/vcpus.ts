import { deviceQueues } from '../devices/index.js';
import type { Path } from '../path.js';
import type { TopologySource } from '../reader.js';
import type { RemioDev, Topology, Vm } from '../types.js';
import { endPath } from './places.js';

/** Built-in drivers and programs of frontends that use a device's queues on vCPUs of their own. */
const SPREAD = new Set(['blk-verify', 'fs-check']);

/** Checks where ends and their queues are served. */
export function checkVcpus(source: TopologySource, topology: Topology): void {
  const devices = new Map<bigint, RemioDev>();
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) if (end.type === 'backend') devices.set(end.bindKey, end);
  }
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      const place = (...rest: Path): Path => endPath(vm, end, ...rest);
      if (end.vcpu !== undefined) checkVcpu(source, vm, end.vcpu, place('vcpu'));
      end.queueVcpus.forEach((vcpu, n) => checkVcpu(source, vm, vcpu, place('queue_vcpus', n)));
      if (end.queueVcpus.length === 0) continue;
      checkQueues(source, end, devices.get(end.bindKey), place('queue_vcpus'));
      const user = userOf(vm, end);
      if (user === undefined) continue;
      const message = `${user} uses every queue of ${end.name} on one vCPU`;
      source.error('vcpu', place('queue_vcpus'), message, 'remove queue_vcpus; vcpu names that vCPU');
    }
  }
}

function checkVcpu(source: TopologySource, vm: Vm, vcpu: number, path: Path): void {
  const count = vm.cpus.length;
  if (vcpu < count) return;
  const message = `VM ${vm.name} has no vCPU ${vcpu}; it has ${count}`;
  const range = count === 1 ? '0' : `from 0 to ${count - 1}`;
  source.error('vcpu', path, message, `choose ${range}, or give the VM more CPUs`);
}

function checkQueues(source: TopologySource, end: RemioDev, backend: RemioDev | undefined, path: Path): void {
  const device = backend?.device;
  if (device?.kind !== 'builtin') return;
  const queues = deviceQueues(device.choice);
  if (end.queueVcpus.length <= queues) return;
  const message = `${end.name} has ${queues} queue${queues === 1 ? '' : 's'}, and ${end.queueVcpus.length} are placed`;
  source.error('vcpu', path, message, 'name a vCPU for each queue at most, or give the device more queues');
}

/** What drives a frontend's end on one vCPU only; undefined: something that uses several, or a program of the user's. */
function userOf(vm: Vm, end: RemioDev): string | undefined {
  if (end.type === 'backend' || vm.program.kind === 'module') return undefined;
  const { name } = vm.program;
  if (name !== 'drivers') return SPREAD.has(name) ? undefined : `program ${name}`;
  const driver = end.driver?.type;
  return driver === undefined || SPREAD.has(driver) ? undefined : `driver ${driver}`;
}
