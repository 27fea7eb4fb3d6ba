import type { GuestProgram } from '@remio/guest';
import type { Layout } from './catalogue.js';
import { GuestTarget } from './guest-target.js';
import { tryDevice } from './try-device.js';

/** What the program tries. */
export interface HostileDriverOptions {
  readonly layouts?: readonly Layout[];
  /** Ids of cases; absent: all. */
  readonly only?: readonly string[];
  /** Titles of cases; absent: all. */
  readonly titles?: readonly string[];
  /** Name of the device to try; absent: every one of the VM. */
  readonly device?: string;
}

/** A frontend's program that tries catalogue A on each device of its VM, and reports every case. */
export const hostileDriver =
  (options: HostileDriverOptions): GuestProgram =>
  async (cpu, vm) => {
    const { layouts = ['split', 'packed'], only, titles, device } = options;
    for (const end of vm.devices) {
      if (end.type !== 'frontend' || (device !== undefined && end.name !== device)) continue;
      const target = await GuestTarget.create(cpu, end, vm);
      const trials = tryDevice(target, {
        name: end.name,
        layouts,
        wants: ({ id, title }) => only?.includes(id) !== false && titles?.includes(title) !== false,
      });
      for await (const trial of trials) vm.report({ kind: 'trial', trial });
    }
  };
