import type { GuestProgram } from '@remio/guest';
import type { Vm } from '@remio/topology';
import { MMIO } from '@remio/virtio-spec';
import type { VmReport } from '@remio/vm-runtime';
import type { Layout, Outcome, Trial } from '../catalogue.js';
import type { DeviceCase } from '../device-cases/device-case.js';
import { familyOf } from '../families/index.js';
import { GuestTarget } from '../guest-target.js';
import { HostileDriver } from '../hostile-driver.js';
import { hostileDriver } from '../hostile-driver-program.js';
import {
  type DevicePlace,
  type HostilePlatform,
  type RunOptions,
  runPlatform,
  withLayout,
} from './hostile-platform.js';

/** What a device says of itself before anything is tried. */
export interface DeviceSurvey {
  readonly deviceId: number;
  readonly offered: bigint;
}

/** The programs of a platform of which one frontend runs something else, and the others nothing. */
async function programsFor(
  platform: HostilePlatform,
  place: DevicePlace,
  program: GuestProgram,
): Promise<ReadonlyMap<string, GuestProgram>> {
  const programs = new Map<string, GuestProgram>([[place.frontend.name, program]]);
  for (const vm of platform.topology.vms) {
    const serves = vm.remioDevs.some(({ type }) => type === 'backend');
    if (serves && vm.name !== place.frontend.name) programs.set(vm.name, await platform.program(vm));
  }
  return programs;
}

/** The backend, or the program that tries, has stopped. */
function stopped(vm: Vm, event: VmReport, place: DevicePlace): Outcome | undefined {
  if (event.kind !== 'vcpu-off') return undefined;
  const reason = event['reason'] === undefined ? 'it ended' : (String(event['reason']).split('\n')[0] ?? '');
  if (vm.name === place.backend.name) return { seen: 'F', detail: `the backend stopped: ${reason}` };
  return vm.name === place.frontend.name ? { seen: 'F', detail: `the hostile driver stopped: ${reason}` } : undefined;
}

/**
 * Asks a device what it is, and what it offers.
 * @returns why it cannot be asked, otherwise
 */
export async function surveyDevice(
  platform: HostilePlatform,
  place: DevicePlace,
  options: RunOptions,
): Promise<DeviceSurvey | string> {
  let survey: DeviceSurvey | undefined;
  const program: GuestProgram = async (cpu, vm) => {
    const end = vm.devices.find(({ name }) => name === place.end.name);
    if (end === undefined) return;
    const target = await GuestTarget.create(cpu, end, vm);
    const deviceId = Number(await target.read(MMIO.DeviceID, 4));
    survey = { deviceId, offered: await new HostileDriver(target, familyOf(deviceId)[0]).offered() };
    vm.report({ kind: 'surveyed' });
  };
  const programs = await programsFor(platform, place, program);
  const report = (vm: Vm, event: VmReport): Outcome | undefined =>
    event.kind === 'surveyed' ? { seen: 'C' } : stopped(vm, event, place);
  const { detail } = await runPlatform(platform.topology, programs, { report }, options);
  return survey ?? detail ?? 'it does not answer';
}

/** Tries a case of catalogue A on a device, through the whole path, on a platform of its own. */
export async function tryDeviceCase(
  platform: HostilePlatform,
  place: DevicePlace,
  each: DeviceCase,
  layout: Layout,
  options: RunOptions,
): Promise<Outcome> {
  const program = hostileDriver({ layouts: [layout], device: place.end.name, only: [each.id], titles: [each.title] });
  const programs = await programsFor(platform, place, program);
  const report = (vm: Vm, event: VmReport): Outcome | undefined => {
    if (event.kind !== 'trial') return stopped(vm, event, place);
    const { seen, detail } = event['trial'] as Trial;
    return { seen, ...(detail === undefined ? {} : { detail }) };
  };
  const topology = withLayout(platform.topology, place, layout, 0n);
  return runPlatform(topology, programs, { report }, options);
}
