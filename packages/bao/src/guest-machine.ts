import { APLIC_SIZE, GIC_FIRST_SPI, GICD_SIZE, GICR_STRIDE, type InterruptController, PLIC_SIZE } from '@remio/arch';
import type { Topology, Vm } from '@remio/topology';
import {
  cells,
  type DtNode,
  type DtProperty,
  EDGE_RISING,
  LEVEL_HIGH,
  property,
  range,
  string,
  twoCells,
} from './device-tree.js';
import type { Path } from './topology-text.js';

/** Labels of the interrupt controllers that devices name as their parent. */
export const INTERRUPT_PARENT = { gicv2: 'gic', gicv3: 'gic', plic: 'plic', aia: 'aplic' } as const;

/** GIC interrupt cells: shared or private. */
const GIC_SPI = 0;
const GIC_PPI = 1;
/** Timer interrupts of an Armv8 CPU as GIC cells have them, less 16: secure, non-secure, virtual, hypervisor. */
const TIMER_PPIS = [13, 14, 11, 10] as const;
/** Bytes of a GICv2's CPU interface. */
const GICC_SIZE = 0x2000;
/** External interrupts of a hart's local controller, by mode (RISC-V privileged architecture, mip). */
const M_EXTERNAL = 11;
const S_EXTERNAL = 9;
const IMSIC_PAGE = 0x1000;
/** Identities of an IMSIC's interrupt file, as Bao's platform description for QEMU has them. */
const QEMU_MSIS = 255;
/** Sources that QEMU's controllers have; more where a topology uses more. */
const SOURCES = 96;
/** Counter of QEMU's harts, Hz. */
const QEMU_TIMEBASE_HZ = 10_000_000;

/** Cells of a device's interrupt: rising edge. */
export function interruptOf(irqc: InterruptController, interrupt: number): readonly number[] {
  switch (irqc.kind) {
    case 'gicv2':
    case 'gicv3':
      return [GIC_SPI, interrupt - GIC_FIRST_SPI, EDGE_RISING];
    case 'plic':
      return [interrupt];
    case 'aia':
      return [interrupt, EDGE_RISING];
  }
}

/** What a guest sees of its machine besides Remote I/O: CPUs, memory, interrupt controller, timer. */
export function guestMachine(
  topology: Topology,
  vm: Vm,
  at: (...path: Path) => string,
): Pick<DtNode, 'properties' | 'children'> {
  const arm = topology.arch === 'aarch64';
  return {
    properties: [
      property('compatible', string(arm ? 'linux,dummy-virt' : 'riscv-virtio')),
      property('#address-cells', cells(2)),
      property('#size-cells', cells(2)),
      property('interrupt-parent', cells({ label: INTERRUPT_PARENT[topology.board.irqc.kind] })),
    ],
    children: [
      { name: 'chosen', properties: [], children: [] },
      arm ? armCpus(topology, vm, at('cpus')) : riscvCpus(topology, vm, at('cpus')),
      memoryNode(vm, at('memory')),
      ...(arm ? [PSCI, armTimer(topology, vm)] : []),
      ...controllerNodes(topology, vm),
    ],
  };
}

const cpusNode = (properties: readonly DtProperty[], cpus: readonly DtNode[], comment: string): DtNode => ({
  name: 'cpus',
  comment,
  properties: [property('#address-cells', cells(1)), property('#size-cells', cells(0)), ...properties],
  children: cpus,
});

const CORES: Readonly<Record<string, string>> = { denver2: 'nvidia,tegra186-denver' };
const coreOf = (core: string): string => CORES[core] ?? (core.startsWith('cortex-') ? `arm,${core}` : 'arm,armv8');

/** Guests see MPIDRs by the number of the vCPU in its VM. */
const armCpus = (topology: Topology, vm: Vm, comment: string): DtNode =>
  cpusNode(
    [],
    vm.cpus.map((cpu, n) => ({
      name: `cpu@${n.toString(16)}`,
      properties: [
        property('device_type', string('cpu')),
        property('compatible', string(coreOf(topology.board.cpus[cpu]?.core ?? ''))),
        property('reg', cells(n)),
        property('enable-method', string('psci')),
      ],
      children: [],
    })),
    comment,
  );

const riscvCpus = (topology: Topology, vm: Vm, comment: string): DtNode =>
  cpusNode(
    [property('timebase-frequency', cells(topology.board.timebaseHz ?? QEMU_TIMEBASE_HZ))],
    vm.cpus.map((_, n) => ({
      name: `cpu@${n.toString(16)}`,
      properties: [
        property('device_type', string('cpu')),
        property('compatible', string('riscv')),
        property('reg', cells(n)),
        property('riscv,isa', string('rv64imafdc')),
        property('mmu-type', string('riscv,sv39')),
      ],
      children: [
        {
          name: 'interrupt-controller',
          label: `cpu${n}_intc`,
          properties: [
            property('compatible', string('riscv,cpu-intc')),
            property('interrupt-controller'),
            property('#address-cells', cells(0)),
            property('#interrupt-cells', cells(1)),
          ],
          children: [],
        },
      ],
    })),
    comment,
  );

