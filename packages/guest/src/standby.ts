import {
  PSCI_CPU_SUSPEND,
  SBI_EID_HSM,
  SBI_HSM_HART_SUSPEND,
  SBI_HSM_SUSPEND_RETENTIVE,
  SMCCC_64BIT,
} from '@remio/arch';
import type { GuestCpu, GuestVm } from './program.js';

/** How a vCPU stands by on a board. */
export interface Standby {
  /** Whose call it is; `wfi`: no firmware's. */
  readonly by: 'psci' | 'sbi' | 'wfi';
  /** power_state of CPU_SUSPEND for standby, as the board's firmware wants it. */
  readonly state?: number;
}

/** The registers of the call by which a vCPU stands by; undefined: plain WFI is all there is. */
export function standbyRegisters({ by, state }: Standby): readonly bigint[] | undefined {
  switch (by) {
    case 'psci':
      return [PSCI_CPU_SUSPEND | SMCCC_64BIT, BigInt(state ?? 0)];
    case 'sbi':
      return [SBI_HSM_SUSPEND_RETENTIVE, 0n, 0n, 0n, 0n, 0n, SBI_HSM_HART_SUSPEND, SBI_EID_HSM];
    case 'wfi':
      return undefined;
  }
}

/**
 * Stands by as a kernel does that expects to have nothing to do for long: by a call of the board's firmware where there
 * is one. The call returns when the hypervisor has stood by, which here is at once, so WFI follows. Between two pieces
 * of work {@link GuestCpu.waitForInterrupt} is better: it costs no call.
 */
export async function standBy(cpu: GuestCpu, vm: Pick<GuestVm, 'standby'>): Promise<void> {
  const registers = standbyRegisters(vm.standby ?? { by: 'wfi' });
  if (registers !== undefined) await cpu.hypercall(registers);
  await cpu.waitForInterrupt();
}
