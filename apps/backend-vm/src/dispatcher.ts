import type { GuestDeviceEnd, GuestProgram, GuestVm } from '@remio/guest';
import type { VirtioDevice } from '@remio/virtio-device';
import { BackendVcpu } from './backend-vcpu.js';
import { type RegistersWrap, ServedDevice } from './served-device.js';

/** Makes the device model of one end from what the topology says of it. */
export type DeviceMaker = (end: GuestDeviceEnd) => Promise<VirtioDevice>;

/**
 * The backend's program: serves every device of its VM, as the reference's kernel driver and device model do together.
 * Devices are dealt out to the VM's vCPUs in turn, with all their queues, where the topology does not place them.
 */
export const dispatcher =
  (makeDevice: DeviceMaker, wrap: RegistersWrap = (registers) => registers): GuestProgram =>
  async (boot, vm) => {
    const vcpus: BackendVcpu[] = [];
    const devices: ServedDevice[] = [];
    for (const [n, end] of vm.devices.filter(({ type }) => type === 'backend').entries()) {
      const model = await makeDevice(end);
      const wanted = (vcpu: number): void => vcpus[vcpu]?.wake();
      devices.push(new ServedDevice(end, model, vm, n % vm.cpus, wanted, wrap));
      vm.onStop(async () => {
        await new Promise<void>((done) => model.reset(done));
        await model.close?.();
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
    for (const [index, vcpu] of vcpus.entries()) {
      if (index === 0 || !vcpu.needed) continue;
      const code = await boot.startCpu(index, (cpu) => vcpu.run(cpu));
      if (code !== 0n) vm.log(`vCPU ${index} cannot be started: ${code}`);
    }
    vm.report({ kind: 'serving', devices: devices.map(({ end }) => end.name) });
    await vcpus[0]?.run(boot);
  };

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
