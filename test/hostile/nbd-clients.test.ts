import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { nbd } from '@remio/frontend-vm';
import { BlockDevice, type BlockOptions, type BlockStorage, type Done, MemoryStorage } from '@remio/virtio-device';
import { afterAll, describe, expect, it } from 'vitest';
import { NbdClient } from '../support/nbd-client.js';
import { pair } from '../support/pair.js';

const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;
const TRIM = 4;
const WRITE_ZEROES = 6;
const FUA = 1;
const EPERM = 1;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const MiB = 1 << 20;
const DISK = 8 * MiB;
/** What the server advertises for the 16 MiB that a pair shares. */
const PAYLOAD_MAX = 2 * MiB;

const folder = mkdtempSync(join(tmpdir(), 'remio-'));
afterAll(() => rmSync(folder, { recursive: true }));
let sockets = 0;

/** Runs a client's part against a disk that a frontend exports, through the whole path; gives what it returns. */
function serve<T>(
  storage: BlockStorage,
  client: (path: string) => Promise<T>,
  { connections = 8, ...options }: BlockOptions & { readonly connections?: number } = {},
): Promise<T> {
  const socket = join(folder, `${sockets}.sock`);
  sockets += 1;
  return pair(new BlockDevice(storage, options), async (cpu, end, vm) => {
    let listens = (): void => {};
    const listening = new Promise<void>((resolve) => {
      listens = resolve;
    });
    const failure = nbd({ socket, exportName: 'disk', connections })(cpu, end, { ...vm, report: () => listens() });
    return Promise.race([
      failure.then(() => Promise.reject(new Error('the server ended'))),
      listening.then(() => client(socket)),
    ]);
  });
}

const disk = (): MemoryStorage => {
  const bytes = new Uint8Array(DISK);
  new Prng(3).fill(bytes);
  return new MemoryStorage(bytes);
};

const pattern = (length: number, seed: number): Buffer => {
  const bytes = Buffer.alloc(length);
  new Prng(seed).fill(bytes);
  return bytes;
};

/** That a server is well: a client can use all of the memory there is, again and again. */
async function expectHealthy(path: string): Promise<void> {
  const client = await NbdClient.open(path);
  for (let n = 0; n < 6; n += 1) {
    client.send(client.request({ type: WRITE, offset: 0, payload: pattern(PAYLOAD_MAX, n) }));
    client.send(client.request({ type: READ, offset: 4 * MiB, length: PAYLOAD_MAX }));
  }
  for (let n = 0; n < 12; n += 1) expect((await client.reply()).error).toBe(0);
  client.send(client.request({ type: DISC }));
  await client.ended;
}

