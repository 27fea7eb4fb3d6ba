import {
  BLOCK,
  DEVICE_CASES,
  GuestTarget,
  HostileDriver,
  type Layout,
  RegistersTarget,
  type Trial,
  tryDevice,
} from '@remio/hostile';
import { BlockDevice, type BlockStorage, EntropyDevice, MemoryStorage, type VirtioDevice } from '@remio/virtio-device';
import { ALL_RING_FEATURES } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { pair } from '../support/pair.js';
import { caseIds, caseName } from './catalogue.js';

const LAYOUTS: readonly Layout[] = ['split', 'packed'];

/** Devices that the catalogue is tried on; those of other families are in their own tables. */
const DEVICES: readonly (readonly [name: string, make: () => VirtioDevice])[] = [
  ['block', () => new BlockDevice(new MemoryStorage(new Uint8Array(1 << 20)), { queues: 2 })],
  ['entropy', () => new EntropyDevice((bytes) => bytes.fill(1))],
];

/** What is wrong, in words. */
const wrong = (trials: readonly Trial[]): readonly string[] =>
  trials
    .filter(({ ok }) => !ok)
    .map((trial) => `${caseName(trial)}: ${trial.seen}, not ${trial.expected.join(' or ')}; ${trial.detail ?? ''}`);

const collect = async (trials: AsyncIterable<Trial>): Promise<readonly Trial[]> => {
  const all: Trial[] = [];
  for await (const trial of trials) all.push(trial);
  return all;
};

describe('catalogue A', () => {
  it('has a case for every id, and no two of one name', () => {
    const covered = new Set<string>(DEVICE_CASES.map(({ id }) => id));
    // A42 to A44 are in the tables of their families, A48 is below.
    const elsewhere = ['A42', 'A43', 'A44', 'A48'];
    expect(caseIds('A', 1, 48).filter((id) => !covered.has(id))).toEqual(elsewhere);
    const names = DEVICE_CASES.map((each) => `${caseName(each)} ${each.layouts.join()}`);
    expect(new Set(names).size).toBe(names.length);
  });

  for (const [name, make] of DEVICES) {
    it.each(LAYOUTS)(`${name}, %s queues: every case, straight at the registers`, async (layout) => {
      const trials = await collect(tryDevice(new RegistersTarget(make()), { name, layouts: [layout] }));
      expect(trials.length).toBeGreaterThan(70);
      expect(wrong(trials)).toEqual([]);
    });

    it.each(LAYOUTS)(`${name}, %s queues: every case, through traps and hypercalls`, async (layout) => {
      const trials = await pair(make(), async (cpu, end, vm) => {
        const target = await GuestTarget.create(cpu, end, vm);
        // Millions of accesses are not needed to see the indices wrap once more.
        return collect(tryDevice(target, { name, layouts: [layout], wants: ({ id }) => id !== 'A25' }));
      });
      expect(trials.length).toBeGreaterThan(70);
      expect(wrong(trials)).toEqual([]);
    });
  }
});

/** A disk that never answers. */
const never: BlockStorage = {
  capacity: 4096,
  readOnly: false,
  read: () => {},
  write: () => {},
  flush: () => {},
  close: () => Promise.resolve(),
};

/** What is changed in the state of a queue that has one request in flight (of one descriptor). */
const SNAPSHOTS: readonly (readonly [title: string, layouts: readonly Layout[], change: Record<string, unknown>])[] = [
  ['more in flight than the ring holds', ['split'], { lastAvail: 20 }],
  ['more in flight than the ring holds', ['packed'], { avail: 12 }],
  ['indices that say of nothing in flight', ['split'], { lastAvail: 0 }],
  ['positions that say of nothing in flight', ['packed'], { avail: 0 }],
  ['an index of 17 bits', ['split'], { usedIdx: 0x1_0000 }],
  ['a position beyond two rounds', ['packed'], { used: 18 }],
  ['a queue of the other layout', ['split'], { layout: 'packed' }],
  ['a queue of the other layout', ['packed'], { layout: 'split' }],
  ['nothing in flight', LAYOUTS, { inFlight: [] }],
  ['a chain whose buffer lies outside the memory', LAYOUTS, { readable: [[0x7fff_ffff, 16]] }],
  ['a chain that is longer than the ring', LAYOUTS, { descriptors: 100 }],
  ['a chain that waits for an earlier one that is not there', LAYOUTS, { written: 1 }],
];

describe('A48 (trust boundary): a saved state that no queue can be in is refused', () => {
  const inFlight = async (layout: Layout): Promise<{ queues: { running: Record<string, unknown> }[] }> => {
    const target = new RegistersTarget(new BlockDevice(never));
    const driver = new HostileDriver(target, BLOCK);
    await driver.bringUp({ layout, ring: ALL_RING_FEATURES });
    const [queue] = driver.requestQueues();
    queue.put([queue.table(driver.allocate(256), driver.place().pieces)]);
    await driver.notify(queue);
    return JSON.parse(JSON.stringify(target.registers.save()));
  };

  it.each(LAYOUTS)('%s: what was saved is taken', async (layout) => {
    const state = await inFlight(layout);
    expect(new RegistersTarget(new BlockDevice(never)).registers.restore(state)).toMatchObject({ ok: true });
  });

  it.each(SNAPSHOTS.flatMap(([title, layouts, change]) => layouts.map((layout) => [layout, title, change] as const)))(
    '%s: %s',
    async (layout, _, change) => {
      const state = await inFlight(layout);
      const running = state.queues[0]?.running ?? {};
      const [chain] = running['inFlight'] as Record<string, unknown>[];
      for (const [name, value] of Object.entries(change)) {
        if (chain !== undefined && name in chain) chain[name] = value;
        else running[name] = value;
      }
      const target = new RegistersTarget(new BlockDevice(never));
      expect(target.registers.restore(state)).toMatchObject({ ok: false, error: expect.stringContaining('queues[0]') });
      expect(target.registers.status).toBe(0);
    },
  );
});
