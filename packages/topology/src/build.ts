import { createHash } from 'node:crypto';
import { bindKey, type CpuId, cpuId, guestAddress, irqId, type VmId, vmId } from '@remio/base';
import { type BoardProfile, loadBoard } from '@remio/board';
import {
  ALL_RING_FEATURES,
  DRIVER_RING_FEATURES,
  featureSet,
  RING_FEATURES,
  type RingFeatureName,
} from '@remio/virtio-spec';
import { deviceChoice } from './devices/index.js';
import { driverChoice } from './drivers/index.js';
import { present } from './fields.js';
import { ipcDriverChoice } from './ipc-drivers/index.js';
import type { Path, TopologySource } from './reader.js';
import type { IpcFile, RemioDevFile, TopologyFile, VmFile } from './schema.js';
import type { DeviceRef, Host, Ipc, ModuleRef, RemioDev, SharedMemory, Topology, Vm } from './types.js';

/** What building a topology needs from outside. */
export interface BuildOptions {
  /** Makes an absolute path of one that the file names. */
  resolve(path: string): string;
  /** Images by device name, or for every device under `*`: instead of what the file names. */
  readonly images?: Readonly<Record<string, string>>;
}

/** Bytes of a window that does not say. */
const DEFAULT_WINDOW = 0x200;
const DEFAULT_PAUSE_NS = 1_000_000_000n;
const DEFAULT_PATIENCE_NS = 30_000_000_000n;

/** Numbers for programs: bigint only where a number would lose something. */
export const plainOptions = (value: unknown): unknown => {
  if (typeof value === 'bigint') {
    return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(plainOptions);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plainOptions(inner)]));
  }
  return value;
};

/** Makes the model of a file whose shape is right; reports what names something that is not there. */
export function buildTopology(source: TopologySource, file: TopologyFile, options: BuildOptions): Topology | undefined {
  const choice = typeof file.board === 'string' ? { name: file.board } : file.board;
  const board = loadBoard({
    name: choice.name,
    ...('cpus' in choice && choice.cpus !== undefined ? { cpus: choice.cpus } : {}),
    ...('irqc' in choice && choice.irqc !== undefined ? { irqc: choice.irqc } : {}),
  });
  if (!board.ok) {
    source.error('board', ['board'], board.error, 'name a board of the list');
    return undefined;
  }
  const sharedMemories = Object.entries(file.shared_memories ?? {}).map(
    ([name, { size, phys }], id): SharedMemory => ({ id, name, size: Number(size), ...present({ phys }) }),
  );
  const cpus = assignCpus(source, file, board.value);
  const windows = new Map<bigint, { readonly base: bigint; readonly size: number }>();
  for (const vm of Object.values(file.vms)) {
    for (const end of vm.remio_devs ?? []) {
      if (end.type === 'frontend' && end.window !== undefined) windows.set(end.bind_key, windowOf(end));
    }
  }
  const vms = Object.entries(file.vms).map(([name, vm], id): Vm => {
    const path: Path = ['vms', name];
    return {
      id: vmId(id),
      name,
      cpus: cpus.get(name) ?? [],
      memory: (vm.memory ?? []).map(({ base, size, phys }) => ({
        base: guestAddress(base),
        size: Number(size),
        ...present({ phys }),
      })),
      remioDevs: (vm.remio_devs ?? []).map((end, dm) =>
        remioDev(source, [...path, 'remio_devs', dm], end, dm, sharedMemories, windows, options),
      ),
      ipcs: (vm.ipcs ?? []).map((ipc, index) => ipcOf(source, [...path, 'ipcs', index], ipc, index, sharedMemories)),
      program: programOf(vm, options),
    };
  });
  const profile = file.profile ?? 'hardened';
  const topology: Omit<Topology, 'digest'> = {
    name: file.name ?? 'topology',
    file: source.file,
    arch: board.value.arch,
    board: board.value,
    profile,
    slots: board.value.cpus.length,
    queue: 253,
    sharedMemories,
    vms,
    hosts: hostsOf(source, file, vms),
    costs: file.costs ?? {},
    hasDeadlines: vms.some((vm) => vm.remioDevs.some((end) => end.deadline !== undefined)),
  };
  return { ...topology, digest: digestOf(topology) };
}

