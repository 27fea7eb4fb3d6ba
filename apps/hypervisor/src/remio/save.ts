import type { MmioAccess } from '@remio/arch';
import {
  bindKey,
  cpuId,
  err,
  guestAddress,
  hex,
  isAccessWidth,
  ok,
  type Result,
  requestId,
  U64_MAX,
} from '@remio/base';
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
  | { readonly kind: 'read-done' | 'write-done'; readonly key: Hex; readonly id: Hex };

interface SavedSide {
  readonly cpu: number;
  readonly ready: boolean;
  readonly notifyPending: boolean;
}

/** The core's state as plain data: survives JSON. Times are the engine's; null is "never". */
export interface CoreState {
  readonly format: 'remio-core/1';
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
  readonly incarnations: readonly number[];
  readonly order: number;
}

const saveAccess = (access: MmioAccess): SavedAccess => ({
  ...access,
  address: hex(access.address),
  value: hex(access.value),
});

const saveMessage = (message: CpuMessage): SavedMessage =>
  message.kind === 'notify' ? message : { kind: message.kind, key: hex(message.key), id: hex(message.id) };

/** The state of a core as plain data. */
export const saveState = (core: CoreData): CoreState => ({
  format: 'remio-core/1',
  cpus: core.cpus.map((cpu) => ({
    active: cpu.active,
    halted: cpu.halted,
    waiting:
      cpu.waiting === undefined
        ? null
        : { access: saveAccess(cpu.waiting.access), device: cpu.waiting.device, now: cpu.waiting.now },
    queue: cpu.queue.map(saveMessage),
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
  incarnations: [...core.incarnations],
  order: core.order,
});

const pickSide = ({ cpu, ready, notifyPending }: SavedSide): SavedSide => ({ cpu, ready, notifyPending });

/** What is wrong with a saved state; thrown and caught within this file. */
class Refused extends Error {}

function fail(path: string, expected: string): never {
  throw new Refused(`${path}: expected ${expected}`);
}

type Fields = { readonly [name: string]: unknown };

const object = (value: unknown, path: string): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : fail(path, 'an object');

const list = (value: unknown, path: string, length?: number): readonly unknown[] => {
  if (!Array.isArray(value)) return fail(path, 'a list');
  if (length !== undefined && value.length !== length) return fail(path, `${length} entries`);
  return value as readonly unknown[];
};

const bool = (value: unknown, path: string): boolean => (typeof value === 'boolean' ? value : fail(path, 'a boolean'));

const integer = (value: unknown, path: string, min: number, max: number): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max
    ? value
    : fail(path, `an integer from ${min} to ${max}`);

const u64 = (value: unknown, path: string): bigint => {
  if (typeof value !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(value)) return fail(path, 'a 64-bit 0x number');
  return BigInt(value);
};

function restoreAccess(value: unknown, path: string): MmioAccess {
  const fields = object(value, path);
  const width = integer(fields['width'], `${path}.width`, 1, 8);
  const registerWidth = integer(fields['registerWidth'], `${path}.registerWidth`, 4, 8);
  return {
    address: guestAddress(u64(fields['address'], `${path}.address`)),
    width: isAccessWidth(width) ? width : fail(`${path}.width`, '1, 2, 4 or 8'),
    write: bool(fields['write'], `${path}.write`),
    register: integer(fields['register'], `${path}.register`, 0, Number.MAX_SAFE_INTEGER),
    value: u64(fields['value'], `${path}.value`),
    signExtend: bool(fields['signExtend'], `${path}.signExtend`),
    registerWidth: registerWidth === 4 || registerWidth === 8 ? registerWidth : fail(`${path}.registerWidth`, '4 or 8'),
  };
}

function restoreMessage(value: unknown, path: string): CpuMessage {
  const fields = object(value, path);
  const { kind } = fields;
  if (kind === 'notify') return { kind, irq: integer(fields['irq'], `${path}.irq`, 0, Number.MAX_SAFE_INTEGER) };
  if (kind !== 'read-done' && kind !== 'write-done') return fail(`${path}.kind`, 'notify, read-done or write-done');
  return { kind, key: u64(fields['key'], `${path}.key`), id: u64(fields['id'], `${path}.id`) };
}

/**
 * Puts a saved state into a newly built core, after checking that it is one that the core can be in: every request is
 * on its device's list exactly while it is pending, and its CPU is paused exactly while it has one.
 */
export function restoreState(core: CoreData, state: unknown): Result<void, string> {
  try {
    fill(core, object(state, 'state'));
    return ok(undefined);
  } catch (error) {
    if (error instanceof Refused) return err(error.message);
    throw error;
  }
}

function fill(core: CoreData, state: Fields): void {
  if (state['format'] !== 'remio-core/1') fail('format', 'remio-core/1');
  const cpuMax = core.config.cpus - 1;
  core.order = integer(state['order'], 'order', 0, Number.MAX_SAFE_INTEGER);
  list(state['incarnations'], 'incarnations', core.incarnations.length).forEach((value, vm) => {
    core.incarnations[vm] = integer(value, `incarnations[${vm}]`, 0, Number.MAX_SAFE_INTEGER);
  });
  list(state['cpus'], 'cpus', core.cpus.length).forEach((value, index) => {
    const path = `cpus[${index}]`;
    const fields = object(value, path);
    const cpu = core.cpus[index];
    if (cpu === undefined) return;
    cpu.active = bool(fields['active'], `${path}.active`);
    if (cpu.active && cpu.vm < 0) fail(`${path}.active`, 'false: the CPU is of no VM');
    cpu.halted = bool(fields['halted'], `${path}.halted`);
    if (fields['waiting'] !== null) {
      const waiting = object(fields['waiting'], `${path}.waiting`);
      cpu.waiting = {
        access: restoreAccess(waiting['access'], `${path}.waiting.access`),
        device: integer(waiting['device'], `${path}.waiting.device`, 0, core.devices.length - 1),
        now: integer(waiting['now'], `${path}.waiting.now`, 0, Number.MAX_SAFE_INTEGER),
      };
    }
    const queue = list(fields['queue'], `${path}.queue`);
    if (queue.length > core.config.queue + (core.profile === 'hardened' ? 1 : 0)) {
      fail(`${path}.queue`, `at most ${core.config.queue} messages`);
    }
    queue.forEach((message, n) => {
      cpu.queue.push(restoreMessage(message, `${path}.queue[${n}]`));
    });
  });
  restoreRequests(core, state);
  restoreDevices(core, state, cpuMax);
}

function restoreRequests(core: CoreData, state: Fields): void {
  list(state['requests'], 'requests', core.requests.length).forEach((value, slot) => {
    const path = `requests[${slot}]`;
    const fields = object(value, path);
    const request = core.requests[slot];
    if (request === undefined) return;
    request.generation = integer(fields['generation'], `${path}.generation`, 0, 2 ** 40);
    if (core.profile === 'hardened') {
      request.id = requestId(BigInt(slot) + BigInt(core.config.slots) * BigInt(request.generation));
      if (request.id > U64_MAX) fail(`${path}.generation`, 'an id of 64 bits');
    }
    const requestState = fields['state'];
    if (
      requestState !== 'free' &&
      requestState !== 'pending' &&
      requestState !== 'processing' &&
      requestState !== 'complete'
    ) {
      fail(`${path}.state`, 'free, pending, processing or complete');
    }
    request.state = requestState;
    if (requestState === 'free') return;
    request.device = integer(fields['device'], `${path}.device`, 0, core.devices.length - 1);
    request.key = core.devices[request.device]?.key ?? bindKey(0n);
    request.cpu = cpuId(integer(fields['cpu'], `${path}.cpu`, 0, core.cpus.length - 1));
    request.access = restoreAccess(fields['access'], `${path}.access`);
    request.op = request.access.write ? 0 : 1;
    request.addr = request.access.address;
    request.value = u64(fields['value'], `${path}.value`);
    request.order = integer(fields['order'], `${path}.order`, 1, core.order);
    request.deadline =
      fields['deadline'] === null
        ? Number.POSITIVE_INFINITY
        : integer(fields['deadline'], `${path}.deadline`, 0, Number.MAX_SAFE_INTEGER);
    if (core.cpus[request.cpu]?.active) fail(`${path}.cpu`, 'a CPU whose vCPU is paused');
    if (core.requests.some((other) => other.slot < slot && other.state !== 'free' && other.cpu === request.cpu)) {
      fail(`${path}.cpu`, 'a CPU that has no other request');
    }
  });
}

function restoreDevices(core: CoreData, state: Fields, cpuMax: number): void {
  list(state['devices'], 'devices', core.devices.length).forEach((value, index) => {
    const path = `devices[${index}]`;
    const fields = object(value, path);
    const device = core.devices[index];
    if (device === undefined) return;
    for (const name of ['backend', 'frontend'] as const) {
      const side = device[name];
      if (side === undefined) continue;
      const saved = object(fields[name], `${path}.${name}`);
      side.cpu = integer(saved['cpu'], `${path}.${name}.cpu`, -1, cpuMax);
      side.ready = bool(saved['ready'], `${path}.${name}.ready`);
      side.notifyPending = bool(saved['notifyPending'], `${path}.${name}.notifyPending`);
      if (side.ready !== side.cpu >= 0) fail(`${path}.${name}.cpu`, 'a notified CPU exactly when the end is ready');
    }
    device.ready = bool(fields['ready'], `${path}.ready`);
    for (const [n, slot] of list(fields['pending'], `${path}.pending`).entries()) {
      const place = `${path}.pending[${n}]`;
      const request = core.requests[integer(slot, place, 0, core.requests.length - 1)];
      if (request === undefined || request.state !== 'pending' || request.device !== index) {
        fail(place, 'a pending request of this device');
      }
      if (device.pending.includes(request.slot)) fail(place, 'each request once');
      device.pending.push(request.slot);
    }
    // The reference can lose a request from its list (D-01); `hardened` cannot.
    if (core.profile === 'hardened') {
      for (const request of core.requests) {
        if (request.state === 'pending' && request.device === index && !device.pending.includes(request.slot)) {
          fail(`${path}.pending`, `request slot ${request.slot}, which is pending`);
        }
      }
    }
  });
}
