import { be16, be32, putBe16, putBe32 } from '../bytes.js';
import { checksum, fold, sumWords } from '../checksum.js';
import { type Mac, macAt, macBytes } from '../mac.js';
import type { Ipv4 } from './ipv4.js';

/** Layouts of ARP (RFC 826), IPv4 (RFC 791), ICMP echo (RFC 792) and UDP (RFC 768) in Ethernet frames. */

export const ETHERNET_HEADER = 14;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const IPV4_HEADER = 20;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_UDP = 17;
export const UDP_HEADER = 8;
export const ICMP_HEADER = 8;
export const ICMP_ECHO_REPLY = 0;
export const ICMP_ECHO = 8;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

const ARP_BYTES = 28;
const ARP_ETHERNET = 1;
const TIME_TO_LIVE = 64;
/** Flags and offset of a fragment: more follow, or not the first. */
const FRAGMENT_MASK = 0x3fff;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Mac;
  readonly sender: Ipv4;
  readonly target: Ipv4;
}

/** The ARP packet of a frame; undefined if it is none for Ethernet and IPv4. */
export function parseArp(frame: Uint8Array): ArpPacket | undefined {
  const at = ETHERNET_HEADER;
  if (frame.length < at + ARP_BYTES) return undefined;
  if (be16(frame, at) !== ARP_ETHERNET || be16(frame, at + 2) !== ETHERTYPE_IPV4 || be16(frame, at + 4) !== 0x0604) {
    return undefined;
  }
  return {
    operation: be16(frame, at + 6),
    senderMac: macAt(frame, at + 8),
    sender: be32(frame, at + 14),
    target: be32(frame, at + 24),
  };
}

export function arpFrame(to: Mac, { operation, senderMac, sender, target }: ArpPacket): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER + ARP_BYTES);
  putEthernet(frame, to, senderMac, ETHERTYPE_ARP);
  const at = ETHERNET_HEADER;
  putBe16(frame, at, ARP_ETHERNET);
  putBe16(frame, at + 2, ETHERTYPE_IPV4);
  putBe16(frame, at + 4, 0x0604);
  putBe16(frame, at + 6, operation);
  frame.set(macBytes(senderMac), at + 8);
  putBe32(frame, at + 14, sender);
  if (operation === ARP_REPLY) frame.set(macBytes(to), at + 18);
  putBe32(frame, at + 24, target);
  return frame;
}

export interface Ipv4Packet {
  readonly protocol: number;
  readonly source: Ipv4;
  readonly destination: Ipv4;
  /** What follows the IPv4 header, without what Ethernet padded. */
  readonly payload: Uint8Array;
}

/** The IPv4 packet of a frame; undefined if it is broken, or a fragment (which nobody here puts together). */
export function parseIpv4Packet(frame: Uint8Array): Ipv4Packet | undefined {
  const at = ETHERNET_HEADER;
  if (frame.length < at + IPV4_HEADER || (frame[at] ?? 0) >>> 4 !== 4) return undefined;
  const header = 4 * ((frame[at] ?? 0) & 0xf);
  const total = be16(frame, at + 2);
  if (header < IPV4_HEADER || total < header || at + total > frame.length) return undefined;
  if (checksum(frame, at, at + header) !== 0 || (be16(frame, at + 6) & FRAGMENT_MASK) !== 0) return undefined;
  return {
    protocol: frame[at + 9] ?? 0,
    source: be32(frame, at + 12),
    destination: be32(frame, at + 16),
    payload: frame.subarray(at + header, at + total),
  };
}

