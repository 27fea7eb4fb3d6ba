import { hex } from '@remio/base';
import {
  askRegisters,
  askResult,
  completionRegisters,
  type GuestCpu,
  type GuestDeviceEnd,
  type GuestProgram,
  type GuestVm,
  remioNotify,
} from '@remio/guest';
import { MmioRegisters, type VirtioDevice } from '@remio/virtio-device';
import { hasFeature, MMIO, STATUS_DRIVER_OK, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';

/** Makes the device model of one end from what the topology says of it. */
export type DeviceMaker = (end: GuestDeviceEnd) => Promise<VirtioDevice>;

/** What the dispatcher asks of a device's registers. */
export type Registers = Pick<MmioRegisters, 'read' | 'write' | 'status' | 'features' | 'queueConfig' | 'device'>;

/**
 * Puts something in the place of a device's registers: a witness, or a liar for tests of drivers.
 * @param interrupt raises the frontend's interrupt
 */
export type RegistersWrap = (registers: MmioRegisters, interrupt: () => void) => Registers;

/** A device as one vCPU of the backend serves it. */
interface Served {
  readonly end: GuestDeviceEnd;
  readonly registers: Registers;
  /** Registers of an ASK on this device. */
  readonly ask: readonly bigint[];
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
  (makeDevice: DeviceMaker, wrap: RegistersWrap = (registers) => registers): GuestProgram =>
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
    const serve = async (cpu: GuestCpu): Promise<void> => {
      const served = share(cpu.index).flatMap((end) => {
        const model = models.get(end.dm);
        return model === undefined ? [] : [attach(cpu, end, model, vm, wrap)];
      });
      cpu.onInterrupt(cpu.hostIrq, async () => {
        for (const device of served) if (device.interrupt) await notify(cpu, device);
      });
      for (const device of served) {
        cpu.onInterrupt(device.end.interrupt, () => drain(cpu, device));
        await cpu.enableInterrupt(device.end.interrupt);
        // Requests made before the interrupt was enabled are pending already.
        await drain(cpu, device);
      }
      await cpu.idle();
    };
    for (let index = 1; index < Math.min(vm.cpus, ends.length); index += 1) {
      const code = await boot.startCpu(index, serve);
      if (code !== 0n) vm.log(`vCPU ${index} cannot be started: ${code}`);
    }
    vm.report({ kind: 'serving', devices: ends.map((end) => end.name) });
    await serve(boot);
  };

function attach(cpu: GuestCpu, end: GuestDeviceEnd, model: VirtioDevice, vm: GuestVm, wrap: RegistersWrap): Served {
  const interrupt = (): void => {
    if (device.interrupt) return;
    device.interrupt = true;
    // The model may speak at any time; what it says becomes a NOTIFY of this vCPU.
    cpu.hostEvent();
  };
  const defer = (work: () => void, idle?: boolean): void => vm.defer(cpu.index, work, idle);
  const host = { interrupt, defer };
  const device: Served = {
    end,
    registers: wrap(new MmioRegisters(model, end.shmem, host, end.ring), interrupt),
    ask: askRegisters(cpu.arch, end.dm),
    interrupt: false,
    report: () => reportQueues(device, vm),
  };
  return device;
}

/**
 * ASKs until nothing is pending, and answers. Every remote access of the platform goes through here: the calls are made
 * in registers that are prepared once, and nothing is awaited but the hypercalls.
 */
async function drain(cpu: GuestCpu, device: Served): Promise<void> {
  const { arch } = cpu;
  const { end, registers } = device;
  for (;;) {
    const request = askResult(arch, end.dm, await cpu.hypercall(device.ask));
    if (request.kind !== 'request') return;
    const offset = offsetIn(end.window, request.addr, request.width);
    if (!request.write) {
      const value = offset < 0 ? 0n : registers.read(offset, request.width);
      await cpu.hypercall(completionRegisters(arch, request, value));
    } else if (offset === MMIO.QueueNotify) {
      // A notification needs no answer from the model: the frontend goes on first, then the queue is looked at.
      await cpu.hypercall(completionRegisters(arch, request, 0n));
      registers.write(offset, request.width, request.value);
    } else {
      if (offset >= 0) registers.write(offset, request.width, request.value);
      await cpu.hypercall(completionRegisters(arch, request, 0n));
      // Queues begin to run with DRIVER_OK, or one by one after a reset of their own.
      if (offset === MMIO.Status || offset === MMIO.QueueReady) device.report();
    }
    if (!request.more) return;
  }
}

/** Where in the window an access lies; -1 if not all of it does. */
function offsetIn(window: GuestDeviceEnd['window'], address: bigint, width: number): number {
  if (address < window.base) return -1;
  const offset = Number(address - window.base);
  return offset + width <= window.size ? offset : -1;
}

function reportQueues({ end, registers }: Served, vm: GuestVm): void {
  if ((registers.status & STATUS_DRIVER_OK) === 0) return;
  vm.report({
    kind: 'queues',
    device: end.name,
    shmem: { id: end.shmemId, base: hex(end.shmem.base) },
    packed: hasFeature(registers.features, VIRTIO_F_RING_PACKED),
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

async function notify(cpu: GuestCpu, device: Served): Promise<void> {
  device.interrupt = false;
  await remioNotify(cpu, device.end.dm);
}
