import { formatMac } from '@remio/ethernet';
import type { NetModelOptions } from '../devices/net.js';
import type { Path } from '../path.js';
import type { TopologySource } from '../reader.js';
import type { RemioDev, Topology, Vm } from '../types.js';
import { endPath } from './places.js';

/** A network device of a topology, and where it stands. */
interface Placed {
  readonly vm: Vm;
  readonly end: RemioDev;
  readonly options: NetModelOptions;
}

const place = ({ vm, end }: { readonly vm: Vm; readonly end: RemioDev }, ...rest: readonly string[]): Path =>
  endPath(vm, end, ...rest);

/** Checks what network devices must not have in common, and what they must. */
export function checkNetworks(source: TopologySource, topology: Topology): void {
  const devices: Placed[] = [];
  const taps = new Map<string, string>();
  const claim = (tap: string, owner: string, path: Path): void => {
    const other = taps.get(tap);
    if (other !== undefined) {
      const message = `the TAP interface ${tap} is that of ${other} as well`;
      source.error('network', path, message, 'give each end an interface of its own');
    }
    taps.set(tap, owner);
  };
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      if (end.driver?.type === 'tap') {
        claim(end.driver.options.name, `the driver of ${end.name}`, place({ vm, end }, 'driver', 'name'));
      }
      if (end.device?.kind !== 'builtin' || end.device.choice.type !== 'net') continue;
      const { options } = end.device.choice;
      devices.push({ vm, end, options });
      if (options.link.kind === 'tap') claim(options.link.name, end.name, place({ vm, end }, 'device', 'tap'));
    }
  }
  checkSwitches(source, devices);
}

/** A switch joins devices of one VM: it lies in the memory of the process that serves them. */
function checkSwitches(source: TopologySource, devices: readonly Placed[]): void {
  const first = new Map<string, Placed>();
  const captures = new Map<string, string>();
  const macs = new Map<string, Placed>();
  for (const device of devices) {
    const { link, mac } = device.options;
    if (link.kind !== 'switch') continue;
    const path = place(device, 'device', 'switch');
    const owner = first.get(link.name);
    if (owner !== undefined && owner.vm !== device.vm) {
      const message = `switch ${link.name} is one of VM ${owner.vm.name}; a switch joins the devices of one VM`;
      source.error('network', path, message, `serve ${device.end.name} by VM ${owner.vm.name}, or name another switch`);
    }
    if (owner === undefined) first.set(link.name, device);
    const address = `${link.name} ${mac}`;
    const twin = macs.get(address);
    if (twin !== undefined) {
      const message = `${formatMac(mac)} is the MAC address of ${twin.end.name} as well, at the same switch`;
      source.error('network', place(device, 'device', 'mac'), message, 'give each device a MAC address of its own');
    }
    macs.set(address, device);
    if (link.capture === undefined) continue;
    const other = captures.get(link.name);
    if (other !== undefined && other !== link.capture) {
      source.error('network', path, `switch ${link.name} is captured to ${other} already`, 'name one capture');
    }
    captures.set(link.name, link.capture);
  }
}
