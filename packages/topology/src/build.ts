import { createHash } from 'node:crypto';
import { bindKey, guestAddress, irqId, type Result, type VmId, vmId } from '@remio/base';
import { type BoardProfile, boardNames, loadBoard } from '@remio/board';
import {
  ALL_RING_FEATURES,
  DRIVER_RING_FEATURES,
  featureSet,
  RING_FEATURES,
  type RingFeatureName,
} from '@remio/virtio-spec';
import { keptStateBytes } from '@remio/virtqueue';
import { parseBoard } from './board-file.js';
import { assignCpus } from './cpus.js';
import { deviceChoice, deviceQueues, queueSizeMax } from './devices/index.js';
import { driverChoice } from './drivers/index.js';
import { present } from './fields.js';
import { ipcDriverChoice } from './ipc-drivers/index.js';
import type { Path } from './path.js';
import type { TopologySource } from './reader.js';
import type { IpcFile, RemioDevFile, TopologyFile, VmFile } from './schema.js';
import { similarName } from './similar.js';
import type { DeviceRef, Host, Ipc, ModuleRef, RemioDev, SharedMemory, Topology, Vm } from './types.js';

/** What building a topology needs from outside. */
export interface BuildOptions {
  /** Makes an absolute path of one that the file names. */
  resolve(path: string): string;
  /** Images by device name, or for every device under `*`: instead of what the file names. */
  readonly images?: Readonly<Record<string, string>>;
  /** Reads a text file, a board's, by absolute path; what is wrong with it otherwise. Absent: there are none. */
  readText?(path: string): Result<string, string>;
  /** Absolute path of the topology; absent: its name. */
  readonly file?: string;
  /** How an absolute path is shown to the user; absent: as it is. */
  show?(path: string): string;
}

/** Bytes of a window that does not say. */
const DEFAULT_WINDOW = 0x200;
const DEFAULT_PAUSE_NS = 1_000_000_000n;

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
  const board = boardOf(source, file.board, options);
  if (board === undefined) return undefined;
  const sharedMemories = Object.entries(file.shared_memories ?? {}).map(
    ([name, { size, phys, via }], id): SharedMemory => ({
      id,
      name,
      size: Number(size),
      ...present({ phys }),
      ...(via === undefined || via === 'auto' ? {} : { via }),
    }),
  );
  const memories = new Map(sharedMemories.map((memory) => [memory.name, memory]));
  const cpus = assignCpus(source, file, board);
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
        remioDev(source, [...path, 'remio_devs', dm], end, dm, memories, windows, options),
      ),
      ipcs: (vm.ipcs ?? []).map((ipc, index) => ipcOf(source, [...path, 'ipcs', index], ipc, index, memories)),
      program: programOf(vm, options),
      ...present({ key: keyOf(file, name) }),
    };
  });
  const profile = file.profile ?? 'hardened';
  const topology: Omit<Topology, 'digest'> = {
    name: file.name ?? 'topology',
    file: options.file ?? source.file,
    arch: board.arch,
    board,
    profile,
    slots: board.cpus.length,
    queue: 253,
    sharedMemories,
    vms,
    hosts: hostsOf(source, file, vms),
    ...(file.keys === undefined ? {} : { keys: { hypervisor: file.keys.hypervisor, observer: file.keys.observer } }),
    onHypervisorLoss: file.on_hypervisor_loss ?? 'stop',
    costs: file.costs ?? {},
    hasDeadlines: vms.some((vm) => vm.remioDevs.some((end) => end.deadline !== undefined)),
  };
  return { ...topology, digest: digestOf(topology) };
}

/** Whether a board is named by the path of a file. */
const isPath = (name: string): boolean => name.includes('/') || /\.ya?ml$/.test(name);

/** The key of a VM, if it has one. */
const keyOf = ({ keys }: TopologyFile, vm: string): string | undefined =>
  keys !== undefined && Object.hasOwn(keys.vms, vm) ? keys.vms[vm] : undefined;

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

/** The board that a file names; reports what is wrong with it. */
function boardOf(
  source: TopologySource,
  choice: TopologyFile['board'],
  options: BuildOptions,
): BoardProfile | undefined {
  const { name, cpus, irqc } = typeof choice === 'string' ? { name: choice } : choice;
  const path: Path = typeof choice === 'string' ? ['board'] : ['board', 'name'];
  if (isPath(name)) return boardOfFile(source, path, name, options);
  const board = loadBoard({ name, ...present({ cpus, irqc }) });
  if (board.ok) return board.value;
  if (boardNames.includes(name)) {
    source.error('board', path, board.error, `leave out what ${name} does not have`);
    return undefined;
  }
  const near = similarName(name, boardNames);
  if (near === undefined)
    source.error('board', path, board.error, 'name a board of the list, or a board file: ./my-board.yaml');
  else source.error('board', path, board.error, `write ${near}`, { kind: 'set', path, value: near });
  return undefined;
}

