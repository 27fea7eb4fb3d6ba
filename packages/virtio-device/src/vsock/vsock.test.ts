import type { ByteStream } from '@remio/base';
import {
  MMIO,
  STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_VSOCK_OP_CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_OP_SHUTDOWN,
  VSOCK_EVENTQ,
  VSOCK_HDR_TYPE,
  VSOCK_HEADER_SIZE,
  VSOCK_RXQ,
  VSOCK_TXQ,
} from '@remio/virtio-spec';
import { BUF_ALLOC, CONNECTIONS_MAX, makeHeader, readHeader, type VsockSaid } from '@remio/vsock';
import { describe, expect, it } from 'vitest';
import { DeviceBench } from '../testing/device-bench.js';
import { MemoryStream } from '../testing/memory-stream.js';
import { VsockDevice, type VsockOutside } from './device.js';

const GUEST = 3n;
const flow = { localCid: GUEST, localPort: 1000, peerCid: 2n, peerPort: 6000 };
const text = (characters: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(characters);
const string = (bytes: Iterable<number>): string => new TextDecoder().decode(Uint8Array.from(bytes));

/** Programs of the host that a test plays: port 6000 has one, other ports have none. */
class Outside implements VsockOutside {
  readonly streams: MemoryStream[] = [];
  connectIn: (stream: ByteStream) => void = () => {};

  open(connected: (stream: ByteStream) => void): void {
    this.connectIn = connected;
  }
  connect(port: number, done: (stream: ByteStream | undefined) => void): void {
    if (port !== 6000) return done(undefined);
    const stream = new MemoryStream();
    this.streams.push(stream);
    done(stream);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

class Bench {
  readonly outside = new Outside();
  readonly bench = new DeviceBench(new VsockDevice(GUEST, this.outside)).up(0n, 3, 128);

  /** Sends a packet. */
  say(
    said: VsockSaid,
    payload = new Uint8Array(0),
    from = flow,
    change: (header: Uint8Array) => void = () => {},
  ): void {
    const header = makeHeader(from, { length: payload.length, bufAlloc: 1 << 20, ...said });
    change(header);
    this.bench.offer(VSOCK_TXQ, payload.length > 0 ? [header, payload] : [header]);
    this.bench.returned(VSOCK_TXQ);
  }

  /** Gives room for packets. */
  room(count: number, bytes = 256): void {
    for (let n = 0; n < count; n += 1) this.bench.offer(VSOCK_RXQ, [], [bytes]);
  }

  /** What the device said: operations, and payload as text. */
  heard(): readonly (readonly [number, string])[] {
    return this.bench
      .returned(VSOCK_RXQ)
      .map(({ bytes }) => [readHeader(bytes).op, string(bytes.subarray(VSOCK_HEADER_SIZE))] as const);
  }

  /** A connection of the guest to port 6000. */
  connected(): MemoryStream {
    this.room(8);
    this.say({ op: VIRTIO_VSOCK_OP_REQUEST });
    expect(this.heard()).toEqual([[VIRTIO_VSOCK_OP_RESPONSE, '']]);
    const [stream] = this.outside.streams;
    if (stream === undefined) throw new Error('nobody was connected to');
    return stream;
  }
}

describe('the socket device', () => {
  it('5.10.6.5: connects a guest to a program, carries bytes both ways, and ends each way by itself', () => {
    const bench = new Bench();
    const stream = bench.connected();
    bench.say({ op: VIRTIO_VSOCK_OP_RW }, text('hello'));
    expect(string(stream.taken)).toBe('hello');
    stream.arrive(text('answer'));
    stream.finish();
    bench.bench.settle();
    expect(bench.heard()).toEqual([
      [VIRTIO_VSOCK_OP_RW, 'answer'],
      [VIRTIO_VSOCK_OP_SHUTDOWN, ''],
    ]);
    bench.say({ op: VIRTIO_VSOCK_OP_RW }, text(' again'));
    bench.say({ op: VIRTIO_VSOCK_OP_SHUTDOWN, flags: 3 });
    expect([string(stream.taken), stream.endSaid]).toEqual(['hello again', true]);
    expect(bench.heard()).toEqual([[VIRTIO_VSOCK_OP_RST, '']]);
  });

  it('5.10.6.3: says its credit when it is asked, and by itself when half of the room is free again', () => {
    const bench = new Bench();
    bench.connected();
    bench.say({ op: VIRTIO_VSOCK_OP_CREDIT_REQUEST });
    expect(bench.heard()).toEqual([[VIRTIO_VSOCK_OP_CREDIT_UPDATE, '']]);
    bench.say({ op: VIRTIO_VSOCK_OP_RW }, new Uint8Array(BUF_ALLOC / 2 - 1));
    expect(bench.heard()).toEqual([]);
    bench.say({ op: VIRTIO_VSOCK_OP_RW }, new Uint8Array(1));
    expect(bench.heard()).toEqual([[VIRTIO_VSOCK_OP_CREDIT_UPDATE, '']]);
  });

  it('5.10.6.3: sends no more than the guest has room for, and asks for credit once', () => {
    const bench = new Bench();
    bench.room(8);
    bench.say({ op: VIRTIO_VSOCK_OP_REQUEST, bufAlloc: 4 });
    bench.heard();
    bench.outside.streams[0]?.arrive(text('too long'));
    bench.bench.settle();
    expect(bench.heard()).toEqual([
      [VIRTIO_VSOCK_OP_RW, 'too '],
      [VIRTIO_VSOCK_OP_CREDIT_REQUEST, ''],
    ]);
    bench.say({ op: VIRTIO_VSOCK_OP_CREDIT_UPDATE, bufAlloc: 4, fwdCnt: 4 });
    expect(bench.heard()[0]).toEqual([VIRTIO_VSOCK_OP_RW, 'long']);
  });

  it('a program of the host connects with CONNECT, and hears OK when the guest has accepted', () => {
    const bench = new Bench();
    bench.room(4);
    const stream = new MemoryStream();
    bench.outside.connectIn(stream);
    stream.arrive(text('CONNECT 5000\nearly'));
    bench.bench.settle();
    const [packet] = bench.bench.returned(VSOCK_RXQ);
    const header = readHeader(packet?.bytes ?? new Uint8Array(VSOCK_HEADER_SIZE));
    expect(header).toMatchObject({ op: VIRTIO_VSOCK_OP_REQUEST, srcCid: 2n, dstCid: GUEST, dstPort: 5000 });
    const back = { localCid: GUEST, localPort: 5000, peerCid: 2n, peerPort: header.srcPort };
    bench.say({ op: VIRTIO_VSOCK_OP_RESPONSE }, undefined, back);
    expect(string(stream.taken)).toBe(`OK ${header.srcPort}\n`);
    expect(bench.heard()).toEqual([[VIRTIO_VSOCK_OP_RW, 'early']]);
  });

  const view = (header: Uint8Array): DataView => new DataView(header.buffer, header.byteOffset);

  it.each<readonly [string, (bench: Bench) => void]>([
    ['an operation that there is not', (b) => b.say({ op: 99 })],
    ['VIRTIO_VSOCK_OP_INVALID', (b) => b.say({ op: 0 })],
    ['a length larger than the payload', (b) => b.say({ op: VIRTIO_VSOCK_OP_RW, length: 100 }, text('short'))],
    [
      'more bytes than there was room for',
      (b) => {
        for (let n = 0; n < 3; n += 1) b.say({ op: VIRTIO_VSOCK_OP_RW }, new Uint8Array(BUF_ALLOC / 2));
      },
    ],
    ['credit for what was never sent', (b) => b.say({ op: VIRTIO_VSOCK_OP_CREDIT_UPDATE, fwdCnt: 5 })],
    ['a second request on the same flow', (b) => b.say({ op: VIRTIO_VSOCK_OP_REQUEST })],
    ['a response to no request', (b) => b.say({ op: VIRTIO_VSOCK_OP_RESPONSE })],
    [
      'data after SHUTDOWN',
      (b) => {
        b.say({ op: VIRTIO_VSOCK_OP_SHUTDOWN, flags: 2 });
        b.say({ op: VIRTIO_VSOCK_OP_RW }, text('late'));
      },
    ],
  ])('%s ends that connection with RST, and another can be made', (_, does) => {
    const bench = new Bench();
    const stream = bench.connected();
    stream.block();
    does(bench);
    expect(bench.heard().map(([op]) => op)).toContain(VIRTIO_VSOCK_OP_RST);
    expect(stream.destroyed).toBe(true);
    bench.room(4);
    bench.say({ op: VIRTIO_VSOCK_OP_REQUEST });
    expect(bench.heard()).toEqual([[VIRTIO_VSOCK_OP_RESPONSE, '']]);
    expect(bench.bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
  });

  it.each<readonly [string, (bench: Bench) => void, boolean]>([
    [
      '5.10.6.4: an unknown type',
      (b) => b.say({ op: 1 }, undefined, flow, (h) => view(h).setUint16(VSOCK_HDR_TYPE, 9, true)),
      true,
    ],
    ['a port where nobody is', (b) => b.say({ op: 1 }, undefined, { ...flow, peerPort: 7 }), true],
    ['a CID that is not the host', (b) => b.say({ op: 1 }, undefined, { ...flow, peerCid: 9n }), true],
    ['data of no connection', (b) => b.say({ op: VIRTIO_VSOCK_OP_RW }, text('x')), true],
    ['RST of no connection', (b) => b.say({ op: VIRTIO_VSOCK_OP_RST }), false],
    ['a CID that is not the guest\u2019s', (b) => b.say({ op: 1 }, undefined, { ...flow, localCid: 4n }), false],
    ['a packet without a whole header', (b) => b.bench.offer(VSOCK_TXQ, [new Uint8Array(43)]), false],
    [
      'a packet that the device should write',
      (b) => b.bench.offer(VSOCK_TXQ, [makeHeader(flow, { op: 1 })], [8]),
      false,
    ],
  ])('%s is answered with RST, or with nothing where nobody is to be answered', (_, does, answered) => {
    const bench = new Bench();
    bench.room(4);
    does(bench);
    expect(bench.heard()).toEqual(answered ? [[VIRTIO_VSOCK_OP_RST, '']] : []);
    expect(bench.outside.streams).toEqual([]);
  });

  it('5.10.6.1: a flood of requests keeps a bounded number of connections, and waits for room for its answers', () => {
    const bench = new Bench();
    const queue = bench.bench.queues[VSOCK_TXQ];
    let sent = 0;
    for (let n = 0; n < 1000 && (queue?.free ?? 0) > 0; n += 1) {
      bench.say({ op: VIRTIO_VSOCK_OP_REQUEST }, undefined, { ...flow, localPort: n });
      sent += 1;
    }
    expect(bench.outside.streams.length).toBe(CONNECTIONS_MAX);
    expect(sent).toBeLessThan(CONNECTIONS_MAX + 64 + 130);
    bench.room(100);
    expect(bench.heard().length).toBe(100);
  });

  it('2.4: a reset of the device ends every connection', () => {
    const bench = new Bench();
    const stream = bench.connected();
    bench.bench.up(0n, 3);
    expect(stream.destroyed).toBe(true);
  });

  it('5.10.6.7: after a saved state was taken over, tells that the transport was reset', () => {
    const device = new VsockDevice(GUEST, new Outside());
    const bench = new DeviceBench(device).up(0n, 3);
    device.resume();
    bench.offer(VSOCK_EVENTQ, [], [8]);
    expect(bench.returned(VSOCK_EVENTQ).map(({ bytes }) => [...bytes])).toEqual([[0, 0, 0, 0]]);
  });
});
