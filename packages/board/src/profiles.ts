import type { BoardCpu, BoardProfile } from './types.js';

/** CPUs of one cluster: MPIDR has the cluster in affinity 1 and the core in affinity 0. */
const cluster = (number: number, core: string, count: number, clockHz?: number): readonly BoardCpu[] =>
  Array.from({ length: count }, (_, n) => ({
    cluster: number,
    core,
    hardwareId: BigInt((number << 8) | n),
    ...(clockHz === undefined ? {} : { clockHz }),
  }));

/** Cores that call themselves multithreaded (MPIDR_EL1.MT), as Cortex-A55 and A76 do: the core is in affinity 1. */
const threaded = (number: number, first: number, core: string, count: number, clockHz: number): readonly BoardCpu[] =>
  Array.from({ length: count }, (_, n) => ({
    cluster: number,
    core,
    hardwareId: BigInt((number << 16) | ((first + n) << 8)),
    clockHz,
  }));

const harts = (core: string, count: number): readonly BoardCpu[] =>
  Array.from({ length: count }, (_, n) => ({ cluster: 0, core, hardwareId: BigInt(n) }));

const MHZ = 1_000_000;

/** PSCI's power_state (Arm DEN 0022, 5.4.2): the bit that asks for powerdown, in the original and extended format. */
const TYPE_BIT = 16;
const EXTENDED_TYPE_BIT = 30;
const POWERDOWN = 2 ** TYPE_BIT;
const EXTENDED_POWERDOWN = 2 ** EXTENDED_TYPE_BIT;

const ZYNQMP = {
  arch: 'aarch64',
  irqc: {
    kind: 'gicv2',
    gicd: 0xf901_0000n,
    gicc: 0xf902_f000n,
    gich: 0xf904_0000n,
    gicv: 0xf906_f000n,
  },
  timer: 0xff26_0000n,
  standby: 'wfi',
  powerdown: 'psci',
  powerdownState: EXTENDED_POWERDOWN,
  psciTypeBit: EXTENDED_TYPE_BIT,
} as const;

const ZCU = {
  ...ZYNQMP,
  cpus: cluster(0, 'cortex-a53', 4),
  clockHz: 1200 * MHZ,
  uarts: [{ driver: 'zynq_uart', base: 0xff00_0000n, interrupt: 53 }],
  smmu: { base: 0xfd80_0000n, interrupt: 187 },
} as const;

/** i.MX 8M: one GIC and memory map. */
const IMX8M = {
  arch: 'aarch64',
  cpus: cluster(0, 'cortex-a53', 4),
  irqc: {
    kind: 'gicv3',
    gicd: 0x3880_0000n,
    gicr: 0x3888_0000n,
    gicc: 0x3100_0000n,
    gich: 0x3102_0000n,
    gicv: 0x3101_0000n,
  },
  powerdown: 'unsupported',
  psciTypeBit: TYPE_BIT,
} as const;

/**
 * Boards of the reference with A-profile or RV64 cores, with the facts of its platform descriptions (their UARTs'
 * interrupts: those of public guests; clocks: published). What is not known is absent.
 */