const windowOf = (end: RemioDevFile): { readonly base: bigint; readonly size: number } => ({
  base: end.window?.base ?? 0n,
  size: Number(end.window?.size ?? DEFAULT_WINDOW),
});

/** The hosts, of the VMs that there are. */
function hostsOf(source: TopologySource, file: TopologyFile, vms: readonly Vm[]): readonly Host[] {
  const byName = new Map(vms.map((vm) => [vm.name, vm.id]));
  return Object.entries(file.hosts ?? {}).map(([name, wanted]) => ({
    name,
    vms: wanted.flatMap((vm, n) => {
      const id = byName.get(vm);
      if (id === undefined) source.error('host', ['hosts', name, n], `there is no VM ${vm}`, 'name one of `vms`');
      return id ?? [];
    }),
  }));
}

/** Gives every VM its CPUs: those that it names, then free ones, in order. */
function assignCpus(
  source: TopologySource,
  file: TopologyFile,
  board: BoardProfile,
): ReadonlyMap<string, readonly CpuId[]> {
  const owner = new Map<number, string>();
  const assigned = new Map<string, readonly CpuId[]>();
  const count = board.cpus.length;
  for (const [name, vm] of Object.entries(file.vms)) {
    if (!Array.isArray(vm.cpus)) continue;
    vm.cpus.forEach((cpu, n) => {
      const path: Path = ['vms', name, 'cpus', n];
      const other = owner.get(cpu);
      if (cpu >= count) {
        source.error('cpu-unknown', path, `${board.name} has no CPU ${cpu}`, `choose from 0 to ${count - 1}`);
      } else if (other !== undefined) {
        source.error('cpu-taken', path, `CPU ${cpu} is of VM ${other} already`, 'give each VM CPUs of its own');
      } else owner.set(cpu, name);
    });
    assigned.set(name, [...vm.cpus].sort((a, b) => a - b).map(cpuId));
  }
  for (const [name, vm] of Object.entries(file.vms)) {
    const path: Path = ['vms', name, 'cpus'];
    if (Array.isArray(vm.cpus)) {
      if (vm.cpus.length === 0) source.error('vm-cpus', path, `VM ${name} has no CPU`, 'give it at least one');
      continue;
    }
    const free = Array.from({ length: count }, (_, cpu) => cpu).filter((cpu) => !owner.has(cpu));
    const mine = free.slice(0, vm.cpus);
    if (vm.cpus === 0) source.error('vm-cpus', path, `VM ${name} has no CPU`, 'give it at least one');
    else if (mine.length < vm.cpus) {
      const fix = `give the VMs ${count} CPUs together, or choose a larger board (synthetic-${board.arch} has any number)`;
      source.error('cpu-taken', path, `VM ${name} wants ${vm.cpus} CPUs; ${free.length} of ${count} are free`, fix);
    }
    for (const cpu of mine) owner.set(cpu, name);
    assigned.set(name, mine.map(cpuId));
  }
  return assigned;
}

function remioDev(
  source: TopologySource,
  path: Path,
  end: RemioDevFile,
  dm: number,
  memories: readonly SharedMemory[],
  windows: ReadonlyMap<bigint, { readonly base: bigint; readonly size: number }>,
  options: BuildOptions,
): RemioDev {
  const memory = memoryOf(source, [...path, 'shmem', 'memory'], end.shmem.memory, memories);
  const window = end.type === 'frontend' ? windowOf(end) : (windows.get(end.bind_key) ?? { base: 0n, size: 0 });
  const name = end.name ?? `device${end.bind_key}`;
  const device = deviceOf(end, name, options);
  return {
    dm,
    name,
    type: end.type,
    bindKey: bindKey(end.bind_key),
    window: { base: guestAddress(window.base), size: window.size },
    interrupt: irqId(end.interrupt),
    shmem: { id: memory?.id ?? 0, base: guestAddress(end.shmem.base), size: memory?.size ?? 0 },
    ring: ringOf(end),
    ...(end.vcpu === undefined ? {} : { vcpu: end.vcpu }),
    queueVcpus: end.queue_vcpus ?? [],
    ...(end.deadline === undefined ? {} : { deadline: Number(end.deadline) }),
    ...(device === undefined ? {} : { device }),
    ...(end.driver === undefined ? {} : { driver: driverChoice(end.driver, { ...options, name }) }),
    ...(end.repeat === undefined
      ? {}
      : {
          repeat: {
            pause: Number(end.repeat.pause ?? DEFAULT_PAUSE_NS),
            patience: Number(end.repeat.patience ?? DEFAULT_PATIENCE_NS),
          },
        }),
  };
}

