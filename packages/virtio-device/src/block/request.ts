import type { GuestMemory } from '@remio/guest-memory';
import { BLK_HEADER_SIZE, BLK_RANGE_SIZE, BLK_STATUS_SIZE } from '@remio/virtio-spec';
import type { Chain, Segment } from '@remio/virtqueue';
import { gather, slice } from '../segments.js';

/** A request taken apart (5.2.6): what its header says, where its data and its status lie. */
export interface BlockRequest {
  readonly head: number;
  readonly type: number;
  readonly sector: bigint;
  /** The data of a write, after the header. */
  readonly source: readonly Segment[];
  /** The room for a read's data, before the status. */
  readonly destination: readonly Segment[];
  readonly sourceLength: number;
  readonly destinationLength: number;
  /** Offset of the status byte. */
  readonly status: number;
}

/** `wait`: the header is not local yet. `malformed`: no room for a header or no status byte. */
export type ParsedRequest = BlockRequest | 'wait' | 'malformed';

/** Reads a request's header, once, however the driver cut its buffers (2.7.4: framing is free). */
export function parseBlockRequest(memory: GuestMemory, chain: Chain): ParsedRequest {
  if (chain.readableLength < BLK_HEADER_SIZE || chain.writableLength < BLK_STATUS_SIZE) return 'malformed';
  const header = gather(memory, chain.readable, BLK_HEADER_SIZE);
  if (header === undefined) return 'wait';
  const sourceLength = chain.readableLength - BLK_HEADER_SIZE;
  const destinationLength = chain.writableLength - BLK_STATUS_SIZE;
  const [status] = slice(chain.writable, destinationLength, BLK_STATUS_SIZE);
  if (status === undefined) return 'malformed';
  return {
    head: chain.head,
    type: header.getUint32(0, true),
    sector: header.getBigUint64(8, true),
    source: slice(chain.readable, BLK_HEADER_SIZE, sourceLength),
    destination: slice(chain.writable, 0, destinationLength),
    sourceLength,
    destinationLength,
    status: status.offset,
  };
}

/** A segment of a discard, write zeroes or secure erase (5.2.6). */
export interface BlockRange {
  readonly sector: bigint;
  readonly sectors: number;
  readonly flags: number;
}

/** The segments of a discard, write zeroes or secure erase; `data` is a whole number of them. */
export function parseRanges(data: DataView): readonly BlockRange[] {
  return Array.from({ length: data.byteLength / BLK_RANGE_SIZE }, (_, n) => ({
    sector: data.getBigUint64(n * BLK_RANGE_SIZE, true),
    sectors: data.getUint32(n * BLK_RANGE_SIZE + 8, true),
    flags: data.getUint32(n * BLK_RANGE_SIZE + 12, true),
  }));
}
