import {
  featureSet,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { DeviceBench } from '../testing/device-bench.js';
import { BlockDevice } from './device.js';
import { MemoryStorage } from './storage.js';

const SECTORS = 256;
const BATCH = 8;
const disk = (): Uint8Array => Uint8Array.from({ length: SECTORS * 512 }, (_, n) => (n * 13) & 0xff);

const header = (type: number, sector: number): Uint8Array => {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
};

const EVENT_IDX = featureSet(VIRTIO_F_EVENT_IDX);
const rings = [
  ['split', 0n],
  ['split, EVENT_IDX', EVENT_IDX],
  ['split, EVENT_IDX, indirect tables', EVENT_IDX | featureSet(VIRTIO_F_INDIRECT_DESC)],
  ['packed', featureSet(VIRTIO_F_RING_PACKED)],
  ['packed, EVENT_IDX, indirect tables', EVENT_IDX | featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_INDIRECT_DESC)],
] as const;

/** A disk whose driver is on another host, and has made a request: only what follows is counted. */
function bench(features: bigint): { readonly bench: DeviceBench; readonly storage: MemoryStorage } {
  const storage = new MemoryStorage(disk());
  const made = new DeviceBench(new BlockDevice(storage, { queueSize: 64 }), { memory: 'remote' }).up(features, 1, 64);
  made.offerTogether(0, [{ readable: [header(VIRTIO_BLK_T_IN, 0)], room: [512, 1] }]);
  made.returned(0);
  made.interrupts = 0;
  const counters = made.link?.memory.counters;
  if (counters !== undefined) Object.assign(counters, { fetches: 0, writes: 0, bytesFetched: 0, bytesWritten: 0 });
  return { bench: made, storage };
}

describe.each(rings)('what a disk costs whose driver is on another host: %s', (_, features) => {
  it.each([1, BATCH])('%s reads: one exchange brings them all, one more takes the answers and looks again', (count) => {
    const { bench: disk0 } = bench(features);
    disk0.offerTogether(
      0,
      Array.from({ length: count }, (_, n) => ({ readable: [header(VIRTIO_BLK_T_IN, 2 * n)], room: [1024, 1] })),
    );
    const answers = disk0.returned(0);
    expect(answers.map(({ bytes }) => [...bytes])).toEqual(
      Array.from({ length: count }, (_, n) => [...disk().subarray(1024 * n, 1024 * (n + 1)), 0]),
    );
    expect(disk0.link?.memory.counters).toMatchObject({ fetches: 2, writes: 1 });
    expect(disk0.interrupts).toBe(1);
  });

  it.each([1, BATCH])('%s writes: their data comes with them', (count) => {
    const { bench: disk0, storage } = bench(features);
    const data = (n: number): Uint8Array => new Uint8Array(512).fill(0x80 + n);
    disk0.offerTogether(
      0,
      Array.from({ length: count }, (_, n) => ({ readable: [header(VIRTIO_BLK_T_OUT, n), data(n)], room: [1] })),
    );
    expect(disk0.returned(0).map(({ bytes }) => [...bytes])).toEqual(Array.from({ length: count }, () => [0]));
    for (let n = 0; n < count; n += 1) expect(storage.bytes.subarray(512 * n, 512 * (n + 1))).toEqual(data(n));
    expect(disk0.link?.memory.counters).toMatchObject({ fetches: 2, writes: 1 });
  });

  it.each(['before the step of an answer that came earlier is over', 'while a look at the ring is under way'] as const)(
    'hears a notification %s, though that look finds the ring empty',
    (when) => {
      const { bench: disk0 } = bench(features);
      const { link } = disk0;
      const offered = (sector: number): void =>
        disk0.offerTogether(0, [{ readable: [header(VIRTIO_BLK_T_IN, sector)], room: [512, 1] }], false);
      offered(0);
      // The first look finds the request; the second takes its answer along, and nothing more is there yet.
      for (const look of [1, 2]) {
        link?.endStep();
        expect(link?.memory.counters.fetches).toBe(look);
        while (link?.moveOut() === true);
        if (look === 1) link?.moveBack(() => disk0.catchUp());
      }
      disk0.returned(0);
      if (when === 'while a look at the ring is under way') offered(1);
      else expect(link?.moveBack(() => offered(1))).toBe(true);
      disk0.settle();
      expect(disk0.returned(0).map(({ bytes }) => [...bytes])).toEqual([[...disk().subarray(512, 1024), 0]]);
    },
  );

  it('serves what a look brings, though its driver notifies again meanwhile', () => {
    const { bench: disk0 } = bench(features);
    const { link } = disk0;
    const offer = (sector: number): void =>
      disk0.offerTogether(0, [{ readable: [header(VIRTIO_BLK_T_IN, sector)], room: [512, 1] }], false);
    offer(0);
    link?.endStep();
    while (link?.moveOut() === true);
    offer(1);
    link?.moveBack(() => disk0.catchUp());
    while (link?.moveOut() === true);
    const bytes = (sector: number): readonly number[] => [...disk().subarray(512 * sector, 512 * (sector + 1)), 0];
    expect(disk0.returned(0).map((answer) => [...answer.bytes])).toEqual([bytes(0)]);
    disk0.settle();
    expect(disk0.returned(0).map((answer) => [...answer.bytes])).toEqual([bytes(1)]);
  });

  it('an idle disk exchanges nothing', () => {
    const { bench: disk0 } = bench(features);
    disk0.offerTogether(0, [{ readable: [header(VIRTIO_BLK_T_IN, 0)], room: [512, 1] }]);
    disk0.returned(0);
    const before = { ...disk0.link?.memory.counters };
    disk0.settle();
    expect(disk0.link?.memory.counters).toEqual(before);
  });
});
