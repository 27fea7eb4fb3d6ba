import type { InterruptController } from '@remio/arch';
import { APLIC_IRQ_LIMIT, GIC_FIRST_SPI, GIC_IRQ_LIMIT, PLIC_IRQ_LIMIT } from '@remio/arch';
import { checkHosts } from './host-checks.js';
import { checkIpcs } from './ipc-checks.js';
import { exclusiveOf } from './line.js';
import { linesOf } from './lines.js';
import { checkNetworks } from './network-checks.js';
import { checkPlacement } from './placement-checks.js';
import type { Path, TopologySource } from './reader.js';
import type { RemioDev, Topology, Vm } from './types.js';

const PAGE = 4096n;
/** What the reference's messages carry: a byte. */
const BYTE_MAX = 255;

/** Shared interrupts that a device may use, by controller: from, to. */
const sharedInterrupts = (irqc: InterruptController): readonly [number, number] => {
  switch (irqc.kind) {
    case 'gicv2':
    case 'gicv3':
      return [GIC_FIRST_SPI, GIC_IRQ_LIMIT - 1];
    case 'plic':
      return [1, PLIC_IRQ_LIMIT - 1];
    case 'aia':
      return [1, APLIC_IRQ_LIMIT - 1];
  }
};

/** Built-in programs that drive what a topology names a driver for. */
const DRIVING: ReadonlySet<string> = new Set(['drivers', 'dispatcher']);

/** Checks what the shape of a file cannot say. */
export function checkTopology(source: TopologySource, topology: Topology): void {
  topology.sharedMemories.forEach((memory) => {
    const path: Path = ['shared_memories', memory.name, 'size'];
    if (memory.size === 0 || memory.size % Number(PAGE) !== 0) {
      source.error(
        'shared-memory-size',
        path,
        `${memory.size} bytes are no whole number of pages`,
        'write a multiple of 4KiB',
      );
    } else if (memory.size > 2 ** 31) {
      source.error('shared-memory-size', path, 'a shared memory has at most 2 GiB', 'make it smaller');
    }
  });
  for (const vm of topology.vms) {
    checkRanges(source, vm);
    checkEnds(source, topology, vm);
  }
  checkPairs(source, topology);
  checkIpcs(source, topology);
  checkPlacement(source, topology);
  checkNetworks(source, topology);
  checkLines(source, topology);
  checkHosts(source, topology);
  checkCycles(source, topology);
}

const endPath = (vm: Vm, end: RemioDev, ...rest: readonly string[]): Path => [
  'vms',
  vm.name,
  'remio_devs',
  end.dm,
  ...rest,
];

/** A range of a VM's guest-physical addresses. */
interface Range {
  readonly what: string;
  readonly path: Path;
  readonly base: bigint;
  readonly size: bigint;
}

function checkRanges(source: TopologySource, vm: Vm): void {
  const ranges: Range[] = vm.memory.map(({ base, size }, n) => ({
    what: 'memory',
    path: ['vms', vm.name, 'memory', n],
    base,
    size: BigInt(size),
  }));
  for (const end of vm.remioDevs) {
    const { base, size } = end.shmem;
    ranges.push({ what: `shared memory of ${end.name}`, path: endPath(vm, end, 'shmem'), base, size: BigInt(size) });
  }
  for (const { index, name, shmem } of vm.ipcs) {
    const path: Path = ['vms', vm.name, 'ipcs', index];
    ranges.push({ what: `IPC memory ${name}`, path, base: shmem.base, size: BigInt(shmem.size) });
  }
  for (const range of ranges) {
    if (range.base % PAGE !== 0n || range.size % PAGE !== 0n) {
      const message = `the ${range.what} at 0x${range.base.toString(16)} is not made of whole pages`;
      source.error('alignment', range.path, message, 'use multiples of 0x1000');
    }
  }
  for (const end of vm.remioDevs) {
    if (end.type !== 'frontend') continue;
    const { base, size } = end.window;
    ranges.push({ what: `window of ${end.name}`, path: endPath(vm, end, 'window'), base, size: BigInt(size) });
  }
  ranges.forEach((a, n) => {
    for (const b of ranges.slice(0, n)) {
      if (a.base >= b.base + b.size || b.base >= a.base + a.size) continue;
      const message = `the ${a.what} overlaps the ${b.what} (0x${b.base.toString(16)} to 0x${(b.base + b.size - 1n).toString(16)})`;
      source.error('overlap', a.path, message, `move it to 0x${(b.base + b.size).toString(16)} or beyond`);
    }
  });
}

