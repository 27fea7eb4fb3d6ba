import type { GuestProgram } from '@remio/guest';
import { DRIVER_CASES } from './index.js';
import { LieLog } from './liar.js';
import { type DeviceMaker, type Dispatcher, lyingBackend } from './lying-backend.js';

/** What a backend that lies is told by its topology. */
interface HostileBackendOptions {
  /** Id of a case. */
  readonly case?: unknown;
  /** Its title, where there are several of one id; absent: the first. */
  readonly title?: unknown;
  /** Name of the device that it lies about; absent: all. */
  readonly device?: unknown;
}

/**
 * A backend's program that lies to its frontends as a case of catalogue B says, and reports what it told, and how often a
 * driver began anew.
 * @throws Error that says which cases there are
 */
export function hostileBackend(
  dispatcher: Dispatcher,
  deviceMaker: () => DeviceMaker,
  options: HostileBackendOptions,
): GuestProgram {
  const { case: id, title, device } = options;
  const candidates = DRIVER_CASES.filter((each) => each.id === id);
  const found = title === undefined ? candidates[0] : candidates.find((each) => each.title === title);
  if (found === undefined) {
    const known =
      candidates.length > 0 ? candidates.map((each) => `'${each.title}'`) : DRIVER_CASES.map((each) => each.id);
    throw new Error(
      `catalogue B has no case ${String(id)} ${String(title ?? '')}; there are ${[...new Set(known)].join(', ')}`,
    );
  }
  return (cpu, vm) => {
    const log: LieLog = new LieLog(() =>
      vm.report({ kind: 'lies', case: found.id, told: log.told.size, resets: log.resets, accepted: log.accepted }),
    );
    const lying = { log, ...(typeof device === 'string' ? { device } : {}) };
    return lyingBackend(dispatcher, found.lies, lying)(deviceMaker())(cpu, vm);
  };
}
