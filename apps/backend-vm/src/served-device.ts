import { hex } from '@remio/base';
import { askRegisters, type GuestDeviceEnd, type GuestVm } from '@remio/guest';
import { MmioRegisters, type VirtioDevice } from '@remio/virtio-device';
import {
  hasFeature,
  STATUS_DEVICE_NEEDS_RESET,
  STATUS_DRIVER_OK,
  VIRTIO_F_NOTIFICATION_DATA,
  VIRTIO_F_RING_PACKED,
} from '@remio/virtio-spec';
import { KeptState } from '@remio/virtqueue';

/** What the dispatcher asks of a device's registers. */
export type Registers = Pick<
  MmioRegisters,
  'read' | 'write' | 'status' | 'features' | 'queueConfig' | 'inFlight' | 'device' | 'counters'
>;

/**
 * Puts something in the place of a device's registers: a witness, or a liar for tests of drivers.
 * @param interrupt raises the frontend's interrupt
 */
export type RegistersWrap = (registers: MmioRegisters, interrupt: () => void) => Registers;

/** What one vCPU did for a device. */
interface VcpuCounters {
  /** Notifications of queues that it served. */
  notifications: number;
  /** NOTIFY hypercalls that it made: interrupts of the frontend. */
  notifies: number;
}

/**
 * A device of the backend, and which vCPUs serve it: one takes its interrupt and answers its accesses, and each queue has
 * one that serves its notifications and interrupts the frontend for it.
 */
export class ServedDevice {
  readonly end: GuestDeviceEnd;
  readonly registers: Registers;
  /** Registers of an ASK on this device. */
  readonly ask: readonly bigint[];
  /** The vCPU that takes its interrupt. */
  readonly vcpu: number;
  /** By vCPU. */
  readonly counters: readonly VcpuCounters[];
  /** By vCPU: the model raised its interrupt there since that vCPU's last NOTIFY. */
  readonly #wanted: boolean[];
  /** Whether all queues are served where the device is. */
  readonly #together: boolean;

  /**
   * @param vcpu for what the end does not place
   * @param wanted told that a vCPU is to interrupt the frontend; at any time
   */
  constructor(
    end: GuestDeviceEnd,
    model: VirtioDevice,
    vm: GuestVm,
    vcpu: number,
    wanted: (vcpu: number) => void,
    wrap: RegistersWrap,
  ) {
    this.end = end;
    this.vcpu = end.vcpu ?? vcpu;
    this.ask = askRegisters(vm.arch, end.dm);
    this.counters = Array.from({ length: vm.cpus }, () => ({ notifications: 0, notifies: 0 }));
    this.#wanted = Array.from({ length: vm.cpus }, () => false);
    this.#together = end.queueVcpus.every((other) => other === this.vcpu);
    const interrupt = (queue?: number): void => {
      const by = queue === undefined ? this.vcpu : this.vcpuOf(queue);
      if (this.#wanted[by] === true) return;
      this.#wanted[by] = true;
      wanted(by);
    };
    const defer = (work: () => void, idle?: boolean, queue?: number): void =>
      vm.defer(queue === undefined ? this.vcpu : this.vcpuOf(queue), work, idle);
    const kept = end.kept === undefined ? undefined : new KeptState(end.kept, model.queueCount, model.queueSizeMax);
    const registers = new MmioRegisters(model, () => end.shmem, { interrupt, defer }, end.ring, kept);
    this.registers = wrap(registers, () => interrupt());
    if (vm.incarnation > 1) this.#takeOver(registers, vm, kept !== undefined);
    else registers.keep();
  }

  /** A process that served the device before is gone: what it kept goes on, or else the driver is told to start over. */
  #takeOver(registers: MmioRegisters, vm: GuestVm, keeps: boolean): void {
    if (keeps) {
      const resumed = registers.resume();
      if (resumed.ok) {
        const { queueCount } = registers.device;
        const inFlight = Array.from({ length: queueCount }, (_, n) => registers.inFlight(n)).reduce((a, b) => a + b, 0);
        vm.report({ kind: 'resumed', device: this.end.name, inFlight });
        return;
      }
      vm.log(`device ${this.end.name}: it starts over: ${resumed.error}`);
    }
    // The driver is not left to find out by itself.
    registers.demandReset();
  }

  /** Whether a vCPU has anything to do for the device. */
  concerns(vcpu: number): boolean {
    return vcpu === this.vcpu || this.end.queueVcpus.includes(vcpu);
  }

  /** The vCPU that serves a queue. */
  vcpuOf(queue: number): number {
    return this.end.queueVcpus[queue] ?? this.vcpu;
  }

  /** The vCPU that serves a notification (2.9) with this value. */
  vcpuOfNotification(value: bigint): number {
    if (this.#together) return this.vcpu;
    const data = hasFeature(this.registers.features, VIRTIO_F_NOTIFICATION_DATA);
    return this.vcpuOf(Number(value & (data ? 0xffffn : 0xffff_ffffn)));
  }

  /** Whether a vCPU is to interrupt the frontend, since this was asked last. */
  takeWanted(vcpu: number): boolean {
    const wanted = this.#wanted[vcpu] === true;
    this.#wanted[vcpu] = false;
    return wanted;
  }

  /** Where the driver put its queues, for observers; undefined while it does not run. */
  describeQueues(): { readonly kind: string; readonly [field: string]: unknown } | undefined {
    const { end, registers } = this;
    if ((registers.status & STATUS_DRIVER_OK) === 0) return undefined;
    return {
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
    };
  }

  /** What the device and its queues did, for observers. */
  describeCounters(): { readonly kind: string; readonly [field: string]: unknown } {
    const { end, registers } = this;
    const { queues, ...counters } = registers.counters;
    const { device } = registers;
    return {
      kind: 'counters',
      device: end.name,
      ...counters,
      needsReset: (registers.status & STATUS_DEVICE_NEEDS_RESET) !== 0,
      queues: queues.map((queue, index) => ({
        vcpu: this.vcpuOf(index),
        inFlight: registers.inFlight(index),
        ...queue,
      })),
      vcpus: this.counters.map((counts) => ({ ...counts })),
      ...(device.counters === undefined ? {} : { model: { ...device.counters } }),
    };
  }
}
