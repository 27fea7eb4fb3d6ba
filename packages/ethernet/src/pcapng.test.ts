import { expect, it } from 'vitest';
import { CAPTURED_INBOUND, CAPTURED_OUTBOUND, enhancedPacket, interfaceDescription, sectionHeader } from './index.js';

/** The blocks of a capture: type and body; checks that both lengths agree and that blocks are whole words. */
function blocks(bytes: Uint8Array): readonly { readonly type: number; readonly body: DataView }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    expect(length % 4).toBe(0);
    expect(view.getUint32(at + length - 4, true)).toBe(length);
    found.push({
      type: view.getUint32(at, true),
      body: new DataView(bytes.buffer, bytes.byteOffset + at + 8, length - 12),
    });
    at += length;
  }
  return found;
}

it('a capture is a section, its interfaces, and frames with time and direction', () => {
  const frame = Uint8Array.from({ length: 61 }, (_, n) => n);
  const at = 1_700_000_000_123_456_789n;
  const capture = Buffer.concat([
    sectionHeader('remio'),
    interfaceDescription('net0'),
    enhancedPacket(0, at, [frame.subarray(0, 10), frame.subarray(10)], CAPTURED_INBOUND),
    enhancedPacket(0, at, [frame], CAPTURED_OUTBOUND),
  ]);
  const found = blocks(capture);
  expect(found.map(({ type }) => type)).toEqual([0x0a0d0d0a, 1, 6, 6]);
  const [section, , first] = found;
  expect(section?.body.getUint32(0, true)).toBe(0x1a2b3c4d);
  if (first === undefined) throw new Error('the block of the first frame');
  const { body } = first;
  expect((BigInt(body.getUint32(4, true)) << 32n) | BigInt(body.getUint32(8, true))).toBe(at);
  expect(body.getUint32(12, true)).toBe(61);
  expect(new Uint8Array(body.buffer, body.byteOffset + 20, 61)).toEqual(frame);
  // epb_flags follows the padding.
  expect(body.getUint16(84, true)).toBe(2);
  expect(body.getUint32(88, true)).toBe(CAPTURED_INBOUND);
});
