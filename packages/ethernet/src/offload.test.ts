import { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6 } from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALL_OFFLOADS,
  acceptable,
  be16,
  be32,
  checksum,
  completeChecksum,
  type FrameHeader,
  fold,
  NO_OFFLOADS,
  putBe16,
  putBe32,
  segmentTcp,
  sumWords,
} from './index.js';

const FIN_PSH_ACK = 0x19;

/** A TCP frame as a driver leaves it to others: the checksum is the pseudo header's sum. */
function tcpFrame(
  v4: boolean,
  payload: Uint8Array,
): { readonly frame: Uint8Array; readonly l3: number; readonly l4: number } {
  const l3 = 14;
  const l4 = l3 + (v4 ? 20 : 40);
  const frame = new Uint8Array(l4 + 20 + payload.length);
  putBe16(frame, 12, v4 ? 0x0800 : 0x86dd);
  if (v4) {
    frame[l3] = 0x45;
    putBe16(frame, l3 + 2, frame.length - l3);
    putBe16(frame, l3 + 4, 0xfffe);
    frame[l3 + 8] = 64;
    frame[l3 + 9] = 6;
    putBe32(frame, l3 + 12, 0x0a00_0001);
    putBe32(frame, l3 + 16, 0x0a00_0002);
    putBe16(frame, l3 + 10, checksum(frame, l3, l4));
  } else {
    frame[l3] = 0x60;
    putBe16(frame, l3 + 4, (frame.length - l3 - 40) & 0xffff);
    frame[l3 + 6] = 6;
    for (let n = 8; n < 40; n += 1) frame[l3 + n] = n;
  }
  putBe32(frame, l4 + 4, 0xffff_fff0);
  frame[l4 + 12] = 0x50;
  frame[l4 + 13] = FIN_PSH_ACK;
  frame.set(payload, l4 + 20);
  return { frame, l3, l4 };
}

const header = (v4: boolean, l4: number, gsoSize: number): FrameHeader => ({
  flags: VIRTIO_NET_HDR_F_NEEDS_CSUM,
  gsoType: v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
  hdrLen: l4 + 20,
  gsoSize,
  csumStart: l4,
  csumOffset: 16,
});

/** Whether a TCP segment's checksum is right. */
function tcpSound(segment: Uint8Array, v4: boolean, l3: number, l4: number): boolean {
  const addresses = v4 ? sumWords(segment, l3 + 12, l3 + 20) : sumWords(segment, l3 + 8, l3 + 40);
  return fold(sumWords(segment, l4, segment.length, addresses + 6 + segment.length - l4)) === 0xffff;
}

describe('the Internet checksum', () => {
  it('is that of the example of RFC 1071', () => {
    expect(fold(sumWords(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8))).toBe(0xddf2);
  });

  it('5.1.9.2: completed, the sum over everything is all ones', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 200 }), fc.nat(0xffff), (bytes, pseudo) => {
        const frame = Uint8Array.from(bytes);
        putBe16(frame, 16, pseudo);
        completeChecksum(frame, 4, 12);
        // The receiver adds the pseudo header itself.
        expect(fold(sumWords(frame, 4, frame.length, pseudo))).toBe(0xffff);
        expect(be16(frame, 16)).not.toBe(0);
      }),
    );
  });
});

