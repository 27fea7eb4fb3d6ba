import { type MmioAccess, REQUEST_READ, REQUEST_WRITE } from '@remio/arch';
import { assert, type CpuId, truncate } from '@remio/base';
import type { Effects } from './effects.js';
import { sendNotify } from './messages.js';
import { allocateRequest } from './pool.js';
import type { CoreData, Device } from './state.js';
import type { AccessResult } from './types.js';

/** A trapped load or store of a vCPU (reference: `remio_mmio_emul_handler`). */
export function mmio(core: CoreData, fx: Effects, cpu: CpuId, access: MmioAccess, now: number): void {
  const state = core.cpus[cpu];
  if (state === undefined || state.vm < 0 || state.halted || !state.active || state.waiting !== undefined) return;
  const device = route(core, fx, cpu, state.vm, access.address);
  if (device === undefined) {
    fx.access(cpu, 'unclaimed');
    if (core.profile === 'reference') {
      state.halted = true;
      fx.event('fatal', cpu, 'access-unclaimed');
    } else {
      fx.rule('H-FAULT', cpu);
      fx.fault(cpu, 'unclaimed');
    }
    return;
  }
  if (!device.ready) {
    state.waiting = { access, device: device.index, now };
    fx.access(cpu, 'waiting');
    return;
  }
  fx.access(cpu, forward(core, fx, cpu, access, device, now));
}

/** The device that an access goes to, if a frontend window of the VM holds the address. */
function route(core: CoreData, fx: Effects, cpu: CpuId, vm: number, address: bigint): Device | undefined {
  const windows = core.windows[vm] ?? [];
  // The reference looks a second time, through ends of either type, and takes a window's end for part of it: what it finds
  // is the owner, or an end before.
  let second = -1;
  for (let dm = 0; dm < windows.length; dm += 1) {
    const window = windows[dm];
    if (window === undefined || address < window.from || address > window.to) continue;
    if (second < 0) second = dm;
    if (!window.frontend || address === window.to) continue;
    if (core.profile === 'hardened' && second !== dm) fx.rule('H-ROUTE', cpu);
    return core.devices[core.ends[vm]?.[core.profile === 'reference' ? second : dm] ?? -1];
  }
  return undefined;
}

/** Makes the request and pauses the vCPU, or refuses for want of a slot. */
function forward(
  core: CoreData,
  fx: Effects,
  cpu: CpuId,
  access: MmioAccess,
  device: Device,
  now: number,
): AccessResult {
  const state = core.cpus[cpu];
  const { backend, frontend } = device;
  assert(state !== undefined && backend !== undefined && frontend !== undefined, 'a ready device has both ends');
  const request = allocateRequest(core);
  if (request === undefined) {
    if (core.profile === 'reference') {
      state.halted = true;
      fx.event('fatal', cpu, 'access-refused');
    } else {
      fx.rule('H-FAULT', cpu);
      fx.fault(cpu, 'no-slot');
    }
    return 'refused';
  }
  let value = access.write ? access.value : 0n;
  if (core.profile === 'hardened') {
    const whole = value;
    value = truncate(whole, access.width);
    if (value !== whole) fx.rule('H-WRITE-WIDTH', cpu);
  }
  const op = access.write ? REQUEST_WRITE : REQUEST_READ;
  core.order += 1;
  request.state = 'pending';
  request.device = device.index;
  request.key = device.key;
  request.cpu = cpu;
  request.op = op;
  request.addr = access.address;
  request.value = value;
  request.access = access;
  request.order = core.order;
  const { deadline } = frontend.end;
  request.deadline = core.profile === 'reference' || deadline === undefined ? Number.POSITIVE_INFINITY : now + deadline;
  if (request.deadline < core.shortcuts.deadline) core.shortcuts.deadline = request.deadline;
  device.pending.push(request.slot);
  fx.push({
    kind: 'pending',
    id: request.id,
    backend: backend.vm,
    dm: backend.dm,
    addr: access.address,
    op,
    value,
    width: access.width,
  });
  sendNotify(core, fx, cpu, backend);
  state.active = false;
  fx.pause(cpu);
  return 'paused';
}

/** Carries out the accesses that waited for a device which is ready now, lowest CPU first. */
export function releaseWaiting(core: CoreData, fx: Effects): void {
  core.cpus.forEach((state, index) => {
    const { waiting } = state;
    const device = waiting === undefined ? undefined : core.devices[waiting.device];
    if (waiting === undefined || device === undefined || !device.ready || state.halted) return;
    state.waiting = undefined;
    const cpu = index as CpuId;
    fx.access(cpu, forward(core, fx, cpu, waiting.access, device, waiting.now));
  });
}
