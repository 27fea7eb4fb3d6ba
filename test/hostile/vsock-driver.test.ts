import type { DeviceIo, VirtioDevice } from '@remio/virtio-device';
import { VirtioVsockDriver } from '@remio/virtio-driver';
import {
  DEVICE_ID_VSOCK,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VSOCK_CONFIG_SIZE,
  VSOCK_HEADER_SIZE,
  VSOCK_RXQ,
  VSOCK_TXQ,
} from '@remio/virtio-spec';
import { makeHeader, readHeader } from '@remio/vsock';
import { expect, it } from 'vitest';
import { MemoryStream } from '../../packages/virtio-device/src/testing/memory-stream.js';
import { pair } from '../support/pair.js';

const flow = { localCid: 2n, localPort: 77, peerCid: 3n, peerPort: 5000 };

/** A socket device that says what a test likes, and remembers what the driver answers. */
class Liar implements VirtioDevice {
  readonly deviceId = DEVICE_ID_VSOCK;
  readonly features = 0n;
  readonly queueCount = 3;
  readonly queueSizeMax = 32;
  readonly config = new Uint8Array(VSOCK_CONFIG_SIZE);
  readonly heard: number[] = [];
  #io: DeviceIo | undefined;

  constructor(
    private readonly script: { readonly queue: number; readonly bytes: Uint8Array; readonly claims?: number }[],
  ) {
    this.config[0] = 3;
  }

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(): void {
    const io = this.#io;
    if (io === undefined) return;
    const sent = io.queues[VSOCK_TXQ];
    for (let popped = sent?.pop(); popped?.kind === 'chain'; popped = sent?.pop()) {
      const [segment] = popped.chain.readable;
      if (segment !== undefined)
        this.heard.push(readHeader(io.memory.bytes(segment.offset, VSOCK_HEADER_SIZE).slice()).op);
      sent?.push(popped.chain.head, 0);
    }
    for (let next = this.script[0]; next !== undefined; next = this.script[0]) {
      const popped = io.queues[next.queue]?.pop();
      const [room] = popped?.kind === 'chain' ? popped.chain.writable : [];
      if (popped?.kind !== 'chain' || room === undefined) return;
      io.memory.bytes(room.offset, next.bytes.length).set(next.bytes);
      io.queues[next.queue]?.push(popped.chain.head, next.claims ?? next.bytes.length);
      io.used(next.queue);
      this.script.shift();
    }
  }

  reset(done: () => void): void {
    done();
  }
}

const packet = (op: number, length: number, payload: number, bufAlloc = 1 << 20, fwdCnt = 0): Uint8Array => {
  const bytes = new Uint8Array(VSOCK_HEADER_SIZE + payload);
  bytes.set(makeHeader(flow, { op, length, bufAlloc, fwdCnt }));
  return bytes;
};

it.each<readonly [string, Uint8Array, number]>([
  ['V20: a length larger than the packet', packet(VIRTIO_VSOCK_OP_RW, 1000, 10), 1],
  ['V20: a length of 4 GiB', packet(VIRTIO_VSOCK_OP_RW, 0xffff_ffff, 10), 1],
  ['V20: credit for what was never sent', packet(VIRTIO_VSOCK_OP_RW, 1, 1, 10, 1), 1],
  ['V20: an operation that there is not', packet(42, 0, 0), 1],
  ['V20: a packet that is cut off', packet(VIRTIO_VSOCK_OP_RW, 0, 0).subarray(0, 43), 0],
])('%s closes that connection at most, and the driver goes on', async (_, wrong, resets) => {
  const again = makeHeader({ ...flow, localPort: 78 }, { op: VIRTIO_VSOCK_OP_REQUEST, bufAlloc: 100 });
  const device = new Liar([
    { queue: VSOCK_RXQ, bytes: packet(VIRTIO_VSOCK_OP_REQUEST, 0, 0) },
    { queue: VSOCK_RXQ, bytes: wrong },
    { queue: VSOCK_RXQ, bytes: again },
  ]);
  const streams = await pair(device, async (cpu, end) => {
    const probed = await VirtioVsockDriver.probe(cpu, end, { buffers: 8, size: 2048 });
    if (!probed.ok) throw new Error(probed.error.detail);
    const driver = probed.value;
    const accepted: MemoryStream[] = [];
    driver.requested = (request) => {
      const stream = new MemoryStream();
      accepted.push(stream);
      request.accept(stream);
    };
    // The device answers within the flush, or later.
    for (;;) {
      const again = await driver.flush(cpu);
      if (accepted.length === 2) break;
      if (!again) await cpu.waitForInterrupt();
    }
    while (await driver.flush(cpu));
    return accepted;
  });
  expect(streams.map(({ destroyed }) => destroyed)).toEqual([resets > 0, false]);
  expect(device.heard.filter((op) => op === VIRTIO_VSOCK_OP_RST)).toHaveLength(resets);
});
