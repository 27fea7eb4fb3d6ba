import { numberOf, requestId } from '@remio/base';
import type { CoreData, Request } from './state.js';

/** Up to here a number is exact. */
const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

/** The id of a slot's present use. The reference's ids are slot numbers. */
const idOf = (core: CoreData, slot: number, generation: number): Request['id'] =>
  // Exact: a slot is not used 2^53 / slots times.
  requestId(BigInt(core.profile === 'reference' ? slot : slot + core.config.slots * generation));

/** Takes the lowest free slot; undefined when there is none. */
export function allocateRequest(core: CoreData): Request | undefined {
  const { requests, shortcuts } = core;
  while (requests[shortcuts.free]?.state !== 'free') {
    if (shortcuts.free >= requests.length) return undefined;
    shortcuts.free += 1;
  }
  return requests[shortcuts.free];
}

/** Gives a slot back. Its ids so far are void. */
export function freeRequest(core: CoreData, request: Request): void {
  request.state = 'free';
  if (request.slot < core.shortcuts.free) core.shortcuts.free = request.slot;
  renewId(core, request);
}

/** Makes every id of this slot that was handed out void. */
export function renewId(core: CoreData, request: Request): void {
  request.generation += 1;
  if (core.profile === 'hardened') request.id = idOf(core, request.slot, request.generation);
}

/** The slot that an id of any use names: as the reference, which knows slots only. */
export function slotOf(core: CoreData, id: bigint): Request | undefined {
  const { slots } = core.config;
  if (slots === 0) return undefined;
  if (core.profile === 'reference') return core.requests[numberOf(id)];
  return core.requests[id <= SAFE ? numberOf(id) % slots : Number(id % BigInt(slots))];
}

/** The slot whose present use an id names. */
export function findRequest(core: CoreData, id: bigint): Request | undefined {
  const request = slotOf(core, id);
  return request !== undefined && request.id === id ? request : undefined;
}
