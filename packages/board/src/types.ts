import type { Arch, InterruptController } from '@remio/arch';

/** A board's facts; what is not known is absent. */
export interface BoardProfile {
  readonly name: string;
  readonly arch: Arch;
  readonly description: string;
  /** Physical CPUs, from 0; `hardwareId` is MPIDR affinity or hart id. */
  readonly cpus: readonly { readonly cluster: number; readonly core: string; readonly hardwareId: bigint }[];
  readonly clockHz?: number;
  readonly ram: readonly { readonly base: bigint; readonly size: bigint }[];
  readonly irqc: InterruptController;
  readonly uarts: readonly { readonly driver: string; readonly base: bigint; readonly interrupt?: number }[];
  /** How a vCPU stands by: a firmware call, or plain WFI where firmware cannot. */
  readonly standby: 'psci' | 'sbi' | 'wfi';
  readonly powerdown: 'psci' | 'sbi' | 'unsupported';
}

export type { InterruptController };
