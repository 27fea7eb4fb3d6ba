import type { GuestDeviceEnd, GuestProgram } from '@remio/guest';
import type { MmioRegisters, VirtioDevice } from '@remio/virtio-device';
import { completesWrongly } from './completes-wrongly.js';
import { Liar, LieLog, type Registers } from './liar.js';
import type { Lie } from './lie.js';

/** Makes the device model of one end. */
export type DeviceMaker = (end: GuestDeviceEnd) => Promise<VirtioDevice>;

/** The program of backends: serves what a maker makes, with registers that are wrapped. */
export type Dispatcher = (
  make: DeviceMaker,
  wrap: (registers: MmioRegisters, interrupt: () => void) => Registers,
) => GuestProgram;

/** How a backend lies. */
export interface LyingOptions {
  /** What was told is written down here. */
  readonly log?: LieLog;
  /** Name of the device that is lied about; absent: all of the backend's. */
  readonly device?: string;
  /** Ends the backend without a word, soon. */
  crash?(): void;
}

/**
 * A backend that serves its devices with the dispatcher and the models of the product, and lies about them. Everything
 * else is true: the queues run, requests are served.
 */
export const lyingBackend =
  (dispatcher: Dispatcher, lies: readonly Lie[], { log = new LieLog(), device, crash = () => {} }: LyingOptions = {}) =>
  (make: DeviceMaker): GuestProgram => {
    const liars = new Map<VirtioDevice, Liar>();
    const makeBent: DeviceMaker = async (end) => {
      const model = await make(end);
      if (device !== undefined && end.name !== device) return model;
      const liar = new Liar(lies, log, crash);
      const bent = liar.bend(model);
      liars.set(bent, liar);
      return bent;
    };
    const program = dispatcher(makeBent, (registers, interrupt) => {
      const liar = liars.get(registers.device);
      return liar?.replace(registers, interrupt) ?? registers;
    });
    return completesWrongly(program, lies, log);
  };
