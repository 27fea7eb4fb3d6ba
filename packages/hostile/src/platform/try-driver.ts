import type { GuestProgram } from '@remio/guest';
import type { Vm } from '@remio/topology';
import type { InprocEngine, VmReport } from '@remio/vm-runtime';
import type { Layout, Outcome } from '../catalogue.js';
import type { DriverCase } from '../driver-cases/index.js';
import { LieLog } from '../driver-cases/liar.js';
import { lyingBackend } from '../driver-cases/lying-backend.js';
import {
  type DevicePlace,
  type HostilePlatform,
  type RunOptions,
  runPlatform,
  withLayout,
} from './hostile-platform.js';

/** Errors of a program that are its own mistake: no driver that gives up on a device ends so. */
const MISTAKE = /\b(TypeError|RangeError|ReferenceError|SyntaxError|AssertionError|GuestFault)\b/;

/**
 * Lets a device lie to its driver, on a platform of its own, and sees how the driver comes to its end. The frontend runs
 * its own program, whatever that is.
 */
export async function tryDriver(
  platform: HostilePlatform,
  place: DevicePlace,
  each: DriverCase,
  layout: Layout,
  options: RunOptions,
): Promise<Outcome> {
  const topology = withLayout(platform.topology, place, layout, each.ring);
  const log = new LieLog();
  const parts: { engine?: InprocEngine } = {};
  const programs = new Map<string, GuestProgram>();
  for (const vm of topology.vms) {
    if (vm.name !== place.backend.name) programs.set(vm.name, await platform.program(vm));
  }
  const crash = (): void => {
    // The backend is at work now: it ends when its host's turn has.
    setImmediate(() => void parts.engine?.crash(place.backend.name));
  };
  // Whoever begins anew has new devices.
  const backend: GuestProgram = (cpu, vm) =>
    lyingBackend(platform.dispatcher, each.lies, { log, device: place.end.name, crash })(platform.deviceMaker())(
      cpu,
      vm,
    );
  programs.set(place.backend.name, backend);
  let failed = 0;
  const report = (vm: Vm, event: VmReport): Outcome | undefined => {
    if (vm.name === place.backend.name) {
      const stopped = event.kind === 'vcpu-off' && event['reason'] !== undefined;
      return stopped ? { seen: 'F', detail: `the backend stopped: ${firstLine(event['reason'])}` } : undefined;
    }
    if (vm.name !== place.frontend.name) return undefined;
    if (event['device'] === place.end.name && typeof event['failed'] === 'number') failed = event['failed'];
    return endOf(event, place.end.name, () => (log.resets > 0 ? 'N' : failed > 0 ? 'R' : 'C'));
  };
  const outcome = await runPlatform(topology, programs, { report }, options, (engine) => {
    parts.engine = engine;
  });
  if (log.accepted > 0) {
    return { seen: 'F', detail: `the hypervisor took ${log.accepted} completions that were nobody's` };
  }
  const untold = each.lies.find((lie) => !log.told.has(lie));
  const harmless = outcome.seen === 'C' || outcome.seen === 'B' || outcome.seen === 'R';
  if (untold !== undefined && each.lies.length > 0 && log.told.size === 0 && harmless) {
    return { seen: '-', detail: 'the driver never came to where the device lies' };
  }
  return outcome;
}

/** How a driver has come to its end, if it has. */
function endOf(event: VmReport, device: string, good: () => 'R' | 'N' | 'C'): Outcome | undefined {
  switch (event.kind) {
    case 'driver-ended':
      return event['device'] === device ? { seen: good() } : undefined;
    case 'driver-failed':
      return event['device'] === device ? failure(String(event['reason'])) : undefined;
    case 'vcpu-off': {
      if (event['reason'] !== undefined) return failure(String(event['reason']));
      return event['vcpu'] === 0 ? { seen: good() } : undefined;
    }
    default:
      return undefined;
  }
}

const failure = (reason: string): Outcome => {
  const detail = firstLine(reason);
  return MISTAKE.test(detail) ? { seen: 'F', detail: `the driver stumbles: ${detail}` } : { seen: 'B', detail };
};

const firstLine = (reason: unknown): string => String(reason).split('\n')[0] ?? '';
