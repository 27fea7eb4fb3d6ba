import { guestAddress, Prng } from '@remio/base';
import { allocateMemory, type LocalMemory } from '@remio/guest-memory';
import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_IN_ORDER } from '@remio/virtio-spec';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  activateDeviceQueue,
  createDriverQueue,
  type DeviceQueue,
  type DriverQueue,
  InFlightTable,
  inFlightTableBytes,
  KeptState,
  keptStateBytes,
  layoutQueue,
} from './index.js';

const BASE = guestAddress(0x8000_0000n);
const BUFFERS = 0x8000_f000n;
const SIZE = 4;
const REQUESTS = 12;

const must = <T>(
  result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: unknown },
): T => {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
};

/** The process of the device ends here. */
class Killed extends Error {}

const store = Atomics.store;
afterEach(() => vi.restoreAllMocks());

/** Kills whoever makes the n-th store that other processes see, before it does. */
function killAt(n: number): void {
  let stores = 0;
  vi.spyOn(Atomics, 'store').mockImplementation(((array: Int32Array, index: number, value: number): number => {
    stores += 1;
    if (stores === n) throw new Killed();
    return store(array, index, value);
  }) as typeof Atomics.store);
}

/** A driver with numbered requests, and a device side whose process may be killed at any store. */
class Scene {
  readonly memory: LocalMemory = allocateMemory(BASE, 0x1_0000);
  readonly words = new ArrayBuffer(inFlightTableBytes(SIZE));
  readonly driver: DriverQueue<number>;
  readonly returned: number[] = [];
  kills = 0;
  #device: DeviceQueue;
  /** Heads that the device has, as it knows them. */
  #has: number[] = [];
  #added = 0;
  readonly #features: bigint;

  constructor(features: bigint) {
    this.#features = features;
    const { config, tables } = layoutQueue(BASE, SIZE, features);
    this.driver = must(createDriverQueue<number>(this.memory, config, features, tables));
    this.#device = this.#activate();
  }

  /** Makes requests, serves them in an order that the seed says, and is killed once, and once more while it recovers. */
  run(killedAt: number, again: number, prng: Prng): void {
    let next = killedAt;
    for (let round = 0; this.returned.length < REQUESTS; round += 1) {
      if (round > 100) throw new Error('a request does not end');
      while (this.#added < REQUESTS && this.driver.add([{ address: BUFFERS, length: 1 }], [], this.#added)) {
        this.#added += 1;
      }
      this.driver.publish();
      const order = prng.below(2 ** 16);
      if (next > 0) killAt(next);
      try {
        this.#serve(order);
        vi.restoreAllMocks();
      } catch (error) {
        vi.restoreAllMocks();
        if (!(error instanceof Killed)) throw error;
        this.kills += 1;
        next = 0;
        this.#recover(again);
      }
      for (;;) {
        const used = this.driver.popUsed();
        if (used.kind !== 'used') break;
        this.returned.push(used.token);
      }
    }
  }

  #serve(order: number): void {
    for (let popped = this.#device.pop(); popped.kind === 'chain'; popped = this.#device.pop()) {
      this.#has.push(popped.chain.head);
    }
    // Some stay in flight.
    for (let left = Math.min(this.#has.length, 2); left > 0; left -= 1) {
      const [head] = this.#has.splice(order % this.#has.length, 1);
      if (head !== undefined) this.#device.push(head, 0);
    }
  }

  #recover(again: number): void {
    if (again > 0) killAt(again);
    try {
      this.#device = this.#activate();
      must(this.#device.resume?.() ?? { ok: false, error: 'it cannot' });
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.kills += 1;
      vi.restoreAllMocks();
      this.#device = this.#activate();
      must(this.#device.resume?.() ?? { ok: false, error: 'it cannot' });
    }
    vi.restoreAllMocks();
    this.#has = [...this.#device.heads()];
    for (const head of this.#has) expect(this.#device.recall(head)).toMatchObject({ kind: 'chain', chain: { head } });
  }

  #activate(): DeviceQueue {
    const { config } = layoutQueue(BASE, SIZE, this.#features);
    return must(
      activateDeviceQueue(this.memory, config, this.#features, new InFlightTable(new Int32Array(this.words))),
    );
  }
}

const numbers = Array.from({ length: REQUESTS }, (_, n) => n);

describe.each([
  ['without more', 0n],
  ['EVENT_IDX', featureSet(VIRTIO_F_EVENT_IDX)],
  ['IN_ORDER', featureSet(VIRTIO_F_IN_ORDER)],
])('the account of what a split queue has in flight, %s', (_, features) => {
  it('lets another process go on: killed at whichever store, and again while it recovers, each request ends once', () => {
    let killed = 0;
    for (let at = 1; at <= 30; at += 1) {
      for (let again = 0; again <= 6; again += 1) {
        const scene = new Scene(features);
        scene.run(at, again, new Prng(at * 7 + again));
        expect(
          [...scene.returned].sort((a, b) => a - b),
          `store ${at}, then ${again}`,
        ).toEqual(numbers);
        killed += scene.kills;
      }
    }
    expect(killed).toBeGreaterThan(100);
  });
});

describe('the account of what a split queue has in flight', () => {
  const table = (words: Int32Array): InFlightTable => new InFlightTable(words);

  it('tells what is in flight in the order in which it was taken, also where the count of chains begins anew', () => {
    const words = new Int32Array(inFlightTableBytes(8) / 4);
    const first = table(words);
    for (const head of [3, 1, 6]) first.take(head);
    // As after so many chains.
    for (const [head, when] of [
      [3, 0xffff_fffe],
      [1, 0xffff_ffff],
      [6, 1],
    ] as const)
      words[4 + 2 * head] = when;
    const second = table(words);
    expect(second.recover(0)).toEqual({ usedIdx: 0, heads: [3, 1, 6] });
    second.take(0);
    expect(table(words).recover(0).heads).toEqual([3, 1, 6, 0]);
  });

  it('has chains in flight whose batch the used index does not show, and has done with those of one that it shows', () => {
    const words = new Int32Array(inFlightTableBytes(8) / 4);
    const first = table(words);
    for (const head of [0, 1, 2]) first.take(head);
    first.ending([0, 2], 2);
    expect(table(words.slice()).recover(0)).toEqual({ usedIdx: 0, heads: [0, 1, 2] });
    expect(table(words.slice()).recover(2)).toEqual({ usedIdx: 2, heads: [1] });
    first.ended();
    expect(table(words).recover(2)).toEqual({ usedIdx: 2, heads: [1] });
  });
});

describe('what a device keeps', () => {
  it('is the last record that was written whole, whenever its process ended', () => {
    const memory = new ArrayBuffer(keptStateBytes(2, 16));
    expect(new KeptState(memory, 2, 16).read()).toBeUndefined();
    const kept = new KeptState(memory, 2, 16);
    kept.write({ n: 1 });
    killAt(1);
    expect(() => kept.write({ n: 2, more: 'bytes' })).toThrow(Killed);
    vi.restoreAllMocks();
    expect(new KeptState(memory, 2, 16).read()).toEqual({ n: 1 });
    new KeptState(memory, 2, 16).write({ n: 3 });
    expect(new KeptState(memory, 2, 16).read()).toEqual({ n: 3 });
  });
});
