import { VIRTIO_NET_HDR_F_NEEDS_CSUM } from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALL_OFFLOADS,
  BROADCAST,
  type FramePort,
  fold,
  LearningSwitch,
  type Mac,
  macBytes,
  NO_OFFLOADS,
  type Offloads,
  putBe16,
  sumWords,
} from './index.js';

const PLAIN = new Uint8Array(12);

/** A frame of `length` bytes, 60 at least. */
const frame = (to: Mac, from: Mac, length = 60, fill = 0): Uint8Array => {
  const bytes = new Uint8Array(length).fill(fill);
  bytes.set(macBytes(to), 0);
  bytes.set(macBytes(from), 6);
  putBe16(bytes, 12, 0x88b5);
  return bytes;
};

/** Somebody at a port, who takes frames at once or leaves them waiting. */
class Station {
  readonly got: Uint8Array[] = [];
  /** Headers that came with the frames. */
  readonly headers: Uint8Array[] = [];
  readonly port: FramePort;
  readonly #room = new Uint8Array(70_000);

  constructor(
    lan: LearningSwitch,
    readonly name: string,
    readonly mac: Mac,
    { eager = true, accepts = NO_OFFLOADS }: { eager?: boolean; accepts?: Offloads } = {},
  ) {
    this.port = lan.port(name);
    this.port.open({
      readable: () => {
        if (eager) this.take();
      },
      linkChanged: () => {},
    });
    this.port.configure(accepts, 1);
    this.port.listen(0);
  }

