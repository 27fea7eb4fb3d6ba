/** Captures in the pcapng format (draft-ietf-opsawg-pcapng), little-endian, link type Ethernet. */

const SECTION_HEADER_BLOCK = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION_BLOCK = 1;
const ENHANCED_PACKET_BLOCK = 6;
const LINKTYPE_ETHERNET = 1;
/** Longest frame that is captured, bytes: longer than any that there is. */
const SNAPLEN = 0x4_0000;

const OPT_ENDOFOPT = 0;
const SHB_USERAPPL = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const EPB_FLAGS = 2;

/** Timestamps in units of 10^-9 s. */
const NANOSECONDS = 9;

/** `epb_flags`, bits 0 and 1. */
export const CAPTURED_INBOUND = 1;
export const CAPTURED_OUTBOUND = 2;

const padded = (length: number): number => (length + 3) & ~3;

/** A block: its type, body and length at both ends; the body is written by `fill` at offset 8. */
function block(type: number, bodyLength: number, fill: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const length = 12 + padded(bodyLength);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  fill(view, bytes);
  view.setUint32(length - 4, length, true);
  return bytes;
}

/** Bytes of an option, padding included. */
const optionLength = (value: Uint8Array): number => 4 + padded(value.length);

function putOption(view: DataView, bytes: Uint8Array, at: number, code: number, value: Uint8Array): number {
  view.setUint16(at, code, true);
  view.setUint16(at + 2, value.length, true);
  bytes.set(value, at + 4);
  return at + optionLength(value);
}

/** What a capture starts with. */
export function sectionHeader(application: string): Uint8Array {
  const name = new TextEncoder().encode(application);
  return block(SECTION_HEADER_BLOCK, 16 + optionLength(name) + 4, (view, bytes) => {
    view.setUint32(8, BYTE_ORDER_MAGIC, true);
    view.setUint16(12, 1, true);
    view.setUint16(14, 0, true);
    // The length of the section is not known: it ends with the file.
    view.setBigInt64(16, -1n, true);
    putOption(view, bytes, putOption(view, bytes, 24, SHB_USERAPPL, name), OPT_ENDOFOPT, new Uint8Array(0));
  });
}

/** An interface that frames are seen at; they refer to it by its position among these. */
export function interfaceDescription(name: string): Uint8Array {
  const encoded = new TextEncoder().encode(name);
  const resolution = Uint8Array.of(NANOSECONDS);
  return block(INTERFACE_DESCRIPTION_BLOCK, 8 + optionLength(encoded) + optionLength(resolution) + 4, (view, bytes) => {
    view.setUint16(8, LINKTYPE_ETHERNET, true);
    view.setUint32(12, SNAPLEN, true);
    const named = putOption(view, bytes, 16, IF_NAME, encoded);
    putOption(view, bytes, putOption(view, bytes, named, IF_TSRESOL, resolution), OPT_ENDOFOPT, new Uint8Array(0));
  });
}

/**
 * A frame.
 * @param at nanoseconds since 1970
 * @param direction {@link CAPTURED_INBOUND} or {@link CAPTURED_OUTBOUND}
 */
export function enhancedPacket(
  interfaceIndex: number,
  at: bigint,
  frame: readonly Uint8Array[],
  direction: number,
): Uint8Array {
  let length = 0;
  for (const part of frame) length += part.length;
  return block(ENHANCED_PACKET_BLOCK, 20 + padded(length) + 12, (view, bytes) => {
    view.setUint32(8, interfaceIndex, true);
    view.setUint32(12, Number((at >> 32n) & 0xffff_ffffn), true);
    view.setUint32(16, Number(at & 0xffff_ffffn), true);
    view.setUint32(20, length, true);
    view.setUint32(24, length, true);
    let to = 28;
    for (const part of frame) {
      bytes.set(part, to);
      to += part.length;
    }
    const flags = Uint8Array.of(direction, 0, 0, 0);
    putOption(
      view,
      bytes,
      putOption(view, bytes, 28 + padded(length), EPB_FLAGS, flags),
      OPT_ENDOFOPT,
      new Uint8Array(0),
    );
  });
}
