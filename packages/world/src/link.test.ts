import { describe, expect, it } from 'vitest';
import { EchoLine } from './echo-line.js';
import { EchoPort } from './echo-port.js';
import { EventQueue } from './event-queue.js';
import { Link, type LinkOptions, type LinkWorld } from './link.js';

/** Nothing but a clock, and what happens when. */
class Clock implements LinkWorld {
  now = 0;
  readonly spentBytes: number[] = [];
  readonly #events = new EventQueue();

  spent(work: Parameters<LinkWorld['spent']>[0], amount = 1): void {
    if (work === 'copied-byte') this.spentBytes.push(amount);
  }

  interruptAt(time: number, work: () => void): void {
    this.#events.add(Math.max(time, this.now), work);
  }

  /** Lets everything happen that is to. */
  run(): void {
    for (let event = this.#events.take(); event !== undefined; event = this.#events.take()) {
      this.now = event.time;
      event.happen();
    }
  }
}

/** A byte takes a nanosecond each way, and the first bit 1,000 there and back. */
const OPTIONS: LinkOptions = { latency: 1_000, bandwidth: 1_000_000_000 };

describe('a link in virtual time', () => {
  it('brings bytes back when the last one has travelled both ways', () => {
    expect(new Link(new Clock(), OPTIONS).send(100)).toBe(100 + 1_000 + 100);
  });

  it('lets what is sent wait for what was sent before, each way', () => {
    const clock = new Clock();
    const link = new Link(clock, OPTIONS);
    expect([10, 100, 10].map((bytes) => link.send(bytes))).toEqual([1_020, 1_210, 1_220]);
    clock.now = 10_000;
    expect(link.send(100)).toBe(11_200);
  });
});

describe('a station that sends frames back', () => {
  const HEADER = new Uint8Array(12);
  const TO = [2, 0, 0, 0, 0, 1];
  const FROM = [2, 0, 0, 0, 0, 2];
  const frame = (n: number): Uint8Array => Uint8Array.from([...TO, ...FROM, 0x88, 0xb5, n]);

  /** A port whose user takes every frame at once; when each came. */
  function station() {
    const clock = new Clock();
    const port = new EchoPort(new Link(clock, OPTIONS));
    const came: { readonly at: number; readonly frame: readonly number[] }[] = [];
    const take = (): void => {
      const room = new Uint8Array(64);
      for (let length = port.receive(0, [room]); length > 0; length = port.receive(0, [room])) {
        came.push({ at: clock.now, frame: [...room.subarray(HEADER.length, length)] });
      }
      port.listen();
    };
    port.open({ readable: take, linkChanged: () => {} });
    port.listen();
    return { clock, port, came };
  }

  it('sends each to whom it came from, at its time, in order', () => {
    const { clock, port, came } = station();
    const [first, second] = [frame(7), frame(8)];
    expect(port.transmit(0, HEADER, [first.subarray(0, 9), first.subarray(9)])).toBe(true);
    expect(port.transmit(0, HEADER, [second])).toBe(true);
    expect(port.receive(0, [new Uint8Array(64)])).toBe(0);
    clock.run();
    const back = (n: number): readonly number[] => [...FROM, ...TO, 0x88, 0xb5, n];
    expect(came).toEqual([
      { at: 1_030, frame: back(7) },
      { at: 1_045, frame: back(8) },
    ]);
    // Out and in: the backend's CPU copies a frame each way, the second time with its header.
    expect(clock.spentBytes).toEqual([15, 15, 27, 27]);
  });

  it('says how much room a frame needs that finds too little, and has it still', () => {
    const { clock, port } = station();
    port.open({ readable: () => {}, linkChanged: () => {} });
    port.transmit(0, HEADER, [frame(7)]);
    clock.run();
    expect(port.receive(0, [new Uint8Array(26)])).toBe(-27);
    expect(port.receive(0, [new Uint8Array(26), new Uint8Array(1)])).toBe(27);
  });

  it('loses what is sent while 1,024 frames are on their way', () => {
    const { clock, port, came } = station();
    for (let n = 0; n < 1_024; n += 1) expect(port.transmit(0, HEADER, [frame(n & 0xff)])).toBe(true);
    expect(port.transmit(0, HEADER, [frame(0)])).toBe(false);
    clock.run();
    expect(came).toHaveLength(1_024);
    expect(port.transmit(0, HEADER, [frame(0)])).toBe(true);
  });

  it('forgets what is on its way when nobody has the port any more', () => {
    const { clock, port, came } = station();
    port.transmit(0, HEADER, [frame(7)]);
    port.shut();
    clock.run();
    expect(came).toEqual([]);
    expect(port.transmit(0, HEADER, [frame(7)])).toBe(false);
  });
});

describe('a line whose other end sends back what comes', () => {
  /** A line whose user reads all that is there at once. */
  function line() {
    const clock = new Clock();
    const stream = new EchoLine(new Link(clock, OPTIONS));
    const came: { readonly at: number; readonly bytes: readonly number[] }[] = [];
    let writable = 0;
    const read = (): void => {
      const room = new Uint8Array(4);
      for (let length = stream.read(room); length > 0; length = stream.read(room)) {
        came.push({ at: clock.now, bytes: [...room.subarray(0, length)] });
      }
    };
    const told = { readable: read, writable: () => (writable += 1) };
    stream.handler = { ...stream.handler, ...told };
    return { clock, stream, came, read, writable: () => writable };
  }

  it('gives every byte back once, in order, at its time, in pieces as large as the reader likes', () => {
    const { clock, stream, came, read } = line();
    read();
    expect(stream.write(Uint8Array.of(1, 2, 3, 4, 5, 6))).toBe(6);
    expect(stream.available).toBe(0);
    clock.run();
    expect(came).toEqual([
      { at: 1_012, bytes: [1, 2, 3, 4] },
      { at: 1_012, bytes: [5, 6] },
    ]);
  });

  it('takes 64 KiB before what it has is read, and says when there is room again', () => {
    const { clock, stream, read, writable } = line();
    expect(stream.write(new Uint8Array(65_000))).toBe(65_000);
    expect(stream.write(new Uint8Array(1_000))).toBe(536);
    expect(stream.write(new Uint8Array(1))).toBe(0);
    clock.run();
    expect(writable()).toBe(0);
    read();
    clock.run();
    expect(writable()).toBe(1);
    expect(stream.write(new Uint8Array(1_000))).toBe(1_000);
  });
});
