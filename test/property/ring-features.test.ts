import { ALL_RING_FEATURES, featureSet, hasFeature, RING_FEATURES, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MEMORY_KINDS, RingWorld } from './ring-world.js';

/** Runs for each subset of the features and each kind of memory. */
const RUNS = 10;

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('add' as const), readable: fc.nat(5), writable: fc.nat(5) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const) }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('device' as const), choice: fc.nat(255) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('reap' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('silence' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('sleep' as const), after: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('deliver' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('forget' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset-queue' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset-device' as const) }) },
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function apply(world: RingWorld, action: Step): void {
  switch (action.do) {
    case 'add':
      return world.add(action.readable, action.writable);
    case 'publish':
      return world.publish();
    case 'device':
      return world.deviceStep(action.choice);
    case 'reap':
      return world.reap();
    case 'silence':
      return world.silence();
    case 'sleep':
      return world.sleep(action.after);
    case 'deliver':
      world.deliver();
      return;
    case 'forget':
      return world.forget();
    case 'reset-queue':
      return world.resetQueue();
    case 'reset-device':
      return world.resetDevice();
  }
}

const subsets = Object.values(RING_FEATURES).reduce<readonly bigint[]>(
  (all, bit) => all.flatMap((set) => [set, set | featureSet(bit)]),
  [0n],
);

const nameOf = (features: bigint): string =>
  Object.entries(RING_FEATURES)
    .filter(([, bit]) => hasFeature(features, bit))
    .map(([name]) => name)
    .join(' ') || 'none';

const sizes = (features: bigint): fc.Arbitrary<number> =>
  hasFeature(features, VIRTIO_F_RING_PACKED)
    ? fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 300 }))
    : fc.integer({ min: 0, max: 8 }).map((exponent) => 2 ** exponent);

describe('a driver and a device, whatever they negotiate and in whatever order they act', () => {
  it.each(subsets.map((features) => [nameOf(features), features] as const))(
    '%s: every request ends once, with its own bytes, and nobody sleeps for ever',
    (_, features) => {
      for (const memory of MEMORY_KINDS) {
        fc.assert(
          fc.property(sizes(features), fc.array(step, { minLength: 20, maxLength: 250 }), (size, steps) => {
            const world = new RingWorld({ features, size, memory });
            for (const action of steps) apply(world, action);
            // The driver has published what it made, and both go to sleep as the protocol lets them.
            world.publish();
            expect(world.settle()).toBe(0);
            expect(world.clean).toBe(true);
          }),
          { numRuns: RUNS },
        );
      }
    },
  );

  it.each([
    ['split', ALL_RING_FEATURES & ~featureSet(VIRTIO_F_RING_PACKED)],
    ['packed', ALL_RING_FEATURES],
  ])('2.7, 2.8: %s queues of 32768 descriptors work as small ones do', (_, features) => {
    const world = new RingWorld({ features, size: 32_768, memory: 'local' });
    for (let round = 0; round < 1500; round += 1) {
      for (let n = 0; n < 100; n += 1) world.add(1, n % 2);
      world.publish();
      expect(world.settle()).toBe(0);
    }
    expect(world.ended).toBe(150_000);
    expect(world.clean).toBe(true);
  });
});
