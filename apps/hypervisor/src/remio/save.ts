import type { MmioAccess } from '@remio/arch';
import {
  bindKey,
  cpuId,
  guestAddress,
  hex,
  isAccessWidth,
  type Result,
  requestId,
  restoring,
  type SavedValue,
} from '@remio/base';
import { addMaster } from './ipc.js';
import { setNotifyPending } from './messages.js';
import type { CoreData, RequestState } from './state.js';
import type { CpuMessage } from './types.js';

/** A 64-bit number as text: `0x…`. */
type Hex = string;

interface SavedAccess {
  readonly address: Hex;
  readonly width: number;
  readonly write: boolean;
  readonly register: number;
  readonly value: Hex;
  readonly signExtend: boolean;
  readonly registerWidth: number;
}

type SavedMessage =
  | { readonly kind: 'notify'; readonly irq: number }
  | { readonly kind: 'read-done' | 'write-done'; readonly key: Hex; readonly id: Hex }
  | { readonly kind: 'ipc'; readonly shmem: number; readonly event: Hex };

interface SavedSide {
  readonly cpu: number;
  readonly ready: boolean;
  readonly notifyPending: boolean;
}

/** The core's state as plain data: survives JSON. Times are the engine's; null is "never". */
export interface CoreState {
  readonly format: 'remio-core/2';
  readonly cpus: readonly {
    readonly active: boolean;
    readonly halted: boolean;
    readonly waiting: { readonly access: SavedAccess; readonly device: number; readonly now: number } | null;
    readonly queue: readonly SavedMessage[];
  }[];
  readonly devices: readonly {
    readonly backend: SavedSide | null;
    readonly frontend: SavedSide | null;
    readonly ready: boolean;
    readonly pending: readonly number[];
  }[];
  readonly requests: readonly {
    readonly generation: number;
    readonly state: RequestState;
    readonly device: number;
    readonly cpu: number;
    readonly value: Hex;
    readonly access: SavedAccess;
    readonly order: number;
    readonly deadline: number | null;
  }[];
  /** By shared memory: CPUs on which VMs mapped it. */
  readonly masters: readonly (readonly number[])[];
  /** Doorbells that found no room. */
  readonly doorbells: readonly {
    readonly vm: number;
    readonly ipc: number;
    readonly cpu: number;
    readonly event: number;
  }[];
  readonly incarnations: readonly number[];
  readonly order: number;
}

const saveAccess = (access: MmioAccess): SavedAccess => ({
  ...access,
  address: hex(access.address),
  value: hex(access.value),
});

function saveMessage(message: CpuMessage): SavedMessage {
  switch (message.kind) {
    case 'notify':
      return message;
    case 'ipc':
      return { ...message, event: hex(message.event) };
    case 'read-done':
    case 'write-done':
      return { kind: message.kind, key: hex(message.key), id: hex(message.id) };
  }
}

/** The state of a core as plain data. */
export const saveState = (core: CoreData): CoreState => ({
  format: 'remio-core/2',
  cpus: core.cpus.map((cpu) => ({
    active: cpu.active,
    halted: cpu.halted,
    waiting:
      cpu.waiting === undefined
        ? null
        : { access: saveAccess(cpu.waiting.access), device: cpu.waiting.device, now: cpu.waiting.now },
    queue: [...cpu.queue].map(saveMessage),
  })),
  devices: core.devices.map(({ backend, frontend, ready, pending }) => ({
    backend: backend === undefined ? null : pickSide(backend),
    frontend: frontend === undefined ? null : pickSide(frontend),
    ready,
    pending: [...pending],
  })),
  requests: core.requests.map((request) => ({
    generation: request.generation,
    state: request.state,
    device: request.device,
    cpu: request.cpu,
    value: hex(request.value),
    access: saveAccess(request.access),
    order: request.order,
    deadline: request.deadline === Number.POSITIVE_INFINITY ? null : request.deadline,
  })),
  masters: core.masters.map((cpus) => [...cpus]),
  doorbells: core.ipcs.flatMap((ipcs, vm) =>
    ipcs.flatMap(({ pending }, ipc) =>
      [...pending].flatMap(([cpu, events]) => [...events].map((event) => ({ vm, ipc, cpu, event }))),
    ),
  ),
  incarnations: [...core.incarnations],
  order: core.order,
});

