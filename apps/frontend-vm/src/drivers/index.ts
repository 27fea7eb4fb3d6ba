import type { GuestCpu, GuestDeviceEnd, GuestProgram, GuestVm } from '@remio/guest';
import type { DriverChoice } from '@remio/topology';
import { blkVerify } from '../blk-verify.js';
import { consoleLines } from './console.js';
import { fsCheck } from './fs-check.js';
import { gpioCheck } from './gpio-check.js';
import { i2cCheck } from './i2c-check.js';
import { nbd } from './nbd.js';
import { netstack } from './netstack.js';
import { probe } from './probe.js';
import { rng } from './rng.js';
import { tap } from './tap.js';
import { vsockBridge } from './vsock.js';

/** What drives one device, as one task of its VM's first vCPU; it has ended its work when the promise settles. */
export type DriverProgram = (cpu: GuestCpu, end: GuestDeviceEnd, vm: GuestVm) => Promise<void>;

function driverOf(choice: DriverChoice): DriverProgram {
  switch (choice.type) {
    case 'blk-verify':
      // One of several devices of its VM: it has the vCPU that all drivers share.
      return (cpu, end, vm) => blkVerify(choice.options)(cpu, { ...vm, cpus: 1, devices: [end] });
    case 'gpio-check':
      return gpioCheck(choice.options);
    case 'i2c-check':
      return i2cCheck;
    case 'fs-check':
      return fsCheck(choice.options);
    case 'probe':
      return probe;
    case 'console':
      return consoleLines(choice.options);
    case 'nbd':
      return nbd(choice.options);
    case 'vsock':
      return vsockBridge(choice.options);
    case 'rng':
      return rng(choice.options);
    case 'tap':
      return tap(choice.options);
    case 'netstack':
      return netstack(choice.options);
  }
}

/**
 * The program of a frontend VM whose devices are driven by what the topology names for each: one task a device, all on
 * the first vCPU, as the drivers of one kernel are. A driver that fails ends alone; the others go on.
 */
export const drivers = (): GuestProgram => async (cpu, vm) => {
  const failures: string[] = [];
  // What the host has for a driver: it wakes the tasks, which look for themselves.
  cpu.onInterrupt(cpu.hostIrq, () => {});
  await Promise.all(
    vm.devices.map(async (end) => {
      // The runtime hands over the topology's own record, which was checked when the topology was read.
      const choice = end.options as DriverChoice | undefined;
      if (end.type !== 'frontend' || choice === undefined) return;
      try {
        await driverOf(choice)(cpu, end, vm);
        vm.report({ kind: 'driver-ended', device: end.name });
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        failures.push(`${end.name}: ${reason}`);
        vm.log(`driver of ${end.name}: ${reason}`);
        vm.report({ kind: 'driver-failed', device: end.name, reason });
      }
    }),
  );
  if (failures.length > 0) throw new Error(failures.join('; '));
};