/** A frontend's shared memories are memory: its restricted pools lie there. A backend's driver maps them itself. */
const memoryNode = (vm: Vm, comment: string): DtNode => ({
  name: `memory@${(vm.memory[0]?.base ?? 0n).toString(16)}`,
  comment,
  properties: [
    property('device_type', string('memory')),
    property(
      'reg',
      ...vm.memory.map(({ base, size }) => range(base, BigInt(size))),
      ...vm.remioDevs
        .filter(({ type }) => type === 'frontend')
        .map(({ shmem }) => range(shmem.base, BigInt(shmem.size))),
    ),
  ],
  children: [],
});

const PSCI: DtNode = {
  name: 'psci',
  properties: [property('compatible', string('arm,psci-0.2')), property('method', string('smc'))],
  children: [],
};

/** A GICv2 wants to know which CPUs a private interrupt is of. */
function armTimer(topology: Topology, vm: Vm): DtNode {
  const cpus = topology.board.irqc.kind === 'gicv2' ? ((1 << vm.cpus.length) - 1) << 8 : 0;
  return {
    name: 'timer',
    properties: [
      property('compatible', string('arm,armv8-timer')),
      property('interrupts', ...TIMER_PPIS.map((ppi) => cells(GIC_PPI, ppi, cpus | LEVEL_HIGH))),
      property('always-on'),
    ],
    children: [],
  };
}

const gic = (compatible: string, reg: DtProperty, gicd: bigint): DtNode => ({
  name: `interrupt-controller@${gicd.toString(16)}`,
  label: 'gic',
  properties: [
    property('compatible', string(compatible)),
    reg,
    property('interrupt-controller'),
    property('#address-cells', cells(0)),
    property('#interrupt-cells', cells(3)),
  ],
  children: [],
});

function controllerNodes({ board }: Topology, vm: Vm): readonly DtNode[] {
  const { irqc } = board;
  const harts = vm.cpus.length;
  const ipcInterrupts = vm.ipcs.flatMap(({ interrupts }) => interrupts);
  const sources = Math.max(SOURCES, ...vm.remioDevs.map(({ interrupt }) => interrupt), ...ipcInterrupts);
  switch (irqc.kind) {
    case 'gicv2': {
      const reg = property('reg', range(irqc.gicd, BigInt(GICD_SIZE)), range(irqc.gicc, BigInt(GICC_SIZE)));
      return [gic('arm,gic-400', reg, irqc.gicd)];
    }
    case 'gicv3': {
      const reg = property('reg', range(irqc.gicd, BigInt(GICD_SIZE)), range(irqc.gicr, BigInt(GICR_STRIDE * harts)));
      return [gic('arm,gic-v3', reg, irqc.gicd)];
    }
    case 'plic':
      return [
        {
          name: `interrupt-controller@${irqc.base.toString(16)}`,
          label: 'plic',
          properties: [
            property('compatible', string('sifive,plic-1.0.0'), string('riscv,plic0')),
            property('reg', range(irqc.base, BigInt(PLIC_SIZE))),
            property('interrupt-controller'),
            property('#address-cells', cells(0)),
            property('#interrupt-cells', cells(1)),
            // Contexts are counted: machine mode's is there, too, though no guest sees it.
            property(
              'interrupts-extended',
              ...vm.cpus.map((_, n) =>
                cells({ label: `cpu${n}_intc` }, M_EXTERNAL, { label: `cpu${n}_intc` }, S_EXTERNAL),
              ),
            ),
            property('riscv,ndev', cells(sources)),
          ],
          children: [],
        },
      ];
    case 'aia':
      return [
        {
          name: `interrupt-controller@${irqc.imsic.toString(16)}`,
          label: 'imsic',
          properties: [
            property('compatible', string('riscv,imsics')),
            property('reg', cells(...twoCells(irqc.imsic), ...twoCells(BigInt(IMSIC_PAGE * harts)))),
            property('interrupt-controller'),
            property('#address-cells', cells(0)),
            property('#interrupt-cells', cells(0)),
            property('msi-controller'),
            property('#msi-cells', cells(0)),
            property('interrupts-extended', ...vm.cpus.map((_, n) => cells({ label: `cpu${n}_intc` }, S_EXTERNAL))),
            property('riscv,num-ids', cells(irqc.msis ?? QEMU_MSIS)),
          ],
          children: [],
        },
        {
          name: `interrupt-controller@${irqc.aplic.toString(16)}`,
          label: 'aplic',
          properties: [
            property('compatible', string('riscv,aplic')),
            property('reg', range(irqc.aplic, BigInt(APLIC_SIZE))),
            property('interrupt-controller'),
            property('#address-cells', cells(0)),
            property('#interrupt-cells', cells(2)),
            property('msi-parent', cells({ label: 'imsic' })),
            property('riscv,num-sources', cells(sources)),
          ],
          children: [],
        },
      ];
  }
}
