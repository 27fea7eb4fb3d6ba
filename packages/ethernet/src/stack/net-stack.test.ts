import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BROADCAST,
  formatIpv4,
  type Mac,
  macAt,
  macBytes,
  NetStack,
  parseInterface,
  parseIpv4,
  putBe16,
} from '../index.js';

const IP_A = 0x0a00_0001;
const IP_B = 0x0a00_0002;
const MAC_A: Mac = 0x0200_0000_000a;
const MAC_B: Mac = 0x0200_0000_000b;

interface Heard {
  readonly echoes: string[];
  readonly datagrams: string[];
}

/** Two stations on a wire. */
class Wire {
  readonly sent: Uint8Array[] = [];
  readonly heard: Heard = { echoes: [], datagrams: [] };
  readonly a = this.#station(MAC_A, IP_A);
  readonly b = this.#station(MAC_B, IP_B);
  cut = false;

  #station(mac: Mac, address: number): NetStack {
    return new NetStack(
      { mac, address, prefix: 24, mtu: 1500 },
      {
        send: (frame) => {
          this.sent.push(Uint8Array.from(frame));
          return true;
        },
        echoReply: (from, id, sequence, data) =>
          this.heard.echoes.push(`${formatIpv4(from)} ${id}/${sequence} ${data.length}`),
        datagram: (from, source, destination, data) =>
          this.heard.datagrams.push(
            `${formatIpv4(from)}:${source} to ${destination}: ${new TextDecoder().decode(data)}`,
          ),
      },
    );
  }

  /** Carries frames until nobody has more to say. */
  run(): this {
    for (let frame = this.sent.shift(); frame !== undefined; frame = this.sent.shift()) {
      if (this.cut) continue;
      if (macAt(frame, 6) !== MAC_A) this.a.input(frame);
      if (macAt(frame, 6) !== MAC_B) this.b.input(frame);
    }
    return this;
  }
}

const text = (line: string): Uint8Array => new TextEncoder().encode(line);

describe('a small guest stack', () => {
  it('RFC 826, RFC 792: finds its neighbour and gets an echo; the second needs no ARP', () => {
    const wire = new Wire();
    wire.a.ping(IP_B, 7, 1, new Uint8Array(56));
    wire.run();
    expect(wire.heard.echoes).toEqual(['10.0.0.2 7/1 56']);
    wire.a.ping(IP_B, 7, 2, new Uint8Array(1472));
    expect(wire.sent.length).toBe(1);
    wire.run();
    expect(wire.heard.echoes[1]).toBe('10.0.0.2 7/2 1472');
    expect(wire.b.counters.echoesAnswered).toBe(2);
  });

  it('RFC 768: sends datagrams, and to all', () => {
    const wire = new Wire();
    wire.a.send(1000, IP_B, 7, text('hello'));
    wire.b.send(5, 0x0a00_00ff, 9, text('all'));
    wire.run();
    expect(wire.heard.datagrams.sort()).toEqual(['10.0.0.1:1000 to 7: hello', '10.0.0.2:5 to 9: all']);
  });

  it('asks again for a neighbour, and gives up in the end', () => {
    const wire = new Wire();
    wire.cut = true;
    for (let n = 0; n < 20; n += 1) wire.a.ping(IP_B, 1, n, new Uint8Array(8));
    expect(wire.a.counters.unsent).toBe(12);
    wire.cut = false;
    wire.sent.length = 0;
    wire.a.retry();
    wire.run();
    expect(wire.heard.echoes).toHaveLength(8);
    wire.cut = true;
    wire.a.ping(0x0a00_0063, 1, 1, new Uint8Array(8));
    for (let n = 0; n < 6; n += 1) wire.a.retry();
    expect(wire.a.waiting).toBe(false);
    expect(wire.a.counters.unsent).toBe(13);
  });

  it('sends nothing off its link, nor more than the MTU', () => {
    const wire = new Wire();
    wire.a.ping(0x0808_0808, 1, 1, new Uint8Array(8));
    wire.a.ping(IP_B, 1, 1, new Uint8Array(1473));
    expect(wire.sent).toEqual([]);
    expect(wire.a.counters.unsent).toBe(2);
  });

  it('takes a datagram with a wrong checksum only if somebody verified it, or nobody had to', () => {
    const wire = new Wire();
    wire.a.send(1, 0x0a00_00ff, 2, text('once'));
    const [frame] = wire.sent.splice(0);
    if (frame === undefined) throw new Error('a broadcast needs no ARP');
    putBe16(frame, 40, 0x1234);
    wire.b.input(frame);
    expect(wire.heard.datagrams).toEqual([]);
    wire.b.input(frame, true);
    putBe16(frame, 40, 0);
    wire.b.input(frame);
    expect(wire.heard.datagrams).toHaveLength(2);
  });

  it('announces itself to those who know it already', () => {
    const wire = new Wire();
    wire.a.ping(IP_B, 1, 1, new Uint8Array(8));
    wire.run();
    const moved = new NetStack(
      { mac: 0x0200_0000_0099, address: IP_A, prefix: 24, mtu: 1500 },
      { send: (frame) => wire.b.input(frame) === undefined },
    );
    moved.announce();
    wire.b.ping(IP_A, 1, 1, new Uint8Array(8));
    expect(wire.sent.map((frame) => macAt(frame, 0))).toEqual([0x0200_0000_0099]);
  });

  it('never fails, whatever comes in, and keeps what it knows bounded', () => {
    const wire = new Wire();
    wire.a.ping(IP_B, 1, 1, new Uint8Array(32));
    wire.a.send(1, IP_B, 2, new Uint8Array(32));
    const seeds: Uint8Array[] = [];
    for (let n = 0; n < 3; n += 1) {
      seeds.push(...wire.sent.map((frame) => Uint8Array.from(frame)));
      const round = wire.sent.splice(0);
      for (const frame of round) {
        wire.a.input(frame);
        wire.b.input(frame);
      }
    }
    fc.assert(
      fc.property(
        fc.nat(seeds.length - 1),
        fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }),
        fc.nat(100),
        fc.boolean(),
        (seed, edits, cut, verified) => {
          const frame = Uint8Array.from(seeds[seed] ?? []).subarray(0, cut);
          for (const [at, value] of edits) if (at < frame.length) frame[at] = value;
          if (frame.length >= 6) frame.set(macBytes(verified ? BROADCAST : MAC_B), 0);
          wire.b.input(frame, verified);
          expect(wire.sent.splice(0).length).toBeLessThanOrEqual(9);
        },
      ),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        if (bytes.length >= 6) bytes.set(macBytes(MAC_B), 0);
        wire.b.input(bytes);
      }),
    );
  });
});

describe('addresses', () => {
  it('are read as people write them, and refused otherwise', () => {
    expect(parseIpv4('192.168.1.255')).toEqual({ ok: true, value: 0xc0a8_01ff });
    for (const wrong of ['1.2.3', '1.2.3.256', 'a.b.c.d', '', '1.2.3.4.5']) expect(parseIpv4(wrong).ok).toBe(false);
    expect(parseInterface('10.0.0.1/24')).toEqual({ ok: true, value: { address: IP_A, prefix: 24 } });
    for (const wrong of ['10.0.0.1', '10.0.0.1/33', '10.0.0/8', '10.0.0.1/'])
      expect(parseInterface(wrong).ok).toBe(false);
  });
});
