import { hex } from '@remio/base';
import {
  type GuestCpu,
  type GuestDeviceEnd,
  type GuestProgram,
  type GuestVm,
  type RemioRequest,
  remioAsk,
  remioComplete,
  remioNotify,
} from '@remio/guest';
import { MmioRegisters, type VirtioDevice } from '@remio/virtio-device';
import { MMIO, STATUS_DRIVER_OK } from '@remio/virtio-spec';

/** Makes the device model of one end from what the topology says of it. */
export type DeviceMaker = (end: GuestDeviceEnd) => Promise<VirtioDevice>;

/** A device as one vCPU of the backend serves it. */
interface Served {
  readonly end: GuestDeviceEnd;
  readonly registers: MmioRegisters;
  /** The model raised its interrupt since the last NOTIFY. */
  interrupt: boolean;
  /** Tells observers where the driver put its queues. */
  report(): void;
}

/**
 * The backend's program: serves every device of its VM, as the reference's kernel driver and device model do together.
 * On an interrupt it ASKs until nothing is pending, lets the register model answer, completes, and raises the
 * frontend's interrupt when the model wants it. Devices are dealt out to the VM's vCPUs in turn.
 */
export const dispatcher =
  (makeDevice: DeviceMaker): GuestProgram =>
  async (boot, vm) => {
    const ends = vm.devices.filter((end) => end.type === 'backend');
    const models = new Map<number, VirtioDevice>();
    for (const end of ends) {
      const model = await makeDevice(end);
      models.set(end.dm, model);
      vm.onStop(async () => {
        await new Promise<void>((done) => model.reset(done));
        await model.close?.();
      });
    }
    const share = (index: number): readonly GuestDeviceEnd[] => ends.filter((_, n) => n % vm.cpus === index);
    const report = (device: Served): void => reportQueues(device, vm);
    const serve = async (cpu: GuestCpu): Promise<void> => {
      const served = share(cpu.index).flatMap((end) => {
        const model = models.get(end.dm);
        return model === undefined ? [] : [attach(cpu, end, model, report)];
      });
      cpu.onInterrupt(cpu.hostIrq, async () => {
        for (const device of served) await notifyIfWanted(cpu, device);
      });
      for (const device of served) {
        cpu.onInterrupt(device.end.interrupt, () => drain(cpu, device));
        await cpu.enableInterrupt(device.end.interrupt);
        // Requests made before the interrupt was enabled are pending already.
        await drain(cpu, device);
      }
      for (;;) await cpu.waitForInterrupt();
    };
    for (let index = 1; index < Math.min(vm.cpus, ends.length); index += 1) {
      const code = await boot.startCpu(index, serve);
      if (code !== 0n) vm.log(`vCPU ${index} cannot be started: ${code}`);
    }
    vm.report({ kind: 'serving', devices: ends.map((end) => end.name) });
    await serve(boot);
  };

function attach(cpu: GuestCpu, end: GuestDeviceEnd, model: VirtioDevice, report: (device: Served) => void): Served {
  const device: Served = {
    end,
    registers: new MmioRegisters(model, end.shmem, {
      interrupt: () => {
        if (device.interrupt) return;
        device.interrupt = true;
        // The model may speak at any time; what it says becomes a NOTIFY of this vCPU.
        cpu.hostEvent();
      },
      defer: (work) => setImmediate(work),
    }),
    interrupt: false,
    report: () => report(device),
  };
  return device;
}

async function drain(cpu: GuestCpu, device: Served): Promise<void> {
  for (;;) {
    const asked = await remioAsk(cpu, device.end.dm);
    if (asked.kind !== 'request') return;
    await answer(cpu, device, asked.request);
    if (!asked.request.more) return;
  }
}

async function answer(cpu: GuestCpu, device: Served, request: RemioRequest): Promise<void> {
  const { base, size } = device.end.window;
  const offset = request.addr - base;
  const inside = offset >= 0n && offset + BigInt(request.width) <= BigInt(size);
  if (!request.write) {
    const value = inside ? device.registers.read(Number(offset), request.width) : 0n;
    await remioComplete(cpu, request, value);
    return;
  }
  // A notification needs no answer from the model: the frontend goes on first, then the queue is looked at.
  const early = offset === BigInt(MMIO.QueueNotify);
  if (early) await remioComplete(cpu, request, 0n);
  if (inside) device.registers.write(Number(offset), request.width, request.value);
  if (!early) await remioComplete(cpu, request, 0n);
  if (offset === BigInt(MMIO.Status)) device.report();
}

function reportQueues({ end, registers }: Served, vm: GuestVm): void {
  if ((registers.status & STATUS_DRIVER_OK) === 0) return;
  vm.report({
    kind: 'queues',
    device: end.name,
    shmem: { id: end.shmemId, base: hex(end.shmem.base) },
    queues: Array.from({ length: registers.device.queueCount }, (_, index) => {
      const config = registers.queueConfig(index);
      return config === undefined
        ? null
        : {
            size: config.size,
            descriptorArea: hex(config.descriptorArea),
            driverArea: hex(config.driverArea),
            deviceArea: hex(config.deviceArea),
          };
    }),
  });
}

async function notifyIfWanted(cpu: GuestCpu, device: Served): Promise<void> {
  if (!device.interrupt) return;
  device.interrupt = false;
  await remioNotify(cpu, device.end.dm);
}
