import { type CpuId, cpuId, type RequestId } from '@remio/base';
import { extendRead } from '../abi/index.js';
import type { Effects } from './effects.js';
import { heed, heedPendingBits } from './ipc.js';
import { findRequest, freeRequest } from './pool.js';
import type { CoreData, CpuState, Device, Side } from './state.js';
import type { CpuMessage } from './types.js';

/** What a message's byte can carry. */
const BYTE = 0xffn;

/** Whether a value is changed by travelling in a byte. */
const cut = (value: bigint): boolean => value > BYTE;

/**
 * Queues the notification of one side of a device on its notified CPU.
 * @param sender the CPU that a full queue is reported on
 */
export function sendNotify(core: CoreData, fx: Effects, sender: CpuId, side: Side): void {
  const target = core.cpus[side.cpu];
  if (target === undefined) return;
  const to = cpuId(side.cpu);
  const irq = side.end.interrupt;
  if (core.profile === 'reference') {
    if (hasRoom(core, fx, sender, target)) target.queue.push(fx.notification(to, irq % 256));
    return;
  }
  if (irq > 255) fx.rule('H-WIDE', to);
  if (target.queue.length < core.config.queue) {
    target.queue.push(fx.notification(to, irq));
    return;
  }
  fx.rule('H-QUEUE', to);
  if (side.notifyPending) return;
  setNotifyPending(core, side, true);
  fx.notification(to, irq);
}

/** Sets or clears the bit of a side that stands for a notification that its CPU's queue had no room for. */
export function setNotifyPending(core: CoreData, side: Side, pending: boolean): void {
  if (side.notifyPending === pending) return;
  side.notifyPending = pending;
  core.shortcuts.notifyPending += pending ? 1 : -1;
}

/** Queues a completion on the CPU that made the access. */
export function sendDone(
  core: CoreData,
  fx: Effects,
  sender: CpuId,
  to: CpuId,
  kind: 'read-done' | 'write-done',
  device: Device,
  id: RequestId,
): void {
  const target = core.cpus[to];
  if (target === undefined) return;
  if (core.profile === 'reference') {
    if (!hasRoom(core, fx, sender, target)) return;
    const message: CpuMessage = { kind, key: device.key & BYTE, id: id & BYTE };
    target.queue.push(message);
    fx.push({ kind: 'message', to, message });
    return;
  }
  if (cut(device.key)) fx.rule('H-WIDE', to);
  // A CPU has at most one access open, so one place beyond the queue's size is all that completions ever need.
  if (target.queue.length >= core.config.queue) fx.rule('H-QUEUE', to);
  const message: CpuMessage = { kind, key: device.key, id };
  target.queue.push(message);
  fx.push({ kind: 'message', to, message });
}

/** The reference's queue: a message that finds it full is dropped, and only a warning tells. */
function hasRoom(core: CoreData, fx: Effects, sender: CpuId, target: CpuState): boolean {
  if (target.queue.length < core.config.queue) return true;
  fx.event('warning', sender, 'queue-full');
  return false;
}

/** A CPU handles its messages, oldest first; returns how many it took. */
export function deliver(core: CoreData, fx: Effects, cpu: CpuId, max: number): number {
  const state = core.cpus[cpu];
  if (state === undefined || state.halted) return 0;
  let handled = 0;
  while (handled < max && !state.halted) {
    const message = state.queue.shift();
    if (message === undefined) break;
    handled += 1;
    if (message.kind === 'notify') {
      if (message.irq > 255) fx.rule('H-WIDE', cpu);
      fx.irq(cpu, message.irq);
    } else if (message.kind === 'ipc') heed(core, fx, cpu, state.vm, message.shmem, message.event);
    else complete(core, fx, cpu, state, message);
  }
  if (core.profile === 'hardened' && state.queue.length === 0) {
    handled += deliverPendingBits(core, fx, cpu, max - handled);
    handled += heedPendingBits(core, fx, cpu, state.vm, max - handled);
  }
  return handled;
}

function deliverPendingBits(core: CoreData, fx: Effects, cpu: CpuId, max: number): number {
  let handled = 0;
  if (core.shortcuts.notifyPending === 0) return 0;
  for (const device of core.devices) {
    for (const side of [device.backend, device.frontend]) {
      if (side === undefined || !side.notifyPending || side.cpu !== cpu || handled >= max) continue;
      setNotifyPending(core, side, false);
      handled += 1;
      fx.irq(cpu, side.end.interrupt);
    }
  }
  return handled;
}

function complete(
  core: CoreData,
  fx: Effects,
  cpu: CpuId,
  state: CpuState,
  message: Extract<CpuMessage, { kind: 'read-done' | 'write-done' }>,
): void {
  const request = findRequest(core, message.id);
  if (core.profile === 'hardened') {
    // A request that ended otherwise (its VM was lost) left its message behind.
    if (request === undefined || request.state !== 'complete' || request.cpu !== cpu) return;
    if (cut(request.key)) fx.rule('H-WIDE', cpu);
  } else if (!core.devices.some((device) => device.key === message.key) || request?.key !== message.key) {
    state.halted = true;
    fx.event('fatal', cpu, 'completion-rejected');
    return;
  }
  if (request === undefined) return;
  if (message.kind === 'read-done') {
    const { register } = request.access;
    let { value } = request;
    if (core.profile === 'hardened') {
      value = extendRead(value, request.access);
      if (value !== request.value) fx.rule('H-READ-WIDTH', cpu);
    }
    fx.push({ kind: 'register', cpu, register, value });
  }
  freeRequest(core, request);
  state.active = true;
  fx.resume(cpu);
}
