import type { LoadOptions } from '@remio/frontend-vm';
import type { Vm } from '@remio/topology';
import type { Role } from './base/with-workload.js';
import type { Settings } from './language.js';
import { besideDevices } from './platform.js';
import { sizeOf } from './workload-rules.js';

/** Seeds of a run's VMs and media begin so far from those of the next one's. */
const SEEDS = 8192;

/** The seed of a VM of a run. */
export const seedOf = (seed: number, vm: Pick<Vm, 'id'>): number => seed * SEEDS + vm.id;
/** The seed of a medium of a run, by its number: no VM has one of these. */
export const mediumSeed = (seed: number, medium: number): number => seed * SEEDS + SEEDS / 2 + medium;

/** What the program `load` of a VM is given; undefined: the VM makes no load. */
export function loadOptionsOf(
  settings: Settings,
  role: Role | undefined,
  vm: Vm,
  seed: number,
): LoadOptions | undefined {
  if (role !== 'frontend' && role !== 'noisy') return undefined;
  const { measure, beside } = settings;
  const optionsOf = (work: Work): Omit<LoadOptions, 'beside'> => ({
    type: work.type,
    depth: work.depth,
    think: work.think,
    rate: work.rate,
    burst: work.burst,
    size: sizeOf(work),
    pattern: work.pattern,
    reads: work.reads,
    warmUp: measure.warm_up,
    duration: measure.duration,
    seed: seedOf(seed, vm),
  });
  if (role === 'noisy') return optionsOf(settings.noisy);
  const devices = beside.devices === 0 ? [] : besideDevices(vm);
  const trace = settings.trace?.vms[vm.id]?.vcpus;
  return {
    ...optionsOf(settings.workload),
    ...(trace === undefined ? {} : { trace, pace: settings.workload.pace }),
    ...(devices.length === 0 ? {} : { beside: { ...optionsOf(beside), devices } }),
  };
}

type Work = Omit<Settings['workload'], 'vms'>;
