import { type GuestCpu, type GuestDeviceEnd, type GuestProgram, type GuestVm, ProgramError } from '@remio/guest';
import { VirtioBlkDriver } from '@remio/virtio-driver';
import { LoadClient, noFigures, type Workload } from './client.js';
import { LOAD_DEFAULTS, type LoadOptions, noGate, type StartGate } from './options.js';
import { blockWorkload, mmioWorkload } from './workloads.js';

/** A device, brought up, and what makes a vCPU's workload on it. */
interface Target {
  readonly end: GuestDeviceEnd;
  workload(cpu: GuestCpu, options: LoadOptions): Workload;
  /** What it cost so far: accesses that trapped, notifications, interrupts. */
  costs(): { readonly accesses: number; readonly notifications: number; readonly interrupts: number };
}

/** A smallest power of two that is not below. */
const powerOfTwo = (value: number): number => 2 ** Math.ceil(Math.log2(value));

async function open(boot: GuestCpu, vm: GuestVm, end: GuestDeviceEnd, options: LoadOptions): Promise<Target> {
  if (options.type === 'mmio') {
    return {
      end,
      workload: (cpu) => mmioWorkload(cpu, end),
      costs: () => ({ accesses: 0, notifications: 0, interrupts: 0 }),
    };
  }
  // Three descriptors a request, where there are no indirect ones.
  const queueSize = Math.min(1024, powerOfTwo(4 * options.depth));
  const probed = await VirtioBlkDriver.probe(boot, end, { cpus: vm.cpus, queueSize });
  if (!probed.ok) throw new ProgramError(`device ${end.name}: ${probed.error.code}: ${probed.error.detail}`);
  const driver = probed.value;
  if (driver.queues < vm.cpus)
    throw new ProgramError(`device ${end.name} has a queue for ${driver.queues} of ${vm.cpus} vCPUs`);
  return {
    end,
    workload: (cpu, mine) => blockWorkload(cpu, driver, mine),
    costs: () => ({ ...driver.counters, accesses: driver.transport.accesses }),
  };
}

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
    const targets: Target[] = [];
    for (const end of ends) targets.push(await open(boot, vm, end, options));
    const figures = noFigures();
    let working = vm.cpus;
    const work = async (cpu: GuestCpu): Promise<void> => {
      const mine = targets.filter((_, n) => targets.length < vm.cpus || n % vm.cpus === cpu.index);
      if (mine.length === 0) throw new ProgramError(`VM ${vm.name} has no device`);
      // A task for each device, as the threads of one CPU.
      const clients = mine.map((target) => {
        const own = { ...options, seed: (options.seed * 64 + cpu.index) * 64 + target.end.dm };
        return new LoadClient(cpu, vm, own, target.workload(cpu, own), figures);
      });
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
    const costs = targets.map((target) => target.costs());
    const sum = (of: (cost: ReturnType<Target['costs']>) => number): number => costs.reduce((a, b) => a + of(b), 0);
    vm.report({
      kind: 'load',
      operations: figures.operations,
      bytes: figures.bytes,
      errors: figures.errors,
      latency: figures.latency.encode(),
      accesses: sum(({ accesses }) => accesses),
      notifications: sum(({ notifications }) => notifications),
      interrupts: sum(({ interrupts }) => interrupts),
    });
  };
