import { entriesOf } from './base-topology.js';
import { globOf, isMapping, type Place } from './topology-path.js';

type Mapping = Readonly<Record<string, unknown>>;

/** What a VM is in an experiment: frontends are measured, noisy ones are what those have to live with. */
export type Role = 'frontend' | 'noisy' | 'backend' | 'other';

/** What a workload is put on. */
export interface Target {
  /** Patterns of the names of frontend VMs. */
  readonly vms: readonly string[];
  /** Families of devices that it uses. */
  readonly families: readonly string[];
  /** Least entries of a queue. */
  readonly queueSize: number;
}

/** A topology under load. */
export interface Loaded {
  readonly data: unknown;
  readonly roles: ReadonlyMap<string, Role>;
  /** Devices that nobody uses, and which are therefore not there. */
  readonly leftOut: readonly string[];
  /** What of the topology makes no difference under load: ends that are not there, and what the workload replaces. */
  readonly idle: readonly Place[];
}

/**
 * Puts a workload on a topology. VMs that it names, use devices and serve none run it instead of their programs, on their
 * devices of its family. What they have besides is left out at both ends, for nothing would drive it; who has no such device
 * idles. Other VMs stay as they are.
 * @param data what a topology file has
 */
export function withWorkload(data: unknown, workload: Target, noisy: Target): Loaded {
  const vms = entriesOf(data, 'vms');
  const served = new Map(vms.flatMap(([, vm]) => endsOf(vm, 'backend').map((end) => [keyOf(end), end] as const)));
  const roles = new Map<string, Role>();
  /** Programs of VMs that do not run their own. */
  const programs = new Map<string, 'load' | 'idle'>();
  /** By device that is used: how many vCPUs use it, and entries of a queue. */
  const used = new Map<string, { readonly cpus: number; readonly queueSize: number }>();
  /** By device: its name. */
  const leftOut = new Map<string, string>();
  const idle: Place[] = [];
  for (const [name, vm] of vms) {
    const target = targetOf(name, vm, workload, noisy);
    const ends = endsOf(vm, 'frontend');
    const mine = target === undefined ? [] : ends.filter((end) => uses(target, served.get(keyOf(end))));
    roles.set(name, mine.length > 0 ? (target === noisy ? 'noisy' : 'frontend') : servesAny(vm) ? 'backend' : 'other');
    if (target === undefined || ends.length === 0) continue;
    programs.set(name, mine.length > 0 ? 'load' : 'idle');
    idle.push(['vms', name, 'program']);
    for (const end of ends) {
      if (mine.includes(end)) used.set(keyOf(end), { cpus: cpusOf(vm), queueSize: target.queueSize });
      else leftOut.set(keyOf(end), deviceOf(end));
    }
  }
  const changed = new Map<string, Mapping>();
  for (const [name, vm] of vms) {
    const written = vm['remio_devs'];
    // What is no list of ends is for the topology's check to say.
    if (!Array.isArray(written)) continue;
    const ends = written.flatMap((end: unknown, n): readonly unknown[] => {
      if (!isMapping(end)) return [end];
      const place = ['vms', name, 'remio_devs', n];
      if (leftOut.has(keyOf(end))) {
        idle.push(place);
        return [];
      }
      if (programs.has(name)) idle.push(...REPLACED.map((field) => [...place, field]));
      const use = used.get(keyOf(end));
      return [use === undefined ? end : end['type'] === 'backend' ? servedEnd(end, use) : drivenEnd(end)];
    });
    // A backend that serves nothing any more is none.
    if (servesAny(vm) && !servesAny({ remio_devs: ends })) {
      roles.set(name, 'other');
      programs.set(name, 'idle');
    }
    const program = programs.get(name);
    changed.set(name, { ...vm, remio_devs: ends, ...(program === undefined ? {} : { program }) });
  }
  return { data: withVms(data, changed, roles), roles, leftOut: [...leftOut.values()], idle };
}

/** A topology with some of its VMs changed. */
function withVms(data: unknown, changed: ReadonlyMap<string, Mapping>, roles: ReadonlyMap<string, Role>): unknown {
  if (!isMapping(data) || !isMapping(data['vms'])) return data;
  const vms = Object.entries(data['vms']).map(([name, vm]) => [name, changed.get(name) ?? vm] as const);
  return { ...data, vms: Object.fromEntries(vms), ...hostsOf(data['hosts'], roles) };
}

const allEnds = ({ remio_devs: ends }: Mapping): readonly Mapping[] =>
  Array.isArray(ends) ? ends.filter(isMapping) : [];

const endsOf = (vm: Mapping, type: 'frontend' | 'backend'): readonly Mapping[] =>
  allEnds(vm).filter((end) => end['type'] === type);

const servesAny = (vm: Mapping): boolean => endsOf(vm, 'backend').length > 0;

const keyOf = (end: Mapping): string => String(end['bind_key']);

const deviceOf = (end: Mapping): string => String(end['name'] ?? `device${keyOf(end)}`);

const cpusOf = ({ cpus }: Mapping): number => (Array.isArray(cpus) ? cpus.length : Number(cpus));

/** What a VM is to do, if it is a frontend alone. */
function targetOf(name: string, vm: Mapping, workload: Target, noisy: Target): Target | undefined {
  if (servesAny(vm)) return undefined;
  return [noisy, workload].find(({ vms }) => vms.some((pattern) => globOf(pattern).test(name)));
}

const uses = ({ families }: Target, served: Mapping | undefined): boolean => {
  const device = served?.['device'];
  return isMapping(device) && families.includes(String(device['type']));
};

/** Of a frontend's end: what the workload has its own way for. Each vCPU has a queue. */
const REPLACED = ['driver', 'repeat', 'queue_vcpus'] as const;

/** A frontend's end that the workload drives. */
const drivenEnd = ({ driver: _, repeat: __, queue_vcpus: ___, ...end }: Mapping): Mapping => end;

/** A backend's end: a disk has a queue for each vCPU that uses it, with room for its requests, unless its topology says otherwise. */
function servedEnd(end: Mapping, { cpus, queueSize }: { readonly cpus: number; readonly queueSize: number }): Mapping {
  const { device } = end;
  if (!isMapping(device) || device['type'] !== 'block') return end;
  return { ...end, device: { queues: cpus, queue_size: queueSize, ...device } };
}

/** Hosts without backends that serve nothing any more: others on their host still do. */
function hostsOf(hosts: unknown, roles: ReadonlyMap<string, Role>): Mapping {
  if (!isMapping(hosts)) return {};
  const serves = (name: unknown): boolean => roles.get(String(name)) === 'backend';
  const kept = Object.entries(hosts).map(
    ([host, names]) => [host, Array.isArray(names) && names.some(serves) ? names.filter(serves) : names] as const,
  );
  return { hosts: Object.fromEntries(kept) };
}
