import { drive, isDriven } from '@remio/frontend-vm';
import type { GuestProgram } from '@remio/guest';
import { hostileBackend } from '@remio/hostile';
import { deviceMaker } from './devices/index.js';
import { type Besides, type DeviceMaker, dispatcher } from './dispatcher.js';
import type { Registers, RegistersWrap } from './served-device.js';

export { type Besides, type DeviceMaker, deviceMaker, dispatcher, type Registers, type RegistersWrap };

/** Programs of backend VMs, by the name that a topology gives. */
export const backendPrograms: Readonly<Record<string, (options: object) => GuestProgram>> = {
  // Whoever starts the VM anew begins with new devices.
  dispatcher: () => (cpu, vm) => dispatcher(deviceMaker(), undefined, { wanted: isDriven, run: drive })(cpu, vm),
  hostile: (options) => hostileBackend(dispatcher, deviceMaker, options),
};