const pickSide = ({ cpu, ready, notifyPending }: SavedSide): SavedSide => ({ cpu, ready, notifyPending });

function restoreAccess(saved: SavedValue): MmioAccess {
  const width = saved.field('width').integer(1, 8);
  const registerWidth = saved.field('registerWidth').integer(4, 8);
  return {
    address: guestAddress(saved.field('address').u64()),
    width: isAccessWidth(width) ? width : saved.field('width').refuse('1, 2, 4 or 8'),
    write: saved.field('write').boolean(),
    register: saved.field('register').integer(0, Number.MAX_SAFE_INTEGER),
    value: saved.field('value').u64(),
    signExtend: saved.field('signExtend').boolean(),
    registerWidth:
      registerWidth === 4 || registerWidth === 8 ? registerWidth : saved.field('registerWidth').refuse('4 or 8'),
  };
}

function restoreMessage(core: CoreData, saved: SavedValue): CpuMessage {
  const kind = saved.field('kind').oneOf('notify', 'read-done', 'write-done', 'ipc');
  if (kind === 'ipc') {
    return {
      kind,
      shmem: saved.field('shmem').integer(0, core.masters.length - 1),
      event: saved.field('event').u64(core.profile === 'reference' ? 0xffff_ffffn : undefined),
    };
  }
  if (kind === 'notify') return { kind, irq: saved.field('irq').integer(0, Number.MAX_SAFE_INTEGER) };
  return { kind, key: saved.field('key').u64(), id: saved.field('id').u64() };
}

/**
 * Puts a saved state into a newly built core, after checking that it is one that the core can be in: every request is
 * on its device's list exactly while it is pending, and its CPU is paused exactly while it has one.
 */
export const restoreState = (core: CoreData, state: unknown): Result<void, string> =>
  restoring(state, (saved) => fill(core, saved));

function fill(core: CoreData, state: SavedValue): void {
  state.field('format').oneOf('remio-core/2');
  core.order = state.field('order').integer(0, Number.MAX_SAFE_INTEGER);
  const incarnations = state.field('incarnations').list(core.incarnations.length);
  for (const [vm, saved] of incarnations.entries()) {
    core.incarnations[vm] = saved.integer(0, Number.MAX_SAFE_INTEGER);
  }
  for (const [index, saved] of state.field('cpus').list(core.cpus.length).entries()) {
    const cpu = core.cpus[index];
    if (cpu === undefined) return;
    cpu.active = saved.field('active').boolean();
    if (cpu.active && cpu.vm < 0) saved.field('active').refuse('false: the CPU is of no VM');
    cpu.halted = saved.field('halted').boolean();
    const waiting = saved.field('waiting');
    if (!waiting.isNull) {
      cpu.waiting = {
        access: restoreAccess(waiting.field('access')),
        device: waiting.field('device').integer(0, core.devices.length - 1),
        now: waiting.field('now').integer(0, Number.MAX_SAFE_INTEGER),
      };
    }
    const queue = saved.field('queue').list();
    if (queue.length > core.config.queue + (core.profile === 'hardened' ? 1 : 0)) {
      saved.field('queue').refuse(`at most ${core.config.queue} messages`);
    }
    for (const message of queue) cpu.queue.push(restoreMessage(core, message));
  }
  restoreRequests(core, state);
  restoreDevices(core, state);
  restoreIpcs(core, state);
}

