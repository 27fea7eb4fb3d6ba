import { basename } from 'node:path';
import { type HostNeed, hostNeeds, isBackend, kindOf, type Topology, type Vm } from '@remio/topology';
import { keyFilesOf } from './secrets.js';

/** A file of a deployment. */
export interface RenderedFile {
  /** Path from the output directory. */
  readonly name: string;
  readonly text: string;
}

/** Where things are in a container, and what it is given. */
export const CONTAINER = {
  topologyDirectory: '/etc/remio',
  disks: '/var/lib/remio/disks',
  run: '/run/remio',
  metricsPort: 9464,
  /** The hypervisor's, where processes of other hosts have to reach it. */
  port: 5555,
  /** User `node` of the image. */
  user: 1000,
  cpus: 1,
  pids: 64,
  /** Seconds from SIGTERM to SIGKILL. */
  grace: 5,
} as const;

export const MIB = 2 ** 20;
/** What the hypervisor, and what the processes of VMs may use besides the memory that VMs share. */
export const PROCESS_MIB = 192;
/** Names of services that no VM gives. */
const OWN_SERVICES = ['hypervisor', 'make-disks', 'frontend', 'prometheus'];

/** Memory of VMs: all of it on one host; or only that which must be mapped, the rest through the memory service. */
export type Sharing = 'one host' | 'only where it must be';

/** VMs that the processes of one service run. */
export interface Group {
  readonly service: string;
  readonly vms: readonly Vm[];
  readonly kind: 'backend' | 'frontend';
  /** Instances, each of which claims a VM; undefined: one, which runs all of them. */
  readonly scale?: number;
  readonly needs: readonly HostNeed[];
  /** Devices whose disks are made, empty, in a volume. */
  readonly made: readonly string[];
  /** It has to be where the hypervisor is: a memory of its VMs must be mapped. */
  readonly mapped: boolean;
}

/** What a deployment on several hosts is made from, besides its topology. */
export interface ClusterOptions {
  /** The topology's file as it is. */
  readonly topologyText: string;
  /** Bytes of a disk that is made. */
  readonly diskSize: number;
}

/** Which processes a deployment has, whatever engine runs them. */
export interface DeploymentPlan {
  readonly topology: Topology;
  /** The topology's file in a container. */
  readonly topologyFile: string;
  /** Backends before frontends. */
  readonly groups: readonly Group[];
}

/**
 * Which services run the VMs: backends, and whatever needs something of its host or must map its memory, one by one;
 * VMs of one of the topology's hosts together; other frontends by claim.
 * @param images of disks and directories that are there, by device; other disks are made
 */
export function planDeployment(
  topology: Topology,
  images: Readonly<Record<string, string>>,
  sharing: Sharing,
): DeploymentPlan {
  const pinned = (vm: Vm): boolean => sharing === 'only where it must be' && mustMap(topology, vm);
  const hosts = topology.hosts.map(({ name, vms }) => ({
    service: serviceName(name),
    vms: vms.flatMap((id) => topology.vms[id] ?? []),
  }));
  const left = topology.vms.filter((vm) => !hosts.some(({ vms }) => vms.includes(vm)));
  const free = left.filter((vm) => kindOf(vm) === 'frontend' && hostNeeds(vm).length === 0);
  const named = left.filter((vm) => !free.includes(vm));
  const one = (vm: Vm): Pick<Group, 'service' | 'vms'> => ({ service: serviceName(vm.name), vms: [vm] });
  const groups: Pick<Group, 'service' | 'vms' | 'scale'>[] = [...hosts, ...named.map(one)];
  // Whoever claims may get any that uses nothing of its host, so none is claimed where one of them has a place of its own.
  const placed = hosts.some(({ vms }) => vms.some((vm) => !isBackend(vm))) || free.some(pinned);
  if (free.length > 0 && !placed) groups.push({ service: 'frontend', vms: free, scale: free.length });
  else groups.push(...free.map(one));
  const full = groups.map((group): Group => {
    const needs = group.vms.flatMap(hostNeeds);
    const made = needs.flatMap((need) =>
      need.kind === 'image' && images[need.device] === undefined ? [need.device] : [],
    );
    const kind = group.vms.some(isBackend) ? 'backend' : 'frontend';
    return { ...group, kind, needs, made, mapped: group.vms.some(pinned) };
  });
  return {
    topology,
    topologyFile: `${CONTAINER.topologyDirectory}/${basename(topology.file)}`,
    groups: [...full.filter(({ kind }) => kind === 'backend'), ...full.filter(({ kind }) => kind === 'frontend')],
  };
}

/** Whether a VM cannot do with the memory service: it has IPC objects, or the topology says so. */
const mustMap = (topology: Topology, vm: Vm): boolean =>
  vm.ipcs.length > 0 ||
  vm.remioDevs.some(
    ({ shmem }) => topology.sharedMemories[shmem.id]?.via === 'mapping' || isResumed(topology, shmem.id),
  );

/** Whether the device of a memory resumes: only processes that map the memory can. */
const isResumed = ({ vms }: Topology, memory: number): boolean =>
  vms.some((vm) => vm.remioDevs.some(({ shmem, resume }) => resume !== undefined && shmem.id === memory));

