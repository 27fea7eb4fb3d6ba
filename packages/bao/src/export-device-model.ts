import { formatMac } from '@remio/ethernet';
import type { DeviceChoice, RemioDev, Topology, Vm } from '@remio/topology';
import { isRawMap, type Path, type Raw, type RawMap, type TopologyText } from './topology-text.js';
import { Commented, Hex, type YamlValue, yamlText } from './yaml-text.js';

/** What Bao's device model lacks of a device. */
export interface DeviceModelGap {
  readonly path: Path;
  readonly message: string;
  readonly fix: string;
}

/** The configuration of the device model that runs in a backend VM, and what it lacks. */
export interface DeviceModelFile {
  readonly text: string;
  readonly gaps: readonly DeviceModelGap[];
}

/** Directory of sockets that programs beside the device model serve. */
const SOCKETS = '/run/';

/** Fields of devices that the device model has an option for, or that it need not know. */
const CARRIED: Readonly<Record<string, readonly string[]>> = {
  block: ['type', 'image', 'read_only'],
  net: ['type', 'switch', 'tap', 'mac'],
  console: ['type', 'ports'],
  vsock: ['type', 'cid'],
  // The rest is virtiofsd's, and in the build note.
  fs: ['type', 'tag', 'directory'],
};

const ONE: readonly string[] = ['queues', 'queue_pairs'];

/** Name of the TAP interface by which a device that Remio puts at a switch is at a bridge of the backend. */
export const tapName = (end: RemioDev): string => `tap${end.dm}`;

/**
 * Writes the configuration of Bao's device model (bao-virtio-dm) for the backend ends of a VM.
 * @param label name of the topology's file, for comments
 */
export function deviceModelFile(topology: Topology, vm: Vm, source: TopologyText, label: string): DeviceModelFile {
  const gaps: DeviceModelGap[] = [];
  const devices: YamlValue[] = [];
  const left: string[] = [];
  for (const end of vm.remioDevs) {
    if (end.type !== 'backend') continue;
    const path: Path = ['vms', vm.name, 'remio_devs', end.dm, 'device'];
    const gap = (field: string | undefined, message: string, fix: string): void => {
      gaps.push({ path: field === undefined ? path : [...path, field], message, fix });
    };
    const raw = rawAt(source.raw, path);
    const fields = deviceFields(end, raw, gap);
    if (fields === undefined) {
      left.push(`${end.dm}, ${end.name}`);
      continue;
    }
    const entry = { id: BigInt(end.dm), ...fields };
    devices.push(new Commented(entry, `${end.name}, ${label}:${source.lineOf(path.slice(0, -1))}`));
  }
  const head = [
    `Made by \`remio export bao\` from ${label}: devices of VM ${vm.name} of ${topology.name}, for bao-virtio-dm.`,
    ...(left.length === 0
      ? []
      : [`It has no such devices as: ${left.join('; ')}. They need a device model of their own.`]),
  ];
  return { text: yamlText({ devices }, head.map((line) => line.replace(/[\r\n]+/g, ' ')).join('\n')), gaps };
}

const rawAt = (raw: Raw, path: Path): RawMap => {
  let value: Raw | undefined = raw;
  for (const step of path) {
    value = Array.isArray(value) ? (value as readonly Raw[])[Number(step)] : isRawMap(value) ? value[step] : undefined;
  }
  return isRawMap(value) ? value : {};
};

type Gap = (field: string | undefined, message: string, fix: string) => void;
type Fields = { readonly [field: string]: YamlValue };

/** The device's entry; undefined if the device model has no such device. */
function deviceFields(end: RemioDev, raw: RawMap, gap: Gap): Fields | undefined {
  const own = 'serve it with a device model of your own, or leave it out of the topology';
  if (end.device === undefined) return undefined;
  if (end.device.kind === 'module') {
    gap(undefined, `bao-virtio-dm does not know the device of ${end.name}, which a module of yours models`, own);
    return undefined;
  }
  const { choice } = end.device;
  const known = CARRIED[choice.type];
  if (known === undefined) {
    gap('type', `bao-virtio-dm has no ${choice.type} device, which ${end.name} is`, own);
    return undefined;
  }
  // One queue, or pair of them, is what it has anyway.
  const lost = Object.keys(raw).filter((name) => !known.includes(name) && !(ONE.includes(name) && raw[name] === 1n));
  for (const name of lost) {
    gap(name, `bao-virtio-dm has no option for \`${name}\` of ${end.name}`, 'leave it out, or expect its own default');
  }
  return { type: choice.type, mmio_addr: new Hex(end.window.base), ...ownFields(choice, end, raw, gap) };
}

function ownFields(choice: DeviceChoice, end: RemioDev, raw: RawMap, gap: Gap): Fields {
  switch (choice.type) {
    case 'block':
      return {
        data_plane: 'virtio',
        file_path: String(raw['image'] ?? ''),
        read_only: choice.options.readOnly,
        root_device: false,
        advertise_flush: true,
      };
    case 'net': {
      const { link, mac } = choice.options;
      const tap = link.kind === 'tap' ? link.name : tapName(end);
      return { data_plane: 'virtio', tap_name: tap, mac_addr: formatMac(mac) };
    }
    case 'console': {
      const { ports } = choice.options;
      if (ports.length > 1)
        gap('ports', `bao-virtio-dm gives ${end.name} one port, not ${ports.length}`, 'keep port 0');
      const line = ports[0]?.line;
      if (line?.kind === 'pty') return { data_plane: 'virtio', pty_alias: line.alias };
      gap('ports', `bao-virtio-dm leads ${end.name} to a pseudo-terminal, nowhere else`, 'write pty: PATH');
      return { data_plane: 'virtio' };
    }
    case 'vsock':
      return { data_plane: 'vhost', guest_cid: BigInt(choice.options.cid) };
    case 'fs':
      return { data_plane: 'vhost_user', socket_path: SOCKETS };
    case 'entropy':
    case 'gpio':
    case 'i2c':
      return {};
  }
}

/** What a device needs in the backend's Linux beside the device model, as lines of the build note. */
export function hostNeeds(vm: Vm, raw: Raw): readonly string[] {
  return vm.remioDevs.flatMap((end): readonly string[] => {
    if (end.device?.kind !== 'builtin') return [];
    const { choice } = end.device;
    const fields = rawAt(raw, ['vms', vm.name, 'remio_devs', end.dm, 'device']);
    switch (choice.type) {
      case 'block':
        return [`${end.name}: the disk image \`${String(fields['image'])}\``];
      case 'net': {
        const { link } = choice.options;
        if (link.kind === 'tap') return [`${end.name}: the TAP interface \`${link.name}\``];
        const lan = link.kind === 'switch' ? link.name : 'br0';
        const tap = tapName(end);
        return [
          `${end.name}: \`ip tuntap add ${tap} mode tap && ip link set ${tap} master ${lan} up\`, with a bridge: \`ip link add ${lan} type bridge && ip link set ${lan} up\``,
        ];
      }
      case 'fs':
        return [
          `${end.name}: virtiofsd with the directory \`${String(fields['directory'])}\` and the tag ${choice.options.tag}, on the socket \`${SOCKETS}Fs${end.dm}.sock\``,
        ];
      case 'vsock':
        return [`${end.name}: the kernel's vhost-vsock; context id ${choice.options.cid}`];
      case 'console':
      case 'entropy':
      case 'gpio':
      case 'i2c':
        return [];
    }
  });
}