function restoreIpcs(core: CoreData, state: SavedValue): void {
  for (const [shmem, saved] of state.field('masters').list(core.masters.length).entries()) {
    for (const entry of saved.list()) {
      const cpu = entry.integer(0, core.cpus.length - 1);
      if ((core.cpus[cpu]?.vm ?? -1) < 0) entry.refuse('a CPU of a VM');
      addMaster(core, shmem, cpuId(cpu));
    }
  }
  for (const saved of state.field('doorbells').list()) {
    const vm = saved.field('vm').integer(0, core.ipcs.length - 1);
    const ipcs = core.ipcs[vm] ?? [];
    const ipc = ipcs[saved.field('ipc').integer(0, ipcs.length - 1)];
    const cpu = saved.field('cpu').integer(0, core.cpus.length - 1);
    if (core.cpus[cpu]?.vm !== vm) saved.field('cpu').refuse(`a CPU of VM ${vm}`);
    const event = saved.field('event').integer(0, (ipc?.config.interrupts.length ?? 0) - 1);
    const events = ipc?.pending.get(cpu) ?? new Set();
    ipc?.pending.set(cpu, events.add(event));
  }
}

function restoreRequests(core: CoreData, state: SavedValue): void {
  for (const [slot, saved] of state.field('requests').list(core.requests.length).entries()) {
    const request = core.requests[slot];
    if (request === undefined) return;
    request.generation = saved.field('generation').integer(0, 2 ** 40);
    if (core.profile === 'hardened') {
      const id = slot + core.config.slots * request.generation;
      if (!Number.isSafeInteger(id)) saved.field('generation').refuse('an id up to 2^53');
      else request.id = requestId(BigInt(id));
    }
    request.state = saved.field('state').oneOf('free', 'pending', 'processing', 'complete');
    if (request.state === 'free') continue;
    request.device = saved.field('device').integer(0, core.devices.length - 1);
    request.key = core.devices[request.device]?.key ?? bindKey(0n);
    request.cpu = cpuId(saved.field('cpu').integer(0, core.cpus.length - 1));
    request.access = restoreAccess(saved.field('access'));
    request.op = request.access.write ? 0 : 1;
    request.addr = request.access.address;
    request.value = saved.field('value').u64();
    request.order = saved.field('order').integer(1, core.order);
    const deadline = saved.field('deadline');
    request.deadline = deadline.isNull ? Number.POSITIVE_INFINITY : deadline.integer(0, Number.MAX_SAFE_INTEGER);
    core.shortcuts.deadline = Math.min(core.shortcuts.deadline, request.deadline);
    if (core.cpus[request.cpu]?.active) saved.field('cpu').refuse('a CPU whose vCPU is paused');
    if (core.requests.some((other) => other.slot < slot && other.state !== 'free' && other.cpu === request.cpu)) {
      saved.field('cpu').refuse('a CPU that has no other request');
    }
  }
}

function restoreDevices(core: CoreData, state: SavedValue): void {
  for (const [index, saved] of state.field('devices').list(core.devices.length).entries()) {
    const device = core.devices[index];
    if (device === undefined) return;
    for (const name of ['backend', 'frontend'] as const) {
      const side = device[name];
      if (side === undefined) continue;
      const from = saved.field(name);
      side.cpu = from.field('cpu').integer(-1, core.config.cpus - 1);
      side.ready = from.field('ready').boolean();
      setNotifyPending(core, side, from.field('notifyPending').boolean());
      if (side.ready !== side.cpu >= 0) from.field('cpu').refuse('a notified CPU exactly when the end is ready');
    }
    device.ready = saved.field('ready').boolean();
    const pending = saved.field('pending');
    for (const entry of pending.list()) {
      const request = core.requests[entry.integer(0, core.requests.length - 1)];
      if (request === undefined || request.state !== 'pending' || request.device !== index) {
        return entry.refuse('a pending request of this device');
      }
      if (device.pending.includes(request.slot)) entry.refuse('each request once');
      device.pending.push(request.slot);
    }
    // The reference can lose a request from its list (D-01); `hardened` cannot.
    if (core.profile !== 'hardened') continue;
    for (const { state: requestState, device: owner, slot } of core.requests) {
      if (requestState === 'pending' && owner === index && !device.pending.includes(slot)) {
        pending.refuse(`request slot ${slot}, which is pending`);
      }
    }
  }
}
