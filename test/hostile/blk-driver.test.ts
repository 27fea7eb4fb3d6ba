import type { GuestCpu } from '@remio/guest';
import { BlockDevice, type BlockOptions, type DeviceIo, MemoryStorage, type VirtioDevice } from '@remio/virtio-device';
import { type BlkOutcome, type BlkRequest, type BlkTicket, VirtioBlkDriver } from '@remio/virtio-driver';
import {
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_MAX_DISCARD_SECTORS,
  BLK_CONFIG_MAX_DISCARD_SEG,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_SIZE,
  BLK_CONFIG_SIZE_MAX,
  BLK_CONFIG_WRITEBACK,
  DEVICE_ID_BLOCK,
  featureSet,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_F_EVENT_IDX,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { type PairProgram, pair } from '../support/pair.js';

const SECTORS = 64;

/** Runs with a driver that came up. */
const withDriver =
  <T>(run: (driver: VirtioBlkDriver, cpu: GuestCpu) => Promise<T>): PairProgram<T> =>
  async (cpu, end) => {
    const probed = await VirtioBlkDriver.probe(cpu, end);
    if (!probed.ok) throw new Error(probed.error.detail);
    return run(probed.value, cpu);
  };

const memory = (): MemoryStorage => new MemoryStorage(Uint8Array.from({ length: SECTORS * 512 }, (_, n) => n % 251));

/** Bytes of a piece of the shared memory. */
const bytesOf = (driver: VirtioBlkDriver, address: bigint, length: number): Uint8Array => {
  const { memory: shared } = driver.allocator;
  return shared.bytes(shared.locate(address, length), length);
};

const piece = (driver: VirtioBlkDriver, length: number): { readonly address: bigint; readonly length: number } => {
  const buffer = driver.allocate(length);
  if (buffer === undefined) throw new Error('no room');
  return buffer;
};

describe('the block driver, through the whole path', () => {
  it('5.2.6: every request does what it says', async () => {
    const storage = memory();
    const options: BlockOptions = { id: 'a-disk', secureErase: true, lifetime: { preEolInfo: 1, typA: 2, typB: 3 } };
    const seen = await pair(
      new BlockDevice(storage, options),
      withDriver(async (driver, cpu) => {
        const room = piece(driver, 1024);
        const data = [{ address: room.address, length: 1024 }];
        const small = (length: number) => [{ address: room.address, length }];
        const outcomes: BlkOutcome[] = [];
        const run = async (request: BlkRequest): Promise<void> => {
          outcomes.push(await driver.execute(cpu, request));
        };
        bytesOf(driver, room.address, 1024).fill(0xaa);
        await run({ kind: 'write', sector: 4n, data });
        await run({ kind: 'flush' });
        await run({ kind: 'read', sector: 3n, data });
        const read = bytesOf(driver, room.address, 1024).slice();
        await run({ kind: 'discard', ranges: [{ sector: 10n, sectors: 1 }] });
        await run({
          kind: 'write-zeroes',
          ranges: [
            { sector: 12n, sectors: 1 },
            { sector: 14n, sectors: 1 },
          ],
          unmap: true,
        });
        await run({ kind: 'secure-erase', ranges: [{ sector: 16n, sectors: 1 }] });
        await run({ kind: 'get-id', data: small(20) });
        const id = new TextDecoder().decode(bytesOf(driver, room.address, 6));
        await run({ kind: 'get-lifetime', data: small(6) });
        return { outcomes, read, id, lifetime: [...bytesOf(driver, room.address, 6)] };
      }),
    );
    expect(seen.outcomes).toEqual(Array.from({ length: 8 }, () => 'ok'));
    expect(seen.read.slice(0, 512)).toEqual(storage.bytes.slice(3 * 512, 4 * 512));
    expect(seen.read.slice(512)).toEqual(new Uint8Array(512).fill(0xaa));
    for (const sector of [10, 12, 14, 16]) {
      expect(storage.bytes.slice(sector * 512, sector * 512 + 512)).toEqual(new Uint8Array(512));
      expect(storage.bytes[sector * 512 + 512]).not.toBe(0);
    }
    expect([seen.id, seen.lifetime]).toEqual(['a-disk', [1, 0, 2, 0, 3, 0]]);
  });

  it('5.2.6.1: switches the cache mode, where the device lets it', async () => {
    const device = new BlockDevice(memory());
    const modes = await pair(
      device,
      withDriver(async (driver, cpu) => {
        const before = [driver.writeback, device.config[BLK_CONFIG_WRITEBACK]];
        const could = await driver.setWriteback(cpu, false);
        return [...before, could, driver.writeback, device.config[BLK_CONFIG_WRITEBACK]];
      }),
    );
    expect(modes).toEqual([true, 1, true, false, 0]);
  });

  it('5.2.6.1: follows a capacity that changes, and makes no request beyond it', async () => {
    class Shrinking extends MemoryStorage {
      override capacity = SECTORS * 512;
      onResize?: () => void;
    }
    const storage = new Shrinking(new Uint8Array(SECTORS * 512));
    const requests = await pair(
      new BlockDevice(storage),
      withDriver(async (driver, cpu) => {
        const told = new Promise<bigint>((resolve) => {
          driver.onResize = () => resolve(driver.capacity);
        });
        storage.capacity = 4 * 512;
        storage.onResize?.();
        let capacity: bigint | undefined;
        void told.then((value) => {
          capacity = value;
        });
        while (capacity === undefined) await cpu.waitForInterrupt();
        const data = [piece(driver, 512)];
        const outcome = await driver.execute(cpu, { kind: 'read', sector: 4n, data });
        return [capacity, outcome, driver.counters.requests] as const;
      }),
    );
    expect(requests).toEqual([4n, 'io-error', 0]);
  });

  it('2.7.7: whoever polls needs no interrupts, and misses nothing when it stops', async () => {
    const counters = await pair(
      new BlockDevice(memory(), { queueSize: 256 }),
      withDriver(async (driver, cpu) => {
        const data = [piece(driver, 512)];
        const before = driver.counters.interrupts;
        driver.setInterrupts(false);
        let ended = 0;
        const count = (): void => {
          ended += 1;
        };
        for (let n = 0; n < 100; n += 1) {
          while (!driver.add(0, { kind: 'read', sector: BigInt(n % SECTORS), data }, count)) {
            await cpu.load8(driver.allocator.memory.base);
            driver.poll();
          }
          if (driver.publish(0)) await driver.notify(cpu, 0);
        }
        const polled = driver.counters.interrupts - before;
        if (driver.setInterrupts(true)) driver.poll();
        while (driver.inFlight > 0) await cpu.waitForInterrupt();
        return { ended, polled };
      }),
    );
    expect(counters).toEqual({ ended: 100, polled: 0 });
  });
});

/** A block device that says what a test wants, and answers every request with one status. */
class Liar implements VirtioDevice {
  readonly deviceId = DEVICE_ID_BLOCK;
  readonly features: bigint;
  readonly queueCount = 1;
  readonly queueSizeMax = 8;
  readonly config = new Uint8Array(BLK_CONFIG_SIZE);
  #io: DeviceIo | undefined;

  constructor(
    fields: readonly (readonly [offset: number, value: number])[],
    private readonly status = 0,
  ) {
    this.features = featureSet(
      VIRTIO_BLK_F_SIZE_MAX,
      VIRTIO_BLK_F_SEG_MAX,
      VIRTIO_BLK_F_BLK_SIZE,
      VIRTIO_BLK_F_DISCARD,
      VIRTIO_F_EVENT_IDX,
    );
    const view = new DataView(this.config.buffer);
    view.setUint32(BLK_CONFIG_CAPACITY, SECTORS, true);
    view.setUint32(BLK_CONFIG_SIZE_MAX, 65536, true);
    view.setUint32(BLK_CONFIG_BLK_SIZE, 512, true);
    for (const [offset, value] of fields) view.setUint32(offset, value, true);
  }

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(): void {
    const io = this.#io;
    const queue = io?.queues[0];
    for (let popped = queue?.pop(); popped?.kind === 'chain'; popped = queue?.pop()) {
      const last = popped.chain.writable.at(-1);
      if (last !== undefined) io?.memory.writeU8(last.offset + last.length - 1, this.status);
      queue?.push(popped.chain.head, popped.chain.writableLength);
    }
    io?.used(0);
  }

  reset(done: () => void): void {
    done();
  }
}

describe('a block device that lies (V18)', () => {
  const probe: PairProgram<string> = async (cpu, end) => {
    const probed = await VirtioBlkDriver.probe(cpu, end);
    return probed.ok ? 'up' : `${probed.error.code} ${probed.error.clause}`;
  };

  it.each([
    ['a capacity beyond 2^53 bytes', BLK_CONFIG_CAPACITY + 4, 0x8000_0000],
    ['segments of less than a sector', BLK_CONFIG_SIZE_MAX, 511],
    ['blocks of less than a sector', BLK_CONFIG_BLK_SIZE, 256],
    ['blocks that are no power of two', BLK_CONFIG_BLK_SIZE, 1536],
    ['blocks of 4 GiB', BLK_CONFIG_BLK_SIZE, 0xffff_ffff],
  ] as const)('%s: given up on', async (_, offset, value) => {
    expect(await pair(new Liar([[offset, value]]), probe)).toBe('config 5.2.4');
  });

  it('seg_max 0 means one segment; a discard of nothing is none', async () => {
    const device = new Liar([
      [BLK_CONFIG_SEG_MAX, 0],
      [BLK_CONFIG_MAX_DISCARD_SECTORS, 0],
      [BLK_CONFIG_MAX_DISCARD_SEG, 5],
    ]);
    expect(
      await pair(
        device,
        withDriver(async ({ config }) => [config.segMax, config.discard]),
      ),
    ).toEqual([1, undefined]);
  });

  it('capacity 0: no request is made', async () => {
    const outcome = await pair(
      new Liar([[BLK_CONFIG_CAPACITY, 0]]),
      withDriver(async (driver, cpu) => driver.execute(cpu, { kind: 'read', sector: 0n, data: [piece(driver, 512)] })),
    );
    expect(outcome).toBe('io-error');
  });

  it.each([
    [0, 'ok'],
    [1, 'io-error'],
    [2, 'unsupported'],
    [3, 'io-error'],
    [0xff, 'io-error'],
  ] as const)('status %i ends a request as %s', async (status, expected) => {
    const outcomes = await pair(
      new Liar([], status),
      withDriver(async (driver, cpu) => {
        const data = [piece(driver, 512)];
        const tickets: readonly BlkTicket[] = await driver.submit(cpu, [
          { kind: 'read', sector: 0n, data },
          { kind: 'discard', ranges: [{ sector: 0n, sectors: 1 }] },
        ]);
        return Promise.all(tickets.map((ticket) => driver.finish(cpu, ticket)));
      }),
    );
    expect(outcomes).toEqual([expected, expected]);
  });
});
