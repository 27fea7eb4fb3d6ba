import type { TopologySource } from '../reader.js';
import type { Topology, Vm } from '../types.js';

/**
 * A frontend's vCPU waits for its backend's: in a circle of VMs with one vCPU each, all wait for ever (D-30). Finds the
 * circles as strongly connected components (Tarjan), in the time of looking at every device once.
 */
export function checkCycles(source: TopologySource, topology: Topology): void {
  for (const circle of circlesOf(topology)) {
    const names = circle.map(({ name }) => name);
    const [start] = circle;
    if (start === undefined) continue;
    const message = `VMs ${names.join(', ')} wait for each other in a circle, each with one vCPU`;
    source.warning('vm-cycle', ['vms', start.name, 'cpus'], message, 'give one of them a second vCPU');
  }
}

interface Visit {
  readonly vm: Vm;
  readonly edges: readonly Vm[];
  next: number;
}

function circlesOf(topology: Topology): readonly (readonly Vm[])[] {
  const backendOf = new Map<bigint, Vm>();
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) if (end.type === 'backend') backendOf.set(end.bindKey, vm);
  }
  const single = (vm: Vm): boolean => vm.cpus.length === 1;
  const waitsFor = (vm: Vm): readonly Vm[] =>
    vm.remioDevs.flatMap((end) => (end.type === 'frontend' ? (backendOf.get(end.bindKey) ?? []) : [])).filter(single);
  const index = new Map<Vm, number>();
  const low = new Map<Vm, number>();
  const stack: Vm[] = [];
  const onStack = new Set<Vm>();
  const circles: Vm[][] = [];
  const lower = (vm: Vm, value: number): void => {
    low.set(vm, Math.min(low.get(vm) ?? value, value));
  };
  const enter = (vm: Vm): Visit => {
    index.set(vm, index.size);
    lower(vm, index.size - 1);
    stack.push(vm);
    onStack.add(vm);
    return { vm, edges: waitsFor(vm), next: 0 };
  };
  for (const root of topology.vms) {
    if (!single(root) || index.has(root)) continue;
    // A stack of our own: a chain of a thousand VMs is deeper than the language's.
    const visits = [enter(root)];
    for (let visit = visits.at(-1); visit !== undefined; visit = visits.at(-1)) {
      const next = visit.edges[visit.next];
      visit.next += 1;
      if (next !== undefined) {
        const seen = index.get(next);
        if (seen === undefined) visits.push(enter(next));
        else if (onStack.has(next)) lower(visit.vm, seen);
        continue;
      }
      visits.pop();
      const parent = visits.at(-1);
      const lowest = low.get(visit.vm) ?? 0;
      if (parent !== undefined) lower(parent.vm, lowest);
      if (lowest !== index.get(visit.vm)) continue;
      const members: Vm[] = [];
      for (let member = stack.pop(); member !== undefined; member = member === visit.vm ? undefined : stack.pop()) {
        onStack.delete(member);
        members.push(member);
      }
      if (members.length > 1) circles.push(members.sort((a, b) => a.id - b.id));
    }
  }
  return circles;
}