describe.each([false, true])('an NBD client, structured replies %s', (structured) => {
  it('reads and writes whatever it likes, however its bytes are cut, and nothing else changes', async () => {
    const storage = disk();
    const model = Buffer.from(storage.bytes);
    const prng = new Prng(structured ? 5 : 6);
    await serve(storage, async (path) => {
      const client = await NbdClient.open(path, { structured });
      for (let round = 0; round < 12; round += 1) {
        const stream: Buffer[] = [];
        const expected = new Map<number, Buffer>();
        // Requests of a round do not overlap, so that their order does not matter.
        for (let n = 0; n < 16; n += 1) {
          const offset = n * (DISK / 16) + prng.below(64) * 512;
          const length = 512 * (1 + prng.below(prng.below(4) === 0 ? 800 : 16));
          const cookie = round * 16 + n;
          if (prng.below(2) === 0) {
            stream.push(client.request({ type: READ, offset, length }));
            expected.set(cookie, Buffer.from(model.subarray(offset, offset + length)));
          } else {
            const payload = pattern(length, cookie);
            stream.push(client.request({ type: WRITE, offset, payload }));
            payload.copy(model, offset);
            expected.set(cookie, Buffer.alloc(0));
          }
        }
        const bytes = Buffer.concat(stream);
        for (let at = 0; at < bytes.length; ) {
          const take = 1 + prng.below(prng.below(3) === 0 ? 40 : 200_000);
          client.send(bytes.subarray(at, at + take));
          at += take;
          if (prng.below(4) === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        for (let n = 0; n < 16; n += 1) {
          const { cookie, error, data } = await client.reply();
          expect(error).toBe(0);
          expect(data.equals(expected.get(cookie) ?? Buffer.alloc(1))).toBe(true);
        }
      }
    });
    expect(Buffer.compare(storage.bytes, model)).toBe(0);
  });

  it.each([
    ['an unknown command', { type: 99 }, EINVAL],
    ['an unknown flag', { type: READ, length: 512, flags: 0x40 }, EINVAL],
    ['a read that is not aligned', { type: READ, offset: 100, length: 512 }, EINVAL],
    ['a read beyond the end', { type: READ, offset: DISK, length: 512 }, EINVAL],
    ['a read of nothing', { type: READ, length: 0 }, EINVAL],
    ['a write beyond the end', { type: WRITE, offset: DISK, payload: pattern(512, 1) }, ENOSPC],
    ['a write that is not aligned', { type: WRITE, offset: 1, payload: pattern(513, 1) }, EINVAL],
    ['a write above the maximum payload', { type: WRITE, payload: pattern(3 * MiB, 1) }, structured ? 75 : EINVAL],
    ['a flush of a range', { type: FLUSH, length: 512 }, EINVAL],
    ['a trim beyond the end', { type: TRIM, offset: DISK - 512, length: 1024 }, EINVAL],
  ] as const)('%s: an error, and the conversation goes on', async (_, sent, error) => {
    const storage = disk();
    const before = Buffer.from(storage.bytes);
    const replies = await serve(storage, async (path) => {
      const client = await NbdClient.open(path, { structured });
      return [await client.ask(sent), await client.ask({ type: READ, offset: 512, length: 512 })];
    });
    expect(replies.map((reply) => reply.error)).toEqual([error, 0]);
    expect(replies[1]?.data.equals(before.subarray(512, 1024))).toBe(true);
    expect(Buffer.compare(storage.bytes, before)).toBe(0);
  });

  it('trims and zeroes, in as many pieces as the device takes', async () => {
    const storage = disk();
    const errors = await serve(
      storage,
      async (path) => {
        const client = await NbdClient.open(path, { structured });
        return [
          await client.ask({ type: WRITE_ZEROES, offset: 512, length: 2 * MiB }),
          await client.ask({ type: WRITE_ZEROES, offset: 4 * MiB, length: 512, flags: 2 }),
          await client.ask({ type: TRIM, offset: 5 * MiB, length: 1024 }),
        ];
      },
      { sizeMax: 4096, segMax: 1 },
    );
    expect(errors.map(({ error }) => error)).toEqual([0, 0, 0]);
    expect(storage.bytes.subarray(512, 512 + 2 * MiB).every((byte) => byte === 0)).toBe(true);
    expect(storage.bytes.subarray(4 * MiB, 4 * MiB + 512).every((byte) => byte === 0)).toBe(true);
    expect([storage.bytes[511], storage.bytes[4 * MiB + 512]].some((byte) => byte !== 0)).toBe(true);
  });

  it.each([
    [4096, 1],
    [1024, 2],
    [512, 3],
  ])('size_max %i and seg_max %i: requests are cut, data is whole', async (sizeMax, segMax) => {
    const storage = disk();
    await serve(
      storage,
      async (path) => {
        const client = await NbdClient.open(path, { structured });
        for (const [offset, length] of [
          [0, 300 * 1024],
          [512, 512],
          [MiB, 2 * MiB],
        ] as const) {
          const payload = pattern(length, length);
          expect((await client.ask({ type: WRITE, offset, payload })).error).toBe(0);
          expect((await client.ask({ type: READ, offset, length })).data.equals(payload)).toBe(true);
        }
      },
      { sizeMax, segMax },
    );
  });

  it('a read-only disk: EPERM; a disk that fails: EIO', async () => {
    const readOnly = await serve(new MemoryStorage(new Uint8Array(DISK), true), async (path) => {
      const client = await NbdClient.open(path, { structured });
      return [
        await client.ask({ type: WRITE, payload: pattern(512, 1) }),
        await client.ask({ type: READ, length: 512 }),
      ];
    });
    expect(readOnly.map(({ error }) => error)).toEqual([EPERM, 0]);
    class Broken extends MemoryStorage {
      override read(_: number, __: readonly Uint8Array[], done: Done): void {
        done(false);
      }
      override flush(done: Done): void {
        done(false);
      }
    }
    const broken = await serve(new Broken(new Uint8Array(DISK)), async (path) => {
      const client = await NbdClient.open(path, { structured });
      return [
        await client.ask({ type: READ, length: 512 }),
        await client.ask({ type: FLUSH }),
        await client.ask({ type: WRITE, flags: FUA, payload: pattern(512, 1) }),
        await client.ask({ type: WRITE, payload: pattern(512, 1) }),
      ];
    });
    expect(broken.map(({ error }) => error)).toEqual([EIO, EIO, EIO, 0]);
  });
});

describe('what is durable', () => {
  /** A disk that says what it was asked, in order. */
  class Logging extends MemoryStorage {
    readonly log: string[] = [];
    override write(position: number, buffers: readonly Uint8Array[], done: Done): void {
      this.log.push('write');
      super.write(position, buffers, done);
    }
    override writeZeroes(position: number, length: number, unmap: boolean, done: Done): void {
      this.log.push(unmap ? 'unmap' : 'zero');
      super.writeZeroes(position, length, unmap, done);
    }
    override flush(done: Done): void {
      this.log.push('flush');
      super.flush(done);
    }
  }

  it('a write with FUA is flushed before it is answered, one without is not; NO_HOLE keeps room', async () => {
    const storage = new Logging(new Uint8Array(DISK));
    await serve(storage, async (path) => {
      const client = await NbdClient.open(path);
      for (const sent of [
        { type: WRITE, payload: pattern(512, 1) },
        { type: WRITE, flags: FUA, payload: pattern(512, 1) },
        { type: WRITE_ZEROES, length: 512 },
        { type: WRITE_ZEROES, length: 512, flags: FUA | 2 },
        { type: READ, length: 512, flags: FUA },
      ]) {
        expect((await client.ask(sent)).error).toBe(0);
        storage.log.push('.');
      }
    });
    expect(storage.log.join(' ')).toBe('write . write flush . unmap . zero flush . .');
  });
});

describe('clients that misbehave', () => {
  it.each([
    ['a request without the magic number', { type: READ, length: 512, magic: 0x25609514 }],
    ['a write of 4 GiB', { type: WRITE, length: 0xffff_fe00 }],
  ])('%s: dropped, and the server lives', async (_, sent) => {
    await serve(disk(), async (path) => {
      const client = await NbdClient.open(path);
      client.send(client.request(sent));
      await client.ended;
      await expectHealthy(path);
    });
  });

  it('noise instead of a handshake: dropped', async () => {
    await serve(disk(), async (path) => {
      for (const noise of [pattern(64, 1), Buffer.alloc(64), pattern(100_000, 2)]) {
        const client = await NbdClient.connect(path);
        client.send(noise);
        await client.ended;
      }
      await expectHealthy(path);
    });
  });

  it('who goes in the middle of a payload, or with replies under way, leaves no memory behind', async () => {
    await serve(disk(), async (path) => {
      for (let n = 0; n < 20; n += 1) {
        const client = await NbdClient.open(path);
        for (let m = 0; m < 4; m += 1) client.send(client.request({ type: READ, offset: MiB, length: PAYLOAD_MAX }));
        const write = client.request({ type: WRITE, payload: pattern(PAYLOAD_MAX, n) });
        client.send(write.subarray(0, 28 + n * 10_000));
        if (n % 2 === 0) await client.receive(1000);
        client.socket.destroy();
        await client.ended;
      }
      await expectHealthy(path);
    });
  });

  it('who never reads holds up nobody else', async () => {
    await serve(disk(), async (path) => {
      const greedy = await NbdClient.open(path);
      greedy.socket.pause();
      for (let n = 0; n < 1000; n += 1) greedy.send(greedy.request({ type: READ, length: 256 * 1024 }));
      await expectHealthy(path);
      greedy.socket.resume();
      for (let n = 0; n < 1000; n += 1) expect((await greedy.reply()).data.length).toBe(256 * 1024);
    });
  });

  it('who asks for thousands of flushes at once has them all, in time', async () => {
    await serve(disk(), async (path) => {
      const client = await NbdClient.open(path);
      const count = 3000;
      client.send(...Array.from({ length: count }, () => client.request({ type: FLUSH })));
      for (let n = 0; n < count; n += 1) expect((await client.reply()).error).toBe(0);
    });
  });

  it('who comes when there are enough is turned away, and let in when one went', async () => {
    await serve(
      disk(),
      async (path) => {
        const first = await NbdClient.open(path);
        const second = await NbdClient.connect(path);
        await second.ended;
        expect((await first.ask({ type: READ, length: 512 })).error).toBe(0);
        first.send(first.request({ type: DISC }));
        await first.ended;
        // The server hears of the end in its own time.
        for (let tries = 0; ; tries += 1) {
          const letIn = await NbdClient.open(path).catch(() => undefined);
          letIn?.send(letIn.request({ type: DISC }));
          await letIn?.ended;
          if (letIn !== undefined) break;
          expect(tries).toBeLessThan(1000);
        }
      },
      { connections: 1 },
    );
  });

  it('NBD_CMD_DISC: everything that was asked before is answered, then the connection ends', async () => {
    await serve(disk(), async (path) => {
      const client = await NbdClient.open(path);
      client.send(
        ...Array.from({ length: 8 }, () => client.request({ type: READ, length: MiB })),
        client.request({ type: DISC }),
      );
      for (let n = 0; n < 8; n += 1) expect((await client.reply()).data.length).toBe(MiB);
      await client.ended;
    });
  });

  it('several clients see one disk', async () => {
    await serve(disk(), async (path) => {
      const clients = await Promise.all([1, 2, 3, 4].map(() => NbdClient.open(path)));
      for (const [n, client] of clients.entries()) {
        const payload = pattern(4096, n);
        expect((await client.ask({ type: WRITE, offset: 4096 * n, payload })).error).toBe(0);
        for (const other of clients) {
          const { data } = await other.ask({ type: READ, offset: 4096 * n, length: 4096 });
          expect(data.equals(payload)).toBe(true);
        }
      }
    });
  });
});
