import type { GuestCpu, GuestDeviceEnd, GuestProgram, GuestVm } from '@remio/guest';
import type { VirtioDevice } from '@remio/virtio-device';
import { BackendVcpu } from './backend-vcpu.js';
import { type RegistersWrap, ServedDevice } from './served-device.js';

/** Makes the device model of one end from what the topology says of it. */
export type DeviceMaker = (end: GuestDeviceEnd) => Promise<VirtioDevice>;

/** What a VM that serves devices does besides: it drives devices that other VMs serve, say. */
export interface Besides {
  /** Whether there is anything to do in this VM. */
  wanted(vm: GuestVm): boolean;
  /**
   * Does it; it has ended when the promise settles.
   * @param boot the VM's first vCPU
   * @param vcpus all of them, each started when it is asked for
   */
  run(boot: GuestCpu, vm: GuestVm, vcpus: { get(index: number): Promise<GuestCpu> }): Promise<void>;
}

/**
 * The backend's program: serves every device of its VM, as the reference's kernel driver and device model do together.
 * Devices are dealt out to the VM's vCPUs in turn, with all their queues, where the topology does not place them.
 *
 * A VM may be the frontend of other devices as well. What drives them is on the first vCPU; devices are dealt out to the
 * others then, if there are any, so that a driver's remote accesses hold up nobody who waits for this VM. The drivers may
 * end, or fail, alone.
 */
export const dispatcher =
  (makeDevice: DeviceMaker, wrap: RegistersWrap = (registers) => registers, besides?: Besides): GuestProgram =>
  async (boot, vm) => {
    const aside = besides?.wanted(vm) === true ? besides : undefined;
    const first = aside === undefined || vm.cpus === 1 ? 0 : 1;
    const vcpus: BackendVcpu[] = [];
    const devices: ServedDevice[] = [];
    for (const [n, end] of vm.devices.filter(({ type }) => type === 'backend').entries()) {
      const model = await makeDevice(end);
      const wanted = (vcpu: number): void => vcpus[vcpu]?.wake();
      devices.push(new ServedDevice(end, model, vm, first + (n % (vm.cpus - first)), wanted, wrap));
      vm.onStop(async (again) => {
        await new Promise<void>((done) => model.reset(done));
        await model.close?.(again);
      });
    }
    const tell = (device: ServedDevice): void => {
      const queues = device.describeQueues();
      if (queues !== undefined) vm.report(queues);
    };
    for (let index = 0; index < vm.cpus; index += 1) {
      const concerned = devices.filter((device) => device.concerns(index));
      vcpus.push(new BackendVcpu(index, vcpus, concerned, tell));
    }
    reportCounters(vm, devices);
    const started = new Map<number, Promise<GuestCpu>>([[0, Promise.resolve(boot)]]);
    const get = (index: number): Promise<GuestCpu> => {
      const running = started.get(index) ?? start(boot, index, vcpus[index]);
      started.set(index, running);
      return running;
    };
    for (const [index, vcpu] of vcpus.entries()) {
      if (vcpu.needed) await get(index).catch((error: unknown) => vm.log(String(error)));
    }
    vm.report({ kind: 'serving', devices: devices.map(({ end }) => end.name) });
    if (aside !== undefined) void runBesides(aside, boot, vm, get);
    await vcpus[0]?.run(boot);
  };

/**
 * Starts a vCPU of a backend; settles when it runs.
 * @throws Error that says why it cannot be started
 */
function start(boot: GuestCpu, index: number, vcpu: BackendVcpu | undefined): Promise<GuestCpu> {
  return new Promise((resolve, reject) => {
    const program = async (cpu: GuestCpu): Promise<void> => {
      resolve(cpu);
      await vcpu?.run(cpu);
    };
    boot.startCpu(index, program).then((code) => {
      if (code !== 0n) reject(new Error(`vCPU ${index} cannot be started: ${code}`));
    }, reject);
  });
}

/** Does what there is besides serving, and tells how it went; what fails there does not end the devices. */
async function runBesides(
  besides: Besides,
  boot: GuestCpu,
  vm: GuestVm,
  get: (index: number) => Promise<GuestCpu>,
): Promise<void> {
  try {
    await besides.run(boot, vm, { get });
    vm.report({ kind: 'drivers-ended' });
  } catch (error) {
    vm.report({ kind: 'drivers-ended', reason: error instanceof Error ? error.message : String(error) });
  }
}

/** Reports what devices did, as far as it has changed. */
function reportCounters(vm: GuestVm, devices: readonly ServedDevice[]): void {
  const told = devices.map(() => '');
  vm.onObserve(() => {
    for (const [n, device] of devices.entries()) {
      const counters = device.describeCounters();
      const text = JSON.stringify(counters);
      if (text === told[n]) continue;
      told[n] = text;
      vm.report(counters);
    }
  });
}
