import type { DeviceMaker } from '@remio/backend-vm';
import {
  askRegisters,
  askResult,
  completionRegisters,
  type GuestCpu,
  type GuestDeviceEnd,
  type GuestProgram,
  remioNotify,
} from '@remio/guest';
import { MmioRegisters } from '@remio/virtio-device';
import { INTERRUPT_CONFIG_CHANGE, MMIO, STATUS_DEVICE_NEEDS_RESET } from '@remio/virtio-spec';

/** A register by its name in VirtIO 1.4, or a byte of the device configuration. */
export type LyingRegister = keyof typeof MMIO | number;

/**
 * What a device says instead of the truth when a register is read. Reads of one register are counted from 0.
 */
export type Lie =
  /** These values in turn; the last one for ever. */
  | { readonly register: LyingRegister; readonly says: readonly number[] }
  /** The truth with bits set and cleared, from one read on, for so many reads. */
  | {
      readonly register: LyingRegister;
      readonly sets?: number;
      readonly clears?: number;
      readonly from?: number;
      readonly reads?: number;
    }
  /** Another value at every read. */
  | { readonly register: LyingRegister; readonly counts: true }
  /** DEVICE_NEEDS_RESET from the n-th register access on, with a configuration change interrupt. */
  | { readonly needsResetAfter: number };

/**
 * Registers that a driver reads, but for InterruptStatus: a device that never says what interrupted is one that never
 * completes (V8).
 */
export const LYING_REGISTERS = [
  'MagicValue',
  'Version',
  'DeviceID',
  'DeviceFeatures',
  'QueueSizeMax',
  'QueueReady',
  'Status',
  'ConfigGeneration',
  0,
  4,
] as const satisfies readonly LyingRegister[];

/** The truth, bent. */
class Liar {
  readonly #registers: MmioRegisters;
  readonly #lies: readonly Lie[];
  readonly #reads = new Map<number, number>();
  #accesses = 0;

  constructor(registers: MmioRegisters, lies: readonly Lie[]) {
    this.#registers = registers;
    this.#lies = lies;
  }

  /** Counts an access; true if the device wants the driver's attention now. */
  access(): boolean {
    this.#accesses += 1;
    return this.#lies.some((lie) => 'needsResetAfter' in lie && lie.needsResetAfter === this.#accesses);
  }

  read(offset: number, width: number): bigint {
    const nth = this.#reads.get(offset) ?? 0;
    this.#reads.set(offset, nth + 1);
    let value = Number(this.#registers.read(offset, width));
    for (const lie of this.#lies) value = this.#bend(lie, offset, nth, value);
    return BigInt(value >>> 0);
  }

  #bend(lie: Lie, offset: number, nth: number, value: number): number {
    if ('needsResetAfter' in lie) {
      if (this.#accesses < lie.needsResetAfter) return value;
      // A reset ends (that it may not is V17), and the bit is there again with whatever is set next.
      if (offset === MMIO.Status) return value === 0 ? 0 : value | STATUS_DEVICE_NEEDS_RESET;
      return offset === MMIO.InterruptStatus ? value | INTERRUPT_CONFIG_CHANGE : value;
    }
    const at = typeof lie.register === 'number' ? MMIO_CONFIG_AT + lie.register : MMIO[lie.register];
    if (at !== offset) return value;
    if ('says' in lie) return lie.says[Math.min(nth, lie.says.length - 1)] ?? value;
    if ('counts' in lie) return nth;
    const from = lie.from ?? 0;
    if (nth < from || nth >= from + (lie.reads ?? Number.POSITIVE_INFINITY)) return value;
    return (value | (lie.sets ?? 0)) & ~(lie.clears ?? 0);
  }
}

const MMIO_CONFIG_AT = 0x100;

/**
 * A backend that serves one device with the register model of the product, and lies about what it says. Everything else
 * is true: the queues run, requests are served.
 */
export const lyingBackend =
  (lies: readonly Lie[]) =>
  (make: DeviceMaker): GuestProgram =>
  async (cpu, vm) => {
    const [end] = vm.devices;
    if (end === undefined) throw new Error('no device');
    const state = { interrupt: false };
    const interrupt = (): void => {
      state.interrupt = true;
      cpu.hostEvent();
    };
    const registers = new MmioRegisters(
      await make(end),
      end.shmem,
      { interrupt, defer: (work) => setImmediate(work) },
      end.ring,
    );
    const liar = new Liar(registers, lies);
    cpu.onInterrupt(cpu.hostIrq, async () => {
      if (!state.interrupt) return;
      state.interrupt = false;
      await remioNotify(cpu, end.dm);
    });
    const serve = (): Promise<void> => drain(cpu, end, registers, liar, interrupt);
    cpu.onInterrupt(end.interrupt, serve);
    await cpu.enableInterrupt(end.interrupt);
    await serve();
    await cpu.idle();
  };

async function drain(
  cpu: GuestCpu,
  end: GuestDeviceEnd,
  registers: MmioRegisters,
  liar: Liar,
  interrupt: () => void,
): Promise<void> {
  for (;;) {
    const request = askResult(cpu.arch, end.dm, await cpu.hypercall(askRegisters(cpu.arch, end.dm)));
    if (request.kind !== 'request') return;
    const offset = Number(request.addr - end.window.base);
    if (liar.access()) interrupt();
    const value = request.write ? 0n : liar.read(offset, request.width);
    if (request.write) registers.write(offset, request.width, request.value);
    await cpu.hypercall(completionRegisters(cpu.arch, request, value));
  }
}
