import { GPA_LIMIT, IPA_LIMIT } from '@remio/arch';
import { hex } from '@remio/base';
import type { TopologySource } from '../reader.js';
import type { Repair } from '../repair.js';
import type { RemioDev, Topology, Vm } from '../types.js';
import { endPath } from './places.js';
import { freeAddress, overlapsOf, type Range, rangesOf } from './ranges.js';

export const PAGE = 4096n;
/** A window's place, when we choose one. */
const WINDOW_ALIGN = 0x200n;
/** Overlaps of a VM for which a place is sought, so that a file that is wrong everywhere takes no longer. */
const PROPOSALS_MAX = 16;

/** Checks the guest-physical addresses of every VM. */
export function checkAddressSpaces(source: TopologySource, topology: Topology): void {
  const ranges = new Map(topology.vms.map((vm) => [vm, rangesOf(topology, vm)]));
  const peers = peersOf(topology);
  const limit = topology.arch === 'aarch64' ? IPA_LIMIT : GPA_LIMIT;
  for (const vm of topology.vms) {
    const own = [...(ranges.get(vm) ?? [])];
    let proposals = 0;
    checkAlignment(source, vm);
    for (const { what, path, base, size } of own) {
      if (path === undefined || base + size <= limit) continue;
      const message = `the ${what} ends at ${hex(base + size)}, beyond what a guest can address`;
      source.error('address-limit', path, message, `place it so that it ends at ${hex(limit)} or before`);
    }
    for (const { range, other } of overlapsOf(own)) {
      const { path } = range;
      if (path === undefined) continue;
      const message = `the ${range.what} overlaps the ${other.what} (${hex(other.base)} to ${hex(other.base + other.size - 1n)})`;
      proposals += 1;
      if (proposals > PROPOSALS_MAX) {
        source.error('overlap', path, message, 'move one of the two');
        continue;
      }
      const end = endOf(vm, range);
      const peer = end === undefined || range.what.startsWith('window') ? undefined : peers.get(end.bindKey)?.get(end);
      const taken = [...own, ...(peer === undefined ? [] : (ranges.get(peer.vm) ?? []))].filter(
        (one) => !isAt(one, range, peer),
      );
      const align = range.what.startsWith('window') ? WINDOW_ALIGN : PAGE;
      const free = freeAddress(taken, range.size, align, other.base + other.size);
      const both = peer === undefined ? '' : ', at both ends';
      const repairs: Repair[] = [{ kind: 'set', path, value: hex(free) }];
      if (peer !== undefined) {
        repairs.push({ kind: 'set', path: endPath(peer.vm, peer.end, 'shmem', 'base'), value: hex(free) });
      }
      own.push({ ...range, base: free });
      if (free + range.size > limit) source.error('overlap', path, message, 'move one of the two');
      else source.error('overlap', path, message, `move it to ${hex(free)}${both}`, ...repairs);
    }
  }
}

interface Peer {
  readonly vm: Vm;
  readonly end: RemioDev;
}

/** The other end of every end, by bind key; none where there are not exactly two. */
function peersOf(topology: Topology): ReadonlyMap<bigint, ReadonlyMap<RemioDev, Peer>> {
  const byKey = new Map<bigint, Peer[]>();
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      const peers = byKey.get(end.bindKey);
      if (peers === undefined) byKey.set(end.bindKey, [{ vm, end }]);
      else peers.push({ vm, end });
    }
  }
  return new Map(
    [...byKey].map(([key, [a, b, ...more]]) => {
      const pair = a !== undefined && b !== undefined && more.length === 0 && a.end.shmem.base === b.end.shmem.base;
      return [
        key,
        new Map(
          pair
            ? [
                [a.end, b],
                [b.end, a],
              ]
            : [],
        ),
      ];
    }),
  );
}

const endOf = (vm: Vm, { path }: Range): RemioDev | undefined =>
  path?.[2] === 'remio_devs' ? vm.remioDevs[Number(path[3])] : undefined;

/** Whether a range is the one that is to be moved, here or at the other end. */
const isAt = (one: Range, range: Range, peer: Peer | undefined): boolean =>
  one === range || (peer !== undefined && one.what === `shared memory of ${peer.end.name}` && one.base === range.base);

function checkAlignment(source: TopologySource, vm: Vm): void {
  const whole = (what: string, path: readonly (string | number)[], value: bigint): void => {
    if (value % PAGE === 0n) return;
    const next = ((value + PAGE - 1n) / PAGE) * PAGE;
    const message = `${what} ${hex(value)} is no multiple of the page size, 0x1000`;
    source.error('alignment', path, message, `write ${hex(next)}`, { kind: 'set', path, value: hex(next) });
  };
  vm.memory.forEach(({ base, size, phys }, n) => {
    const path = ['vms', vm.name, 'memory', n];
    whole('the memory\u2019s base', [...path, 'base'], base);
    whole('the memory\u2019s size', [...path, 'size'], BigInt(size));
    if (phys !== undefined) whole('the memory\u2019s place in RAM', [...path, 'phys'], phys);
    if (size === 0)
      source.error('alignment', [...path, 'size'], 'a memory of 0 bytes', 'give it at least 4KiB, or remove it');
  });
  for (const { index, name, shmem, size } of vm.ipcs) {
    const path = ['vms', vm.name, 'ipcs', index];
    whole(`the IPC memory ${name} at`, [...path, 'base'], shmem.base);
    whole(`the size of the IPC memory ${name},`, [...path, 'size'], BigInt(size));
  }
  for (const end of vm.remioDevs) {
    whole(`the shared memory of ${end.name} at`, endPath(vm, end, 'shmem', 'base'), end.shmem.base);
  }
}
