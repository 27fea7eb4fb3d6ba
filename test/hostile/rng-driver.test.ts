import { Prng } from '@remio/base';
import { type DeviceIo, EntropyDevice, type VirtioDevice } from '@remio/virtio-device';
import { VirtioRngDriver } from '@remio/virtio-driver';
import { DEVICE_ID_ENTROPY, featureSet, VIRTIO_F_EVENT_IDX } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { type PairProgram, pair } from '../support/pair.js';

/** Reads bytes with the driver; gives them, or why it gave up. */
const read =
  (bytes: number, requestSize = 4096): PairProgram<number[] | string> =>
  async (cpu, end) => {
    const probed = await VirtioRngDriver.probe(cpu, end, { depth: 4, requestSize });
    if (!probed.ok) return probed.error.code;
    const all: number[] = [];
    const ended = await probed.value.read(cpu, bytes, (piece) => void all.push(...piece));
    return ended.ok ? all : `${ended.error.code} ${ended.error.clause}`;
  };

/** An entropy device that answers with lengths of its own. */
class Liar implements VirtioDevice {
  readonly deviceId = DEVICE_ID_ENTROPY;
  readonly features = featureSet(VIRTIO_F_EVENT_IDX);
  readonly queueCount = 1;
  readonly queueSizeMax = 8;
  readonly config = new Uint8Array(0);
  #io: DeviceIo | undefined;

  constructor(private readonly says: (room: number) => number) {}

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(): void {
    const queue = this.#io?.queues[0];
    for (let popped = queue?.pop(); popped?.kind === 'chain'; popped = queue?.pop()) {
      queue?.push(popped.chain.head, this.says(popped.chain.writableLength));
    }
    this.#io?.used(0);
  }

  reset(done: () => void): void {
    done();
  }
}

describe('the entropy driver', () => {
  it('5.4.6: reads what the device wrote, in order, through the whole path', async () => {
    const source = new Prng(9);
    const prng = new Prng(9);
    const device = new EntropyDevice((bytes) => source.fill(bytes));
    const expected = [];
    for (const length of [4096, 4096, 1808]) {
      const piece = new Uint8Array(length);
      prng.fill(piece);
      expected.push(...piece);
    }
    expect(await pair(device, read(10_000))).toEqual(expected);
  });

  it('5.4.6.2: asks again for what a bounded answer left out', async () => {
    const device = new EntropyDevice((bytes) => bytes.fill(5));
    expect(await pair(device, read(300_000, 256 * 1024))).toHaveLength(300_000);
  });

  it('V3 (2.7.8.2): takes no more bytes than it asked for, whatever the device claims', async () => {
    expect(await pair(new Liar(() => 0xffff_ffff), read(10_000))).toHaveLength(10_000);
  });

  it('V4 (5.4.6.2): takes as many bytes as the device says, and no stale ones', async () => {
    expect(await pair(new Liar((room) => Math.min(room, 7)), read(1000))).toHaveLength(1000);
  });

  it('V4 (5.4.6.2): gives up on a device that answers without a byte for ever', async () => {
    expect(await pair(new Liar(() => 0), read(1000))).toBe('queue 5.4.6.2');
  });
});