function checkEnds(source: TopologySource, topology: Topology, vm: Vm): void {
  checkInterrupts(source, topology, vm);
  for (const end of vm.remioDevs) {
    if (end.type === 'frontend') {
      if (end.window.size < 0x200) {
        source.error(
          'window',
          endPath(vm, end, 'window'),
          'a frontend has a window of at least 0x200 bytes',
          'add window: { base: 0x… }',
        );
      }
      if (end.device !== undefined) {
        source.error(
          'device-model',
          endPath(vm, end, 'device'),
          'a frontend has no device model',
          'move it to the backend end',
        );
      }
      if (DRIVING.has(vm.program.name) && vm.program.kind === 'builtin' && end.driver === undefined) {
        source.error(
          'driver',
          endPath(vm, end),
          `nothing drives ${end.name}`,
          'add driver: { type: … }, or give the VM a program that drives its devices',
        );
      }
    } else if (end.device === undefined) {
      source.error(
        'device-model',
        endPath(vm, end),
        `the backend of ${end.name} has no device model`,
        'add device: { type: block, image: … }',
      );
    }
    checkReferenceLimits(source, topology, vm, end);
  }
}

/** Interrupts of devices and IPC events: shared ones of the controller, each for one thing. */
function checkInterrupts(source: TopologySource, topology: Topology, vm: Vm): void {
  const [first, last] = sharedInterrupts(topology.board.irqc);
  const users = new Map<number, string>();
  const check = (interrupt: number, user: string, path: Path): void => {
    if (interrupt < first || interrupt > last) {
      const message = `interrupt ${interrupt} is no shared interrupt of ${topology.board.name}`;
      source.error('interrupt-range', path, message, `choose from ${first} to ${last}`);
    }
    const other = users.get(interrupt);
    if (other !== undefined) {
      const message = `interrupt ${interrupt} is that of ${other} as well`;
      source.error('interrupt-twice', path, message, 'give each device and each IPC event an interrupt of its own');
    }
    users.set(interrupt, user);
  };
  for (const end of vm.remioDevs) check(end.interrupt, end.name, endPath(vm, end, 'interrupt'));
  for (const { index, name, interrupts } of vm.ipcs) {
    interrupts.forEach((interrupt, event) => {
      check(interrupt, `event ${event} of ${name}`, ['vms', vm.name, 'ipcs', index, 'interrupts', event]);
    });
  }
}

function checkReferenceLimits(source: TopologySource, topology: Topology, vm: Vm, end: RemioDev): void {
  const strict = topology.profile === 'reference';
  const tell = strict ? source.error.bind(source) : source.warning.bind(source);
  if (end.bindKey > BigInt(BYTE_MAX)) {
    const message = `the reference's messages cut bind key ${end.bindKey} to ${end.bindKey & 0xffn}`;
    tell('reference-limits', endPath(vm, end, 'bind_key'), message, 'choose a key from 0 to 255');
  }
  if (end.interrupt > BYTE_MAX) {
    const message = `the reference's messages cut interrupt ${end.interrupt} to ${end.interrupt % 256}`;
    tell('reference-limits', endPath(vm, end, 'interrupt'), message, 'choose an interrupt up to 255');
  }
  if (!strict || end.type !== 'frontend') return;
  for (const later of vm.remioDevs) {
    if (later.type !== 'frontend' || later.dm <= end.dm) continue;
    if (end.window.base + BigInt(end.window.size) !== later.window.base) continue;
    const message = `the window of ${end.name} ends where that of ${later.name} starts: the reference sends the first byte of ${later.name} to ${end.name}`;
    source.error('windows-touch', endPath(vm, later, 'window'), message, `list ${later.name} before ${end.name}`);
  }
}

