import { hex } from '@remio/base';
import type { DeviceRef, Ipc, RemioDev, Topology, Vm } from '@remio/topology';

/** What of a VM takes part in a link. */
export interface PictureEnd {
  /** Unique in the picture. */
  readonly id: string;
  readonly role: 'frontend' | 'backend' | 'ipc';
  readonly name: string;
  /** The device, what drives it, where it lies: for people. */
  readonly detail: string;
  /** Interrupts that are raised in this VM. */
  readonly interrupts: readonly number[];
}

export interface PictureVm {
  readonly id: string;
  readonly name: string;
  readonly program: string;
  readonly cpus: readonly { readonly cpu: number; readonly core: string }[];
  readonly ends: readonly PictureEnd[];
}

export interface PictureMemory {
  readonly id: string;
  readonly name: string;
  readonly size: string;
}

/** From an end to a memory, or from a memory to an end: links lead from frontends to backends. */
export interface PictureLink {
  readonly id: string;
  readonly kind: 'remio' | 'ipc';
  readonly end: string;
  readonly memory: string;
  readonly direction: 'to-memory' | 'from-memory';
}

/** What a picture of a topology shows, before anything has a place. */
export interface Picture {
  readonly title: string;
  readonly subtitle: string;
  readonly vms: readonly PictureVm[];
  readonly memories: readonly PictureMemory[];
  readonly links: readonly PictureLink[];
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB'] as const;

/** A size in the largest unit in which it is a whole number. */
function sizeText(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (unit < UNITS.length - 1 && size > 0 && size % 1024 === 0) {
    size /= 1024;
    unit += 1;
  }
  return `${size} ${UNITS[unit] ?? ''}`;
}

/** A path's last part. */
const fileName = (path: string): string => path.split(/[/\\]/).at(-1) ?? path;

const deviceText = (device: DeviceRef | undefined): string => {
  if (device === undefined) return 'no device';
  return device.kind === 'builtin' ? device.choice.type : fileName(device.name);
};

const programText = ({ kind, name }: Vm['program']): string => (kind === 'builtin' ? name : fileName(name));

function endOf(vm: Vm, end: RemioDev): PictureEnd {
  const backend = end.type === 'backend';
  const driver = end.driver === undefined ? programText(vm.program) : end.driver.type;
  return {
    id: `v${vm.id}d${end.dm}`,
    role: end.type,
    name: end.name,
    detail: backend ? `${deviceText(end.device)} device, key ${end.bindKey}` : `${driver}, at ${hex(end.window.base)}`,
    interrupts: [end.interrupt],
  };
}

const ipcEndOf = (vm: Vm, ipc: Ipc): PictureEnd => ({
  id: `v${vm.id}i${ipc.index}`,
  role: 'ipc',
  name: ipc.name,
  detail: `${ipc.driver === undefined ? programText(vm.program) : ipc.driver.type}, at ${hex(ipc.shmem.base)}`,
  interrupts: ipc.interrupts,
});

/** What there is to draw of a topology, in the order in which the file has it. */
export function pictureOf(topology: Topology): Picture {
  const { board, vms, sharedMemories } = topology;
  const links: PictureLink[] = [];
  const speakers = new Set<number>();
  for (const vm of vms) {
    for (const end of vm.remioDevs) {
      const direction = end.type === 'frontend' ? 'to-memory' : 'from-memory';
      links.push(linkOf('remio', `v${vm.id}d${end.dm}`, end.shmem.id, direction));
    }
    for (const { index, shmem } of vm.ipcs) {
      // The first VM of a memory stands before it, the others behind it.
      const direction = speakers.has(shmem.id) ? 'from-memory' : 'to-memory';
      speakers.add(shmem.id);
      links.push(linkOf('ipc', `v${vm.id}i${index}`, shmem.id, direction));
    }
  }
  const used = vms.reduce((sum, vm) => sum + vm.cpus.length, 0);
  return {
    title: topology.name,
    subtitle: `${board.name}, ${topology.arch}: ${used} of ${board.cpus.length} CPUs in use`,
    vms: vms.map((vm) => ({
      id: `v${vm.id}`,
      name: vm.name,
      program: programText(vm.program),
      cpus: vm.cpus.map((cpu) => ({ cpu, core: board.cpus[cpu]?.core ?? '' })),
      ends: [...vm.remioDevs.map((end) => endOf(vm, end)), ...vm.ipcs.map((ipc) => ipcEndOf(vm, ipc))],
    })),
    memories: sharedMemories.map(({ id, name, size }) => ({ id: `m${id}`, name, size: sizeText(size) })),
    links,
  };
}

const linkOf = (
  kind: PictureLink['kind'],
  end: string,
  memory: number,
  direction: PictureLink['direction'],
): PictureLink => ({ id: `${end}m${memory}`, kind, end, memory: `m${memory}`, direction });
