import type { AccessWidth, GuestAddress } from '@remio/base';

/** Architectures whose VMs the platform runs. */
export type Arch = 'aarch64' | 'riscv64';

/**
 * What AArch64 hardware shows of a stage-2 data abort taken to EL2 (Arm ARM D24.2: ESR_EL2, FAR_EL2, HPFAR_EL2, ELR_EL2).
 * `source` is the value of the register that ISS.SRT names, when the access is a store; 0 for a load.
 */
export interface Aarch64Trap {
  readonly arch: 'aarch64';
  readonly esr: bigint;
  readonly far: bigint;
  readonly hpfar: bigint;
  readonly pc: bigint;
  readonly source: bigint;
}

/**
 * What RV64 hardware shows of a guest-page fault taken to HS-mode (Privileged ISA, hypervisor extension).
 * `instruction` holds the 2 or 4 bytes at sepc, for when `htinst` is 0; otherwise it is 0.
 * `source` is the value of the store's rs2; 0 for a load.
 */
export interface Riscv64Trap {
  readonly arch: 'riscv64';
  readonly scause: bigint;
  readonly stval: bigint;
  readonly htval: bigint;
  readonly htinst: bigint;
  readonly sepc: bigint;
  readonly instruction: number;
  readonly source: bigint;
}

/** A trapped access to an address that no memory backs, as hardware shows it. */
export type MmioTrap = Aarch64Trap | Riscv64Trap;

/** The instruction that made a hypercall. */
export type Conduit = 'hvc' | 'smc' | 'ecall';

/**
 * A hypercall as hardware shows it. `registers` are x0..x6 (AArch64) or a0..a7 (RV64).
 * `pc` is what ELR_EL2 or sepc holds: after an HVC the next instruction, for an SMC or ECALL the instruction itself.
 */
export interface HypercallFrame {
  readonly arch: Arch;
  readonly conduit: Conduit;
  readonly pc: bigint;
  readonly registers: readonly bigint[];
}

/** How many registers a {@link HypercallFrame} carries. */
export const HYPERCALL_REGISTERS: Readonly<Record<Arch, number>> = { aarch64: 7, riscv64: 8 };

/** A load or store, decoded. */
export interface MmioAccess {
  readonly address: GuestAddress;
  readonly width: AccessWidth;
  readonly write: boolean;
  /** Architectural number of the register loaded or stored (31 on AArch64 and 0 on RV64 are the zero register). */
  readonly register: number;
  /** The whole source register of a store, whatever the width; 0 for a load. */
  readonly value: bigint;
  /** Whether a load sign-extends. */
  readonly signExtend: boolean;
  /** Bytes of the destination register that a load defines (AArch64 W: 4, upper half zeroed). */
  readonly registerWidth: 4 | 8;
}
