import { guestAddress } from '@remio/base';
import type { Topology, Vm } from '@remio/topology';

/** What a VM gets that the topology gives no memory: guests here need none, guests of Bao are loaded to it. */
export const ASSUMED_SIZE = 64 * 1024 * 1024;
const FIRST_BASE = 0x1000_0000n;

/** A topology whose VMs all have memory, and the VMs that were given some. */
export interface WithMemory {
  readonly topology: Topology;
  readonly assumed: ReadonlySet<string>;
}

/** Gives memory to VMs without any, where nothing else of theirs lies. */
export function withMemory(topology: Topology): WithMemory {
  const assumed = new Set(topology.vms.filter(({ memory }) => memory.length === 0).map(({ name }) => name));
  if (assumed.size === 0) return { topology, assumed };
  const vms = topology.vms.map((vm) =>
    assumed.has(vm.name) ? { ...vm, memory: [{ base: guestAddress(freeBase(vm)), size: ASSUMED_SIZE }] } : vm,
  );
  return { topology: { ...topology, vms }, assumed };
}

function freeBase({ remioDevs, ipcs }: Vm): bigint {
  const taken = [
    ...remioDevs.map(({ shmem }) => shmem),
    ...remioDevs.filter(({ type }) => type === 'frontend').map(({ window }) => window),
    ...ipcs.map(({ shmem }) => shmem),
  ];
  let base = FIRST_BASE;
  for (;;) {
    const end = base + BigInt(ASSUMED_SIZE);
    const inTheWay = taken.find((range) => range.base < end && range.base + BigInt(range.size) > base);
    if (inTheWay === undefined) return base;
    const unit = BigInt(ASSUMED_SIZE);
    base = ((inTheWay.base + BigInt(inTheWay.size) + unit - 1n) / unit) * unit;
  }
}
