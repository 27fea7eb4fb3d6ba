import { guestAddress } from '@remio/base';
import { allocateMemory, type GuestMemory } from '@remio/guest-memory';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MessageRing } from './message-ring.js';

const MESSAGE_MAX = 24;
/** Room for four messages in each direction. */
const BYTES = 512;

const open = (memory: GuestMemory, side: 0 | 1, max = MESSAGE_MAX): MessageRing => {
  const opened = MessageRing.open(memory, side, max);
  if (!opened.ok) throw new Error(opened.error);
  return opened.value;
};

const pair = (): { readonly memory: GuestMemory; readonly a: MessageRing; readonly b: MessageRing } => {
  const memory = allocateMemory(guestAddress(0xf000_0000n), BYTES);
  return { memory, a: open(memory, 0), b: open(memory, 1) };
};

const text = (message: string): Uint8Array => new TextEncoder().encode(message);

describe('a ring of messages', () => {
  it('carries what is sent, in order, both ways, as long as there is room', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            from: fc.constantFrom('a', 'b'),
            send: fc.boolean(),
            bytes: fc.uint8Array({ maxLength: MESSAGE_MAX }),
          }),
          { maxLength: 200 },
        ),
        (steps) => {
          const { a, b } = pair();
          const model: Record<string, Uint8Array[]> = { a: [], b: [] };
          for (const { from, send, bytes } of steps) {
            const [near, far] = from === 'a' ? [a, b] : [b, a];
            const queue = model[from] ?? [];
            if (send) {
              const room = queue.length < 4;
              expect(near.send(bytes)).toEqual({ ok: true, value: room });
              if (room) queue.push(bytes);
            } else expect(far.receive()).toEqual({ ok: true, value: queue.shift() });
          }
        },
      ),
    );
  });

  it('goes on across the wrap of its counters', () => {
    const { memory, a, b } = pair();
    for (const counter of [0x00, 0x40]) memory.storeU32(counter, 0xffff_fffe);
    for (const message of ['one', 'two', 'three', 'four']) {
      expect(a.send(text(message))).toEqual({ ok: true, value: true });
    }
    expect(a.send(text('five'))).toEqual({ ok: true, value: false });
    for (const message of ['one', 'two', 'three', 'four']) {
      expect(b.receive()).toEqual({ ok: true, value: text(message) });
    }
    expect(b.receive()).toEqual({ ok: true, value: undefined });
  });

  it('is where it was when a partition comes back', () => {
    const { memory, a } = pair();
    a.send(text('kept'));
    const again = open(memory, 1);
    expect([again.received, again.receive()]).toEqual([0, { ok: true, value: text('kept') }]);
    expect([open(memory, 0).sent, open(memory, 1).received]).toEqual([1, 1]);
  });

  it('wants a doorbell when the other side sleeps and something came for it, once', () => {
    const { a, b } = pair();
    b.setWaiting(true, false);
    expect(a.takeMessageWanted()).toBe(false);
    a.send(text('x'));
    expect([a.takeMessageWanted(), a.takeMessageWanted()]).toEqual([true, false]);
    a.send(text('y'));
    expect(a.takeMessageWanted()).toBe(false);
    b.setWaiting(true, false);
    expect(a.takeMessageWanted()).toBe(true);
  });

  it('wants a doorbell when the other side sleeps for room and there is some, once', () => {
    const { a, b } = pair();
    for (let n = 0; n < 4; n += 1) a.send(text('full'));
    a.setWaiting(false, true);
    expect(b.takeRoomWanted()).toBe(false);
    b.receive();
    expect([b.takeRoomWanted(), b.takeRoomWanted()]).toEqual([true, false]);
  });

  it('believes a hostile partition nothing: counters, lengths, and bytes that change after they were read', () => {
    const { memory, a, b } = pair();
    memory.storeU32(0x00, 5);
    for (const refused of [b.receive(), a.send(text('x'))]) {
      expect(refused).toMatchObject({ ok: false, error: expect.stringContaining('5 messages in 4 slots') });
    }
    memory.storeU32(0x00, 1);
    memory.writeU32(0x80, MESSAGE_MAX + 1);
    expect(b.receive()).toMatchObject({ ok: false, error: expect.stringContaining('25 bytes') });
    memory.writeU32(0x80, 3);
    const message = b.receive();
    memory.writeU32(0x84, 0xffff_ffff);
    expect(message).toEqual({ ok: true, value: new Uint8Array(3) });
  });

  it('refuses memory that is too small for one message', () => {
    const memory = allocateMemory(guestAddress(0n), BYTES);
    expect(MessageRing.open(memory, 0, 200)).toMatchObject({ ok: false, error: expect.stringContaining('too few') });
  });
});
