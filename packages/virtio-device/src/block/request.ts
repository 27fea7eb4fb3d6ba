import type { GuestMemory } from '@remio/guest-memory';
import { BLK_HEADER_SIZE, BLK_STATUS_SIZE } from '@remio/virtio-spec';
import type { Chain, Segment } from '@remio/virtqueue';
import { slice } from '../segments.js';

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
  const header = new Uint8Array(BLK_HEADER_SIZE);
  const parts = slice(chain.readable, 0, BLK_HEADER_SIZE);
  if (!parts.every(({ offset, length }) => memory.need(offset, length, 'read'))) return 'wait';
  let at = 0;
  for (const { offset, length } of parts) {
    header.set(memory.bytes(offset, length), at);
    at += length;
  }
  const view = new DataView(header.buffer);
  const [status] = slice(chain.writable, chain.writableLength - BLK_STATUS_SIZE, BLK_STATUS_SIZE);
  if (status === undefined) return 'malformed';
  const sourceLength = chain.readableLength - BLK_HEADER_SIZE;
  const destinationLength = chain.writableLength - BLK_STATUS_SIZE;
  return {
    head: chain.head,
    type: view.getUint32(0, true),
    sector: view.getBigUint64(8, true),
    source: slice(chain.readable, BLK_HEADER_SIZE, sourceLength),
    destination: slice(chain.writable, 0, destinationLength),
    sourceLength,
    destinationLength,
    status: status.offset,
  };
}
