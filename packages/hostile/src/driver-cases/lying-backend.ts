import { type DeviceMaker, dispatcher } from '@remio/backend-vm';
import type { GuestProgram } from '@remio/guest';
import type { VirtioDevice } from '@remio/virtio-device';
import { Liar } from './liar.js';
import type { Lie } from './lie.js';

/**
 * A backend that serves its devices with the dispatcher and the models of the product, and lies about all of them.
 * Everything else is true: the queues run, requests are served.
 */
export const lyingBackend =
  (lies: readonly Lie[]) =>
  (make: DeviceMaker): GuestProgram => {
    const liars = new Map<VirtioDevice, Liar>();
    const makeBent: DeviceMaker = async (end) => {
      const liar = new Liar(lies);
      const bent = liar.bend(await make(end));
      liars.set(bent, liar);
      return bent;
    };
    return dispatcher(makeBent, (registers, interrupt) => {
      const liar = liars.get(registers.device);
      return liar?.replace(registers, interrupt) ?? registers;
    });
  };
