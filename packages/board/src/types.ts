import type { Arch, InterruptController } from '@remio/arch';

/** A range of physical addresses. */
export interface AddressRange {
  readonly base: bigint;
  /** Bytes. */
  readonly size: bigint;
}

/** A physical CPU. */
export interface BoardCpu {
  readonly cluster: number;
  /** Type of the core, as compilers name it. */
  readonly core: string;
  /** Affinity fields of MPIDR_EL1, or the hart id. */
  readonly hardwareId: bigint;
  /** The highest clock that is published, where it is not that of the board. */
  readonly clockHz?: number;
}

export interface BoardUart {
  readonly driver: string;
  readonly base: bigint;
  /** Interrupt that guests use; Bao's own console is polled. */
  readonly interrupt?: number;
  /** Bytes from one register to the next. */
  readonly registerWidth?: number;
  readonly clockHz?: number;
}

/** The system MMU in front of devices. */
export interface BoardSmmu {
  readonly base: bigint;
  readonly interrupt?: number;
  /** Bits of a stream id that are not compared. */
  readonly globalMask?: number;
}

/** A board's facts; what is not known is absent. */
export interface BoardProfile {
  readonly name: string;
  readonly arch: Arch;
  readonly description: string;
  /** Physical CPUs, from 0. */
  readonly cpus: readonly BoardCpu[];
  /** The highest published clock of all CPUs, or of those that do not name their own. */
  readonly clockHz?: number;
  readonly ram: readonly AddressRange[];
  readonly irqc: InterruptController;
  readonly uarts: readonly BoardUart[];
  readonly smmu?: BoardSmmu;
  /** Frame of the system counter. */
  readonly timer?: bigint;
  /** RV64: ticks of `time` in a second. */
  readonly timebaseHz?: number;
  /** How a CPU stands by while its vCPU waits: a firmware call, or plain WFI where firmware cannot. */
  readonly standby: 'psci' | 'sbi' | 'wfi';
  /** power_state of PSCI CPU_SUSPEND for standby. */
  readonly standbyState?: number;
  /** How a CPU powers down; `unsupported`: it stands by instead. */
  readonly powerdown?: 'psci' | 'sbi' | 'unsupported';
  /** power_state of PSCI CPU_SUSPEND for powerdown. */
  readonly powerdownState?: number;
  /** Whether PSCI FEATURES tells of SMCCC_VERSION. */
  readonly smcccVersion?: boolean;
  /** Bit of power_state that asks for powerdown: 16, or 30 in the extended format. */
  readonly psciTypeBit?: number;
}

export type { InterruptController };
