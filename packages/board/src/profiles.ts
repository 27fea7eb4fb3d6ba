import type { BoardProfile } from './types.js';

/** CPUs of one cluster: MPIDR has the cluster in affinity 1 and the core in affinity 0. */
const cluster = (number: number, core: string, count: number): BoardProfile['cpus'] =>
  Array.from({ length: count }, (_, n) => ({ cluster: number, core, hardwareId: BigInt((number << 8) | n) }));

const harts = (core: string, count: number): BoardProfile['cpus'] =>
  Array.from({ length: count }, (_, n) => ({ cluster: 0, core, hardwareId: BigInt(n) }));

const ZYNQMP_GIC = { kind: 'gicv2', gicd: 0xf901_0000n, gicc: 0xf902_f000n } as const;

/** Boards of the reference, with the facts of its platform descriptions. What is not known is absent. */
export const BOARDS = {
  zcu102: {
    name: 'zcu102',
    arch: 'aarch64',
    description: 'Xilinx ZCU102: Zynq UltraScale+, four Cortex-A53',
    cpus: cluster(0, 'cortex-a53', 4),
    clockHz: 1_200_000_000,
    ram: [
      { base: 0x0n, size: 0x7ffe_a000n },
      { base: 0x8_0000_0000n, size: 0x8000_0000n },
    ],
    irqc: ZYNQMP_GIC,
    uarts: [{ driver: 'zynq_uart', base: 0xff00_0000n, interrupt: 53 }],
    standby: 'wfi',
    powerdown: 'psci',
  },
  zcu104: {
    name: 'zcu104',
    arch: 'aarch64',
    description: 'Xilinx ZCU104: Zynq UltraScale+, four Cortex-A53',
    cpus: cluster(0, 'cortex-a53', 4),
    clockHz: 1_200_000_000,
    ram: [{ base: 0x0008_0000n, size: 0x7fee_a000n }],
    irqc: ZYNQMP_GIC,
    uarts: [{ driver: 'zynq_uart', base: 0xff00_0000n, interrupt: 53 }],
    standby: 'wfi',
    powerdown: 'psci',
  },
  tx2: {
    name: 'tx2',
    arch: 'aarch64',
    description: 'NVIDIA Jetson TX2: two Denver 2 and four Cortex-A57',
    cpus: [...cluster(0, 'denver2', 2), ...cluster(1, 'cortex-a57', 4)],
    clockHz: 2_000_000_000,
    ram: [{ base: 0x8000_0000n, size: 0x2_0000_0000n }],
    irqc: { kind: 'gicv2', gicd: 0x0388_1000n, gicc: 0x0388_2000n },
    uarts: [{ driver: '8250', base: 0x0310_0000n, interrupt: 144 }],
    standby: 'psci',
    powerdown: 'psci',
  },
  'qemu-aarch64-virt': {
    name: 'qemu-aarch64-virt',
    arch: 'aarch64',
    description: 'QEMU virt machine for AArch64, four CPUs, GICv3',
    cpus: cluster(0, 'cortex-a53', 4),
    ram: [{ base: 0x4000_0000n, size: 0x1_0000_0000n }],
    irqc: { kind: 'gicv3', gicd: 0x0800_0000n, gicr: 0x080a_0000n },
    uarts: [{ driver: 'pl011', base: 0x0900_0000n, interrupt: 33 }],
    standby: 'psci',
    powerdown: 'unsupported',
  },
  'qemu-riscv64-virt': {
    name: 'qemu-riscv64-virt',
    arch: 'riscv64',
    description: 'QEMU virt machine for RV64, four harts, AIA (or PLIC)',
    cpus: harts('rv64', 4),
    ram: [{ base: 0x8020_0000n, size: 0xffe0_0000n }],
    irqc: { kind: 'aia', aplic: 0x0d00_0000n, imsic: 0x2800_0000n },
    uarts: [{ driver: '16550', base: 0x1000_0000n, interrupt: 10 }],
    standby: 'sbi',
    powerdown: 'sbi',
  },
} as const satisfies Readonly<Record<string, BoardProfile>>;

/** Interrupt controller of `qemu-riscv64-virt` when it is built with a PLIC. */
export const QEMU_RISCV64_PLIC = { kind: 'plic', base: 0x0c00_0000n } as const;

/** Boards that exist nowhere, of any size, for when real ones are too small. */
export const SYNTHETIC = {
  'synthetic-aarch64': BOARDS['qemu-aarch64-virt'],
  'synthetic-riscv64': BOARDS['qemu-riscv64-virt'],
} as const;

/** Most CPUs of a synthetic board. */
export const SYNTHETIC_CPUS_MAX = 4096;
