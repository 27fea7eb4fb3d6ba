import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALL_OFFLOADS, type FramePort, LearningSwitch } from '@remio/ethernet';
import { SharedDirectory } from '@remio/host-io';
import {
  ALL_DEVICE_CASES,
  BLOCK,
  GuestTarget,
  HostileDriver,
  type Layout,
  RegistersTarget,
  type Trial,
  tryDevice,
} from '@remio/hostile';
import {
  BlockDevice,
  type BlockStorage,
  ConsoleDevice,
  Eeprom,
  EntropyDevice,
  FsDevice,
  GpioDevice,
  I2cDevice,
  MemoryStorage,
  NetDevice,
  type VirtioDevice,
  VsockDevice,
} from '@remio/virtio-device';
import { ALL_RING_FEATURES } from '@remio/virtio-spec';
import { afterAll, describe, expect, it } from 'vitest';
import { pair } from '../support/pair.js';
import { caseIds, caseName } from './catalogue.js';

const LAYOUTS: readonly Layout[] = ['split', 'packed'];

/** Devices that the catalogue is tried on; those of other families are in their own tables. */
const DEVICES: readonly (readonly [name: string, make: () => VirtioDevice])[] = [
  ['block', () => new BlockDevice(new MemoryStorage(new Uint8Array(1 << 20)), { queues: 2 })],
  ['entropy', () => new EntropyDevice((bytes) => bytes.fill(1))],
  ['network', () => new NetDevice(offloading(new LearningSwitch().port('a')), { mac: 0x0200_0000_0001 })],
  [
    'console',
    () =>
      new ConsoleDevice([
        { source: silent, console: true },
        { source: silent, console: false, name: 'b' },
      ]),
  ],
  ['socket', () => new VsockDevice(3n, nobody)],
  ['file system', () => new FsDevice(sharedDirectory(), { tag: 'share' })],
  ['I2C adapter', () => new I2cDevice(new Map([[0x50, new Eeprom(Uint8Array.of(1, 2, 3))]]))],
  [
    'GPIO',
    () =>
      new GpioDevice([
        { name: 'a', pull: 0 },
        { name: 'b', pull: 0 },
      ]),
  ],
];

/** A port that takes over what a device may leave to it: every feature of a network device is offered. */
const offloading = (port: FramePort): FramePort =>
  new Proxy(port, {
    get: (target, key) => {
      if (key === 'offloads') return ALL_OFFLOADS;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
const silent = { open: () => {}, close: () => Promise.resolve() };
const nobody = { open: () => {}, connect: () => {}, close: () => Promise.resolve() };

const share = mkdtempSync(join(tmpdir(), 'remio-hostile-share-'));
afterAll(() => rmSync(share, { recursive: true, force: true }));
const sharedDirectory = (): SharedDirectory => {
  const directory = SharedDirectory.open(share, true);
  if (!directory.ok) throw new Error(directory.error);
  return directory.value;
};
/** Families whose models wait for the host. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

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

const TWICE: readonly string[] = ['block', 'entropy'];

describe('catalogue A', () => {
  it('has a case for every id, and no two of one name', () => {
    const covered = new Set<string>(ALL_DEVICE_CASES.map(({ id }) => id));
    // A48 is below.
    expect(caseIds('A', 1, 48).filter((id) => !covered.has(id))).toEqual(['A48']);
    const names = ALL_DEVICE_CASES.map((each) => `${caseName(each)} ${each.layouts.join()}`);
    expect(new Set(names).size).toBe(names.length);
  });

  for (const [name, make] of DEVICES) {
    it.each(LAYOUTS)(`${name}, %s queues: every case, straight at the registers`, async (layout) => {
      const trials = await collect(tryDevice(new RegistersTarget(make(), turn), { name, layouts: [layout] }));
      expect(trials.length).toBeGreaterThan(70);
      expect(wrong(trials)).toEqual([]);
    });

    // Two devices in both layouts: the way to the others is the same.
    const layouts = TWICE.includes(name) ? LAYOUTS : LAYOUTS.slice(1);
    it.each(layouts)(`${name}, %s queues: every case, through traps and hypercalls`, async (layout) => {
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

describe('a memory that is too small for a case', () => {
  it('is not the device\u2019s fault: the case does not come about, and the others do', async () => {
    const target = new RegistersTarget(new EntropyDevice((bytes) => bytes.fill(1)), turn, 0x8_0000);
    const trials = await collect(
      tryDevice(target, { name: 'entropy', layouts: ['packed'], wants: ({ id }) => id === 'A42' }),
    );
    expect(wrong(trials)).toEqual([]);
    const large = trials.filter(({ title }) => title === 'entropy: room for 1 MiB');
    expect(large).toMatchObject([{ seen: '-', detail: expect.stringContaining('524288 bytes') }]);
    expect(trials.filter(({ seen }) => seen !== '-').length).toBeGreaterThan(0);
  });
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
