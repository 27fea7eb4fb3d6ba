import type { InterruptController } from '@remio/arch';
import type { Profile } from '../remio/index.js';
import type { IrqController } from './irq-controller.js';
import { VAplic } from './vaplic.js';
import { VGic } from './vgic.js';
import { VPlic } from './vplic.js';

export type { Delivery, IrqController, Served } from './irq-controller.js';

/** The interrupt controller of a VM with this many vCPUs, as after reset. */
export function createIrqController(controller: InterruptController, vcpus: number, profile: Profile): IrqController {
  switch (controller.kind) {
    case 'gicv2':
    case 'gicv3':
      return new VGic(controller, vcpus);
    case 'plic':
      return new VPlic(controller, vcpus);
    case 'aia':
      return new VAplic(controller, vcpus, profile);
  }
}
