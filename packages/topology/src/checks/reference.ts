import type { TopologySource } from '../reader.js';
import type { RemioDev, Topology, Vm } from '../types.js';
import { endsByKey } from './pairs.js';
import { endPath } from './places.js';

/** What the reference's messages carry of a key and of a request id: a byte. */
const KEY_MAX = 255n;
const SLOTS_MAX = 256;

/**
 * Checks what the reference cannot carry, or mistakes: errors under its profile, and otherwise warnings, since the
 * topology cannot be taken to a board as it is.
 */
export function checkReference(source: TopologySource, topology: Topology): void {
  const tell = topology.profile === 'reference' ? source.error.bind(source) : source.warning.bind(source);
  const cpus = topology.board.cpus.length;
  // Boards that exist have fewer; of those that do not, only the profile says that the reference is meant.
  if (cpus > SLOTS_MAX && topology.profile === 'reference') {
    const message = `the reference's messages cut request ids to a byte: of ${cpus} CPUs, those above ${SLOTS_MAX} share them`;
    source.error('cpus-reference', ['board'], message, `choose a board with at most ${SLOTS_MAX} CPUs`);
  }
  const byKey = endsByKey(topology);
  let free = 0n;
  for (const [key, ends] of byKey) {
    if (key <= KEY_MAX) continue;
    while (byKey.has(free)) free += 1n;
    const value = free <= KEY_MAX ? free : undefined;
    free += 1n;
    const repairs = (value === undefined ? [] : ends).map(({ vm, end }) => ({
      kind: 'set' as const,
      path: endPath(vm, end, 'bind_key'),
      value: `${value}`,
    }));
    // Both ends change together, so only the first diagnostic does it.
    ends.forEach(({ vm, end }, n) => {
      const message = `the reference's messages cut bind key ${key} to ${key & 0xffn}`;
      const fix = value === undefined ? 'choose a key from 0 to 255' : `write ${value}, which is free, at both ends`;
      tell('bind-key-reference', endPath(vm, end, 'bind_key'), message, fix, ...(n === 0 ? repairs : []));
    });
  }
  for (const vm of topology.vms) checkTouching(vm, tell);
}

/** A window that ends where a later one starts: the reference looks for addresses up to the end, and including it. */
function checkTouching(vm: Vm, tell: TopologySource['error']): void {
  const byBase = new Map<bigint, RemioDev>();
  for (const end of vm.remioDevs) if (end.type === 'frontend') byBase.set(end.window.base, end);
  for (const end of vm.remioDevs) {
    if (end.type !== 'frontend' || end.window.size === 0) continue;
    const next = byBase.get(end.window.base + BigInt(end.window.size));
    if (next === undefined || next.dm < end.dm) continue;
    const message = `the window of ${end.name} ends where that of ${next.name} starts: the reference sends the first byte of ${next.name} to ${end.name}`;
    tell('windows-touch', endPath(vm, next, 'window', 'base'), message, `list ${next.name} before ${end.name}`, {
      kind: 'swap',
      a: endPath(vm, end),
      b: endPath(vm, next),
    });
  }
}
