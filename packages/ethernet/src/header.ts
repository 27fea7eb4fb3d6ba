import {
  NET_HEADER_CSUM_OFFSET,
  NET_HEADER_CSUM_START,
  NET_HEADER_FLAGS,
  NET_HEADER_GSO_SIZE,
  NET_HEADER_GSO_TYPE,
  NET_HEADER_HDR_LEN,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
} from '@remio/virtio-spec';
import type { Offloads } from './frame-port.js';

/** Fields of `struct virtio_net_hdr` (5.1.9): what of a frame is left to whoever gets it. */
export interface FrameHeader {
  readonly flags: number;
  readonly gsoType: number;
  readonly hdrLen: number;
  readonly gsoSize: number;
  readonly csumStart: number;
  readonly csumOffset: number;
}

const le16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);

export const readHeader = (bytes: Uint8Array): FrameHeader => ({
  flags: bytes[NET_HEADER_FLAGS] ?? 0,
  gsoType: bytes[NET_HEADER_GSO_TYPE] ?? 0,
  hdrLen: le16(bytes, NET_HEADER_HDR_LEN),
  gsoSize: le16(bytes, NET_HEADER_GSO_SIZE),
  csumStart: le16(bytes, NET_HEADER_CSUM_START),
  csumOffset: le16(bytes, NET_HEADER_CSUM_OFFSET),
});

/**
 * Whether a header makes sense for a frame, and leaves to its receiver no more than that accepts (5.1.9.2.1, 5.1.9.4.1).
 * @param length bytes of the frame
 */
export function acceptable(header: FrameHeader, length: number, accepts: Offloads): boolean {
  const { flags, gsoType, gsoSize, csumStart, csumOffset } = header;
  const partial = (flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) !== 0;
  // The sums are below 2^17: nothing wraps.
  if (partial && (!accepts.csum || csumStart + csumOffset + 2 > length)) return false;
  if (gsoType === VIRTIO_NET_HDR_GSO_NONE) return true;
  if ((gsoType & VIRTIO_NET_HDR_GSO_ECN) !== 0 && !accepts.ecn) return false;
  if (!partial || gsoSize === 0) return false;
  switch (gsoType & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
      return accepts.tso4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
      return accepts.tso6;
    default:
      return false;
  }
}
