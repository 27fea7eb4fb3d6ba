import { requestId } from '@remio/base';
import type { CoreData, Request } from './state.js';

/** The id of a slot's present use. The reference's ids are slot numbers. */
const idOf = (core: CoreData, slot: number, generation: number): Request['id'] =>
  requestId(
    core.profile === 'reference' ? BigInt(slot) : BigInt(slot) + BigInt(core.config.slots) * BigInt(generation),
  );

/** Takes the lowest free slot; undefined when there is none. */
export function allocateRequest(core: CoreData): Request | undefined {
  for (const request of core.requests) {
    if (request.state === 'free') return request;
  }
  return undefined;
}

/** Gives a slot back. Its ids so far are void. */
export function freeRequest(core: CoreData, request: Request): void {
  request.state = 'free';
  renewId(core, request);
}

/** Makes every id of this slot that was handed out void. */
export function renewId(core: CoreData, request: Request): void {
  request.generation += 1;
  if (core.profile === 'hardened') request.id = idOf(core, request.slot, request.generation);
}

/** The slot that an id of any use names: as the reference, which knows slots only. */
export function slotOf(core: CoreData, id: bigint): Request | undefined {
  const slots = BigInt(core.config.slots);
  if (core.profile === 'reference') return id < slots ? core.requests[Number(id)] : undefined;
  return slots === 0n ? undefined : core.requests[Number(id % slots)];
}

/** The slot whose present use an id names. */
export function findRequest(core: CoreData, id: bigint): Request | undefined {
  const request = slotOf(core, id);
  return request !== undefined && request.id === id ? request : undefined;
}
