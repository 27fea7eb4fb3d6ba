import { fc, it as property } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { type ByteStream, streamPair } from './index.js';

const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What a stream's handler was told. */
function witness(stream: ByteStream): string[] {
  const told: string[] = [];
  const note = (what: string) => (): void => {
    told.push(what);
  };
  stream.handler = { readable: note('readable'), writable: note('writable'), closed: note('closed') };
  return told;
}

const readAll = (stream: ByteStream, room = 1 << 20): Uint8Array => {
  const bytes = new Uint8Array(room);
  return bytes.subarray(0, stream.read(bytes));
};

describe('a pair of streams', () => {
  it('carries bytes, and tells of them after the call', async () => {
    const [a, b] = streamPair();
    const told = witness(b);
    expect(a.write(Uint8Array.of(1, 2, 3))).toBe(3);
    expect([told, b.available]).toEqual([[], 3]);
    await quiet();
    expect(told).toEqual(['readable']);
    expect([...readAll(b)]).toEqual([1, 2, 3]);
  });

  it('keeps a bounded number of bytes, and tells the writer when there is room again', async () => {
    const [a, b] = streamPair();
    const told = witness(a);
    const taken = a.write(new Uint8Array(1 << 20));
    expect(taken).toBeLessThan(1 << 20);
    expect(a.write(Uint8Array.of(1))).toBe(0);
    await quiet();
    expect(told).toEqual([]);
    expect(readAll(b)).toHaveLength(taken);
    await quiet();
    expect(told).toEqual(['writable']);
  });

  it('ends one direction after the other', async () => {
    const [a, b] = streamPair();
    a.write(Uint8Array.of(7));
    a.end();
    expect([a.writable, b.ended, b.writable]).toEqual([false, false, true]);
    readAll(b);
    expect(b.ended).toBe(true);
    expect(b.write(Uint8Array.of(8))).toBe(1);
    expect([...readAll(a)]).toEqual([8]);
    expect([a.closed, b.closed]).toEqual([false, false]);
  });

  it.each(['close', 'destroy'] as const)(
    '%s: the other end reads what was on its way, and hears of it',
    async (how) => {
      const [a, b] = streamPair();
      const told = witness(b);
      a.write(Uint8Array.of(9));
      a[how]();
      await quiet();
      expect(told).toEqual(['readable', 'closed']);
      expect([b.closed, b.writable, b.write(Uint8Array.of(1))]).toEqual([true, false, 0]);
      expect([...readAll(b)]).toEqual([9]);
      expect(b.ended).toBe(true);
    },
  );

  property.prop([fc.array(fc.oneof(fc.integer({ min: 1, max: 90_000 }), fc.integer({ min: -90_000, max: -1 })))])(
    'loses and invents nothing, however writes and reads are cut',
    (steps) => {
      const [a, b] = streamPair();
      const bytes = new Uint8Array(90_000);
      let sent = 0;
      let got = 0;
      let wrong = 0;
      const take = (part: Uint8Array): void => {
        for (const byte of part) if (byte !== (got++ & 0xff)) wrong += 1;
      };
      for (const step of steps) {
        if (step > 0) {
          for (let n = 0; n < step; n += 1) bytes[n] = sent + n;
          sent += a.write(bytes.subarray(0, step));
        } else take(readAll(b, -step));
      }
      take(readAll(b));
      expect({ got, wrong }).toEqual({ got: sent, wrong: 0 });
    },
  );
});
