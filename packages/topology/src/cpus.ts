import { type CpuId, cpuId } from '@remio/base';
import type { BoardProfile } from '@remio/board';
import type { Path } from './path.js';
import type { TopologySource } from './reader.js';
import type { TopologyFile } from './schema.js';

/** Gives every VM its CPUs: those that it names, then free ones, in order. Takes the time of looking at each once. */
export function assignCpus(
  source: TopologySource,
  file: TopologyFile,
  board: BoardProfile,
): ReadonlyMap<string, readonly CpuId[]> {
  const count = board.cpus.length;
  const owner: (string | undefined)[] = board.cpus.map(() => undefined);
  const assigned = new Map<string, readonly CpuId[]>();
  const wrong: { readonly rule: 'cpu-unknown' | 'cpu-taken'; readonly path: Path; readonly message: string }[] = [];
  for (const [name, vm] of Object.entries(file.vms)) {
    if (!Array.isArray(vm.cpus)) continue;
    vm.cpus.forEach((cpu, n) => {
      const path: Path = ['vms', name, 'cpus', n];
      const other = owner[cpu];
      if (cpu >= count) wrong.push({ rule: 'cpu-unknown', path, message: `${board.name} has no CPU ${cpu}` });
      else if (other !== undefined) {
        const message = other === name ? `CPU ${cpu} is listed twice` : `CPU ${cpu} is of VM ${other} already`;
        wrong.push({ rule: 'cpu-taken', path, message });
      } else owner[cpu] = name;
    });
    assigned.set(name, [...vm.cpus].sort((a, b) => a - b).map(cpuId));
  }
  let next = 0;
  const take = (): number | undefined => {
    while (next < count && owner[next] !== undefined) next += 1;
    next += 1;
    return next <= count ? next - 1 : undefined;
  };
  let left = owner.filter((name) => name === undefined).length;
  for (const [name, vm] of Object.entries(file.vms)) {
    if (Array.isArray(vm.cpus)) continue;
    const mine: number[] = [];
    for (let n = 0; n < vm.cpus && n < left; n += 1) {
      const cpu = take();
      if (cpu === undefined) break;
      owner[cpu] = name;
      mine.push(cpu);
    }
    if (mine.length < vm.cpus) {
      const fix = `give the VMs ${count} CPUs together, or choose a larger board (synthetic-${board.arch} has any number)`;
      const message = `VM ${name} wants ${vm.cpus} CPU${vm.cpus === 1 ? '' : 's'}; ${left} of ${count} are free`;
      source.error('cpu-oversubscribed', ['vms', name, 'cpus'], message, fix);
    }
    left -= mine.length;
    assigned.set(name, mine.map(cpuId));
  }
  for (const [name, vm] of Object.entries(file.vms)) {
    const none = Array.isArray(vm.cpus) ? vm.cpus.length === 0 : vm.cpus === 0;
    if (!none) continue;
    const path: Path = ['vms', name, 'cpus'];
    const message = `VM ${name} has no CPU`;
    if (Array.isArray(vm.cpus) || left === 0) source.error('cpu-none', path, message, 'give it at least one');
    else source.error('cpu-none', path, message, 'write 1: there is a free one', { kind: 'set', path, value: '1' });
  }
  for (const { rule, path, message } of wrong) {
    const free = take();
    if (free === undefined) source.error(rule, path, message, `choose from 0 to ${count - 1}; none is free`);
    else source.error(rule, path, message, `write ${free}, which is free`, { kind: 'set', path, value: `${free}` });
  }
  return assigned;
}