function boardOfFile(
  source: TopologySource,
  path: Path,
  name: string,
  options: BuildOptions,
): BoardProfile | undefined {
  const file = options.resolve(name);
  const text = options.readText?.(file) ?? { ok: false, error: `no board file can be read here` };
  if (!text.ok) {
    source.error('board', path, text.error, 'correct the path; it counts from this file');
    return undefined;
  }
  const { board, diagnostics } = parseBoard(text.value, options.show?.(file) ?? file);
  source.adopt(diagnostics);
  return board;
}

const windowOf = (end: RemioDevFile): { readonly base: bigint; readonly size: number } => ({
  base: end.window?.base ?? 0n,
  size: end.window === undefined ? 0 : Number(end.window.size ?? DEFAULT_WINDOW),
});

function remioDev(
  source: TopologySource,
  path: Path,
  end: RemioDevFile,
  dm: number,
  memories: ReadonlyMap<string, SharedMemory>,
  windows: ReadonlyMap<bigint, { readonly base: bigint; readonly size: number }>,
  options: BuildOptions,
): RemioDev {
  const memory = memoryOf(source, [...path, 'shmem', 'memory'], end.shmem.memory, memories);
  if (end.type === 'backend' && end.window !== undefined) {
    source.error('window', [...path, 'window'], 'a backend has no window: the frontend\u2019s is served', 'remove it');
  }
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
    ...present({ resume: resumeOf(end, device) }),
    ...(device === undefined ? {} : { device }),
    ...(end.driver === undefined ? {} : { driver: driverChoice(end.driver, { ...options, name }) }),
    ...(end.repeat === undefined
      ? {}
      : {
          repeat: {
            pause: Number(end.repeat.pause ?? DEFAULT_PAUSE_NS),
            ...(end.repeat.patience === undefined ? {} : { patience: Number(end.repeat.patience) }),
          },
        }),
  };
}

/** The shared memory of a name; it is reported if there is none. */
function memoryOf(
  source: TopologySource,
  path: Path,
  wanted: string,
  memories: ReadonlyMap<string, SharedMemory>,
): SharedMemory | undefined {
  const memory = memories.get(wanted);
  if (memory === undefined) unknownMemory(source, path, wanted, [...memories.keys()]);
  return memory;
}

function ipcOf(
  source: TopologySource,
  path: Path,
  ipc: IpcFile,
  index: number,
  memories: ReadonlyMap<string, SharedMemory>,
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

/** Names that an error lists. */
const NAMES_SHOWN_MAX = 10;

function unknownMemory(source: TopologySource, path: Path, name: string, names: readonly string[]): void {
  const shown = names.slice(0, NAMES_SHOWN_MAX).join(', ') || 'none';
  const message = `there is no shared memory ${name}; there is ${shown}${names.length > NAMES_SHOWN_MAX ? ', ...' : ''}`;
  const near = similarName(name, names);
  const fix = 'add it under shared_memories';
  if (near === undefined) source.error('shared-memory-unknown', path, message, fix);
  else
    source.error('shared-memory-unknown', path, message, `write ${near}, or ${fix}`, {
      kind: 'set',
      path,
      value: near,
    });
}

/** The ring features of an end: those by default, switched on and off as the file says. */
function ringOf({ type, ring, on_backend_loss: onLoss }: RemioDevFile): bigint {
  let features = type === 'backend' ? ALL_RING_FEATURES : DRIVER_RING_FEATURES;
  // No account of what a packed ring has in flight is kept.
  if (onLoss === 'resume') features &= ~featureSet(RING_FEATURES.packed);
  for (const [name, bit] of Object.entries(RING_FEATURES)) {
    const on = ring?.[name as RingFeatureName];
    if (on === true) features |= featureSet(bit);
    else if (on === false) features &= ~featureSet(bit);
  }
  return features;
}

/** Bytes that a device keeps which resumes, or would if it could: what cannot, the check refuses. */
function resumeOf(end: RemioDevFile, device: DeviceRef | undefined): number | undefined {
  if (end.on_backend_loss !== 'resume') return undefined;
  return device?.kind === 'builtin' ? keptStateBytes(deviceQueues(device.choice), queueSizeMax(device.choice)) : 0;
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
      remioDevs: remioDevs.map(
        ({ device: _, driver: __, repeat: ___, vcpu: ____, queueVcpus: _____, resume: ______, ...end }) => end,
      ),
      ipcs: ipcs.map(({ driver: _, ...ipc }) => ipc),
    })),
  };
  const text = JSON.stringify(shared, (_, value: unknown) =>
    typeof value === 'bigint' ? `0x${value.toString(16)}` : value,
  );
  return createHash('sha256').update(text).digest('hex');
}
