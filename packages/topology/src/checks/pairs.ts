import { hex } from '@remio/base';
import type { TopologySource } from '../reader.js';
import type { Repair } from '../repair.js';
import type { RemioDev, Topology, Vm } from '../types.js';
import { endPath } from './places.js';

interface Placed {
  readonly vm: Vm;
  readonly end: RemioDev;
}

/** The ends of every bind key, in the order of the file. */
export function endsByKey(topology: Topology): ReadonlyMap<bigint, readonly Placed[]> {
  const byKey = new Map<bigint, Placed[]>();
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      const ends = byKey.get(end.bindKey);
      if (ends === undefined) byKey.set(end.bindKey, [{ vm, end }]);
      else ends.push({ vm, end });
    }
  }
  return byKey;
}

/** Checks that ends come in pairs, and that the ends of a pair agree. */
export function checkPairs(source: TopologySource, topology: Topology): void {
  const lonely: Placed[] = [];
  const users = new Map<number, RemioDev>();
  for (const [key, ends] of endsByKey(topology)) {
    const first: { frontend?: Placed; backend?: Placed } = {};
    for (const placed of ends) {
      const { vm, end } = placed;
      const twin = first[end.type];
      if (twin === undefined) first[end.type] = placed;
      else {
        const message = `bind key ${key} has a ${end.type} already: ${twin.end.name} of VM ${twin.vm.name}`;
        source.error('bind-key-doubled', endPath(vm, end, 'bind_key'), message, 'give every device a key of its own');
      }
    }
    const { frontend, backend } = first;
    if (frontend === undefined || backend === undefined) {
      lonely.push(...ends.filter((placed) => placed === frontend || placed === backend));
      continue;
    }
    checkPair(source, topology, frontend, backend);
    const user = users.get(backend.end.shmem.id);
    if (user !== undefined) {
      const memory = topology.sharedMemories[backend.end.shmem.id]?.name;
      const path = endPath(backend.vm, backend.end, 'shmem', 'memory');
      source.error(
        'shared-memory-twice',
        path,
        `shared memory ${memory} is that of ${user.name} as well`,
        'add a shared memory for this device',
      );
    } else users.set(backend.end.shmem.id, backend.end);
  }
  checkLonely(source, lonely);
}

function checkPair(source: TopologySource, topology: Topology, frontend: Placed, backend: Placed): void {
  const path = endPath(frontend.vm, frontend.end, 'bind_key');
  if (frontend.vm === backend.vm) {
    const message = `VM ${frontend.vm.name} serves ${frontend.end.name} to itself: its vCPU would wait for its own answer`;
    source.error('own-backend', path, message, 'put one of the two ends in another VM');
  }
  const a = backend.end.shmem;
  const b = frontend.end.shmem;
  if (a.id === b.id && a.base === b.base) return;
  const names = topology.sharedMemories;
  const show = ({ id, base }: typeof a): string => `${names[id]?.name} at ${hex(base)}`;
  const where = endPath(frontend.vm, frontend.end, 'shmem');
  const repairs: Repair[] = [];
  if (a.base !== b.base) repairs.push({ kind: 'set', path: [...where, 'base'], value: hex(a.base) });
  if (a.id !== b.id) repairs.push({ kind: 'set', path: [...where, 'memory'], value: names[a.id]?.name ?? '' });
  const message = `the ends of ${frontend.end.name} differ in their shared memory: ${show(b)} here, ${show(a)} in VM ${backend.vm.name}`;
  const at = a.base === b.base ? [...where, 'memory'] : [...where, 'base'];
  source.error('shmem-mismatch', at, message, `write ${show(a)}`, ...repairs);
}

/** Ends without another: where one of the other type has the same name, its key was meant. */
function checkLonely(source: TopologySource, lonely: readonly Placed[]): void {
  const byName = new Map<string, Placed[]>();
  for (const placed of lonely) {
    const name = `${placed.end.type} ${placed.end.name}`;
    byName.set(name, [...(byName.get(name) ?? []), placed]);
  }
  for (const { vm, end } of lonely) {
    const missing = end.type === 'frontend' ? 'backend' : 'frontend';
    const path = endPath(vm, end, 'bind_key');
    const [twin, ...more] = byName.get(`${missing} ${end.name}`) ?? [];
    const message = `bind key ${end.bindKey} has no ${missing}`;
    if (twin === undefined || more.length > 0 || end.name.startsWith('device')) {
      source.error('bind-key-unpaired', path, message, `add a ${missing} with bind_key: ${end.bindKey}`);
    } else if (end.type === 'backend') {
      const fix = `write ${end.bindKey} at the frontend in VM ${twin.vm.name}, which has ${twin.end.bindKey}`;
      source.error('bind-key-unpaired', path, message, fix);
    } else {
      const fix = `write ${twin.end.bindKey}, as the backend of ${end.name} in VM ${twin.vm.name} has`;
      source.error('bind-key-unpaired', path, message, fix, { kind: 'set', path, value: `${twin.end.bindKey}` });
    }
  }
}
