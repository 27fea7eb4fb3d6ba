import { loadBoard, SYNTHETIC_CPUS_MAX } from '@remio/board';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';
import type { Settings } from './language.js';

/** Bytes of a page. */
const PAGE = 4096;
/** Where shared memories begin: above what boards have there. */
const SHARED_BASE = 0x1_0000_0000;
const WINDOWS = 0x0a00_0000;
/** First interrupts of devices: beyond what every vCPU has of its own. */
const FIRST_INTERRUPT = { aarch64: 40, riscv64: 16 } as const;

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** VMs whose name begins so are measured, are noise, or serve. */
export const FRONTEND = 'front';
export const NOISY = 'noisy';
export const BACKEND = 'back';

/** The platform of a point, as a topology file has it. */
export function platformFile(settings: Settings): object {
  const { platform, workload, noisy, costs } = settings;
  const synthetic = platform.board.startsWith('synthetic-');
  const board = loadBoard({ name: platform.board });
  const arch = board.ok ? board.value.arch : 'aarch64';
  const frontends = [
    ...Array.from({ length: platform.frontends }, (_, n) => ({ name: `${FRONTEND}${n}`, ...workload })),
    ...Array.from({ length: noisy.frontends }, (_, n) => ({ name: `${NOISY}${n}`, ...noisy })),
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
  for (const { name, size, depth, type } of frontends) {
    // Buffers, rings and room for requests, for every vCPU.
    const room = type === 'block' ? platform.vcpus * (depth * (up(size, PAGE) + 512) + 32 * PAGE) : 16 * PAGE;
    const ends: object[] = [];
    for (let device = 0; device < platform.devices; device += 1) {
      const id = `disk${key}`;
      const bytes = up(room, PAGE);
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
        device: { type: 'block', image: 'none', queues: platform.vcpus },
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
    costs: Object.fromEntries(Object.entries(costs).filter(([, value]) => value !== undefined)),
    shared_memories: memories,
    vms,
  };
}

/**
 * The topology of a point, checked as any other is.
 * @returns what does not fit
 */
export function platformOf(settings: Settings): { readonly topology?: Topology; readonly problems: readonly string[] } {
  const text = JSON.stringify(platformFile(settings));
  const { topology, diagnostics } = parseTopology(text, 'experiment', {
    resolve: (path) => path,
    programs: BUILTIN_PROGRAMS,
    // Disks are in memory.
    files: { exists: () => true, imageProblem: () => undefined, directoryProblem: () => undefined },
  });
  const errors = diagnostics.filter(({ severity }) => severity === 'error');
  const problems = [...new Set(errors.map(({ rule, message, fix }) => `${message} [${rule}]; ${fix}`))];
  if (topology === undefined) return { problems };
  const { slots } = settings.platform;
  return { topology: slots === undefined ? topology : { ...topology, slots }, problems };
}
