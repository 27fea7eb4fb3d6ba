import { fc, it as property } from '@fast-check/vitest';
import { type ByteStream, IGNORE, streamPair } from '@remio/base';
import { VIRTIO_VSOCK_OP_RW, VSOCK_HDR_BUF_ALLOC, VSOCK_HEADER_SIZE } from '@remio/virtio-spec';
import { describe, expect } from 'vitest';
import { readHeader, VsockEndpoint, type VsockHeader } from './index.js';

/** A packet on its way. */
interface Packet {
  readonly header: VsockHeader;
  readonly payload: Uint8Array;
}

/** What a side knows of its peer's buffer, and what it has sent into it: what 5.10.6.3 binds it to. */
interface Account {
  alloc: number;
  forwarded: number;
  sent: number;
}

/** One side of a connection: an endpoint, and a program that writes and reads a count of bytes. */
class Side {
  readonly endpoint: VsockEndpoint;
  readonly outgoing: Packet[] = [];
  readonly account: Account = { alloc: 0, forwarded: 0, sent: 0 };
  program: ByteStream | undefined;
  overdrawn = 0;
  written = 0;
  read = 0;
  wrong = 0;
  readonly #cid: bigint;
  readonly #alloc: number;

  /** @param alloc what its packets say of its buffer; it has more, so that only the sender's own account binds it */
  constructor(cid: bigint, alloc: number) {
    this.#cid = cid;
    this.#alloc = alloc;
    this.endpoint = new VsockEndpoint({ sendable: () => {}, requested: ({ accept }) => accept(this.joined()) });
  }

  joined(): ByteStream {
    const [near, far] = streamPair();
    far.handler = IGNORE;
    this.program = far;
    return near;
  }

  connect(to: bigint): void {
    const flow = { localCid: this.#cid, localPort: 1, peerCid: to, peerPort: 2 };
    const connection = this.endpoint.connect(flow, () => {});
    connection?.join(this.joined());
  }

  write(count: number): void {
    const bytes = Uint8Array.from({ length: count }, (_, n) => this.written + n);
    this.written += this.program?.write(bytes) ?? 0;
  }

  take(count: number): void {
    const bytes = new Uint8Array(count);
    const got = this.program?.read(bytes) ?? 0;
    for (const byte of bytes.subarray(0, got)) if (byte !== (this.read++ & 0xff)) this.wrong += 1;
  }

  /** Puts one packet on its way; false if there is none. */
  send(room: number): boolean {
    const packet = this.endpoint.next(VSOCK_HEADER_SIZE + room);
    if (packet === undefined) return false;
    const payload = new Uint8Array(packet.length);
    packet.read(payload);
    const bytes = packet.header.slice();
    new DataView(bytes.buffer).setUint32(VSOCK_HDR_BUF_ALLOC, this.#alloc, true);
    const header = readHeader(bytes);
    if (header.op === VIRTIO_VSOCK_OP_RW) {
      const { account } = this;
      account.sent += header.length;
      if (account.sent - account.forwarded > account.alloc) this.overdrawn += 1;
    }
    this.outgoing.push({ header, payload });
    return true;
  }

  /** The oldest packet of the other side arrives; false if there is none. */
  receive(from: Side): boolean {
    const packet = from.outgoing.shift();
    if (packet === undefined) return false;
    this.account.alloc = packet.header.bufAlloc;
    this.account.forwarded = packet.header.fwdCnt;
    this.endpoint.receive(packet.header, [packet.payload]);
    return true;
  }
}

type Step = readonly [what: 'write' | 'take' | 'send' | 'receive' | 'settle', side: 0 | 1, amount: number];

const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom('write', 'take', 'send', 'send', 'receive', 'receive', 'settle'),
  fc.constantFrom(0 as const, 1 as const),
  fc.integer({ min: 1, max: 2000 }),
);

/** Whoever is told of something later hears of it now. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('5.10.6.3: credit', () => {
  property.prop([
    fc.integer({ min: 1, max: 3000 }),
    fc.integer({ min: 1, max: 3000 }),
    fc.array(step, { maxLength: 200 }),
  ])(
    'nobody sends more than the other has said to have room for, and every byte arrives, in order, however it goes',
    async (allocA, allocB, steps) => {
      const sides = [new Side(3n, allocA), new Side(4n, allocB)] as const;
      const [a, b] = sides;
      a.connect(4n);
      const act = async ([what, index, amount]: Step): Promise<boolean> => {
        const side = sides[index];
        const other = sides[index === 0 ? 1 : 0];
        switch (what) {
          case 'write':
            side.write(amount);
            return true;
          case 'take':
            side.take(amount);
            return true;
          case 'send':
            return side.send(amount);
          case 'receive':
            return side.receive(other);
          case 'settle':
            await settle();
            return true;
        }
      };
      for (const one of steps) await act(one);
      // Now everybody does what is left to do.
      for (let idle = 0; idle < 3; ) {
        const before = [a.read, b.read];
        let moved = false;
        for (const index of [0, 1] as const) {
          while (await act(['send', index, 4096])) moved = true;
          while (await act(['receive', index, 0])) moved = true;
          await act(['take', index, 1 << 16]);
        }
        await settle();
        idle = moved || a.read !== before[0] || b.read !== before[1] ? 0 : idle + 1;
      }
      expect({ overdrawn: [a.overdrawn, b.overdrawn], wrong: [a.wrong, b.wrong] }).toEqual({
        overdrawn: [0, 0],
        wrong: [0, 0],
      });
      expect([a.read, b.read]).toEqual([b.written, a.written]);
      expect([a.endpoint.size, b.endpoint.size]).toEqual([1, 1]);
    },
  );
});
