import { featureSet, MMIO, VIRTIO_BLK_F_FLUSH } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { BlockDevice, EntropyDevice, MemoryStorage } from './index.js';
import { DeviceBench } from './testing/device-bench.js';

describe('the counters of a device', () => {
  it('are those of its queues: requests, bytes each way, notifications, interrupts', () => {
    const bench = new DeviceBench(new EntropyDevice((bytes) => bytes.fill(7))).up(0n, 1);
    bench.offer(0, [], [100]);
    bench.offer(0, [], [28]);
    // Nowhere in memory.
    bench.offerBuffers(0, [], [{ address: 0n, length: 4 }]);
    expect(bench.registers.counters).toEqual({
      resets: 1,
      configChanges: 0,
      queues: [
        { notifications: 3, requests: 2, readBytes: 0, writtenBytes: 128, rejected: 1, interrupts: 3, latched: 0 },
      ],
    });
  });

  it('are of the queue that did it, and go on over a reset', () => {
    const bench = new DeviceBench(new BlockDevice(new MemoryStorage(new Uint8Array(4096)), { queues: 2 }));
    for (let life = 1; life <= 2; life += 1) {
      bench.up(featureSet(VIRTIO_BLK_F_FLUSH), 2);
      // A read of one sector: header, data, status.
      bench.offer(1, [new Uint8Array(16)], [512, 1]);
      expect(bench.registers.counters.resets).toBe(life);
      expect(bench.registers.counters.queues[0]).toMatchObject({ requests: 0, notifications: 0 });
      expect(bench.registers.counters.queues[1]).toMatchObject({
        requests: life,
        readBytes: 16 * life,
        writtenBytes: 513 * life,
      });
    }
  });

  it('tell a queue that was latched, once, and what the model refused', () => {
    const device = new BlockDevice(new MemoryStorage(new Uint8Array(4096)));
    const bench = new DeviceBench(device).up(0n, 1);
    const beyond = new Uint8Array(16);
    new DataView(beyond.buffer).setBigUint64(8, 8n, true);
    bench.offer(0, [beyond], [512, 1]);
    expect(device.counters).toEqual({ errors: 1, unsupported: 0, malformed: 0 });
    // 2.7.13.3: more buffers available than there are descriptors.
    const index = Number((bench.registers.queueConfig(0)?.driverArea ?? 0n) & 0xffffn) + 2;
    bench.memory.writeU16(index, 1000);
    for (let n = 0; n < 2; n += 1) bench.write(MMIO.QueueNotify, 0);
    bench.settle();
    expect(bench.registers.counters.queues[0]).toMatchObject({ latched: 1, notifications: 3 });
  });
});