/** The shared memory of a name; it is reported if there is none. */
function memoryOf(
  source: TopologySource,
  path: Path,
  wanted: string,
  memories: readonly SharedMemory[],
): SharedMemory | undefined {
  const memory = memories.find((candidate) => candidate.name === wanted);
  if (memory === undefined) {
    const names = memories.map((candidate) => candidate.name).join(', ') || 'none';
    const message = `there is no shared memory ${wanted}; there is ${names}`;
    source.error('shared-memory-unknown', path, message, 'add it under shared_memories');
  }
  return memory;
}

function ipcOf(
  source: TopologySource,
  path: Path,
  ipc: IpcFile,
  index: number,
  memories: readonly SharedMemory[],
): Ipc {
  const memory = memoryOf(source, [...path, 'memory'], ipc.memory, memories);
  const whole = memory?.size ?? 0;
  const size = ipc.size === undefined ? whole : Number(ipc.size);
  return {
    index,
    name: ipc.memory,
    size,
    shmem: { id: memory?.id ?? 0, base: guestAddress(ipc.base), size: Math.min(size, whole) },
    interrupts: ipc.interrupts.map(irqId),
    ...(ipc.driver === undefined ? {} : { driver: ipcDriverChoice(ipc.driver) }),
  };
}

/** The ring features of an end: those by default, switched on and off as the file says. */
function ringOf({ type, ring }: RemioDevFile): bigint {
  let features = type === 'backend' ? ALL_RING_FEATURES : DRIVER_RING_FEATURES;
  for (const [name, bit] of Object.entries(RING_FEATURES)) {
    const on = ring?.[name as RingFeatureName];
    if (on === true) features |= featureSet(bit);
    else if (on === false) features &= ~featureSet(bit);
  }
  return features;
}

function deviceOf(end: RemioDevFile, name: string, options: BuildOptions): DeviceRef | undefined {
  const { device } = end;
  if (device === undefined) return undefined;
  if ('module' in device) {
    return { kind: 'module', name: options.resolve(device.module), options: plainOptions(device.options ?? {}) };
  }
  return { kind: 'builtin', choice: deviceChoice(device, { ...options, name }) };
}

function programOf(vm: VmFile, options: BuildOptions): ModuleRef {
  const program = vm.program ?? defaultProgram(vm);
  if (typeof program === 'string') return { kind: 'builtin', name: program, options: {} };
  const given = plainOptions(program.options ?? {});
  return 'module' in program
    ? { kind: 'module', name: options.resolve(program.module), options: given }
    : { kind: 'builtin', name: program.builtin, options: given };
}

const defaultProgram = (vm: VmFile): string =>
  vm.remio_devs?.some((end) => end.type === 'backend') ? 'dispatcher' : 'drivers';

/**
 * What both ends of a connection must agree on: the machine as its guests see it. Paths of images and modules are not
 * part of it: they differ between hosts that run the same topology. Nor is which vCPU serves what: guests do not see it.
 */
function digestOf(topology: Omit<Topology, 'digest'>): string {
  const shared = {
    arch: topology.arch,
    board: topology.board,
    profile: topology.profile,
    sharedMemories: topology.sharedMemories,
    vms: topology.vms.map(({ id, name, cpus, memory, remioDevs, ipcs }) => ({
      id: id as VmId,
      name,
      cpus,
      memory,
      remioDevs: remioDevs.map(({ device: _, driver: __, repeat: ___, vcpu: ____, queueVcpus: _____, ...end }) => end),
      ipcs: ipcs.map(({ driver: _, ...ipc }) => ipc),
    })),
  };
  const text = JSON.stringify(shared, (_, value: unknown) =>
    typeof value === 'bigint' ? `0x${value.toString(16)}` : value,
  );
  return createHash('sha256').update(text).digest('hex');
}
