import {
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_OP_SHUTDOWN,
  VSOCK_HEADER_SIZE,
  VSOCK_RXQ,
  VSOCK_TXQ,
} from '@remio/virtio-spec';
import { makeHeader, readHeader, type VsockFlow, type VsockSaid } from '@remio/vsock';
import { describe, expect, it } from 'vitest';
import { DeviceBench } from '../testing/device-bench.js';
import { VsockDevice } from './device.js';
import { VsockGroup } from './group.js';

const nobody = {
  open: () => {},
  connect: (_: number, done: (no: undefined) => void) => done(undefined),
  close: () => Promise.resolve(),
};
const text = (characters: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(characters);
/** Lets what one device says to another arrive. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A guest with its device, played by a test. */
class Guest {
  readonly device: VsockDevice;
  readonly bench: DeviceBench;

  constructor(cid: bigint, group?: VsockGroup, { up = true } = {}) {
    this.device = new VsockDevice(cid, nobody, group);
    this.bench = new DeviceBench(this.device);
    if (!up) return;
    this.bench.up(0n, 3, 128);
    for (let n = 0; n < 16; n += 1) this.bench.offer(VSOCK_RXQ, [], [512]);
  }

  say(flow: VsockFlow, said: VsockSaid, payload = new Uint8Array(0)): void {
    const header = makeHeader(flow, { length: payload.length, bufAlloc: 1 << 16, ...said });
    this.bench.offer(VSOCK_TXQ, payload.length > 0 ? [header, payload] : [header]);
    this.bench.returned(VSOCK_TXQ);
  }

  async heard(): Promise<
    readonly { readonly op: number; readonly from: bigint; readonly port: number; readonly data: string }[]
  > {
    await settle();
    this.bench.settle();
    return this.bench.returned(VSOCK_RXQ).map(({ bytes }) => {
      const { op, srcCid: from, srcPort: port } = readHeader(bytes);
      return { op, from, port, data: new TextDecoder().decode(bytes.subarray(VSOCK_HEADER_SIZE)) };
    });
  }
}

/** Guest 3's flow to port 80 of guest 4, and the other way round. */
const there: VsockFlow = { localCid: 3n, localPort: 1000, peerCid: 4n, peerPort: 80 };
const back: VsockFlow = { localCid: 4n, localPort: 80, peerCid: 3n, peerPort: 1000 };

async function connected(): Promise<readonly [Guest, Guest]> {
  const group = new VsockGroup();
  const [a, b] = [new Guest(3n, group), new Guest(4n, group)];
  a.say(there, { op: VIRTIO_VSOCK_OP_REQUEST });
  expect(await b.heard()).toEqual([{ op: VIRTIO_VSOCK_OP_REQUEST, from: 3n, port: 1000, data: '' }]);
  b.say(back, { op: VIRTIO_VSOCK_OP_RESPONSE });
  expect(await a.heard()).toEqual([{ op: VIRTIO_VSOCK_OP_RESPONSE, from: 4n, port: 80, data: '' }]);
  return [a, b];
}

describe('socket devices of a group', () => {
  it('5.10.6.2: connect guests by their CIDs, carry bytes both ways, and end each way by itself', async () => {
    const [a, b] = await connected();
    a.say(there, { op: VIRTIO_VSOCK_OP_RW }, text('ping'));
    expect(await b.heard()).toEqual([{ op: VIRTIO_VSOCK_OP_RW, from: 3n, port: 1000, data: 'ping' }]);
    a.say(there, { op: VIRTIO_VSOCK_OP_SHUTDOWN, flags: 2 });
    expect(await b.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_SHUTDOWN }]);
    b.say(back, { op: VIRTIO_VSOCK_OP_RW }, text('pong'));
    expect(await a.heard()).toEqual([{ op: VIRTIO_VSOCK_OP_RW, from: 4n, port: 80, data: 'pong' }]);
  });

  it('refuse whoever is not there, has no driver, does not listen, or is the guest itself', async () => {
    const group = new VsockGroup();
    const a = new Guest(3n, group);
    new Guest(5n, group, { up: false });
    const b = new Guest(4n, group);
    const other = new Guest(6n, new VsockGroup());
    for (const peerCid of [3n, 5n, 6n, 7n, 1n]) {
      a.say({ ...there, peerCid }, { op: VIRTIO_VSOCK_OP_REQUEST });
      expect(await a.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_RST, from: peerCid }]);
    }
    a.say(there, { op: VIRTIO_VSOCK_OP_REQUEST });
    await b.heard();
    b.say(back, { op: VIRTIO_VSOCK_OP_RST });
    expect(await a.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_RST, from: 4n }]);
    expect(await other.heard()).toEqual([]);
  });

  it('end a guest\u2019s connections when the other resets its device, and only those', async () => {
    const [a, b] = await connected();
    b.bench.write(0x70, 0);
    expect(await a.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_SHUTDOWN }]);
    a.say(there, { op: VIRTIO_VSOCK_OP_RST });
    // It can be connected to again when it has a driver again.
    b.bench.up(0n, 3, 128);
    for (let n = 0; n < 4; n += 1) b.bench.offer(VSOCK_RXQ, [], [512]);
    a.say(there, { op: VIRTIO_VSOCK_OP_REQUEST });
    expect(await b.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_REQUEST, from: 3n }]);
  });

  it('forge no address: what a guest says for another is not heard', async () => {
    const [a, b] = await connected();
    a.say({ ...there, localCid: 9n }, { op: VIRTIO_VSOCK_OP_RW }, text('forged'));
    a.say({ localCid: 2n, localPort: 1, peerCid: 4n, peerPort: 80 }, { op: VIRTIO_VSOCK_OP_REQUEST });
    expect(await b.heard()).toEqual([]);
  });

  it('reach nobody without a group', async () => {
    const a = new Guest(3n);
    a.say(there, { op: VIRTIO_VSOCK_OP_REQUEST });
    expect(await a.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_RST }]);
  });

  it('leave it when they are closed', async () => {
    const group = new VsockGroup();
    const [a, b] = [new Guest(3n, group), new Guest(4n, group)];
    await b.device.close();
    a.say(there, { op: VIRTIO_VSOCK_OP_REQUEST });
    expect(await a.heard()).toMatchObject([{ op: VIRTIO_VSOCK_OP_RST }]);
  });
});
