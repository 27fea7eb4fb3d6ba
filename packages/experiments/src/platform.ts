import { loadBoard, SYNTHETIC_CPUS_MAX } from '@remio/board';
import { BUILTIN_PROGRAMS, parseTopology, type Topology, type Vm } from '@remio/topology';
import { dataOf, parseRaw, textOf } from './base/base-topology.js';
import { type Misfit, misfits } from './base/misfits.js';
import { isMapping, type Place } from './base/topology-path.js';
import { type Role, type Target, withWorkload } from './base/with-workload.js';
import type { Settings } from './language.js';
import { PAGE, queueSizeFor, roomFor } from './room.js';
import { FAMILY } from './workload-rules.js';

/** Where shared memories begin: above what boards have there. */
const SHARED_BASE = 0x1_0000_0000;
const WINDOWS = 0x0a00_0000;
/** First interrupts of devices: beyond what every vCPU has of its own. */
const FIRST_INTERRUPT = { aarch64: 40, riscv64: 16 } as const;
/** VMs whose name begins so are measured, are noise, or serve, on a platform that `platform` describes. */
const FRONTEND = 'front';
const NOISY = 'noisy';
const BACKEND = 'back';
/** Devices whose name begins so are for what frontends do besides. */
const BESIDE = 'beside';

/** The platform of a point, as a topology file has it. */
export const platformFile = (settings: Settings): object =>
  settings.base === undefined ? describedPlatform(settings) : (loadedBase(settings).data as object);

function describedPlatform(settings: Settings): object {
  const { platform, workload, beside, noisy, costs } = settings;
  const synthetic = platform.board.startsWith('synthetic-');
  const board = loadBoard({ name: platform.board });
  const arch = board.ok ? board.value.arch : 'aarch64';
  const works = (work: Work, devices: number, prefix: string): readonly DeviceOf[] =>
    Array.from({ length: devices }, () => ({ work, prefix }));
  const measured = [...works(workload, platform.devices, ''), ...works(beside, beside.devices, BESIDE)];
  const noise = works(noisy, platform.devices, '');
  const frontends = [
    ...Array.from({ length: platform.frontends }, (_, n) => ({ name: `${FRONTEND}${n}`, devices: measured })),
    ...Array.from({ length: noisy.frontends }, (_, n) => ({ name: `${NOISY}${n}`, devices: noise })),
  ];
  const cpus = frontends.length * platform.vcpus + platform.backends * platform.backend_cpus;
  const memories: Record<string, { readonly size: number }> = {};
  const vms: Record<string, { cpus: number; program: string; remio_devs: object[] }> = {};
  for (let n = 0; n < platform.backends; n += 1) {
    vms[`${BACKEND}${n}`] = { cpus: platform.backend_cpus, program: 'dispatcher', remio_devs: [] };
  }
  let base = SHARED_BASE;
  let key = 0;
  const first = FIRST_INTERRUPT[arch];
  const depth = Math.max(workload.depth, noisy.depth);
  for (const { name, devices } of frontends) {
    const ends: object[] = [];
    for (const [device, { work, prefix }] of devices.entries()) {
      const bytes = roomFor(work, platform.vcpus);
      const id = `${prefix}${NAMES[FAMILY[work.type]]}${key}`;
      memories[id] = { size: bytes };
      const backend = vms[`${BACKEND}${key % platform.backends}`];
      const common = { name: id, bind_key: key, shmem: { memory: id, base } };
      const ring = { event_idx: platform.event_idx, packed: platform.packed };
      ends.push({
        ...common,
        type: 'frontend',
        window: { base: WINDOWS + device * PAGE },
        interrupt: first + device,
        ring,
      });
      backend?.remio_devs.push({
        ...common,
        type: 'backend',
        interrupt: first + backend.remio_devs.length,
        device: modelOf(work, platform.vcpus, queueSizeFor(prefix === BESIDE ? beside.depth : depth), key),
      });
      base += bytes;
      key += 1;
    }
    vms[name] = { cpus: platform.vcpus, program: 'load', remio_devs: ends };
  }
  return {
    name: 'experiment',
    board: synthetic ? { name: platform.board, cpus: Math.min(cpus, SYNTHETIC_CPUS_MAX) } : platform.board,
    profile: platform.profile,
    costs: costsOf(costs),
    shared_memories: memories,
    vms,
  };
}

type Work = Pick<Settings['workload'], 'type' | 'size' | 'depth'>;

