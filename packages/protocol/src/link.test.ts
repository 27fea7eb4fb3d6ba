import { assert } from '@remio/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RECORDS_PER_FRAME_MAX } from './frame.js';
import { Link } from './link.js';

/** A frame on its way, as a wire could carry it. */
interface Frame {
  readonly seq: number;
  readonly ack: number;
  readonly records: readonly number[];
}

const CREDIT = { frames: 8, bytes: 100 };
/** Bytes of a frame, as if each record had ten. */
const sizeOf = (records: readonly number[]): number => records.length * 10;

/** One side: its link, and what it got. */
class Side {
  readonly link = new Link<number>(CREDIT);
  readonly got: number[] = [];

  send(): Frame | undefined {
    const records = this.link.take();
    if (records === undefined) return undefined;
    this.link.weigh(sizeOf(records));
    return { seq: this.link.sent, ack: this.link.tell(), records };
  }

  /** @returns why the session ends */
  receive({ seq, ack, records }: Frame): string | undefined {
    const wrong = this.link.receive(seq, ack, sizeOf(records));
    if (wrong === undefined) this.got.push(...records);
    return wrong;
  }

  /** What goes again after the other side said what it had got. */
  resume(received: number): readonly Frame[] {
    const wrong = this.link.resumed(received);
    assert(wrong === undefined, `both sides are honest: ${wrong}`);
    return [...this.link.unacknowledged()].map(({ seq, records }) => ({ seq, ack: this.link.tell(), records }));
  }
}

/** What a wire does; one that keeps order and loses nothing, or loses all at once, is ZeroMQ's. */
type Event =
  | { readonly do: 'push'; readonly count: number }
  | { readonly do: 'send' | 'arrive' | 'heartbeat' | 'drop' | 'duplicate' | 'lose' | 'swap' };

const push = fc.record({ do: fc.constant('push' as const), count: fc.integer({ min: 1, max: 5 }) });
const honest = fc.oneof(
  { weight: 3, arbitrary: push },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('send' as const, 'arrive') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('heartbeat' as const, 'drop') }) },
);
const hostile = fc.oneof(
  { weight: 6, arbitrary: honest },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('duplicate' as const, 'lose', 'swap') }) },
);
const MANY = { minLength: 40, maxLength: 160 };

/** Two sides, and the frames from one to the other; the way back carries acknowledgements only. */
class Wire {
  readonly from = new Side();
  readonly to = new Side();
  readonly pushed: number[] = [];
  #flight: Frame[] = [];
  /** Why the session ended. */
  ended: string | undefined;

