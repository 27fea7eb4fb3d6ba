import type { Ipc, RemioDev, Topology, Vm } from '@remio/topology';
import { cells, type DtNode, type DtProperty, printContents, property, range, string } from './device-tree.js';
import { commentText } from './export-names.js';
import { guestMachine, INTERRUPT_PARENT, interruptOf } from './guest-machine.js';
import type { Path, TopologyText } from './topology-text.js';

/** A VM's device tree: whole, and its part that Remote I/O is about, for a tree that exists already. */
export interface VmTree {
  readonly dts: string;
  readonly dtsi: string;
}

/**
 * The device tree of a guest Linux: what it has of Remote I/O, and the machine that Bao shows it.
 * @param label name of the topology's file, for comments
 */
export function vmTree(topology: Topology, vm: Vm, source: TopologyText, label: string): VmTree {
  const at = (...path: Path): string => `${commentText(label)}:${source.lineOf(['vms', vm.name, ...path])}`;
  const title = `VM ${vm.name} of ${commentText(topology.name)}`;
  const head = `/* Made by \`remio export bao\` from ${commentText(label)}: ${title}, on ${topology.board.name}. */`;
  const parent = INTERRUPT_PARENT[topology.board.irqc.kind];
  const shared = sharedNodes(topology, vm, at);
  const machine = guestMachine(topology, vm, at);
  return {
    dts: [
      head,
      '/dts-v1/;',
      '',
      '/ {',
      printContents(
        { properties: [property('model', string(title)), ...machine.properties], children: machine.children },
        1,
      ),
      '};',
      '',
      `/include/ "${vm.name}.dtsi"`,
      '',
    ].join('\n'),
    dtsi: [
      head,
      `/* For a tree with two cells for addresses and two for sizes, in which ${parent} labels the interrupt controller. */`,
      '/ {',
      printContents({ properties: [], children: shared }, 1),
      '};',
      '',
    ].join('\n'),
  };
}

type At = (...path: Path) => string;
const noted = (comment: string, item: DtProperty): DtProperty => ({ ...item, comment });
const unit = (address: bigint): string => address.toString(16);

/** Shared memories and devices, as the drivers look for them. */
function sharedNodes(topology: Topology, vm: Vm, at: At): readonly DtNode[] {
  const frontends = vm.remioDevs.filter(({ type }) => type === 'frontend');
  const backends = vm.remioDevs.filter(({ type }) => type === 'backend');
  return [
    ...(frontends.length === 0 ? [] : [reservedMemory(frontends, at)]),
    ...frontends.map((end) => virtioNode(topology, end, at)),
    ...(backends.length === 0 ? [] : [dispatcherNode(topology, backends, at)]),
    ...vm.ipcs.map((ipc) => ipcNode(topology, vm, ipc, at)),
  ];
}

/** Linux bounces everything that a device is to see through its restricted pool, which is the shared memory. */
function reservedMemory(frontends: readonly RemioDev[], at: At): DtNode {
  return {
    name: 'reserved-memory',
    properties: [property('#address-cells', cells(2)), property('#size-cells', cells(2)), property('ranges')],
    children: frontends.map((end) => ({
      name: `buffer@${unit(end.shmem.base)}`,
      label: poolLabel(end),
      properties: [
        property('compatible', string('restricted-dma-pool')),
        noted(at('remio_devs', end.dm, 'shmem'), property('reg', range(end.shmem.base, BigInt(end.shmem.size)))),
      ],
      children: [],
    })),
  };
}

const poolLabel = (end: RemioDev): string => `remio_pool${end.dm}`;

function virtioNode(topology: Topology, end: RemioDev, at: At): DtNode {
  const { irqc } = topology.board;
  return {
    name: `virtio@${unit(end.window.base)}`,
    comment: `${end.name}, bind key ${end.bindKey}`,
    properties: [
      property('compatible', string('virtio,mmio')),
      noted(at('remio_devs', end.dm, 'window'), property('reg', range(end.window.base, BigInt(end.window.size)))),
      property('interrupt-parent', cells({ label: INTERRUPT_PARENT[irqc.kind] })),
      noted(at('remio_devs', end.dm, 'interrupt'), property('interrupts', cells(...interruptOf(irqc, end.interrupt)))),
      property('memory-region', cells({ label: poolLabel(end) })),
      ...(topology.arch === 'aarch64' ? [property('dma-coherent')] : []),
    ],
    children: [],
  };
}

/** The I/O dispatcher's entries are its device models, by dm_id: a shared memory and an interrupt each. */
function dispatcherNode(topology: Topology, backends: readonly RemioDev[], at: At): DtNode {
  const { irqc } = topology.board;
  const lines = backends.map((end) => `${end.dm}: ${end.name}, ${at('remio_devs', end.dm)}`);
  return {
    name: `bao-io-dispatcher@${unit(backends[0]?.shmem.base ?? 0n)}`,
    comment: `by dm_id: ${lines.join('; ')}`,
    properties: [
      property('compatible', string('bao,io-dispatcher')),
      property('reg', ...backends.map(({ shmem }) => range(shmem.base, BigInt(shmem.size)))),
      property('interrupt-parent', cells({ label: INTERRUPT_PARENT[irqc.kind] })),
      property('interrupts', ...backends.map(({ interrupt }) => cells(...interruptOf(irqc, interrupt)))),
    ],
    children: [],
  };
}

/**
 * Memory that other VMs share, with a doorbell. Linux's driver reads one half and writes the other: the first VM that has
 * the memory writes the lower half.
 */
function ipcNode(topology: Topology, vm: Vm, ipc: Ipc, at: At): DtNode {
  const { irqc } = topology.board;
  const first = topology.vms.find(({ ipcs }) => ipcs.some(({ shmem }) => shmem.id === ipc.shmem.id));
  const half = Math.floor(ipc.shmem.size / 2);
  const [lower, upper] = [cells(0, half), cells(half, half)];
  return {
    name: `bao-ipcshmem@${unit(ipc.shmem.base)}`,
    comment: `${ipc.name}, ${at('ipcs', ipc.index)}; a half for each direction`,
    properties: [
      property('compatible', string('bao,ipcshmem')),
      property('reg', range(ipc.shmem.base, BigInt(ipc.shmem.size))),
      property('read-channel', first === vm ? upper : lower),
      property('write-channel', first === vm ? lower : upper),
      property('interrupt-parent', cells({ label: INTERRUPT_PARENT[irqc.kind] })),
      ...(ipc.interrupts.length === 0
        ? []
        : [property('interrupts', ...ipc.interrupts.map((interrupt) => cells(...interruptOf(irqc, interrupt))))]),
      property('id', cells(ipc.index)),
    ],
    children: [],
  };
}
