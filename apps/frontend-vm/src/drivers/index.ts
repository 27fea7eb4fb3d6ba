import { type GuestCpu, type GuestDeviceEnd, type GuestProgram, type GuestVm, ProgramError } from '@remio/guest';
import type { DriverChoice, IpcDriverChoice } from '@remio/topology';
import { VcpuTimer } from '@remio/virtio-driver';
import { blkVerify } from '../blk-verify.js';
import { exchange } from '../ipc/exchange.js';
import { type VcpuPool, Vcpus } from '../vcpus.js';
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

/** What drives one device, as one task of a vCPU of its VM; it has ended its work when the promise settles. */
export type DriverProgram = (cpu: GuestCpu, end: GuestDeviceEnd, vm: GuestVm) => Promise<void>;

function driverOf(choice: DriverChoice, vcpus: VcpuPool): DriverProgram {
  switch (choice.type) {
    case 'blk-verify':
      // One of several devices of its VM: it has the vCPU that its driver is on, and those that its queues are placed on.
      return (cpu, end, vm) => {
        const queueVcpus = end.queueVcpus.length > 0 ? end.queueVcpus : [cpu.index];
        return blkVerify(choice.options, vcpus)(cpu, { ...vm, devices: [{ ...end, queueVcpus }] });
      };
    case 'gpio-check':
      return gpioCheck(choice.options);
    case 'i2c-check':
      return i2cCheck;
    case 'fs-check':
      return fsCheck(choice.options, vcpus);
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

/** A task of a VM: what it drives, and how. */
interface DriverTask {
  /** What reports say of it: `device` or `ipc`, and the name. */
  readonly of: Readonly<Record<string, string>>;
  readonly name: string;
  run(): Promise<void>;
  readonly repeat: GuestDeviceEnd['repeat'];
}

/** What drives the VM's frontend ends and IPC objects, as far as the topology names it. */
const tasksOf = (cpu: GuestCpu, vm: GuestVm, vcpus: VcpuPool): readonly DriverTask[] => [
  ...vm.devices.flatMap((end): readonly DriverTask[] => {
    // The runtime hands over the topology's own record, which was checked when the topology was read.
    const choice = end.options as DriverChoice | undefined;
    if (end.type !== 'frontend' || choice === undefined) return [];
    const run = async (): Promise<void> => driverOf(choice, vcpus)(await vcpus.get(end.vcpu ?? cpu.index), end, vm);
    return [{ of: { device: end.name }, name: end.name, run, repeat: end.repeat }];
  }),
  ...vm.ipcs.flatMap((ipc): readonly DriverTask[] => {
    const choice = ipc.options as IpcDriverChoice | undefined;
    if (choice === undefined) return [];
    return [
      { of: { ipc: ipc.name }, name: ipc.name, run: () => exchange(choice.options)(cpu, ipc, vm), repeat: undefined },
    ];
  }),
];

/**
 * The program of a VM whose frontend ends and IPC objects are driven by what the topology names for each: one task each,
 * on the first vCPU unless the topology names another, as the drivers of one kernel are. A driver that fails ends alone;
 * the others go on.
 */
export const drivers = (): GuestProgram => async (cpu, vm) => {
  await drive(cpu, vm, new Vcpus(cpu));
};

/** Whether the topology names a driver for anything of this VM. */
export const isDriven = (vm: Pick<GuestVm, 'devices' | 'ipcs'>): boolean =>
  vm.devices.some(({ type, options }) => type === 'frontend' && options !== undefined) ||
  vm.ipcs.some(({ options }) => options !== undefined);

/**
 * Runs the drivers of a VM, whatever else its vCPUs do.
 * @param cpu where drivers run that are placed nowhere
 * @param vcpus those that others are placed on
 * @throws Error that says which of them failed, when all have ended
 */
export async function drive(cpu: GuestCpu, vm: GuestVm, vcpus: VcpuPool): Promise<void> {
  const failures: string[] = [];
  await Promise.all(
    tasksOf(cpu, vm, vcpus).map(async (task) => {
      for (;;) {
        const reason = await runOnce(cpu, task);
        if (reason === undefined) vm.report({ kind: 'driver-ended', ...task.of });
        else {
          vm.log(`driver of ${task.name}: ${reason}`);
          vm.report({ kind: 'driver-failed', ...task.of, reason });
        }
        if (task.repeat === undefined) {
          if (reason !== undefined) failures.push(`${task.name}: ${reason}`);
          return;
        }
        await sleep(cpu, task.repeat.pause);
      }
    }),
  );
  if (failures.length > 0) throw new ProgramError(failures.join('; '));
}

/** @returns why the driver failed; undefined: it did not */
async function runOnce(cpu: GuestCpu, { run, repeat }: DriverTask): Promise<string | undefined> {
  const running = run().then(
    () => undefined,
    // Any other error is a mistake of the driver's: its name tells which.
    (error: unknown) => (error instanceof ProgramError ? error.message : String(error)),
  );
  const patience = repeat?.patience;
  if (patience === undefined) return running;
  // A run that is given up waits for ever for a device that forgot it; the next one resets the device.
  const over = { yet: false };
  const late = sleep(cpu, patience, over).then(() => `no end within ${patience / 1e9} s`);
  const reason = await Promise.race([running, late]);
  over.yet = true;
  return reason;
}

/** @param over whether the sleeper need not sleep on */
async function sleep(cpu: GuestCpu, ns: number, over = { yet: false }): Promise<void> {
  const until = cpu.counter() + BigInt(Math.round(ns));
  while (!over.yet && cpu.counter() < until) await VcpuTimer.of(cpu).waitForInterrupt(until);
}
