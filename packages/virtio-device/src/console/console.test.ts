import {
  CONSOLE_CONTROL_RECEIVEQ,
  CONSOLE_CONTROL_TRANSMITQ,
  consoleReceiveq,
  consoleTransmitq,
  featureSet,
  INTERRUPT_CONFIG_CHANGE,
  MMIO,
  MMIO_CONFIG,
  STATUS_DEVICE_NEEDS_RESET,
  VIRTIO_CONSOLE_CONSOLE_PORT,
  VIRTIO_CONSOLE_DEVICE_ADD,
  VIRTIO_CONSOLE_DEVICE_READY,
  VIRTIO_CONSOLE_DEVICE_REMOVE,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
  VIRTIO_CONSOLE_PORT_NAME,
  VIRTIO_CONSOLE_PORT_OPEN,
  VIRTIO_CONSOLE_PORT_READY,
  VIRTIO_CONSOLE_RESIZE,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { DeviceBench, MEMORY_KINDS, type MemoryKind } from '../testing/device-bench.js';
import { MemorySource, MemoryStream } from '../testing/memory-stream.js';
import { controlMessage } from './control-queues.js';
import { ConsoleDevice } from './device.js';

const MULTIPORT = featureSet(VIRTIO_CONSOLE_F_MULTIPORT);
const text = (characters: string): Uint8Array => new TextEncoder().encode(characters);
const string = (bytes: Iterable<number>): string => new TextDecoder().decode(Uint8Array.from(bytes));

/** A console with one port, up, with no feature but those given. */
const single = (features = 0n, memory: MemoryKind = 'local'): { bench: DeviceBench; source: MemorySource } => {
  const source = new MemorySource();
  const bench = new DeviceBench(new ConsoleDevice([{ source, console: true }]), { memory }).up(features, 2);
  return { bench, source };
};

/** A console with a console port 0 and a port 1 called `agent`. */
class Multi {
  readonly sources = [new MemorySource(), new MemorySource()] as const;
  readonly bench: DeviceBench;

  constructor() {
    const [first, second] = this.sources;
    this.bench = new DeviceBench(
      new ConsoleDevice([
        { source: first, console: true },
        { source: second, console: false, name: 'agent' },
      ]),
    ).up(MULTIPORT, 6);
  }

  /** Says something to the device. */
  say(port: number, event: number, value: number): void {
    this.bench.offer(CONSOLE_CONTROL_TRANSMITQ, [controlMessage(port, event, value)]);
  }

  /** Gives room for control messages. */
  room(count: number): void {
    for (let n = 0; n < count; n += 1) this.bench.offer(CONSOLE_CONTROL_RECEIVEQ, [], [64]);
  }

  /** What the device said: port, event, value, and the data after it as text. */
  heard(): readonly (readonly [number, number, number, string])[] {
    return this.bench.returned(CONSOLE_CONTROL_RECEIVEQ).map(({ bytes }) => {
      const view = new DataView(bytes.buffer);
      return [
        view.getUint32(0, true),
        view.getUint16(4, true),
        view.getUint16(6, true),
        string(bytes.subarray(8)),
      ] as const;
    });
  }

  /** Brings both ports up. */
  ready(): this {
    this.room(10);
    this.say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    for (const port of [0, 1]) {
      this.say(port, VIRTIO_CONSOLE_PORT_READY, 1);
      this.say(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
    }
    this.heard();
    return this;
  }
}

describe.each(MEMORY_KINDS)('a console, memory: %s', (memory) => {
  it('5.3.6: gives the driver what comes from outside, in order, as far as there is room', () => {
    const { bench, source } = single(0n, memory);
    bench.offer(consoleReceiveq(0), [], [3, 2]);
    const stream = source.connect();
    stream.arrive(text('hello, world'));
    bench.settle();
    expect(bench.returned(0).map(({ bytes }) => string(bytes))).toEqual(['hello']);
    expect(stream.available).toBe(7);
    bench.offer(consoleReceiveq(0), [], [100]);
    expect(bench.returned(0).map(({ bytes }) => string(bytes))).toEqual([', world']);
  });

  it('5.3.6: sends what the driver says; a chain comes back only when all of it was taken', () => {
    const { bench, source } = single(0n, memory);
    const stream = source.connect(new MemoryStream(4));
    bench.offer(consoleTransmitq(0), [text('abc'), text('def')]);
    bench.offer(consoleTransmitq(0), [text('ghi')]);
    expect(string(stream.taken)).toBe('abcd');
    expect(bench.returned(1)).toEqual([]);
    stream.allow(3);
    bench.settle();
    expect(bench.returned(1)).toHaveLength(1);
    stream.allow(100);
    bench.settle();
    expect(bench.returned(1)).toHaveLength(1);
    expect(string(stream.taken)).toBe('abcdefghi');
  });
});

describe('a console', () => {
  it('keeps what the driver says until somebody listens, and loses nothing when the listener changes', () => {
    const { bench, source } = single();
    bench.offer(consoleTransmitq(0), [text('early')]);
    expect(bench.returned(1)).toEqual([]);
    const first = source.connect(new MemoryStream(3));
    first.drop();
    expect(first.destroyed).toBe(true);
    const second = source.connect();
    bench.settle();
    expect(string(first.taken) + string(second.taken)).toBe('early');
    expect(bench.returned(1)).toHaveLength(1);
  });

  it('lets a listener that has said its end go when another waits, and not before', () => {
    const { bench, source } = single();
    const stream = source.connect();
    stream.arrive(text('bye'));
    stream.finish();
    expect(stream.gaveWay).toBe(false);
    bench.offer(0, [], [8]);
    bench.offer(1, [text('answer')]);
    expect([stream.gaveWay, stream.endSaid, string(stream.taken)]).toEqual([true, false, 'answer']);
  });

  it('A41: takes no more from outside than the driver has room for', () => {
    const { bench, source } = single();
    const stream = source.connect();
    stream.arrive(new Uint8Array(1000));
    bench.settle();
    expect(stream.available).toBe(1000);
  });

  it.each([
    ['a device-readable buffer in a receive queue (5.3.6.1)', 0, [text('x')], [8]],
    ['a device-writable buffer in a transmit queue (5.3.6.1)', 1, [text('x')], [8]],
    ['an empty buffer in a receive queue', 0, [], [0]],
    ['an empty buffer in a transmit queue', 1, [new Uint8Array(0)], []],
  ] as const)('%s comes back unused, and the queue lives', (_, queue, readable, room) => {
    const { bench, source } = single();
    const stream = source.connect();
    bench.offer(queue, readable, room);
    expect(bench.returned(queue).map(({ written }) => written)).toEqual([0]);
    bench.offer(1, [text('out')]);
    bench.offer(0, [], [8]);
    stream.arrive(text('in'));
    bench.settle();
    expect(string(stream.taken)).toBe('out');
    expect(bench.returned(0).map(({ bytes }) => string(bytes))).toEqual(['in']);
  });

  it('5.3.4: shows its size; a change raises the configuration interrupt if SIZE was negotiated', () => {
    const { bench, source } = single(featureSet(VIRTIO_CONSOLE_F_SIZE));
    const size = (): readonly bigint[] => [0, 2].map((offset) => bench.registers.read(MMIO_CONFIG + offset, 2));
    expect(size()).toEqual([80n, 25n]);
    const generation = bench.read(MMIO.ConfigGeneration);
    source.resize(132, 50);
    expect(size()).toEqual([132n, 50n]);
    expect(bench.read(MMIO.InterruptStatus)).toBe(INTERRUPT_CONFIG_CHANGE);
    expect(bench.read(MMIO.ConfigGeneration)).not.toBe(generation);
    bench.write(MMIO.InterruptACK, INTERRUPT_CONFIG_CHANGE);
    source.resize(132, 50);
    expect(bench.read(MMIO.InterruptStatus)).toBe(0);
  });

  it('5.3.4: says nothing of its size to a driver without SIZE', () => {
    const { bench, source } = single();
    source.resize(132, 50);
    expect(bench.interrupts).toBe(0);
  });

  it('5.3.5.1: writes emergency characters out, before any queue runs, in any width', () => {
    const source = new MemorySource();
    const bench = new DeviceBench(new ConsoleDevice([{ source, console: true }]));
    const stream = source.connect();
    for (const [character, width] of [
      ['p', 4],
      ['a', 1],
      ['n', 2],
    ] as const) {
      bench.registers.write(MMIO_CONFIG + 8, width, BigInt(character.charCodeAt(0)) | (width === 1 ? 0n : 0x100n));
    }
    bench.registers.write(MMIO_CONFIG, 2, 7n);
    expect(string(stream.taken)).toBe('pan');
    expect(bench.registers.read(MMIO_CONFIG, 2)).toBe(80n);
  });

  it('2.4: after a reset nothing of the former queues is touched; the connection stays', () => {
    const { bench, source } = single();
    const stream = source.connect(new MemoryStream(1));
    bench.offer(0, [], [8]);
    bench.offer(1, [text('lost')]);
    bench.write(MMIO.Status, 0);
    stream.arrive(text('kept'));
    stream.allow(100);
    bench.settle();
    expect(string(stream.taken)).toBe('l');
    bench.up(0n, 2);
    bench.offer(0, [], [8]);
    expect(bench.returned(0).map(({ bytes }) => string(bytes))).toEqual(['kept']);
  });
});

describe('a console with several ports (5.3.6.2)', () => {
  it('adds each port once, and tells of it what there is when the driver is ready for it', () => {
    const multi = new Multi();
    const [, agent] = multi.sources;
    agent.connect();
    multi.room(12);
    multi.say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect(multi.heard()).toEqual([
      [0, VIRTIO_CONSOLE_DEVICE_ADD, 0, ''],
      [1, VIRTIO_CONSOLE_DEVICE_ADD, 0, ''],
    ]);
    multi.say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    multi.say(1, VIRTIO_CONSOLE_PORT_READY, 1);
    multi.say(0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect(multi.heard()).toEqual([
      [1, VIRTIO_CONSOLE_PORT_NAME, 1, 'agent'],
      [1, VIRTIO_CONSOLE_PORT_OPEN, 1, ''],
      [0, VIRTIO_CONSOLE_CONSOLE_PORT, 1, ''],
      [0, VIRTIO_CONSOLE_RESIZE, 0, '\u0050\0\u0019\0'],
    ]);
  });

  it('tells what changed as soon as there is room for it, and the newest state once', () => {
    const multi = new Multi().ready();
    const [terminal, agent] = multi.sources;
    // Room that is left is used up first.
    for (let n = 0; n < 20; n += 1) terminal.resize(n + 1, 25);
    multi.bench.settle();
    multi.heard();
    agent.connect().finish();
    terminal.resize(100, 40);
    terminal.resize(101, 41);
    multi.bench.settle();
    expect(multi.heard()).toEqual([]);
    multi.room(3);
    expect(multi.heard()).toEqual([
      [0, VIRTIO_CONSOLE_RESIZE, 0, 'e\0)\0'],
      [1, VIRTIO_CONSOLE_PORT_OPEN, 0, ''],
    ]);
  });

  it('keeps the ports apart, and holds what comes for a port until the guest has opened it', () => {
    const multi = new Multi();
    const [terminal, agent] = multi.sources;
    const [screen, line] = [terminal.connect(), agent.connect()];
    multi.bench.offer(consoleReceiveq(1), [], [32]);
    line.arrive(text('for the agent'));
    multi.bench.settle();
    expect(multi.bench.returned(consoleReceiveq(1))).toEqual([]);
    multi.ready();
    expect(multi.bench.returned(consoleReceiveq(1)).map(({ bytes }) => string(bytes))).toEqual(['for the agent']);
    multi.bench.offer(consoleTransmitq(0), [text('screen')]);
    multi.bench.offer(consoleTransmitq(1), [text('line')]);
    expect([string(screen.taken), string(line.taken)]).toEqual(['screen', 'line']);
  });

  it('says that the other side is closed after everything it sent, and keeps the other direction', () => {
    const multi = new Multi().ready();
    const stream = multi.sources[1].connect();
    multi.bench.settle();
    expect(multi.heard()).toEqual([[1, VIRTIO_CONSOLE_PORT_OPEN, 1, '']]);
    stream.arrive(text('last words'));
    stream.finish();
    multi.bench.settle();
    expect(multi.heard()).toEqual([]);
    multi.bench.offer(consoleReceiveq(1), [], [32]);
    expect(multi.heard()).toEqual([[1, VIRTIO_CONSOLE_PORT_OPEN, 0, '']]);
    multi.bench.offer(consoleTransmitq(1), [text('answer')]);
    expect([string(stream.taken), stream.endSaid]).toEqual(['answer', false]);
    multi.say(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    expect(stream.endSaid).toBe(true);
    stream.drop();
    expect(stream.destroyed).toBe(true);
  });

  it('says the end outside after everything that the guest sent, and still gives it what comes', () => {
    const multi = new Multi().ready();
    const stream = multi.sources[1].connect(new MemoryStream(2));
    multi.bench.offer(consoleTransmitq(1), [text('slow')]);
    multi.say(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    expect(stream.endSaid).toBe(false);
    stream.allow(2);
    expect([string(stream.taken), stream.endSaid]).toEqual(['slow', true]);
    multi.bench.offer(consoleReceiveq(1), [], [32]);
    stream.arrive(text('still here'));
    multi.bench.settle();
    expect(multi.bench.returned(consoleReceiveq(1)).map(({ bytes }) => string(bytes))).toEqual(['still here']);
  });

  it('removes a port whose other end is gone for good', () => {
    const multi = new Multi().ready();
    const stream = multi.sources[1].connect();
    multi.sources[1].go();
    multi.bench.settle();
    multi.heard();
    stream.drop();
    multi.bench.settle();
    expect(multi.heard().at(-1)).toEqual([1, VIRTIO_CONSOLE_DEVICE_REMOVE, 0, '']);
  });

  it.each([
    ['A44: a port out of range', controlMessage(2, VIRTIO_CONSOLE_PORT_READY, 1)],
    ['A44: the last port number', controlMessage(0xffff_ffff, VIRTIO_CONSOLE_PORT_OPEN, 1)],
    ['A44: a truncated message', controlMessage(1, VIRTIO_CONSOLE_PORT_READY, 1).subarray(0, 7)],
    ['A44: an empty message', new Uint8Array(0)],
    ['A44: an event that there is not', controlMessage(1, 0xffff, 1)],
    ['A44: an event that only the device sends', controlMessage(1, VIRTIO_CONSOLE_DEVICE_REMOVE, 1)],
    ['a port that was not added', controlMessage(1, VIRTIO_CONSOLE_PORT_READY, 1)],
    ['a port that is not ready', controlMessage(1, VIRTIO_CONSOLE_PORT_OPEN, 0)],
  ])('%s means nothing; the message comes back, and the device lives', (_, message) => {
    const multi = new Multi();
    multi.room(2);
    multi.bench.offer(CONSOLE_CONTROL_TRANSMITQ, [message]);
    expect(multi.bench.returned(CONSOLE_CONTROL_TRANSMITQ).map(({ written }) => written)).toEqual([0]);
    expect(multi.heard()).toEqual([]);
    expect(multi.bench.read(MMIO.Status) & STATUS_DEVICE_NEEDS_RESET).toBe(0);
    multi.say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect(multi.heard()).toHaveLength(2);
  });

  it('A44: room that is too small for a control message comes back unused', () => {
    const multi = new Multi();
    multi.bench.offer(CONSOLE_CONTROL_RECEIVEQ, [], [7]);
    expect(multi.bench.returned(CONSOLE_CONTROL_RECEIVEQ).map(({ written }) => written)).toEqual([0]);
  });

  it('A41: says nothing twice to a driver that asks again and again', () => {
    const multi = new Multi().ready();
    for (let n = 0; n < 1000; n += 1) {
      multi.say(0, VIRTIO_CONSOLE_PORT_READY, 1);
      multi.bench.returned(CONSOLE_CONTROL_TRANSMITQ);
    }
    multi.heard();
    multi.room(10);
    expect(multi.heard().length).toBeLessThanOrEqual(3);
  });

  it('without MULTIPORT, port 0 works alone', () => {
    const [source, other] = [new MemorySource(), new MemorySource()];
    const device = new ConsoleDevice([
      { source, console: true },
      { source: other, console: false },
    ]);
    const bench = new DeviceBench(device).up(0n, 2);
    const stream = source.connect();
    bench.offer(1, [text('plain')]);
    expect(string(stream.taken)).toBe('plain');
  });
});
