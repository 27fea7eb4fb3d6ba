import type { Path } from '../path.js';
import type { RemioDev, Vm } from '../types.js';

/** Where an end of a VM stands in its file, or something of it. */
export const endPath = (vm: Vm, end: RemioDev, ...rest: readonly (string | number)[]): Path => [
  'vms',
  vm.name,
  'remio_devs',
  end.dm,
  ...rest,
];
