import { VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_HDR_GSO_TCPV4 } from '@remio/virtio-spec';
import { be16, be32, putBe16, putBe32 } from './bytes.js';
import { checksum, fold, sumWords } from './checksum.js';
import type { FrameHeader } from './header.js';

const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const PROTOCOL_TCP = 6;
const IPV4_HEADER_MIN = 20;
const IPV6_HEADER = 40;
const TCP_HEADER_MIN = 20;
/** Offset of the checksum in a TCP header. */
const TCP_CHECKSUM = 16;
/** Most segments of one frame: an MSS of 256 bytes. A smaller one makes a lot of work of few bytes, and is refused. */
const SEGMENTS_MAX = 256;
const TCP_FIN = 0x01;
const TCP_PSH = 0x08;
const TCP_CWR = 0x80;

/**
 * Cuts a large TCP frame as its receiver would have to (5.1.9.2): every segment has the headers, its own lengths and
 * sequence number, and whole checksums. For receivers that did not accept GUEST_TSO4 or GUEST_TSO6.
 * @returns undefined if the frame is not what its header says
 */
export function segmentTcp(frame: Uint8Array, header: FrameHeader): readonly Uint8Array[] | undefined {
  const l3 = be16(frame, 12) === ETHERTYPE_VLAN ? 18 : 14;
  const v4 = (header.gsoType & ~VIRTIO_NET_HDR_GSO_ECN) === VIRTIO_NET_HDR_GSO_TCPV4;
  const l4 = header.csumStart;
  if (be16(frame, l3 - 2) !== (v4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6)) return undefined;
  if (header.csumOffset !== TCP_CHECKSUM || l4 + TCP_HEADER_MIN > frame.length) return undefined;
  if (v4) {
    const ihl = 4 * ((frame[l3] ?? 0) & 0xf);
    if (ihl < IPV4_HEADER_MIN || l3 + ihl !== l4 || frame[l3 + 9] !== PROTOCOL_TCP) return undefined;
  } else if (l4 < l3 + IPV6_HEADER) return undefined;
  const tcpLength = 4 * ((frame[l4 + 12] ?? 0) >>> 4);
  const payload = l4 + tcpLength;
  if (tcpLength < TCP_HEADER_MIN || payload > frame.length) return undefined;

  if (frame.length - payload > SEGMENTS_MAX * header.gsoSize) return undefined;

  const segments: Uint8Array[] = [];
  const sequence = be32(frame, l4 + 4);
  const flags = frame[l4 + 13] ?? 0;
  const size = header.gsoSize;
  for (let at = payload, n = 0; at < frame.length || n === 0; at += size, n += 1) {
    const data = frame.subarray(at, Math.min(at + size, frame.length));
    const last = at + size >= frame.length;
    const segment = new Uint8Array(payload + data.length);
    segment.set(frame.subarray(0, payload));
    segment.set(data, payload);
    putBe32(segment, l4 + 4, (sequence + n * size) % 0x1_0000_0000);
    segment[l4 + 13] = flags & ~(last ? 0 : TCP_FIN | TCP_PSH) & ~(n === 0 ? 0 : TCP_CWR);
    if (v4) finishIpv4(segment, l3, l4, (be16(frame, l3 + 4) + n) & 0xffff);
    else putBe16(segment, l3 + 4, segment.length - l3 - IPV6_HEADER);
    finishTcp(segment, l3, l4, v4);
    segments.push(segment);
  }
  return segments;
}

function finishIpv4(segment: Uint8Array, l3: number, l4: number, id: number): void {
  putBe16(segment, l3 + 2, segment.length - l3);
  putBe16(segment, l3 + 4, id);
  putBe16(segment, l3 + 10, 0);
  putBe16(segment, l3 + 10, checksum(segment, l3, l4));
}

function finishTcp(segment: Uint8Array, l3: number, l4: number, v4: boolean): void {
  putBe16(segment, l4 + TCP_CHECKSUM, 0);
  const addresses = v4 ? sumWords(segment, l3 + 12, l3 + 20) : sumWords(segment, l3 + 8, l3 + 40);
  const pseudo = addresses + PROTOCOL_TCP + (segment.length - l4);
  putBe16(segment, l4 + TCP_CHECKSUM, ~fold(sumWords(segment, l4, segment.length, pseudo)) & 0xffff);
}
