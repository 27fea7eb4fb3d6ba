import {
  type Answer,
  askResult,
  completionRegisters,
  type GuestCpu,
  type GuestDeviceEnd,
  type RemioRequest,
  remioNotify,
} from '@remio/guest';
import { MMIO } from '@remio/virtio-spec';
import type { ServedDevice } from './served-device.js';

/** A notification for a queue that another vCPU serves. */
interface Handed {
  readonly device: ServedDevice;
  readonly value: bigint;
}

/**
 * What one vCPU of a backend does: takes the interrupts of its devices, ASKs until nothing is pending, lets the register
 * model answer, and completes; serves the queues that are its own; and interrupts frontends for them.
 */
export class BackendVcpu {
  readonly #index: number;
  readonly #siblings: readonly BackendVcpu[];
  readonly #devices: readonly ServedDevice[];
  /** What the vCPUs that take devices' interrupts hand over. */
  readonly #handed: Handed[] = [];
  readonly #tell: (device: ServedDevice) => void;
  #cpu: GuestCpu | undefined;

  /**
   * @param siblings every vCPU of the VM, this one included, by index
   * @param devices of which it serves something
   * @param tell told that a driver made queues ready
   */
  constructor(
    index: number,
    siblings: readonly BackendVcpu[],
    devices: readonly ServedDevice[],
    tell: (device: ServedDevice) => void,
  ) {
    this.#index = index;
    this.#siblings = siblings;
    this.#devices = devices;
    this.#tell = tell;
  }

  /** Whether there is anything for it to do. */
  get needed(): boolean {
    return this.#devices.length > 0;
  }

  /** A model has raised its interrupt for a queue of this vCPU: at any time, so it becomes a NOTIFY when the vCPU gets to it. */
  wake(): void {
    this.#cpu?.hostEvent();
  }

  /** Takes over a notification; it is served after the inter-processor interrupt that follows. */
  hand(notification: Handed): void {
    this.#handed.push(notification);
  }

  /** The vCPU's program. */
  async run(cpu: GuestCpu): Promise<never> {
    this.#cpu = cpu;
    cpu.onInterrupt(cpu.hostIrq, () => this.#notify(cpu));
    cpu.onInterrupt(cpu.ipiIrq, () => this.#serveHanded());
    for (const device of this.#devices) {
      if (device.vcpu !== this.#index) continue;
      cpu.onInterrupt(device.end.interrupt, () => this.#drain(cpu, device));
      await cpu.enableInterrupt(device.end.interrupt);
      // Requests made before the interrupt was enabled are pending already.
      await this.#drain(cpu, device);
    }
    // What came before there were handlers for it.
    this.#serveHanded();
    await this.#notify(cpu);
    return cpu.idle();
  }

  /**
   * ASKs until nothing is pending, and answers. Every remote access of the platform goes through here: the calls are made
   * in registers that are prepared once, and nothing is awaited but hypercalls that have no answer yet.
   */
  #drain(cpu: GuestCpu, device: ServedDevice): Answer<void> {
    for (;;) {
      const asked = cpu.hypercall(device.ask);
      const more =
        asked instanceof Promise ? asked.then((got) => this.#serve(cpu, device, got)) : this.#serve(cpu, device, asked);
      if (more instanceof Promise) return more.then((goOn) => (goOn ? this.#drain(cpu, device) : undefined));
      if (!more) return;
    }
  }

  /**
   * Answers what an ASK gave.
   * @returns whether more is pending
   */
  #serve(cpu: GuestCpu, device: ServedDevice, asked: readonly bigint[]): Answer<boolean> {
    const { arch } = cpu;
    const { end, registers } = device;
    const request = askResult(arch, end.dm, asked);
    if (request.kind !== 'request') return false;
    const offset = offsetIn(end.window, request.addr, request.width);
    let value = 0n;
    if (!request.write) {
      if (offset >= 0) value = registers.read(offset, request.width);
    } else if (offset >= 0 && !isNotification(offset, request)) registers.write(offset, request.width, request.value);
    const done = cpu.hypercall(completionRegisters(arch, request, value));
    if (!request.write) return done instanceof Promise ? done.then(() => request.more) : request.more;
    if (done instanceof Promise) {
      return done.then(() => {
        this.#written(cpu, device, offset, request);
        return request.more;
      });
    }
    this.#written(cpu, device, offset, request);
    return request.more;
  }

  /** What follows a write that was answered. */
  #written(cpu: GuestCpu, device: ServedDevice, offset: number, request: RemioRequest): void {
    // A notification needs no answer from the model: the frontend goes on first, then the queue is looked at.
    if (isNotification(offset, request)) this.#notified(cpu, device, request.value);
    // Queues begin to run with DRIVER_OK, or one by one after a reset of their own.
    else if (offset === MMIO.Status || offset === MMIO.QueueReady) this.#tell(device);
  }

  /** Serves a notification, or hands it to the vCPU whose queue it is for. */
  #notified(cpu: GuestCpu, device: ServedDevice, value: bigint): void {
    const vcpu = device.vcpuOfNotification(value);
    if (vcpu === this.#index) {
      this.#look(device, value);
      return;
    }
    this.#siblings[vcpu]?.hand({ device, value });
    cpu.sendIpi(vcpu);
  }

  #serveHanded(): void {
    for (const { device, value } of this.#handed.splice(0)) this.#look(device, value);
  }

  /** Lets the model look at a queue. */
  #look(device: ServedDevice, value: bigint): void {
    const counters = device.counters[this.#index];
    if (counters !== undefined) counters.notifications += 1;
    device.registers.write(MMIO.QueueNotify, 4, value);
  }

  /** Interrupts the frontends of devices that want it. */
  async #notify(cpu: GuestCpu): Promise<void> {
    for (const device of this.#devices) {
      if (!device.takeWanted(this.#index)) continue;
      const counters = device.counters[this.#index];
      if (counters !== undefined) counters.notifies += 1;
      await remioNotify(cpu, device.end.dm);
    }
  }
}

const isNotification = (offset: number, { width }: RemioRequest): boolean => offset === MMIO.QueueNotify && width === 4;

/** Where in the window an access lies; -1 if not all of it does. */
function offsetIn(window: GuestDeviceEnd['window'], address: bigint, width: number): number {
  if (address < window.base) return -1;
  const offset = Number(address - window.base);
  return offset + width <= window.size ? offset : -1;
}
