import type { GuestCpu, GuestDeviceEnd, GuestVm } from '@remio/guest';
import { MMIO } from '@remio/virtio-spec';
import type { DeviceTarget, Width } from './device-target.js';

/** Nanoseconds that a device has for what a case waits for. */
const PATIENCE = 3_000_000_000n;

/** A device as the vCPU of a frontend reaches it: through traps, whatever is behind them. */
export class GuestTarget implements DeviceTarget {
  readonly #cpu: GuestCpu;
  readonly #end: GuestDeviceEnd;
  readonly #vcpus: number;
  readonly #counted: { interrupts: number };

  private constructor(cpu: GuestCpu, end: GuestDeviceEnd, vcpus: number, counted: { interrupts: number }) {
    this.#cpu = cpu;
    this.#end = end;
    this.#vcpus = vcpus;
    this.#counted = counted;
  }

  /** Takes the interrupts of a device on this vCPU. */
  static async create(cpu: GuestCpu, end: GuestDeviceEnd, vm: GuestVm): Promise<GuestTarget> {
    const counted = { interrupts: 0 };
    cpu.onInterrupt(end.interrupt, () => {
      counted.interrupts += 1;
    });
    await cpu.enableInterrupt(end.interrupt);
    return new GuestTarget(cpu, end, vm.cpus, counted);
  }

  get memory(): GuestDeviceEnd['shmem'] {
    return this.#end.shmem;
  }

  get window(): bigint {
    return this.#end.window.base;
  }

  async read(offset: number, width: Width): Promise<bigint> {
    const address = this.window + BigInt(offset);
    switch (width) {
      case 1:
        return BigInt(await this.#cpu.load8(address));
      case 2:
        return BigInt(await this.#cpu.load16(address));
      case 4:
        return BigInt(await this.#cpu.load32(address));
      case 8:
        return this.#cpu.load64(address);
    }
  }

  async write(offset: number, width: Width, value: bigint): Promise<void> {
    const address = this.window + BigInt(offset);
    switch (width) {
      case 1:
        return this.#cpu.store8(address, Number(value & 0xffn));
      case 2:
        return this.#cpu.store16(address, Number(value & 0xffffn));
      case 4:
        return this.#cpu.store32(address, Number(value & 0xffff_ffffn));
      case 8:
        return this.#cpu.store64(address, value);
    }
  }

  interrupts(): number {
    return this.#counted.interrupts;
  }

  /** A backend answers one access after the other: when a read has its answer, what came before was dealt with. */
  async pause(): Promise<void> {
    await this.read(MMIO.MagicValue, 4);
  }

  async until(done: () => Promise<boolean>): Promise<boolean> {
    const end = this.#cpu.counter() + PATIENCE;
    for (;;) {
      if (await done()) return true;
      if (this.#cpu.counter() > end) return false;
      await this.pause();
    }
  }

  /** On the VM's second vCPU; if it has none, as a second task of this one. */
  async elsewhere(work: (target: DeviceTarget) => Promise<void>): Promise<void> {
    if (this.#vcpus < 2) return work(this);
    let ended = false;
    const started = await this.#cpu.startCpu(1, async (other) => {
      await work(new GuestTarget(other, this.#end, 1, this.#counted));
      ended = true;
    });
    if (started !== 0n) return work(this);
    while (!ended) await this.pause();
  }
}
