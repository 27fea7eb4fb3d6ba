import type { CpuId, VmId } from '@remio/base';
import { releaseWaiting } from './access.js';
import type { Effects } from './effects.js';
import { mapShared } from './ipc.js';
import { setNotifyPending } from './messages.js';
import { freeRequest, renewId } from './pool.js';
import type { CoreData, Device, Request, Side } from './state.js';

/**
 * A VM brings up its IPC objects and then its ends on one of its CPUs (reference: `vm_init_ipc`, `vm_init_remio`, and
 * `remio_assign_vm_cpus` at its end).
 */
export function start(core: CoreData, fx: Effects, cpu: CpuId): void {
  const vm = core.cpus[cpu]?.vm ?? -1;
  if (vm < 0) return;
  mapShared(core, fx, cpu, vm);
  if (core.config.vms[vm]?.devices.length === 0) return;
  for (const device of core.devices) {
    const { backend, frontend } = device;
    if (backend?.vm === vm) bringUp(backend, cpu);
    if (frontend?.vm === vm) {
      // With both ends in one VM, the reference marks the backend's only.
      if (backend?.vm !== vm) bringUp(frontend, cpu);
      else if (core.profile === 'hardened') {
        fx.rule('H-BOTH-ENDS', cpu);
        bringUp(frontend, cpu);
      }
    }
    device.ready = backend?.ready === true && frontend?.ready === true;
  }
  releaseWaiting(core, fx);
}

function bringUp(side: Side, cpu: CpuId): void {
  side.cpu = side.cpu < 0 ? cpu : Math.min(side.cpu, cpu);
  side.ready = true;
}

/** A process took a VM. */
export function vmAttached(core: CoreData, vm: VmId, incarnation: number): void {
  const known = core.incarnations[vm];
  if (known !== undefined && incarnation > known) core.incarnations[vm] = incarnation;
}

/**
 * The process of a VM is gone. In `hardened`, requests that its backends had in hand are pending again, in the order in
 * which they were made, under new ids; accesses of its vCPUs are dropped. The reference knows no such thing.
 */
export function vmLost(core: CoreData, fx: Effects, vm: VmId, incarnation: number): void {
  if (core.profile === 'reference' || core.incarnations[vm] !== incarnation) return;
  for (const request of core.requests) {
    if (request.state !== 'free' && core.cpus[request.cpu]?.vm === vm) dropRequest(core, fx, request);
  }
  for (const cpu of core.config.vms[vm]?.cpus ?? []) {
    const state = core.cpus[cpu];
    if (state === undefined) continue;
    state.waiting = undefined;
    state.active = true;
    state.queue.clear();
  }
  for (const ipc of core.ipcs[vm] ?? []) ipc.pending.clear();
  for (const device of core.devices) {
    if (device.backend?.vm === vm) {
      setNotifyPending(core, device.backend, false);
      requeue(core, fx, device);
    }
    if (device.frontend?.vm === vm) setNotifyPending(core, device.frontend, false);
  }
}

/** Puts what was asked for and not answered back among what is pending, where it was. */
function requeue(core: CoreData, fx: Effects, device: Device): void {
  const taken = core.requests.filter((request) => request.state === 'processing' && request.device === device.index);
  for (const request of taken) {
    request.state = 'pending';
    renewId(core, request);
    fx.rule('H-LOSS', request.cpu);
  }
  // A lease may have been used out of turn: what is pending now is in the order in which it was made.
  const order = (slot: number): number => core.requests[slot]?.order ?? 0;
  const pending = [...device.pending, ...taken.map((request) => request.slot)].sort((a, b) => order(a) - order(b));
  device.pending.clear();
  for (const slot of pending) device.pending.push(slot);
}

/** Takes a request out of the world, wherever it is. */
function dropRequest(core: CoreData, fx: Effects, request: Request): void {
  const device = core.devices[request.device];
  if (device !== undefined && device.pending.remove(request.slot) >= 0) fx.revoked(device, request.id);
  fx.rule('H-LOSS', request.cpu);
  freeRequest(core, request);
}

/** Accesses whose deadline is over end as faults. A late answer finds its id void. */
export function tick(core: CoreData, fx: Effects, now: number): void {
  if (core.profile === 'reference' || now < core.shortcuts.deadline) return;
  let earliest = Number.POSITIVE_INFINITY;
  for (const request of core.requests) {
    if (request.state !== 'pending' && request.state !== 'processing') continue;
    if (request.deadline > now) {
      earliest = Math.min(earliest, request.deadline);
      continue;
    }
    const device = core.devices[request.device];
    if (device !== undefined && device.pending.remove(request.slot) >= 0) fx.revoked(device, request.id);
    const { cpu } = request;
    freeRequest(core, request);
    const state = core.cpus[cpu];
    if (state !== undefined) state.active = true;
    fx.rule('H-DEADLINE', cpu);
    fx.fault(cpu, 'deadline');
  }
  core.shortcuts.deadline = earliest;
}

/** When {@link tick} is due: no deadline is earlier. The access that had it may have ended meanwhile. */
export function nextDeadline(core: CoreData): number | undefined {
  const { deadline } = core.shortcuts;
  return deadline === Number.POSITIVE_INFINITY ? undefined : deadline;
}
