import { Prng } from '@remio/base';
import { featureSet, MMIO, STATUS_DEVICE_NEEDS_RESET, VIRTIO_F_INDIRECT_DESC } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { DeviceBench, MEMORY_KINDS } from '../testing/device-bench.js';
import { ENTROPY_PIECE, EntropyDevice } from './device.js';

const seeded = (): EntropyDevice => {
  const prng = new Prng(3);
  return new EntropyDevice((bytes) => prng.fill(bytes));
};

/** The first bytes that {@link seeded} gives, when it fills pieces of these lengths. */
const expected = (...lengths: readonly number[]): readonly Uint8Array[] => {
  const prng = new Prng(3);
  return lengths.map((length) => {
    const bytes = new Uint8Array(length);
    prng.fill(bytes);
    return bytes;
  });
};

describe.each(MEMORY_KINDS)('the entropy device, memory: %s', (memory) => {
  it('5.4.6: fills every buffer of a request, in order', () => {
    const bench = new DeviceBench(seeded(), { memory }).up(0n, 1);
    bench.offer(0, [], [100, 7]);
    bench.offer(0, [], [64]);
    const [a, b, c] = expected(100, 7, 64);
    expect(bench.returned(0).map(({ bytes }) => [...bytes])).toEqual([[...(a ?? []), ...(b ?? [])], [...(c ?? [])]]);
  });
});

describe('the entropy device', () => {
  it('5.4.6.2: serves a huge request with one bounded piece, and asks for no more memory than that', () => {
    const lengths: number[] = [];
    const bench = new DeviceBench(new EntropyDevice((bytes) => void lengths.push(bytes.length))).up(0n, 1);
    bench.offer(0, [], [1 << 20, 1 << 20]);
    bench.offer(0, [], [ENTROPY_PIECE - 1, 2, 1]);
    expect(bench.returned(0).map(({ written }) => written)).toEqual([ENTROPY_PIECE, ENTROPY_PIECE]);
    expect(lengths).toEqual([ENTROPY_PIECE, ENTROPY_PIECE - 1, 1]);
  });

  it.each([
    ['a device-readable buffer (5.4.6.1)', [new Uint8Array(4)], [64]],
    ['nothing but a device-readable buffer', [new Uint8Array(4)], []],
    ['A9: an empty buffer', [], [0]],
  ] as const)('%s: the chain comes back with nothing in it, and the queue lives', (_, readable, room) => {
    const bench = new DeviceBench(seeded()).up(0n, 1);
    bench.offer(0, readable, room);
    bench.offer(0, [], [8]);
    expect(bench.returned(0).map(({ written }) => written)).toEqual([0, 8]);
  });

  it('A10: a buffer outside the memory comes back with nothing in it, and the queue lives', () => {
    const bench = new DeviceBench(seeded()).up(featureSet(VIRTIO_F_INDIRECT_DESC), 1);
    bench.offerBuffers(0, [], [{ address: 0x10n, length: 64 }]);
    bench.offerBuffers(0, [], [{ address: 0xffff_ffff_ffff_fff0n, length: 0xffff_ffff }]);
    bench.offer(0, [], [8]);
    expect(bench.returned(0).map(({ written }) => written)).toEqual([0, 0, 8]);
    expect(bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
  });

  it('2.4: serves nothing after a reset, and everything after the next start', () => {
    const bench = new DeviceBench(seeded()).up(0n, 1);
    bench.write(MMIO.Status, 0);
    bench.write(MMIO.QueueNotify, 0);
    bench.settle();
    expect(bench.returned(0)).toEqual([]);
    bench.up(0n, 1);
    bench.offer(0, [], [8]);
    expect(bench.returned(0)).toHaveLength(1);
  });
});