/** A device of a frontend: what is done on it, and what its name begins with. */
interface DeviceOf {
  readonly work: Work;
  readonly prefix: string;
}

const NAMES = { block: 'disk', net: 'net', console: 'console' } as const;

/** A device's model. Where it leads is the run's business: in virtual time, back. */
function modelOf({ type }: Work, queues: number, queueSize: number, key: number): object {
  switch (FAMILY[type]) {
    case 'block':
      return { type: 'block', image: 'none', queues, queue_size: queueSize };
    case 'net':
      return { type: 'net', switch: `link${key}`, queue_size: queueSize };
    case 'console':
      return { type: 'console', ports: [{ connect: 'none' }] };
  }
}

/** Devices of a VM for what it does besides, by name. */
export const besideDevices = (vm: Vm): readonly string[] =>
  vm.remioDevs.flatMap(({ name, type }) => (type === 'frontend' && name.startsWith(BESIDE) ? [name] : []));

/** Devices of a point's base topology that its workload does not use; none without one. */
export const leftOutOf = (settings: Settings): readonly string[] =>
  settings.base === undefined ? [] : loadedBase(settings).leftOut;

const costsOf = (costs: Settings['costs']): object =>
  Object.fromEntries(Object.entries(costs).filter(([, value]) => value !== undefined));

/** The base topology of a point with the workload in its frontends. */
function loadedBase({ base, workload, noisy, costs }: Settings): ReturnType<typeof withWorkload> {
  const loaded = withWorkload(dataOf(base?.text ?? ''), targetOf(workload), targetOf(noisy));
  const measured = costsOf(costs);
  if (!isMapping(loaded.data) || Object.keys(measured).length === 0) return loaded;
  const before = loaded.data['costs'];
  // What is no mapping is for the topology's check to say.
  if (before !== undefined && !isMapping(before)) return loaded;
  return { ...loaded, data: { ...loaded.data, costs: { ...before, ...measured } } };
}

/** Every device that there may be in virtual time. */
const ANY: readonly string[] = ['block', 'net', 'console', 'entropy', 'gpio', 'i2c'];

const targetOf = ({ type, vms, depth }: Settings['workload']): Target => ({
  vms,
  families: type === 'replay' ? ANY : [FAMILY[type]],
  queueSize: queueSizeFor(depth),
});

/** The topology of a point. */
export interface Platform {
  /** Undefined if something does not fit. */
  readonly topology?: Topology;
  readonly problems: readonly Misfit[];
  /** By VM. */
  readonly roles: ReadonlyMap<string, Role>;
  /** What of the base topology makes no difference, for the workload has its own way, or does not use it. */
  readonly idle: readonly Place[];
}

/** The topology of a point, checked as any other is. */
export function platformOf(settings: Settings): Platform {
  return settings.base === undefined ? described(settings) : based(settings, settings.base.file);
}

function described(settings: Settings): Platform {
  const text = JSON.stringify(describedPlatform(settings));
  const parsed = parseTopology(text, 'experiment', {
    resolve: (path) => path,
    programs: BUILTIN_PROGRAMS,
    // Disks are in memory.
    files: { exists: () => true, imageProblem: () => undefined, directoryProblem: () => undefined },
  });
  const roles = new Map((parsed.topology?.vms ?? []).map(({ name }) => [name, roleByName(name)]));
  return { ...checked(parsed, settings), roles, idle: [] };
}

const roleByName = (name: string): Role =>
  name.startsWith(BACKEND) ? 'backend' : name.startsWith(NOISY) ? 'noisy' : 'frontend';

function based(settings: Settings, file: string): Platform {
  const { data, roles, idle } = loadedBase(settings);
  const { topology, problems } = checked(parseRaw({ file, text: textOf(data) }), settings);
  const more = topology === undefined ? [] : misfits(topology, roles, settings);
  const all = [...problems, ...more];
  return { ...(topology === undefined || all.length > 0 ? {} : { topology }), problems: all, roles, idle };
}

function checked(
  { topology, diagnostics }: ReturnType<typeof parseTopology>,
  { platform: { slots } }: Settings,
): Pick<Platform, 'topology' | 'problems'> {
  const problems = diagnostics
    .filter(({ severity }) => severity === 'error')
    .map(({ rule, path, message, fix }) => ({ path, message: `${message} [${rule}]; ${fix}` }));
  if (topology === undefined) return { problems };
  return { topology: slots === undefined ? topology : { ...topology, slots }, problems };
}
