import { dispatcher } from '@remio/backend-vm';
import { type Lie, type LyingRegister, lyingBackend } from '@remio/hostile';
import { BlockDevice, type DeviceIo, MemoryStorage, type VirtioDevice } from '@remio/virtio-device';
import { VirtioBlkDriver } from '@remio/virtio-driver';
import { BLK_CONFIG_SIZE, DEVICE_ID_BLOCK } from '@remio/virtio-spec';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PairProgram, pair } from '../support/pair.js';
import { caseIds, describeCatalogue } from './catalogue.js';
import { DEVICE_CASES, type RequestVerdict } from './device-cases.js';

/**
 * Registers that a driver reads, but for InterruptStatus: a device that never says what interrupted is one that never
 * completes (V8).
 */
const LYING_REGISTERS: readonly LyingRegister[] = [
  'MagicValue',
  'Version',
  'DeviceID',
  'DeviceFeatures',
  'QueueSizeMax',
  'QueueReady',
  'Status',
  'ConfigGeneration',
  0,
  4,
];

/** What a driver made of a device, and how many register accesses it took. */
interface Ending {
  readonly probe: string;
  readonly requests: readonly RequestVerdict[];
}

/** Brings the disk up, reads a sector and flushes. */
const drive: PairProgram<Ending> = async (cpu, end) => {
  const probed = await VirtioBlkDriver.probe(cpu, end);
  if (!probed.ok) return { probe: `${probed.error.code} ${probed.error.clause}`, requests: [] };
  const driver = probed.value;
  const data = driver.allocate(512);
  if (data === undefined) throw new Error('no room');
  return {
    probe: 'up',
    requests: [
      await driver.execute(cpu, { kind: 'read', sector: 0n, data: [data] }),
      await driver.execute(cpu, { kind: 'flush' }),
    ],
  };
};

const disk = (): VirtioDevice => new BlockDevice(new MemoryStorage(new Uint8Array(64 * 512)), { queueSize: 256 });

/** A disk that does nothing, and gives every request the same status byte. */
class StatusDisk implements VirtioDevice {
  readonly deviceId = DEVICE_ID_BLOCK;
  readonly features = 0n;
  readonly queueCount = 1;
  readonly queueSizeMax = 256;
  readonly config = new Uint8Array(BLK_CONFIG_SIZE);
  readonly #status: number;
  #io: DeviceIo | undefined;

  constructor(status: number) {
    this.#status = status;
    this.config[0] = 64;
  }

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(): void {
    const queue = this.#io?.queues[0];
    for (let popped = queue?.pop(); popped?.kind === 'chain'; popped = queue?.pop()) {
      const last = popped.chain.writable.at(-1);
      if (last !== undefined) this.#io?.memory.writeU8(last.offset + last.length - 1, this.#status);
      queue?.push(popped.chain.head, popped.chain.writableLength);
    }
    this.#io?.used(0);
  }

  reset(done: () => void): void {
    done();
  }
}

describeCatalogue('catalogue V, transport and block driver', caseIds('V', 12, 18), DEVICE_CASES, async (each) => {
  const device = each.status === undefined ? disk() : new StatusDisk(each.status);
  expect(await pair(device, drive, lyingBackend(dispatcher, each.lies))).toEqual({
    probe: each.probe,
    requests: each.requests ?? [],
  });
});

/** Every way in which a driver may end, whatever the device says. */
const ENDINGS = /^(up|no-device|wrong-device|features|queue|config|memory|needs-reset|reset-timeout)( [\d.]+)?$/;

/** The driver came to an end of its own; requests that it made ended. */
async function ends(lies: readonly Lie[]): Promise<void> {
  const { probe, requests } = await pair(disk(), drive, lyingBackend(dispatcher, lies));
  expect(probe).toMatch(ENDINGS);
  for (const request of requests) expect(['ok', 'io-error', 'unsupported', 'device-broken']).toContain(request);
}

describe('catalogue V, whatever a device says, and whenever', () => {
  it('V16: DEVICE_NEEDS_RESET at any moment from the first access on (2.1.2)', async () => {
    for (let access = 1; access <= 60; access += 1) await ends([{ needsResetAfter: access }]);
  });

  it('any register may say anything at any read', async () => {
    const lie: fc.Arbitrary<Lie> = fc.oneof(
      fc.record({
        register: fc.constantFrom(...LYING_REGISTERS),
        says: fc.array(fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffff_ffff })), { minLength: 1, maxLength: 6 }),
      }),
      fc.record({
        register: fc.constantFrom(...LYING_REGISTERS),
        sets: fc.integer({ min: 0, max: 0xffff_ffff }),
        clears: fc.integer({ min: 0, max: 0xffff_ffff }),
        from: fc.nat(4),
        reads: fc.nat(4),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(lie, { minLength: 1, maxLength: 3 }), (lies) => ends(lies)),
      { numRuns: 60 },
    );
  });
});
