import { assert, guestAddress } from '@remio/base';
import { allocateMemory } from '@remio/guest-memory';
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import { activateDeviceQueue, createDriverQueue, layoutQueue } from '@remio/virtqueue';
import { type Bench, median, ratioList, showPerSecond } from './bench.js';

const BASE = guestAddress(0x8000_0000n);
const QUEUE_SIZE = 128;
/** Requests in flight. */
const BATCH = 32;
/** Bytes of each. */
const BYTES = 4096;
const BUFFERS = 0x1_0000;
const MEMORY = BUFFERS + BATCH * BYTES;

const LAYOUTS = [
  { name: 'split', features: featureSet(VIRTIO_F_EVENT_IDX) },
  { name: 'packed', features: featureSet(VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED) },
] as const;

/** Requests a second, driver and device together: made available, taken, their bytes copied, used, reaped. */
function ringOperations(features: bigint, count: number): number {
  const memory = allocateMemory(BASE, MEMORY);
  const { config, tables } = layoutQueue(BASE, QUEUE_SIZE, features);
  const driver = createDriverQueue<number>(memory, config, features, tables);
  const device = activateDeviceQueue(memory, config, features);
  assert(driver.ok && device.ok, 'the queue is a good one');
  const requests = Array.from({ length: BATCH }, (_, n) => [
    { address: BASE + BigInt(BUFFERS + n * BYTES), length: BYTES },
  ]);
  const target = new Uint8Array(BYTES);
  const start = process.hrtime.bigint();
  for (let done = 0; done < count; done += BATCH) {
    requests.forEach((readable, n) => {
      assert(driver.value.add(readable, [], n), 'there is room');
    });
    driver.value.publish();
    for (;;) {
      const popped = device.value.pop();
      if (popped.kind !== 'chain') break;
      for (const { offset, length } of popped.chain.readable) target.set(memory.bytes(offset, length));
      device.value.push(popped.chain.head, 0);
    }
    device.value.shouldInterrupt();
    let reaped = 0;
    while (driver.value.popUsed().kind === 'used') reaped += 1;
    assert(reaped === BATCH, 'every request comes back');
  }
  return count / (Number(process.hrtime.bigint() - start) / 1e9);
}

/** Copies of the same bytes a second, and nothing else. */
function copies(count: number): number {
  const source = Buffer.alloc(MEMORY);
  const target = Buffer.alloc(BYTES);
  const start = process.hrtime.bigint();
  for (let n = 0; n < count; n += 1) source.copy(target, 0, BUFFERS + (n % BATCH) * BYTES);
  return count / (Number(process.hrtime.bigint() - start) / 1e9);
}

/** Virtqueues alone. */
export const ring: Bench = {
  measure({ quick, runs, progress }) {
    const count = quick ? 64_000 : 640_000;
    const measured = LAYOUTS.map(({ name, features }) => ({
      name,
      features,
      rates: [] as number[],
      ratios: [] as number[],
    }));
    const floors: number[] = [];
    for (const { features } of LAYOUTS) ringOperations(features, count);
    copies(count);
    for (let run = 0; run < runs; run += 1) {
      progress.at(run, 'runs');
      const floor = copies(count);
      floors.push(floor);
      for (const { features, rates, ratios } of measured) {
        const rate = ringOperations(features, count);
        rates.push(rate);
        ratios.push(floor / rate);
      }
    }
    return Promise.resolve({
      title: `requests of ${BYTES} bytes through a virtqueue, ${BATCH} in flight; the floor: Buffer.copy of the same bytes; the ratio is that of the costs; medians`,
      rows: measured.map(({ name, rates, ratios }) => ({
        what: name,
        figure: showPerSecond(median(rates)),
        floor: showPerSecond(median(floors)),
        ratio: median(ratios),
      })),
      notes: measured.map(({ name, ratios }) => `ratios of the runs, ${name}: ${ratioList(ratios)}`),
      data: measured.map(({ name, rates, ratios }) => ({
        name,
        perSecond: median(rates),
        ratio: median(ratios),
        ratios,
      })),
    });
  },
};
