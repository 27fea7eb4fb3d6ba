import {
  type BaoCall,
  HC_E_FAILURE,
  HC_E_INVAL_ARGS,
  HC_E_INVAL_ID,
  HC_E_SUCCESS,
  HC_IPC,
  HC_REMIO,
  REMIO_HYP_ASK,
  REMIO_HYP_NOTIFY,
  REMIO_HYP_READ,
  REMIO_HYP_WRITE,
  REQUEST_READ,
} from '@remio/arch';
import { type CpuId, numberOf, type RequestId, U64_MAX } from '@remio/base';
import type { Effects } from './effects.js';
import { ipcCall } from './ipc.js';
import { sendDone, sendNotify } from './messages.js';
import { findRequest, slotOf } from './pool.js';
import type { CoreData, Device, Request } from './state.js';

/** Completion id that makes the reference pop the oldest pending request (REMIO_NEXT_PENDING_REQUEST). */
const NEXT_PENDING_REQUEST = U64_MAX;

/** A Bao hypercall of a vCPU (reference: `remio_hypercall`). */
export function hypercall(core: CoreData, fx: Effects, cpu: CpuId, call: BaoCall): void {
  const state = core.cpus[cpu];
  if (state === undefined || state.vm < 0 || state.halted || !state.active || state.waiting !== undefined) return;
  if (call.nr === HC_IPC) return fx.result(cpu, ipcCall(core, fx, cpu, state.vm, call));
  if (call.nr !== HC_REMIO) {
    fx.event('warning', cpu, 'unknown-hypercall');
    return fx.result(cpu, -HC_E_INVAL_ID);
  }
  const ends = core.ends[state.vm] ?? [];
  const dm = numberOf(call.dm);
  if (dm >= ends.length) return fx.result(cpu, -HC_E_INVAL_ARGS);
  const device = core.devices[ends[dm] ?? -1];
  if (device === undefined) return fx.result(cpu, -HC_E_FAILURE);
  const asFrontend = device.backend?.vm !== state.vm || device.backend.dm !== dm;
  switch (call.op) {
    case REMIO_HYP_WRITE:
    case REMIO_HYP_READ:
      return fx.result(cpu, completion(core, fx, cpu, device, asFrontend, call));
    case REMIO_HYP_ASK:
      return ask(core, fx, cpu, device, asFrontend, call);
    case REMIO_HYP_NOTIFY:
      return fx.result(cpu, notify(core, fx, cpu, device, asFrontend));
    default:
      return fx.result(cpu, -HC_E_INVAL_ARGS);
  }
}

/** In `hardened`, only the backend may use the calls on a device. */
function refusesRole(core: CoreData, fx: Effects, cpu: CpuId, asFrontend: boolean): boolean {
  if (core.profile === 'reference' || !asFrontend) return false;
  fx.rule('H-ROLE', cpu);
  return true;
}

function ask(core: CoreData, fx: Effects, cpu: CpuId, device: Device, asFrontend: boolean, call: BaoCall): void {
  if (refusesRole(core, fx, cpu, asFrontend)) return fx.result(cpu, -HC_E_FAILURE);
  if (call.addr !== 0n || call.value !== 0n) return fx.result(cpu, HC_E_FAILURE);
  const request = core.requests[device.pending.shift() ?? -1];
  if (request === undefined) return fx.result(cpu, HC_E_FAILURE);
  request.state = 'processing';
  fx.revoked(device, request.id);
  fx.result(
    cpu,
    HC_E_SUCCESS,
    askOutputs(request.addr, request.op, request.value, request.access.width, request.id, device.pending.length > 0),
  );
}

/** The six outputs of a successful ASK. */
export const askOutputs = (
  addr: bigint,
  op: number,
  value: bigint,
  width: number,
  id: RequestId,
  more: boolean,
): readonly bigint[] => [
  addr,
  op === REQUEST_READ ? 1n : 0n,
  value,
  WIDTHS[width] ?? BigInt(width),
  id,
  more ? 1n : 0n,
];

/** Access widths as registers hold them. */
const WIDTHS: Readonly<Record<number, bigint>> = { 1: 1n, 2: 2n, 4: 4n, 8: 8n };

function completion(
  core: CoreData,
  fx: Effects,
  cpu: CpuId,
  device: Device,
  asFrontend: boolean,
  call: BaoCall,
): bigint {
  if (refusesRole(core, fx, cpu, asFrontend)) return -HC_E_FAILURE;
  if (call.id === NEXT_PENDING_REQUEST) {
    popForCompletion(core, fx, cpu, device);
    return -HC_E_FAILURE;
  }
  const request = findRequest(core, call.id);
  if (request === undefined || request.key !== device.key || request.state !== 'processing') {
    if (core.profile === 'hardened' && referenceWouldTake(core, device, call.id)) fx.rule('H-REQUEST-ID', cpu);
    return -HC_E_FAILURE;
  }
  if (core.profile === 'hardened' && BigInt(request.op) !== call.op) {
    fx.rule('H-OP', cpu);
    return -HC_E_FAILURE;
  }
  request.state = 'complete';
  request.value = call.value;
  request.deadline = Number.POSITIVE_INFINITY;
  // The reference lets a frontend complete (D-02): the backend's runtime must not think that it still can.
  if (asFrontend) fx.revoked(device, request.id);
  sendDone(core, fx, cpu, request.cpu, call.op === REMIO_HYP_READ ? 'read-done' : 'write-done', device, request.id);
  return HC_E_SUCCESS;
}

/** The slot is in use by another request of the device: the reference would have completed that one. */
function referenceWouldTake(core: CoreData, device: Device, id: bigint): boolean {
  const request: Request | undefined = slotOf(core, id);
  return request !== undefined && request.state === 'processing' && request.key === device.key;
}

/** The reference takes the oldest pending request off the list, finds that nobody asked for it, and loses it. */
function popForCompletion(core: CoreData, fx: Effects, cpu: CpuId, device: Device): void {
  if (device.pending.length === 0) return;
  if (core.profile === 'hardened') {
    fx.rule('H-NEXT-ID', cpu);
    return;
  }
  const request = core.requests[device.pending.shift() ?? -1];
  if (request !== undefined) fx.revoked(device, request.id);
}

function notify(core: CoreData, fx: Effects, cpu: CpuId, device: Device, asFrontend: boolean): bigint {
  if (refusesRole(core, fx, cpu, asFrontend)) return -HC_E_FAILURE;
  const { frontend } = device;
  // Before the frontend is up, its notified CPU is 2^64-1, and the reference writes outside its queues (D-09).
  if (frontend === undefined || frontend.cpu < 0) return -HC_E_FAILURE;
  sendNotify(core, fx, cpu, frontend);
  return HC_E_SUCCESS;
}

/** An ASK that the backend's runtime answered from a lease. A request that is no longer pending is left alone. */
export function leasedAsk(core: CoreData, fx: Effects, cpu: CpuId, id: RequestId): void {
  const vm = core.cpus[cpu]?.vm;
  const request = findRequest(core, id);
  if (request === undefined || request.state !== 'pending') return;
  const device = core.devices[request.device];
  if (device?.backend === undefined || device.backend.vm !== vm) return;
  const position = device.pending.remove(request.slot);
  if (position < 0) return;
  request.state = 'processing';
  fx.push({ kind: 'taken', id, dm: device.backend.dm, first: position === 0 });
}