export const BOARDS = {
  zcu102: {
    ...ZCU,
    name: 'zcu102',
    description: 'Xilinx ZCU102: Zynq UltraScale+, four Cortex-A53',
    ram: [
      { base: 0x0n, size: 0x7ffe_a000n },
      { base: 0x8_0000_0000n, size: 0x8000_0000n },
    ],
  },
  zcu104: {
    ...ZCU,
    name: 'zcu104',
    description: 'Xilinx ZCU104: Zynq UltraScale+, four Cortex-A53',
    ram: [{ base: 0x0008_0000n, size: 0x7fee_a000n }],
  },
  ultra96: {
    ...ZYNQMP,
    name: 'ultra96',
    description: 'Avnet Ultra96: Zynq UltraScale+ ZU3EG, four Cortex-A53',
    cpus: cluster(0, 'cortex-a53', 4),
    clockHz: 1500 * MHZ,
    ram: [
      { base: 0x0n, size: 0x10_0000n },
      { base: 0x0010_0000n, size: 0x7fe0_0000n },
    ],
    uarts: [{ driver: 'zynq_uart', base: 0xff01_0000n, interrupt: 54 }],
  },
  tx2: {
    name: 'tx2',
    arch: 'aarch64',
    description: 'NVIDIA Jetson TX2: two Denver 2 and four Cortex-A57',
    cpus: [...cluster(0, 'denver2', 2), ...cluster(1, 'cortex-a57', 4)],
    clockHz: 2000 * MHZ,
    ram: [{ base: 0x8000_0000n, size: 0x2_0000_0000n }],
    irqc: { kind: 'gicv2', gicd: 0x0388_1000n, gicc: 0x0388_2000n, gich: 0x0388_4000n, gicv: 0x0388_6000n },
    uarts: [{ driver: '8250', base: 0x0310_0000n, interrupt: 144, registerWidth: 4 }],
    smmu: { base: 0x1200_0000n, interrupt: 187, globalMask: 0x7f80 },
    standby: 'psci',
    standbyState: 0x6,
    powerdown: 'psci',
    powerdownState: EXTENDED_POWERDOWN + 0x7,
    psciTypeBit: EXTENDED_TYPE_BIT,
  },
  rpi4: {
    name: 'rpi4',
    arch: 'aarch64',
    description: 'Raspberry Pi 4 with 4 GiB: BCM2711, four Cortex-A72',
    cpus: cluster(0, 'cortex-a72', 4),
    clockHz: 1500 * MHZ,
    ram: [
      { base: 0x0008_0000n, size: 0x3b38_0000n },
      { base: 0x4000_0000n, size: 0xbc00_0000n },
    ],
    irqc: { kind: 'gicv2', gicd: 0xff84_1000n, gicc: 0xff84_2000n, gich: 0xff84_4000n, gicv: 0xff84_6000n },
    uarts: [{ driver: '8250', base: 0xfe21_5000n, interrupt: 125, registerWidth: 4 }],
    standby: 'wfi',
    powerdown: 'unsupported',
    psciTypeBit: TYPE_BIT,
  },
  hikey960: {
    name: 'hikey960',
    arch: 'aarch64',
    description: 'HiKey 960: Kirin 960, its four Cortex-A53 (the four Cortex-A73 are not used)',
    cpus: cluster(0, 'cortex-a53', 4),
    clockHz: 1800 * MHZ,
    ram: [
      { base: 0x0n, size: 0xe000_0000n },
      { base: 0x2_0000_0000n, size: 0x2000_0000n },
    ],
    irqc: { kind: 'gicv2', gicd: 0xe82b_1000n, gicc: 0xe82b_2000n, gich: 0xe82b_4000n, gicv: 0xe82b_6000n },
    uarts: [{ driver: 'pl011', base: 0xfff3_2000n }],
    smmu: { base: 0xe8dc_0000n },
    timer: 0xfff0_8000n,
    standby: 'psci',
    standbyState: 0,
    powerdown: 'psci',
    powerdownState: POWERDOWN,
    psciTypeBit: TYPE_BIT,
  },
  imx8mn: {
    ...IMX8M,
    name: 'imx8mn',
    description: 'NXP i.MX 8M Nano: four Cortex-A53',
    ram: [{ base: 0x4040_0000n, size: 0x8000_0000n }],
    uarts: [{ driver: 'imx_uart', base: 0x3089_0000n }],
    standby: 'wfi',
  },
  'imx8mp-verdin': {
    ...IMX8M,
    name: 'imx8mp-verdin',
    description: 'Toradex Verdin iMX8M Plus: four Cortex-A53',
    ram: [{ base: 0x4000_0000n, size: 0x8000_0000n }],
    uarts: [{ driver: 'imx_uart', base: 0x3088_0000n, interrupt: 60 }],
    standby: 'psci',
    standbyState: 0,
  },
  imx8qm: {
    name: 'imx8qm',
    arch: 'aarch64',
    description: 'NXP i.MX 8QuadMax: four Cortex-A53 and two Cortex-A72',
    cpus: [...cluster(0, 'cortex-a53', 4, 1200 * MHZ), ...cluster(1, 'cortex-a72', 2, 1600 * MHZ)],
    ram: [
      { base: 0x8002_0000n, size: 0x7ffe_0000n },
      { base: 0x8_8000_0000n, size: 0x1_0000_0000n },
    ],
    irqc: {
      kind: 'gicv3',
      gicd: 0x51a0_0000n,
      gicr: 0x51b0_0000n,
      gicc: 0x5200_0000n,
      gich: 0x5201_0000n,
      gicv: 0x5202_0000n,
    },
    uarts: [{ driver: 'nxp_uart', base: 0x5a06_0000n, interrupt: 377 }],
    smmu: { base: 0x5140_0000n, interrupt: 187, globalMask: 0x7fc0 },
    standby: 'psci',
    standbyState: 0,
    powerdown: 'psci',
    powerdownState: POWERDOWN,
    psciTypeBit: TYPE_BIT,
  },
  s32g3: {
    name: 's32g3',
    arch: 'aarch64',
    description: 'NXP S32G3: two clusters of four Cortex-A53',
    cpus: [...cluster(0, 'cortex-a53', 4), ...cluster(1, 'cortex-a53', 4)],
    clockHz: 1300 * MHZ,
    ram: [{ base: 0x8000_0000n, size: 0x8000_0000n }],
    irqc: {
      kind: 'gicv3',
      gicd: 0x5080_0000n,
      gicr: 0x5090_0000n,
      gicc: 0x5040_0000n,
      gich: 0x5041_0000n,
      gicv: 0x5042_0000n,
    },
    uarts: [{ driver: 'linflexd', base: 0x401c_8000n, interrupt: 114, clockHz: 123_500_000 }],
    standby: 'wfi',
    powerdown: 'unsupported',
    psciTypeBit: TYPE_BIT,
    smcccVersion: true,
  },
  agilex5: {
    name: 'agilex5',
    arch: 'aarch64',
    description: 'Intel Agilex 5 with 2 GiB: two Cortex-A55 and two Cortex-A76 in one cluster',
    cpus: [...threaded(0, 0, 'cortex-a55', 2, 1500 * MHZ), ...threaded(0, 2, 'cortex-a76', 2, 1800 * MHZ)],
    ram: [{ base: 0x8200_0000n, size: 0x7e00_0000n }],
    irqc: { kind: 'gicv3', gicd: 0x1d00_0000n, gicr: 0x1d06_0000n },
    uarts: [{ driver: '8250', base: 0x10c0_2000n, registerWidth: 4 }],
    timer: 0x10d0_2000n,
    standby: 'wfi',
    powerdown: 'unsupported',
    psciTypeBit: EXTENDED_TYPE_BIT,
  },
  'fvp-a': {
    name: 'fvp-a',
    arch: 'aarch64',
    description: 'Arm Fixed Virtual Platform, Armv8-A, four CPUs',
    cpus: cluster(0, 'generic', 4),
    ram: [{ base: 0x8000_0000n, size: 0x8000_0000n }],
    irqc: {
      kind: 'gicv3',
      gicd: 0x2f00_0000n,
      gicr: 0x2f10_0000n,
      gicc: 0x2c00_0000n,
      gich: 0x2c01_0000n,
      gicv: 0x2c02_f000n,
    },
    uarts: [{ driver: 'pl011', base: 0x1c09_0000n, interrupt: 37 }],
    standby: 'psci',
    standbyState: 0,
  },
  'qemu-aarch64-virt': {
    name: 'qemu-aarch64-virt',
    arch: 'aarch64',
    description: 'QEMU virt machine for AArch64, four CPUs, GICv3',
    cpus: cluster(0, 'cortex-a53', 4),
    ram: [{ base: 0x4000_0000n, size: 0x1_0000_0000n }],
    irqc: {
      kind: 'gicv3',
      gicd: 0x0800_0000n,
      gicr: 0x080a_0000n,
      gicc: 0x0801_0000n,
      gich: 0x0803_0000n,
      gicv: 0x0804_0000n,
    },
    uarts: [{ driver: 'pl011', base: 0x0900_0000n, interrupt: 33 }],
    standby: 'psci',
    standbyState: 0x1,
    powerdown: 'unsupported',
    psciTypeBit: TYPE_BIT,
  },
  'qemu-riscv64-virt': {
    name: 'qemu-riscv64-virt',
    arch: 'riscv64',
    description: 'QEMU virt machine for RV64, four harts, AIA (or PLIC)',
    cpus: harts('rv64', 4),
    ram: [{ base: 0x8020_0000n, size: 0xffe0_0000n }],
    irqc: { kind: 'aia', aplic: 0x0d00_0000n, imsic: 0x2800_0000n, msis: 255, guestFiles: 1 },
    uarts: [{ driver: '16550', base: 0x1000_0000n, interrupt: 10 }],
    timebaseHz: 10 * MHZ,
    standby: 'sbi',
    powerdown: 'sbi',
  },
  'k3-com260': {
    name: 'k3-com260',
    arch: 'riscv64',
    description: 'SpacemiT K3 on a COM260 module, eight harts, AIA',
    cpus: harts('rv64', 8),
    ram: [{ base: 0x1_0200_0000n, size: 0x1_fe00_0000n }],
    irqc: { kind: 'aia', aplic: 0xe080_4000n, imsic: 0xe040_0000n, msis: 511, guestFiles: 63 },
    uarts: [{ driver: '8250', base: 0xd401_7000n, interrupt: 42, registerWidth: 4 }],
    timebaseHz: 24 * MHZ,
    standby: 'sbi',
    powerdown: 'sbi',
  },
} as const satisfies Readonly<Record<string, BoardProfile>>;

/** The interrupt controllers of boards that can be built with a PLIC instead of AIA. */
export const PLIC_INSTEAD: Readonly<Record<string, BoardProfile['irqc'] & { readonly kind: 'plic' }>> = {
  'qemu-riscv64-virt': { kind: 'plic', base: 0x0c00_0000n },
};

/** Boards that exist nowhere, of any size, for when real ones are too small. */
export const SYNTHETIC = {
  'synthetic-aarch64': BOARDS['qemu-aarch64-virt'],
  'synthetic-riscv64': BOARDS['qemu-riscv64-virt'],
} as const;

/** Most CPUs of a synthetic board. */
export const SYNTHETIC_CPUS_MAX = 4096;