  step(event: Event): void {
    switch (event.do) {
      case 'push':
        for (let n = 0; n < event.count; n += 1) {
          this.from.link.push(this.pushed.length);
          this.pushed.push(this.pushed.length);
        }
        return;
      case 'send': {
        const frame = this.from.send();
        if (frame !== undefined) this.#flight.push(frame);
        return;
      }
      case 'arrive': {
        const frame = this.#flight.shift();
        if (frame !== undefined) this.ended ??= this.to.receive(frame);
        return;
      }
      case 'heartbeat':
        this.ended ??= this.from.link.acknowledged(this.to.link.tell());
        return;
      case 'drop':
        // The connection: all that was on its way is gone, and each side says what it got.
        this.#flight = [...this.from.resume(this.to.link.tell())];
        return;
      case 'duplicate':
        if (this.#flight[0] !== undefined) this.#flight.splice(1, 0, this.#flight[0]);
        return;
      case 'lose':
        this.#flight.shift();
        return;
      case 'swap':
        this.#flight.splice(0, 2, ...this.#flight.slice(0, 2).reverse());
    }
  }

  get inFlight(): { readonly frames: number; readonly bytes: number } {
    const frames = [...this.from.link.unacknowledged()];
    return { frames: frames.length, bytes: frames.reduce((sum, { records }) => sum + sizeOf(records), 0) };
  }

  /** Lets everything arrive, and be acknowledged. */
  settle(): void {
    for (let n = 0; n < 2 * this.pushed.length + 2; n += 1) {
      for (const event of ['send', 'arrive', 'heartbeat'] as const) this.step({ do: event });
    }
  }
}

describe('a link', () => {
  it('delivers every record exactly once and in order, however often its connection is lost', () => {
    fc.assert(
      fc.property(fc.array(honest, MANY), (events) => {
        const wire = new Wire();
        for (const event of events) {
          wire.step(event);
          expect(wire.inFlight.frames).toBeLessThanOrEqual(CREDIT.frames);
          expect(wire.inFlight.bytes).toBeLessThan(CREDIT.bytes + sizeOf(wire.pushed));
        }
        wire.settle();
        expect(wire.ended).toBeUndefined();
        expect(wire.from.link.queued + wire.inFlight.frames).toBe(0);
        expect(wire.to.got).toEqual(wire.pushed);
      }),
    );
  });

  it('C18: whatever is lost, repeated or out of order, nothing is delivered twice or out of order, or the session ends', () => {
    let ends = 0;
    fc.assert(
      fc.property(fc.array(hostile, MANY), (events) => {
        const wire = new Wire();
        for (const event of events) {
          wire.step(event);
          if (wire.ended !== undefined) break;
        }
        expect(wire.to.got).toEqual(wire.pushed.slice(0, wire.to.got.length));
        if (wire.ended === undefined) return;
        ends += 1;
        expect(wire.ended).toMatch(/^frame \d+ follows frame \d+$/);
      }),
    );
    expect(ends).toBeGreaterThan(0);
  });

  it('sends no more than its credit, and goes on when the other side acknowledges', () => {
    const side = new Side();
    for (let n = 0; n < 10; n += 1) {
      side.link.push(n);
      if (n < CREDIT.frames) expect(side.send()).toMatchObject({ seq: n + 1, records: [n] });
    }
    expect(side.link.stalled).toBe(true);
    expect(side.send()).toBeUndefined();
    expect(side.link.acknowledged(3)).toBeUndefined();
    expect(side.link.stalled).toBe(false);
    // What waited meanwhile travels together.
    expect(side.send()).toMatchObject({ seq: 9, records: [8, 9] });
  });

  it('counts bytes as well as frames', () => {
    const side = new Side();
    for (let n = 0; n < 12; n += 1) side.link.push(n);
    expect(side.send()?.records).toHaveLength(12);
    side.link.push(12);
    expect(side.send()).toBeUndefined();
    side.link.acknowledged(1);
    expect(side.send()?.records).toEqual([12]);
  });

  it('puts no more records in a frame than fit', () => {
    const side = new Side();
    for (let n = 0; n <= RECORDS_PER_FRAME_MAX; n += 1) side.link.push(n);
    expect(side.link.take()).toHaveLength(RECORDS_PER_FRAME_MAX);
    expect(side.link.take()).toEqual([RECORDS_PER_FRAME_MAX]);
  });

  it('ends a session whose other side exceeds its credit', () => {
    const side = new Side();
    for (let seq = 1; seq <= CREDIT.frames; seq += 1) expect(side.link.receive(seq, 0, 1)).toBeUndefined();
    expect(side.link.receive(9, 0, 1)).toBe('frame 9 exceeds the credit: frame 0 was the last acknowledged');
    const other = new Side();
    expect(other.link.receive(1, 0, CREDIT.bytes)).toBeUndefined();
    expect(other.link.receive(2, 0, 1)).toMatch(/exceeds the credit/);
  });

  it('owes an acknowledgement when half of the credit is used up', () => {
    const { link } = new Side();
    for (let seq = 1; seq < CREDIT.frames / 2; seq += 1) link.receive(seq, 0, 1);
    expect(link.owesAck).toBe(false);
    link.receive(4, 0, 1);
    expect(link.owesAck).toBe(true);
    expect(link.tell()).toBe(4);
    expect(link.owesAck).toBe(false);
    link.receive(5, 0, CREDIT.bytes / 2);
    expect(link.owesAck).toBe(true);
  });

  it('ends a session whose other side acknowledges what was never sent, or asks for what it had acknowledged', () => {
    const side = new Side();
    side.link.push(0);
    side.send();
    expect(side.link.receive(1, 2, 1)).toBe('frame 2 is acknowledged; frame 1 was the last sent');
    expect(side.link.acknowledged(1)).toBeUndefined();
    // An old acknowledgement says nothing new.
    expect(side.link.acknowledged(0)).toBeUndefined();
    expect(side.link.resumed(0)).toBe('frame 1 is asked for again; frame 1 was acknowledged');
    expect(side.link.resumed(2)).toBe('frame 2 is acknowledged; frame 1 was the last sent');
    expect(side.link.resumed(1)).toBeUndefined();
  });
});
