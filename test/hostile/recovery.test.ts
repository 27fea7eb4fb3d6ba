import { dispatcher } from '@remio/backend-vm';
import type { GuestCpu } from '@remio/guest';
import { type Lie, LieLog, lyingBackend } from '@remio/hostile';
import { BlockDevice, Eeprom, EntropyDevice, I2cDevice, MemoryStorage } from '@remio/virtio-device';
import {
  type BlkOutcome,
  type Patience,
  VirtioBlkDriver,
  VirtioI2cDriver,
  VirtioRngDriver,
} from '@remio/virtio-driver';
import { featureSet, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_RESET } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { type PairProgram, pair } from '../support/pair.js';

const PATIENCE: Patience = { lookEvery: 2_000_000n, looks: 5 };

/** Requests of two queues at once; what became of each, by queue. */
async function readBoth(cpu: GuestCpu, driver: VirtioBlkDriver, times: number): Promise<readonly BlkOutcome[][]> {
  const outcomes: BlkOutcome[][] = [[], []];
  const room = driver.allocate(512);
  if (room === undefined) throw new Error('no room');
  for (let n = 0; n < times; n += 1) {
    for (const [queue, ended] of outcomes.entries()) {
      const request = { kind: 'read', sector: BigInt(n), data: [room] } as const;
      while (!driver.add(queue, request, (outcome) => void ended.push(outcome))) await cpu.waitForInterrupt();
      if (driver.publish(queue)) await driver.notify(cpu, queue);
    }
    // The other queue need not wait for the first.
    while ((outcomes[1]?.length ?? 0) <= n) await cpu.waitForInterrupt();
  }
  while (outcomes.some(({ length }) => length < times)) await cpu.waitForInterrupt();
  return outcomes;
}

const TIMES = 6;

const disk = (): BlockDevice => new BlockDevice(new MemoryStorage(new Uint8Array(64 * 512)), { queues: 2 });

/** What becomes of two queues, and of the device. */
const both = (lies: readonly Lie[], withheld: bigint, log: LieLog) =>
  pair(
    disk(),
    async (cpu, end) => {
      const ring = end.ring & ~withheld;
      const probed = await VirtioBlkDriver.probe(cpu, { ...end, ring }, { cpus: 2, patience: PATIENCE });
      if (!probed.ok) throw new Error(probed.error.detail);
      const outcomes = await readBoth(cpu, probed.value, TIMES);
      return { outcomes, broken: probed.value.broken?.code, resets: probed.value.counters.resets };
    },
    lyingBackend(dispatcher, lies, { log }),
  );

const all = (outcome: BlkOutcome): readonly BlkOutcome[] => Array.from({ length: TIMES }, () => outcome);

describe('2.6.1, 2.1.2: a queue that the device breaks does not stop another', () => {
  it.each([
    ['with RING_RESET', 0n],
    ['without', featureSet(VIRTIO_F_RING_RESET)],
  ])('%s, once: every request of both ends well', async (_, withheld) => {
    const log = new LieLog();
    const seen = await both([{ trick: 'id-beyond', after: 2, queue: 0, times: 1 }], withheld, log);
    expect(seen).toEqual({ outcomes: [all('ok'), all('ok')], broken: undefined, resets: 1 });
  });

  it.each([
    ['with RING_RESET', 0n],
    ['without', featureSet(VIRTIO_F_RING_RESET)],
  ])('%s, again and again: its requests fail, those of the other end well', async (_, withheld) => {
    const log = new LieLog();
    const { outcomes, broken } = await both([{ trick: 'twice', after: 0, queue: 0 }], withheld, log);
    expect(outcomes[1]).toEqual(all('ok'));
    expect(outcomes[0]).toHaveLength(TIMES);
    expect(broken).toBe(undefined);
  });
});

describe('V8: a device that never answers', () => {
  it('is reset, asked again, and given up on: requests end once, and the driver says why', async () => {
    const seen = await pair(
      disk(),
      async (cpu, end) => {
        const probed = await VirtioBlkDriver.probe(cpu, end, { patience: PATIENCE });
        if (!probed.ok) throw new Error(probed.error.detail);
        const data = probed.value.allocate(512);
        if (data === undefined) throw new Error('no room');
        const outcome = await probed.value.execute(cpu, { kind: 'read', sector: 0n, data: [data] });
        return [outcome, probed.value.broken?.code, await probed.value.execute(cpu, { kind: 'flush' })];
      },
      lyingBackend(dispatcher, [{ trick: 'never', after: 0 }]),
    );
    expect(seen).toEqual(['device-broken', 'timeout', 'device-broken']);
  });
});

describe('the I2C driver', () => {
  const chips = () => new I2cDevice(new Map([[0x50, new Eeprom(Uint8Array.of(1, 2, 3))]]));
  /** Reads two bytes of the EEPROM some times, whatever becomes of each. */
  const read =
    (ring: (offered: bigint) => bigint): PairProgram<readonly string[]> =>
    async (cpu, end) => {
      const probed = await VirtioI2cDriver.probe(cpu, { ...end, ring: ring(end.ring) });
      if (!probed.ok) throw new Error(probed.error.detail);
      const seen: string[] = [];
      for (let n = 0; n < 5; n += 1) {
        const outcome = await probed.value.transfer(0x50, [{ write: Uint8Array.of(1) }, { read: 2 }]);
        seen.push(outcome.ok ? outcome.value.toString() : outcome.error.code);
      }
      return seen;
    };
  const PACKED = featureSet(VIRTIO_F_RING_PACKED);

  it.each([
    ['split', (offered: bigint) => offered & ~PACKED],
    ['packed', (offered: bigint) => offered | PACKED],
  ] as const)('V2 (2.7.8): goes on after a ring was broken, %s', async (_, ring) => {
    // The second segment of a transaction: the next one is made before anybody has reset the queue.
    const lies = [{ trick: 'twice', after: 3, times: 1 }] as const;
    const seen = await pair(chips(), read(ring), lyingBackend(dispatcher, lies));
    expect(seen.filter((outcome) => outcome !== '2,3').length).toBeLessThanOrEqual(1);
    expect(seen.at(-1)).toBe('2,3');
  });

  it('V13 (4.2.3.2): makes no transaction that a small queue has no room for', async () => {
    const lies = [{ register: 'QueueSizeMax', says: [3] }] as const;
    const seen = await pair(
      chips(),
      read(() => 0n),
      lyingBackend(dispatcher, lies),
    );
    expect(seen).toEqual(['queue', 'queue', 'queue', 'queue', 'queue']);
  });
});

describe('the entropy driver', () => {
  it.each(['never', 'needs-reset', 'forget', 'silent', 'no-kicks', 'twice'] as const)(
    'has its bytes all the same from a device that does this once: %s',
    async (trick) => {
      const bytes = await pair(
        new EntropyDevice((room) => room.fill(7)),
        async (cpu, end) => {
          const options = { depth: 2, requestSize: 16, patience: PATIENCE };
          const probed = await VirtioRngDriver.probe(cpu, end, options);
          if (!probed.ok) throw new Error(probed.error.detail);
          let sum = 0;
          const read = await probed.value.read(cpu, 100, (piece) => {
            sum += piece.reduce((before, byte) => before + byte, 0);
          });
          return read.ok ? sum : read.error.code;
        },
        lyingBackend(dispatcher, [{ trick, after: 1, times: trick === 'silent' || trick === 'no-kicks' ? 1000 : 1 }]),
      );
      expect(bytes).toBe(700);
    },
  );
});
