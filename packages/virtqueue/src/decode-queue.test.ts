import { guestAddress } from '@remio/base';
import { allocateMemory } from '@remio/guest-memory';
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { activateDeviceQueue, createDriverQueue, decodeQueue, layoutQueue } from './index.js';

const BASE = guestAddress(0x8000_0000n);
const BUFFER = BASE + 0x800n;

/** A queue in which 5 chains were made available, two of two descriptors, and the first three were used. */
const filled = (packed: boolean) => {
  const features = packed ? featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX) : 0n;
  const memory = allocateMemory(BASE, 0x1000);
  const { config } = layoutQueue(BASE, 8, features);
  const driver = createDriverQueue<number>(memory, config, features);
  const device = activateDeviceQueue(memory, config, features);
  if (!driver.ok || !device.ok) throw new Error('the queue is well formed');
  const round = (requests: number, used: number): void => {
    for (let n = 0; n < requests; n += 1) {
      const second = n % 2 === 1 ? [{ address: BUFFER + 64n, length: 5 }] : [];
      driver.value.add([{ address: BUFFER, length: 16 * (n + 1) }], second, n);
    }
    driver.value.publish();
    for (let n = 0; n < used; n += 1) {
      const popped = device.value.pop();
      if (popped.kind === 'chain') device.value.push(popped.chain.head, popped.chain.writableLength);
      driver.value.popUsed();
    }
  };
  return { memory, config, round, device: device.value };
};

describe('a queue decoded', () => {
  it.each([false, true])('shows what is in flight and what was used, packed: %s', (packed) => {
    const { memory, config, round } = filled(packed);
    expect(decodeQueue(memory, config, packed)).toMatchObject({ inFlight: [], recentlyUsed: [] });
    round(5, 3);
    const decoded = decodeQueue(memory, config, packed);
    expect(decoded?.inFlight.map(({ chain }) => chain.map(({ length }) => length))).toEqual([[64, 5], [80]]);
    expect(decoded?.recentlyUsed).toHaveLength(3);
    expect(decoded?.recentlyUsed[1]?.length).toBe(5);
  });

  it('2.8: finds where the driver is by the wrap counters, round after round', () => {
    const { memory, config, round } = filled(true);
    for (const offset of [1, 2, 3, 4, 5, 6, 7, 0, 1, 2]) {
      round(1, 1);
      expect(decodeQueue(memory, config, true)).toMatchObject({ next: { offset }, inFlight: [] });
    }
    expect(decodeQueue(memory, config, true)).toMatchObject({ next: { offset: 2, wrap: 0 } });
  });

  it('2.8.14: shows what both sides want to hear of', () => {
    const { memory, config, device, round } = filled(true);
    round(3, 0);
    device.pop();
    expect(decodeQueue(memory, config, true)).toMatchObject({
      driverEvent: { flags: 'ENABLE' },
      deviceEvent: { flags: 'DESC', offset: 1, wrap: 1 },
    });
  });

  it.each([false, true])(
    'is nothing where there is no memory, and ends whatever the memory holds, packed: %s',
    (packed) => {
      const { memory, config } = filled(packed);
      memory.bytes(0, 0x800).fill(0xff);
      expect(decodeQueue(memory, config, packed)?.inFlight.length).toBeLessThanOrEqual(8);
      expect(decodeQueue(memory, { ...config, deviceArea: 0n }, packed)).toBeUndefined();
    },
  );
});