function checkPairs(source: TopologySource, topology: Topology): void {
  const byKey = new Map<bigint, { readonly vm: Vm; readonly end: RemioDev }[]>();
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) byKey.set(end.bindKey, [...(byKey.get(end.bindKey) ?? []), { vm, end }]);
  }
  const users = new Map<number, RemioDev>();
  for (const [key, ends] of byKey) {
    const seen = new Set<string>();
    for (const { vm, end } of ends) {
      if (seen.has(end.type)) {
        const message = `bind key ${key} has a ${end.type} already`;
        source.error('bind-key', endPath(vm, end, 'bind_key'), message, 'give every device a key of its own');
      }
      seen.add(end.type);
    }
    const [first] = ends;
    if (first === undefined) continue;
    if (seen.size === 1) {
      const missing = first.end.type === 'frontend' ? 'backend' : 'frontend';
      const message = `bind key ${key} has no ${missing}`;
      source.error(
        'bind-key',
        endPath(first.vm, first.end, 'bind_key'),
        message,
        `add a ${missing} with bind_key: ${key}`,
      );
      continue;
    }
    const other = ends.find(({ end }) => end.type !== first.end.type);
    if (other === undefined) continue;
    if (other.vm === first.vm) {
      const message = `VM ${first.vm.name} is both ends of bind key ${key}`;
      source.error('bind-key', endPath(other.vm, other.end, 'bind_key'), message, 'put the ends in different VMs');
    }
    const a = first.end.shmem;
    const b = other.end.shmem;
    if (a.id !== b.id || a.base !== b.base) {
      const message = `the ends of ${first.end.name} differ in their shared memory: 0x${a.base.toString(16)} and 0x${b.base.toString(16)}`;
      source.error(
        'shmem-mismatch',
        endPath(other.vm, other.end, 'shmem'),
        message,
        'write the same memory and base at both ends',
      );
    }
    const user = users.get(a.id);
    if (user !== undefined) {
      const message = `shared memory ${topology.sharedMemories[a.id]?.name} is that of ${user.name} as well`;
      source.error(
        'shared-memory-twice',
        endPath(first.vm, first.end, 'shmem', 'memory'),
        message,
        'add a shared memory for this device',
      );
    }
    users.set(a.id, first.end);
  }
}

function checkLines(source: TopologySource, topology: Topology): void {
  const users = new Map<string, RemioDev>();
  for (const { vm, end, line, place } of linesOf(topology)) {
    const taken = exclusiveOf(line);
    if (taken === undefined) continue;
    const user = users.get(taken);
    if (user !== undefined) {
      const message = `${taken} is where a line of ${user.name} leads already`;
      source.error('line', [...endPath(vm, end), ...place], message, 'let each line lead to a place of its own');
    }
    users.set(taken, end);
  }
}

/** A frontend's vCPU waits for its backend's: in a circle of VMs with one vCPU each, all wait for ever (D-30). */
function checkCycles(source: TopologySource, topology: Topology): void {
  const backendOf = new Map<bigint, Vm>();
  for (const vm of topology.vms)
    for (const end of vm.remioDevs) if (end.type === 'backend') backendOf.set(end.bindKey, vm);
  const waitsFor = (vm: Vm): readonly Vm[] =>
    vm.remioDevs.flatMap((end) => (end.type === 'frontend' ? (backendOf.get(end.bindKey) ?? []) : []));
  for (const start of topology.vms) {
    const reached = new Set<Vm>();
    const open = [...waitsFor(start)];
    for (let vm = open.pop(); vm !== undefined; vm = open.pop()) {
      if (reached.has(vm) || vm.cpus.length > 1) continue;
      reached.add(vm);
      open.push(...waitsFor(vm));
    }
    if (reached.has(start) && start.cpus.length === 1) {
      const message = `VM ${start.name} waits for itself through other VMs, each with one vCPU`;
      source.warning('vm-cycle', ['vms', start.name], message, 'give one VM of the circle a second vCPU');
      return;
    }
  }
}
