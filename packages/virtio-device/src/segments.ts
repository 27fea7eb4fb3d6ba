import type { GuestMemory } from '@remio/guest-memory';
import type { Segment } from '@remio/virtqueue';

/** The part of `segments` from `skip` on, `length` bytes. */
export function slice(segments: readonly Segment[], skip: number, length: number): readonly Segment[] {
  const part: Segment[] = [];
  let from = skip;
  let left = length;
  for (const segment of segments) {
    if (from >= segment.length) {
      from -= segment.length;
      continue;
    }
    const take = Math.min(left, segment.length - from);
    if (take > 0) part.push({ offset: segment.offset + from, length: take });
    left -= take;
    from = 0;
    if (left === 0) break;
  }
  return part;
}

/** Whether every part can be read, or written, now; if not, it is being fetched. */
export const allLocal = (memory: GuestMemory, segments: readonly Segment[], intent: 'read' | 'write'): boolean => {
  let local = true;
  // Every part is asked for, so that all of them travel together.
  for (const { offset, length } of segments) local = memory.need(offset, length, intent) && local;
  return local;
};

/** Copies `length` bytes out of guest memory, once, however the driver cut them; undefined: not local yet. */
export function gather(memory: GuestMemory, segments: readonly Segment[], length: number): DataView | undefined {
  const parts = slice(segments, 0, length);
  if (!allLocal(memory, parts, 'read')) return undefined;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(memory.bytes(part.offset, part.length), at);
    at += part.length;
  }
  return new DataView(bytes.buffer);
}

/** Copies bytes into guest memory, however the driver cut the room; false: not local yet. */
export function scatter(memory: GuestMemory, segments: readonly Segment[], bytes: Uint8Array): boolean {
  const parts = slice(segments, 0, bytes.length);
  if (!allLocal(memory, parts, 'write')) return false;
  let at = 0;
  for (const part of parts) {
    memory.bytes(part.offset, part.length).set(bytes.subarray(at, at + part.length));
    memory.written(part.offset, part.length);
    at += part.length;
  }
  return true;
}
