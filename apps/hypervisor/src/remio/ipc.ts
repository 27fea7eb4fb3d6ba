import { type BaoCall, HC_E_INVAL_ARGS, HC_E_SUCCESS } from '@remio/arch';
import type { CpuId } from '@remio/base';
import type { Effects } from './effects.js';
import type { CoreData, CpuState, IpcState } from './state.js';
import type { CpuMessage } from './types.js';

/** What the reference's message carries of an event number: 32 bits. */
const EVENT_MASK = 0xffff_ffffn;

/**
 * A VM maps the shared memories of its IPC objects and Remote I/O ends on one of its CPUs, the VM's master: doorbells of
 * these memories go there from now on (reference: `vm_init_ipc`, `vm_init_remio`).
 */
export function mapShared(core: CoreData, fx: Effects, cpu: CpuId, vm: number): void {
  for (const { config } of core.ipcs[vm] ?? []) {
    const size = core.config.shmems?.[config.shmem];
    // The entry stays in the list, so that the others keep their numbers; calls on it fail.
    if (size === undefined) fx.event('warning', cpu, 'ipc-unknown-shmem');
    else {
      if (config.size > size) fx.event('warning', cpu, 'ipc-truncated');
      addMaster(core, config.shmem, cpu);
    }
  }
  for (const { shmem } of core.config.vms[vm]?.devices ?? []) addMaster(core, shmem.id, cpu);
}

/** Notes that a VM mapped a memory on this CPU. */
export function addMaster(core: CoreData, shmem: number, cpu: CpuId): void {
  const masters = core.masters[shmem];
  if (masters === undefined || masters.includes(cpu)) return;
  masters.push(cpu);
  // The reference walks its set in the order of CPU numbers.
  masters.sort((a, b) => a - b);
}

/**
 * The IPC hypercall (reference: `ipc_hypercall`): argument 0 is the position in the caller's list, argument 1 the event.
 * It rings at every other VM that mapped the memory; there is no answer, and whether anybody heeds it is not told.
 * @returns the result code
 */
export function ipcCall(core: CoreData, fx: Effects, cpu: CpuId, vm: number, call: BaoCall): bigint {
  const own = core.ipcs[vm] ?? [];
  const ipc = call.dm < BigInt(own.length) ? own[Number(call.dm)] : undefined;
  const masters = ipc === undefined ? undefined : core.masters[ipc.config.shmem];
  if (ipc === undefined || masters === undefined) return -HC_E_INVAL_ARGS;
  let event = call.addr;
  if (event > EVENT_MASK) {
    if (core.profile === 'reference') event &= EVENT_MASK;
    else fx.rule('H-WIDE', cpu);
  }
  for (const to of masters) {
    const target = core.cpus[to];
    if (target === undefined || target.vm === vm) continue;
    ring(core, fx, cpu, to, target, { kind: 'ipc', shmem: ipc.config.shmem, event });
  }
  return HC_E_SUCCESS;
}

/** Queues a doorbell on a CPU. One that finds no room is dropped by the reference, and a pending bit in `hardened`. */
function ring(
  core: CoreData,
  fx: Effects,
  sender: CpuId,
  to: CpuId,
  target: CpuState,
  message: Extract<CpuMessage, { kind: 'ipc' }>,
): void {
  if (target.queue.length < core.config.queue) {
    target.queue.push(message);
    fx.push({ kind: 'message', to, message });
    return;
  }
  if (core.profile === 'reference') {
    fx.event('warning', sender, 'queue-full');
    return;
  }
  fx.rule('H-QUEUE', to);
  const heard = receiver(core, target.vm, message.shmem);
  // An event that nobody has an interrupt for would be ignored on arrival.
  if (heard === undefined || interruptOf(heard, message.event) === undefined) return;
  const bits = heard.pending.get(to) ?? new Set();
  heard.pending.set(to, bits);
  if (bits.has(Number(message.event))) return;
  bits.add(Number(message.event));
  fx.push({ kind: 'message', to, message });
}

/** The object that a doorbell is for: the VM's first one on that memory; a VM with Remote I/O ends only has none. */
const receiver = (core: CoreData, vm: number, shmem: number): IpcState | undefined =>
  core.ipcs[vm]?.find(({ config }) => config.shmem === shmem);

const interruptOf = ({ config }: IpcState, event: bigint): number | undefined =>
  event < BigInt(config.interrupts.length) ? config.interrupts[Number(event)] : undefined;

/** A doorbell arrives: the interrupt of its event is raised, if the VM has one for it. */
export function heed(core: CoreData, fx: Effects, cpu: CpuId, vm: number, shmem: number, event: bigint): void {
  const ipc = receiver(core, vm, shmem);
  const irq = ipc === undefined ? undefined : interruptOf(ipc, event);
  if (irq !== undefined) fx.irq(cpu, irq);
}

/** Doorbells that found no room in a CPU's queue arrive, at most `max`; returns how many. */
export function heedPendingBits(core: CoreData, fx: Effects, cpu: CpuId, vm: number, max: number): number {
  let handled = 0;
  for (const ipc of core.ipcs[vm] ?? []) {
    const bits = ipc.pending.get(cpu);
    if (bits === undefined) continue;
    for (const event of [...bits].sort((a, b) => a - b)) {
      if (handled >= max) return handled;
      bits.delete(event);
      handled += 1;
      heed(core, fx, cpu, vm, ipc.config.shmem, BigInt(event));
    }
    ipc.pending.delete(cpu);
  }
  return handled;
}