/** Services are names of hosts: in lower case, without underscores. */
function serviceName(name: string): string {
  const service = name.toLowerCase().replaceAll('_', '-');
  return OWN_SERVICES.includes(service) ? `vm-${service}` : service;
}

/** What the container of a group runs. */
export interface GroupPlace {
  /** The hypervisor's endpoint. */
  readonly connect: string;
  /** Where shared memories lie; absent: the process maps none. */
  readonly runDirectory?: string;
  /** Where its secret keys lie; absent: it has none. */
  readonly keys?: string;
  /** Where disks and directories are that are not made, by device. */
  inMount?(device: string): string;
}

/** The command of a group's container. */
export function groupCommand(
  { topologyFile }: DeploymentPlan,
  { kind, vms, scale, needs, made }: Group,
  { connect, runDirectory, keys, inMount }: GroupPlace,
): readonly string[] {
  const images = needs.flatMap((need): readonly string[] => {
    if (need.kind !== 'image' && need.kind !== 'directory') return [];
    const path = made.includes(need.device) ? diskFile(need.device) : inMount?.(need.device);
    return path === undefined ? [] : ['--image', `${need.device}=${path}`];
  });
  return [
    `${kind}-vm`,
    '--topology',
    topologyFile,
    ...(scale === undefined ? vms.flatMap(({ name }) => ['--vm', name]) : ['--claim', 'frontend']),
    '--connect',
    connect,
    ...(runDirectory === undefined ? [] : ['--run-dir', runDirectory]),
    ...(keys === undefined ? [] : ['--keys', keys]),
    ...images,
  ];
}

/** Whether a port of a container answers 200, as a health check of an engine asks. */
export const healthTest = (port: number, path: string): readonly string[] => [
  'CMD',
  'bash',
  '/usr/local/bin/health',
  String(port),
  `/${path}`,
];

/** The command of a hypervisor that other hosts reach. */
export const hypervisorCommand = (
  { topology, topologyFile }: DeploymentPlan,
  { runDirectory, keys }: { readonly runDirectory?: string; readonly keys: string },
): readonly string[] => [
  'hypervisor',
  '--topology',
  topologyFile,
  '--endpoint',
  `tcp://0.0.0.0:${CONTAINER.port}`,
  // Without keys whoever is let into the network may do everything.
  ...(topology.keys === undefined ? ['--plaintext'] : ['--keys', keys]),
  ...(runDirectory === undefined ? [] : ['--run-dir', runDirectory]),
];

/** Files of secret keys that a service has, of what `remio keys` writes; none, where the topology has no keys. */
export const keyFiles = ({ topology }: DeploymentPlan, who: Group | 'hypervisor'): readonly string[] => {
  if (topology.keys === undefined) return [];
  return keyFilesOf(who === 'hypervisor' ? who : who.vms);
};

/** A disk that is made, in a container. */
export const diskFile = (device: string): string => `${CONTAINER.disks}/${device}.img`;

/** Memory that all VMs share, and what devices keep there that resume, in MiB. */
export function sharedMib({ sharedMemories, vms }: Topology): number {
  const shared = sharedMemories.reduce((sum, { size }) => sum + size, 0);
  const kept = vms.flatMap((vm) => vm.remioDevs).reduce((sum, { resume = 0 }) => sum + resume, 0);
  return Math.ceil((shared + kept) / MIB);
}

/** Memory that a process of a group has to itself, or maps, in MiB; of those that claim, the most that one may get. */
export function groupMib({ sharedMemories }: Topology, { vms, scale }: Group): number {
  const bytesOf = (some: readonly Vm[]): number => {
    const ids = new Set(some.flatMap((vm) => [...vm.remioDevs, ...vm.ipcs].map(({ shmem }) => shmem.id)));
    return [...ids].reduce((sum, id) => sum + (sharedMemories[id]?.size ?? 0), 0);
  };
  const bytes = scale === undefined ? bytesOf(vms) : Math.max(...vms.map((vm) => bytesOf([vm])));
  return Math.ceil(bytes / MIB);
}

export type Engine = 'compose' | 'swarm' | 'kubernetes';

/** First line of every file that is made. */
export const madeBy = (engine: Engine, { file, name }: Topology): string =>
  `Made by \`remio deploy render ${engine} ${basename(file)}\` for the topology ${name}. Do not edit.`;

/**
 * What keeps a topology from running on hosts that have nothing of this one's.
 * @returns a line for each need, with what to do
 */
export function clusterMisfits({ groups }: DeploymentPlan): readonly string[] {
  return groups.flatMap(({ needs, vms }) => {
    const names = vms.map(({ name }) => name).join(', ');
    return needs.flatMap((need): readonly string[] => {
      switch (need.kind) {
        case 'directory':
          return [`${names}: device ${need.device} shares the directory ${need.path} of this host`];
        case 'path':
          return [`${names}: device ${need.device} uses ${need.path} of this host`];
        case 'module':
          return [`${names}: the module ${need.path} lies on this host`];
        case 'tap':
          return [`${names}: device ${need.device} uses the TAP interface ${need.name} of this host`];
        default:
          return [];
      }
    });
  });
}
