import type { Result } from '@remio/base';
import { macBytes } from '@remio/ethernet';
import { type GuestCpu, type GuestDeviceEnd, type GuestProgram, type GuestVm, ProgramError } from '@remio/guest';
import { type DriverError, VirtioBlkDriver, VirtioConsoleDriver, VirtioNetDriver } from '@remio/virtio-driver';
import { LoadClient, type LoadFigures, noFigures, type Workload } from './client.js';
import { consoleWorkload } from './console-workload.js';
import { networkWorkload } from './net-workload.js';
import { LOAD_DEFAULTS, type LoadOptions, noGate, type StartGate } from './options.js';
import { replayWorkload } from './replay-workload.js';
import { blockWorkload, mmioWorkload } from './workloads.js';

/** A device, brought up, and what makes a vCPU's workload on it. */
interface Target {
  readonly end: GuestDeviceEnd;
  workload(cpu: GuestCpu, options: LoadOptions): Workload;
  /** What it cost so far: accesses that trapped, notifications, interrupts. */
  costs(): { readonly accesses: number; readonly notifications: number; readonly interrupts: number };
}

const NO_COSTS = { accesses: 0, notifications: 0, interrupts: 0 };
/** Bytes of a receive buffer: a frame of the Ethernet MTU fits. */
const RECEIVE_BYTES = 2048;
/** Bytes of a console's buffers. */
const CONSOLE_BUFFERS = { buffers: 16, size: 4096 };

/** A smallest power of two that is not below. */
const powerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(value));

async function open(boot: GuestCpu, vm: GuestVm, end: GuestDeviceEnd, options: LoadOptions): Promise<Target> {
  // Three descriptors a request, where there are no indirect ones.
  const queueSize = Math.min(1024, powerOfTwo(4 * options.depth));
  switch (options.type) {
    case 'replay':
      return { end, workload: (cpu) => replayWorkload(cpu, options.trace?.[cpu.index] ?? []), costs: () => NO_COSTS };
    case 'mmio':
      return { end, workload: (cpu) => mmioWorkload(cpu, end), costs: () => NO_COSTS };
    case 'block': {
      const driver = opened(end, await VirtioBlkDriver.probe(boot, end, { cpus: vm.cpus, queueSize }));
      if (driver.queues < vm.cpus)
        throw new ProgramError(`device ${end.name} has a queue for ${driver.queues} of ${vm.cpus} vCPUs`);
      return {
        end,
        workload: (cpu, mine) => blockWorkload(cpu, driver, mine),
        costs: () => ({ ...driver.counters, accesses: driver.transport.accesses }),
      };
    }
    case 'network': {
      const driver = opened(end, await VirtioNetDriver.probe(boot, end, { queueSize, receiveBytes: RECEIVE_BYTES }));
      return {
        end,
        workload: (cpu, mine) => networkWorkload(cpu, driver, macBytes(driver.mac), mine),
        costs: () => ({ ...driver.counters, accesses: driver.transport.accesses }),
      };
    }
    case 'console': {
      const buffers = CONSOLE_BUFFERS;
      const driver = opened(end, await VirtioConsoleDriver.probe(boot, end, { features: 0n, buffers }));
      return { end, workload: (cpu, mine) => consoleWorkload(cpu, driver, mine), costs: () => NO_COSTS };
    }
  }
}

/** @throws ProgramError if the device could not be brought up */
function opened<T>(end: GuestDeviceEnd, probed: Result<T, DriverError>): T {
  if (!probed.ok) throw new ProgramError(`device ${end.name}: ${probed.error.code}: ${probed.error.detail}`);
  return probed.value;
}

/** What is done on some of the devices. */
interface Job {
  readonly options: LoadOptions;
  readonly targets: readonly Target[];
  readonly figures: LoadFigures;
}

const told = ({ operations, bytes, errors, latency }: LoadFigures): object => ({
  operations,
  bytes,
  errors,
  latency: latency.encode(),
});

/**
 * Works on the VM's devices, every vCPU on every one that is its own: devices are dealt out to vCPUs where there are more
 * of them, else several vCPUs share a device. Reports what it did in the time that counts.
 * @param gate lets the clients of several VMs begin at the same time
 */
export const load =
  (given: Partial<LoadOptions>, gate: StartGate = noGate): GuestProgram =>
  async (boot, vm) => {
    const options = { ...LOAD_DEFAULTS, ...given };
    const ends = vm.devices.filter(({ type }) => type === 'frontend');
    const { beside } = options;
    const jobs: Job[] = [];
    for (const [work, mine] of [
      [options, ends.filter(({ name }) => beside?.devices.includes(name) !== true)],
      ...(beside === undefined ? [] : ([[beside, ends.filter(({ name }) => beside.devices.includes(name))]] as const)),
    ] as const) {
      const targets: Target[] = [];
      // A trace names the registers of all devices: each vCPU has one.
      const used = work.type === 'replay' ? mine.slice(0, 1) : mine;
      for (const end of used) targets.push(await open(boot, vm, end, work));
      jobs.push({ options: work, targets, figures: noFigures() });
    }
    let working = vm.cpus;
    const work = async (cpu: GuestCpu): Promise<void> => {
      // A task for each device, as the threads of one CPU.
      const clients = jobs.flatMap((job) =>
        job.targets
          .filter((_, n) => job.options.type === 'replay' || job.targets.length < vm.cpus || n % vm.cpus === cpu.index)
          .map((target) => {
            const own = { ...job.options, seed: (job.options.seed * 64 + cpu.index) * 64 + target.end.dm };
            return new LoadClient(cpu, vm, own, target.workload(cpu, own), job.figures);
          }),
      );
      if (clients.length === 0) throw new ProgramError(`VM ${vm.name} has no device`);
      const start = await gate.ready(Number(cpu.counter()));
      await Promise.all(clients.map((client) => client.run(start)));
      working -= 1;
      if (working === 0) boot.sendIpi(boot.index);
    };
    for (let index = 1; index < vm.cpus; index += 1) {
      const code = await boot.startCpu(index, work);
      if (code !== 0n) throw new ProgramError(`vCPU ${index} cannot be started: ${code}`);
    }
    await work(boot);
    while (working > 0) await boot.waitForInterrupt();
    const costs = jobs.flatMap(({ targets }) => targets.map((target) => target.costs()));
    const sum = (of: (cost: ReturnType<Target['costs']>) => number): number => costs.reduce((a, b) => a + of(b), 0);
    const [main, besides] = jobs.map(({ figures }) => told(figures));
    vm.report({
      kind: 'load',
      ...main,
      ...(besides === undefined ? {} : { beside: besides }),
      accesses: sum(({ accesses }) => accesses),
      notifications: sum(({ notifications }) => notifications),
      interrupts: sum(({ interrupts }) => interrupts),
    });
  };
