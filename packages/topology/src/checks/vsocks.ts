import type { VsockModelOptions } from '../devices/vsock.js';
import type { Path } from '../path.js';
import type { TopologySource } from '../reader.js';
import type { RemioDev, Topology, Vm } from '../types.js';
import { endPath } from './places.js';

/** A socket device of a topology, and where it stands. */
interface Placed {
  readonly vm: Vm;
  readonly end: RemioDev;
  readonly options: VsockModelOptions;
}

const CID_HOST = 2;

/** Checks the context ids of socket devices, and who reaches whom by them. */
export function checkVsocks(source: TopologySource, topology: Topology): void {
  const devices: Placed[] = [];
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      if (end.device?.kind !== 'builtin' || end.device.choice.type !== 'vsock') continue;
      devices.push({ vm, end, options: end.device.choice.options });
    }
  }
  checkCids(source, devices);
  checkGroups(source, devices);
  const byKey = new Map(devices.map((device) => [device.end.bindKey, device]));
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      const device = byKey.get(end.bindKey);
      if (end.type === 'frontend' && device !== undefined) checkDials(source, vm, end, device, devices);
    }
  }
}

const place = ({ vm, end }: Pick<Placed, 'vm' | 'end'>, ...rest: Path): Path => endPath(vm, end, ...rest);

/** 5.10.4: a context id is one guest's. */
function checkCids(source: TopologySource, devices: readonly Placed[]): void {
  const owners = new Map<number, Placed>();
  const free = Math.max(CID_HOST, ...devices.map(({ options }) => options.cid)) + 1;
  for (const device of devices) {
    const { cid } = device.options;
    const owner = owners.get(cid);
    if (owner !== undefined) {
      const message = `CID ${cid} is that of ${owner.end.name} as well`;
      source.error(
        'vsock',
        place(device, 'device', 'cid'),
        message,
        `give each device a CID of its own, such as ${free}`,
      );
    } else owners.set(cid, device);
  }
}

/** A group joins devices of one VM: what its guests say to each other goes through the process that serves them. */
function checkGroups(source: TopologySource, devices: readonly Placed[]): void {
  const first = new Map<string, Placed>();
  for (const device of devices) {
    const { group } = device.options;
    if (group === undefined) continue;
    const owner = first.get(group);
    if (owner === undefined) first.set(group, device);
    else if (owner.vm !== device.vm) {
      const message = `group ${group} is one of VM ${owner.vm.name}; a group joins the devices of one VM`;
      const fix = `serve ${device.end.name} by VM ${owner.vm.name}, or name another group`;
      source.error('vsock', place(device, 'device', 'group'), message, fix);
    }
  }
}

/** What a guest's driver connects to is the host, or a guest of its group. */
function checkDials(
  source: TopologySource,
  vm: Vm,
  end: RemioDev,
  { options: { cid: own, group } }: Placed,
  devices: readonly Placed[],
): void {
  if (end.driver?.type !== 'vsock') return;
  const reachable = devices
    .map(({ options }) => options)
    .filter((other) => group !== undefined && other.group === group && other.cid !== own)
    .map(({ cid }) => cid);
  end.driver.options.dial.forEach(({ cid }, n) => {
    if (cid === CID_HOST || reachable.includes(cid)) return;
    const message = `${end.name} reaches nobody with CID ${cid}`;
    const fix =
      reachable.length > 0
        ? `choose ${[CID_HOST, ...reachable].join(' or ')}`
        : 'leave the cid out for the host, or give both devices one group';
    source.error('vsock', place({ vm, end }, 'driver', 'dial', n, 'cid'), message, fix);
  });
}
