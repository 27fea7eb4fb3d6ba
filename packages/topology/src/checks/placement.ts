import { hex } from '@remio/base';
import { isSynthetic } from '@remio/board';
import type { Path } from '../path.js';
import type { TopologySource } from '../reader.js';
import type { Topology } from '../types.js';
import { PAGE } from './address-space.js';
import { freeAddress, overlapsOf, type Range } from './ranges.js';

/** Largest shared memory, bytes: a mapping of the host has one length. */
const SHARED_SIZE_MAX = 2 ** 31;

/** Misplaced memories for which a place is sought. */
const PROPOSALS_MAX = 16;

/** Checks where memories lie in the board's RAM, and that it has room for all. */
export function checkPlacement(source: TopologySource, topology: Topology): void {
  checkShared(source, topology);
  const { ram, name } = topology.board;
  const placed: Range[] = [];
  let wanted = 0n;
  let proposals = 0;
  const add = (what: string, path: Path, size: number, phys: bigint | undefined): void => {
    wanted += BigInt(size);
    if (phys !== undefined) placed.push({ what, path, base: phys, size: BigInt(size) });
  };
  for (const memory of topology.sharedMemories) {
    add(`shared memory ${memory.name}`, ['shared_memories', memory.name, 'phys'], memory.size, memory.phys);
  }
  for (const vm of topology.vms) {
    vm.memory.forEach(({ size, phys }, n) => {
      add(`memory of ${vm.name}`, ['vms', vm.name, 'memory', n, 'phys'], size, phys);
    });
  }
  const room = (range: Range): bigint | undefined => {
    const others = placed.filter((one) => one !== range);
    for (const { base, size } of ram) {
      const free = freeAddress(others, range.size, PAGE, base);
      if (free + range.size <= base + size) return free;
    }
    return undefined;
  };
  const tell = (rule: 'phys-outside-ram' | 'phys-overlap', range: Range, message: string): void => {
    const { path } = range;
    if (path === undefined) return;
    proposals += 1;
    const free = proposals > PROPOSALS_MAX ? undefined : room(range);
    if (free !== undefined) placed.push({ ...range, base: free });
    if (free === undefined) source.error(rule, path, message, 'leave phys out, or make the memories smaller');
    else
      source.error(rule, path, message, `place it at ${hex(free)}, or leave phys out`, {
        kind: 'set',
        path,
        value: hex(free),
      });
  };
  const inside: Range[] = [];
  for (const range of [...placed]) {
    if (ram.some(({ base, size }) => range.base >= base && range.base + range.size <= base + size)) {
      inside.push(range);
      continue;
    }
    const has = ram.map(({ base, size }) => `${hex(base)} to ${hex(base + size - 1n)}`).join(', ');
    tell('phys-outside-ram', range, `the ${range.what} is placed outside the RAM of ${name}, which is ${has}`);
  }
  for (const { range, other } of overlapsOf(inside)) {
    const message = `the ${range.what} is placed over the ${other.what} (${hex(other.base)} to ${hex(other.base + other.size - 1n)})`;
    tell('phys-overlap', range, message);
  }
  const total = ram.reduce((sum, { size }) => sum + size, 0n);
  if (wanted <= total || isSynthetic(name)) return;
  const mib = (bytes: bigint): string => `${(bytes + 0xf_ffffn) >> 20n} MiB`;
  const message = `the memories have ${mib(wanted)} together; ${name} has ${mib(total)} of RAM`;
  source.warning('ram-oversubscribed', ['board'], message, 'make memories smaller, or choose a board with more RAM');
}

function checkShared(source: TopologySource, topology: Topology): void {
  for (const { name, size, phys } of topology.sharedMemories) {
    const path: Path = ['shared_memories', name, 'size'];
    if (size === 0)
      source.error('shared-memory-size', path, `the shared memory ${name} has 0 bytes`, 'give it at least 4KiB');
    else if (size > SHARED_SIZE_MAX) {
      source.error('shared-memory-size', path, 'a shared memory has at most 2 GiB', 'make it smaller');
    } else if (size % Number(PAGE) !== 0) {
      const next = Math.ceil(size / Number(PAGE)) * Number(PAGE);
      const message = `${size} bytes are no whole number of pages`;
      source.error('shared-memory-size', path, message, `write ${hex(next)}`, { kind: 'set', path, value: hex(next) });
    }
    if (phys !== undefined && phys % PAGE !== 0n) {
      const at: Path = ['shared_memories', name, 'phys'];
      const next = hex(((phys + PAGE - 1n) / PAGE) * PAGE);
      const message = `the shared memory\u2019s place in RAM ${hex(phys)} is no multiple of the page size, 0x1000`;
      source.error('alignment', at, message, `write ${next}`, { kind: 'set', path: at, value: next });
    }
  }
}
