import type { MmioTrap } from '@remio/arch';
import type { CpuId, VmId } from '@remio/base';
import type { IrqController } from '../irqc/index.js';
import type { VmPower } from '../services/index.js';
import type { CallCounts } from './call-counts.js';
import type { VcpuStats, VmStats } from './stats.js';

/** What a vCPU's hardware is doing, as far as the hypervisor can tell. */
export type CpuMode = 'off' | 'running' | 'access' | 'halted';

/** A CPU of a VM, as the hypervisor sees it. */
export interface Cpu {
  readonly id: CpuId;
  readonly vm: VmId;
  readonly machine: Machine;
  /** Position in its VM: the virtual MPIDR's or hart's number. */
  readonly vcpu: number;
  readonly stats: VcpuStats;
  mode: CpuMode;
  /** The access that is open in mode `access`. */
  trap: MmioTrap | undefined;
  write: boolean;
  /** Where the PC goes when the open access completes. */
  nextPc: bigint;
  /** The register write that the core asked for since the access was opened. */
  register: number | undefined;
  value: bigint;
}

/** A VM, as the hypervisor sees it. */
export interface Machine {
  readonly id: VmId;
  readonly cpus: readonly CpuId[];
  readonly power: VmPower;
  irqc: IrqController;
  /** Incarnation of the process that runs it; undefined while none does. */
  incarnation: number | undefined;
  readonly stats: VmStats;
  readonly calls: CallCounts;
}

/** Modes for people. */
export const MODE_TEXT: Readonly<Record<CpuMode, string>> = {
  off: 'off',
  running: 'running',
  access: 'paused by an access',
  halted: 'stopped',
};

/** A CPU that was not started yet. */
export const newCpu = (id: CpuId, machine: Machine, vcpu: number, stats: VcpuStats): Cpu => ({
  id,
  vm: machine.id,
  machine,
  vcpu,
  stats,
  mode: 'off',
  trap: undefined,
  write: false,
  nextPc: 0n,
  register: undefined,
  value: 0n,
});