/** A frame with an IPv4 packet whose payload is `length` bytes at {@link IPV4_PAYLOAD}, to be filled. */
export function ipv4Frame(
  link: { readonly to: Mac; readonly from: Mac },
  packet: { readonly protocol: number; readonly source: Ipv4; readonly destination: Ipv4; readonly id: number },
  length: number,
): Uint8Array {
  const frame = new Uint8Array(ETHERNET_HEADER + IPV4_HEADER + length);
  putEthernet(frame, link.to, link.from, ETHERTYPE_IPV4);
  const at = ETHERNET_HEADER;
  frame[at] = 0x45;
  putBe16(frame, at + 2, IPV4_HEADER + length);
  putBe16(frame, at + 4, packet.id);
  frame[at + 8] = TIME_TO_LIVE;
  frame[at + 9] = packet.protocol;
  putBe32(frame, at + 12, packet.source);
  putBe32(frame, at + 16, packet.destination);
  putBe16(frame, at + 10, checksum(frame, at, at + IPV4_HEADER));
  return frame;
}

/** Where the payload of {@link ipv4Frame} starts. */
export const IPV4_PAYLOAD = ETHERNET_HEADER + IPV4_HEADER;

export interface EchoPacket {
  readonly type: number;
  readonly id: number;
  readonly sequence: number;
  readonly data: Uint8Array;
}

/** An echo request or reply; undefined if it is something else, or broken. */
export function parseEcho(payload: Uint8Array): EchoPacket | undefined {
  const [type = -1, code] = payload;
  if (payload.length < ICMP_HEADER || code !== 0 || (type !== ICMP_ECHO && type !== ICMP_ECHO_REPLY)) return undefined;
  if (checksum(payload, 0, payload.length) !== 0) return undefined;
  return { type, id: be16(payload, 4), sequence: be16(payload, 6), data: payload.subarray(ICMP_HEADER) };
}

/** Writes an echo message to the end of a frame. */
export function putEcho(frame: Uint8Array, at: number, { type, id, sequence, data }: EchoPacket): void {
  frame[at] = type;
  putBe16(frame, at + 4, id);
  putBe16(frame, at + 6, sequence);
  frame.set(data, at + ICMP_HEADER);
  putBe16(frame, at + 2, checksum(frame, at, frame.length));
}

export interface UdpPacket {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

/**
 * A UDP datagram; undefined if it is broken.
 * @param verified its checksum was verified, or never left the machine: the frame's header says so (5.1.9.4)
 */
export function parseUdp(packet: Ipv4Packet, verified: boolean): UdpPacket | undefined {
  const { payload } = packet;
  const length = be16(payload, 4);
  if (payload.length < UDP_HEADER || length < UDP_HEADER || length > payload.length) return undefined;
  const given = be16(payload, 6);
  if (!verified && given !== 0 && fold(sumWords(payload, 0, length, pseudoSum(packet, length))) !== 0xffff) {
    return undefined;
  }
  return {
    sourcePort: be16(payload, 0),
    destinationPort: be16(payload, 2),
    data: payload.subarray(UDP_HEADER, length),
  };
}

/** Writes a UDP datagram to the end of a frame. */
export function putUdp(
  frame: Uint8Array,
  at: number,
  addresses: { readonly source: Ipv4; readonly destination: Ipv4 },
  { sourcePort, destinationPort, data }: UdpPacket,
): void {
  const length = UDP_HEADER + data.length;
  putBe16(frame, at, sourcePort);
  putBe16(frame, at + 2, destinationPort);
  putBe16(frame, at + 4, length);
  frame.set(data, at + UDP_HEADER);
  const sum = ~fold(sumWords(frame, at, frame.length, pseudoSum(addresses, length))) & 0xffff;
  // 0 would say that there is no checksum (RFC 768).
  putBe16(frame, at + 6, sum === 0 ? 0xffff : sum);
}

const pseudoSum = (
  { source, destination }: { readonly source: Ipv4; readonly destination: Ipv4 },
  length: number,
): number =>
  Math.floor(source / 0x1_0000) +
  (source % 0x1_0000) +
  Math.floor(destination / 0x1_0000) +
  (destination % 0x1_0000) +
  PROTOCOL_UDP +
  length;

function putEthernet(frame: Uint8Array, to: Mac, from: Mac, type: number): void {
  frame.set(macBytes(to), 0);
  frame.set(macBytes(from), 6);
  putBe16(frame, 12, type);
}