  take(lane = 0): void {
    for (
      let length = this.port.receive(lane, [this.#room]);
      length > 0;
      length = this.port.receive(lane, [this.#room])
    ) {
      this.headers.push(this.#room.slice(0, 12));
      this.got.push(this.#room.slice(12, length));
    }
    this.port.listen(lane);
  }

  send(to: Mac, length?: number, fill?: number, header = PLAIN): boolean {
    return this.port.transmit(0, header, [frame(to, this.mac, length, fill)]);
  }
}

const three = (lan = new LearningSwitch()): readonly [Station, Station, Station, LearningSwitch] => [
  new Station(lan, 'a', 0x0200_0000_000a),
  new Station(lan, 'b', 0x0200_0000_000b),
  new Station(lan, 'c', 0x0200_0000_000c),
  lan,
];

describe('a learning switch', () => {
  it('floods what is for many or for nobody that it knows, and sends to the one port that it learnt', () => {
    const [a, b, c, lan] = three();
    a.send(BROADCAST);
    expect([a.got.length, b.got.length, c.got.length]).toEqual([0, 1, 1]);
    a.send(b.mac);
    expect([b.got.length, c.got.length]).toEqual([2, 2]);
    b.send(a.mac);
    expect([a.got.length, c.got.length]).toEqual([1, 2]);
    a.send(b.mac);
    expect([b.got.length, c.got.length]).toEqual([3, 2]);
    expect(lan.addresses).toBe(2);
    expect(lan.counters).toMatchObject({ frames: 4, flooded: 2, lost: 0 });
  });

  it('never sends a frame back to where it came from', () => {
    const [a, b, c] = three();
    a.send(BROADCAST);
    b.port.transmit(0, PLAIN, [frame(a.mac, 0x0200_0000_00bb)]);
    b.port.transmit(0, PLAIN, [frame(0x0200_0000_00bb, b.mac)]);
    expect(b.got.length).toBe(1);
    expect(c.got.length).toBe(1);
  });

  it('learns that a station moved', () => {
    const [a, b, c] = three();
    b.send(BROADCAST);
    c.port.transmit(0, PLAIN, [frame(BROADCAST, b.mac)]);
    const before = [b.got.length, c.got.length];
    a.send(b.mac);
    expect([b.got.length, c.got.length]).toEqual([before[0], (before[1] ?? 0) + 1]);
  });

  it('forgets an address that was not heard for so many frames', () => {
    const [a, b, c] = three(new LearningSwitch(10));
    b.send(a.mac);
    for (let n = 0; n < 10; n += 1) a.send(b.mac);
    const before = c.got.length;
    a.send(b.mac);
    expect(c.got.length).toBe(before + 1);
  });

  it('learns no group addresses, and not without bound from one port', () => {
    const [a, b, c, lan] = three();
    a.port.transmit(0, PLAIN, [frame(b.mac, 0x0100_5e00_0001)]);
    expect(lan.addresses).toBe(0);
    b.send(a.mac);
    for (let n = 0; n < 5000; n += 1) a.port.transmit(0, PLAIN, [frame(b.mac, 0x0600_0000_0000 + n)]);
    expect(lan.addresses).toBeLessThan(300);
    const before = c.got.length;
    a.send(b.mac);
    expect(c.got.length).toBe(before);
  });

  it('keeps frames for one that is not ready within bounds, in order, and counts what it loses', () => {
    const lan = new LearningSwitch();
    const a = new Station(lan, 'a', 1);
    const b = new Station(lan, 'b', 2, { eager: false });
    b.send(1);
    for (let n = 0; n < 3000; n += 1) a.send(2, 64, n & 0xff);
    expect(lan.counters.lost).toBe(3000 - 1024);
    b.take();
    expect(b.got.map((bytes) => bytes[40])).toEqual(Array.from({ length: 1024 }, (_, n) => n & 0xff));
    for (let n = 0; n < 300; n += 1) a.send(2, 65_000);
    b.take();
    expect(b.got.length - 1024).toBe(Math.floor((8 * 1024 * 1024) / 65_012));
  });

  it('delivers to others while one port has nobody, or one that takes nothing', () => {
    const lan = new LearningSwitch();
    const a = new Station(lan, 'a', 1);
    new Station(lan, 'b', 2, { eager: false });
    lan.port('empty');
    const c = new Station(lan, 'c', 3);
    for (let n = 0; n < 2000; n += 1) a.send(BROADCAST);
    expect(c.got.length).toBe(2000);
  });

  it('says how long a frame is for which there is no room, and keeps it', () => {
    const lan = new LearningSwitch();
    const a = new Station(lan, 'a', 1);
    const b = new Station(lan, 'b', 2, { eager: false });
    a.send(BROADCAST, 100);
    expect(b.port.receive(0, [new Uint8Array(111)])).toBe(-112);
    const parts = [new Uint8Array(5), new Uint8Array(0), new Uint8Array(107)];
    expect(b.port.receive(0, parts)).toBe(112);
    expect(parts[2]?.subarray(7, 13)).toEqual(macBytes(BROADCAST));
    expect(b.port.receive(0, parts)).toBe(0);
  });

  it('shows each frame once to a witness, with the port where it came in', () => {
    const [a, b, , lan] = three();
    const seen: string[] = [];
    lan.witness = (port) => seen.push(port);
    a.send(BROADCAST);
    b.send(a.mac);
    expect(seen).toEqual(['a', 'b']);
  });

  it('gives a new port of a name the place of the old one', async () => {
    const [a, b, , lan] = three();
    b.send(a.mac);
    const again = new Station(lan, 'b', b.mac);
    a.send(b.mac);
    expect(b.got.length).toBe(0);
    expect(again.got.length).toBe(1);
    await again.port.close();
    a.send(b.mac);
    expect(again.got.length).toBe(1);
  });
});

describe('5.1.3: a port does for its user what that does not accept', () => {
  const partial = Uint8Array.of(VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, 0, 0, 20, 0, 6, 0, 0, 0);

  it('passes a partial checksum on to one that accepts it, and completes it for others', () => {
    const lan = new LearningSwitch();
    const a = new Station(lan, 'a', 1);
    const b = new Station(lan, 'b', 2, { accepts: ALL_OFFLOADS });
    const c = new Station(lan, 'c', 3);
    a.send(BROADCAST, 61, 7, partial);
    expect(b.headers[0]).toEqual(partial);
    expect(c.headers[0]).toEqual(PLAIN);
    const [left] = b.got;
    const [whole] = c.got;
    if (left === undefined || whole === undefined) throw new Error('a broadcast comes everywhere');
    expect(fold(sumWords(whole, 20, 61, 0x0707))).toBe(0xffff);
    expect(whole.subarray(0, 26)).toEqual(left.subarray(0, 26));
    expect(whole.subarray(28)).toEqual(left.subarray(28));
  });

  it('loses what its own header contradicts', () => {
    const lan = new LearningSwitch();
    const a = new Station(lan, 'a', 1);
    const b = new Station(lan, 'b', 2);
    a.send(BROADCAST, 60, 0, Uint8Array.of(1, 0, 0, 0, 0, 0, 59, 0, 2, 0, 0, 0));
    a.send(BROADCAST, 60, 0, Uint8Array.of(1, 1, 0, 0, 1, 0, 14, 0, 16, 0, 0, 0));
    expect(b.got).toEqual([]);
    expect(lan.counters.lost).toBe(2);
  });
});

describe('5.1.9.5.6: steering', () => {
  it('a flow comes in on the lane on which it went out, whichever that is', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), fc.nat(3), (random, lane) => {
        const lan = new LearningSwitch();
        const a = new Station(lan, 'a', 1, { eager: false });
        const b = new Station(lan, 'b', 2);
        a.port.configure(NO_OFFLOADS, 4);
        const [there, back] = [frame(2, 1), frame(1, 2)];
        for (const bytes of [there, back]) {
          putBe16(bytes, 12, 0x0800);
          bytes[14] = 0x45;
          bytes[23] = 6;
        }
        there.set(random.subarray(0, 12), 26);
        back.set(random.subarray(4, 8), 26);
        back.set(random.subarray(0, 4), 30);
        back.set(random.subarray(10, 12), 34);
        back.set(random.subarray(8, 10), 36);
        a.port.transmit(lane, PLAIN, [there]);
        b.port.transmit(0, PLAIN, [back]);
        a.take(lane);
        expect(a.got).toEqual([back]);
      }),
    );
  });
});
