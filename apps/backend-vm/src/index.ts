import type { GuestProgram } from '@remio/guest';
import { deviceMaker } from './devices/index.js';
import { type DeviceMaker, dispatcher } from './dispatcher.js';

export { type DeviceMaker, deviceMaker, dispatcher };

/** Programs of backend VMs, by the name that a topology gives. */
export const backendPrograms: Readonly<Record<string, () => GuestProgram>> = {
  dispatcher: () => dispatcher(deviceMaker()),
};
