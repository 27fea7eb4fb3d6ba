import type { GuestCpu, GuestVm } from '@remio/guest';

/**
 * Lets the host serve others before the next turn of a vCPU's task.
 * @param idle whether this turn found nothing to do: looking in vain keeps off those who could make something happen
 */
export const hostTurn = (vm: GuestVm, cpu: GuestCpu, idle: boolean): Promise<void> =>
  new Promise((resolve) => vm.defer(cpu.index, resolve, idle));