describe('cutting a large TCP frame', () => {
  it.each([true, false])('gives segments that together are the frame, each sound (IPv4: %s)', (v4) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.integer({ min: 100, max: 1460 }), (payload, mss) => {
        const { frame, l3, l4 } = tcpFrame(v4, payload);
        const segments = segmentTcp(frame, header(v4, l4, mss)) ?? [];
        expect(segments.length).toBe(Math.max(1, Math.ceil(payload.length / mss)));
        let at = 0;
        segments.forEach((segment, n) => {
          const last = n === segments.length - 1;
          expect(be32(segment, l4 + 4)).toBe((0xffff_fff0 + at) % 2 ** 32);
          expect(segment[l4 + 13]).toBe(last ? FIN_PSH_ACK : 0x10);
          expect(tcpSound(segment, v4, l3, l4)).toBe(true);
          if (v4) {
            expect(be16(segment, l3 + 2)).toBe(segment.length - l3);
            expect(be16(segment, l3 + 4)).toBe((0xfffe + n) & 0xffff);
            expect(checksum(segment, l3, l4)).toBe(0);
          } else expect(be16(segment, l3 + 4)).toBe(segment.length - l3 - 40);
          const data = segment.subarray(l4 + 20);
          expect(data.length).toBeLessThanOrEqual(mss);
          expect(data).toEqual(payload.subarray(at, at + data.length));
          at += data.length;
        });
        expect(at).toBe(payload.length);
      }),
      { numRuns: 40 },
    );
  });

  it('cuts nothing that is not what its header says, nor into more pieces than are worth it', () => {
    const { frame, l4 } = tcpFrame(true, new Uint8Array(3000));
    const good = header(true, l4, 1000);
    expect(segmentTcp(frame, good)).toHaveLength(3);
    for (const wrong of [
      { ...good, gsoType: VIRTIO_NET_HDR_GSO_TCPV6 },
      { ...good, csumOffset: 6 },
      { ...good, csumStart: l4 + 4 },
      { ...good, csumStart: frame.length - 10 },
      { ...good, gsoSize: 1 },
    ]) {
      expect(segmentTcp(frame, wrong)).toBeUndefined();
    }
    const udp = Uint8Array.from(frame);
    udp[14 + 9] = 17;
    expect(segmentTcp(udp, good)).toBeUndefined();
  });

  it('survives any bytes with any header', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.record({
          flags: fc.constant(1),
          gsoType: fc.constantFrom(1, 4, 0x81, 0x84),
          hdrLen: fc.nat(0xffff),
          gsoSize: fc.integer({ min: 1, max: 0xffff }),
          csumStart: fc.nat(220),
          csumOffset: fc.constantFrom(16, 6, 0xffff),
        }),
        (bytes, random) => {
          const l3type = random.gsoType % 2 === 1 ? 0x0800 : 0x86dd;
          if (bytes.length > 14) putBe16(bytes, 12, l3type);
          for (const segment of segmentTcp(bytes, random) ?? [])
            expect(segment.length).toBeLessThanOrEqual(bytes.length);
        },
      ),
    );
  });
});

describe('5.1.9.2.1: what a header may leave to its receiver', () => {
  const good = header(true, 34, 1448);
  it.each([
    ['everything, to one that takes everything', good, ALL_OFFLOADS, true],
    ['nothing, to one that takes nothing', { ...good, flags: 0, gsoType: 0 }, NO_OFFLOADS, true],
    ['a checksum that was not accepted', { ...good, gsoType: 0 }, NO_OFFLOADS, false],
    ['a large frame that was not accepted', good, { ...ALL_OFFLOADS, tso4: false }, false],
    ['ECN that was not accepted', { ...good, gsoType: 0x81 }, { ...ALL_OFFLOADS, ecn: false }, false],
    ['a large frame whose checksum is not left', { ...good, flags: 0 }, ALL_OFFLOADS, false],
    ['segments of nothing', { ...good, gsoSize: 0 }, ALL_OFFLOADS, false],
    ['UFO, which nobody here speaks', { ...good, gsoType: 3 }, ALL_OFFLOADS, false],
    ['a checksum past the end', { ...good, csumStart: 1490, csumOffset: 16 }, ALL_OFFLOADS, false],
    ['a checksum that would wrap', { ...good, csumStart: 0xffff, csumOffset: 0xffff }, ALL_OFFLOADS, false],
  ])('%s', (_, given, accepts, verdict) => {
    expect(acceptable(given, 1500, accepts)).toBe(verdict);
  });
});
