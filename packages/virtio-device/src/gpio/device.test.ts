import {
  VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH as EDGE_BOTH,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_FALLING as EDGE_FALLING,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING as EDGE_RISING,
  featureSet,
  VIRTIO_GPIO_MSG_GET_DIRECTION as GET_DIRECTION,
  VIRTIO_GPIO_MSG_GET_LINE_NAMES as GET_NAMES,
  VIRTIO_GPIO_MSG_GET_VALUE as GET_VALUE,
  GPIO_REQUEST,
  hasFeature,
  VIRTIO_GPIO_DIRECTION_IN as IN,
  VIRTIO_GPIO_IRQ_TYPE_LEVEL_HIGH as LEVEL_HIGH,
  VIRTIO_GPIO_IRQ_TYPE_LEVEL_LOW as LEVEL_LOW,
  MMIO,
  VIRTIO_GPIO_DIRECTION_NONE as NONE,
  VIRTIO_GPIO_DIRECTION_OUT as OUT,
  VIRTIO_GPIO_MSG_SET_DIRECTION as SET_DIRECTION,
  VIRTIO_GPIO_MSG_SET_IRQ_TYPE as SET_IRQ,
  VIRTIO_GPIO_MSG_SET_VALUE as SET_VALUE,
  structBytes,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_RESET,
  VIRTIO_GPIO_F_IRQ,
} from '@remio/virtio-spec';
import { beforeEach, describe, expect, it } from 'vitest';
import { DeviceBench, MEMORY_KINDS } from '../testing/device-bench.js';
import { GpioDevice } from './device.js';

const FEATURES = featureSet(VIRTIO_GPIO_F_IRQ, VIRTIO_F_RING_RESET);
const [OK, ERR] = [0, 1];
const [INVALID, VALID] = [[0], [1]];
/** A lamp, a key that the lamp's line drives, a line that nobody drives and that is pulled up. */
const [LAMP, KEY, FREE] = [0, 1, 2];

const device = (): GpioDevice =>
  new GpioDevice([
    { name: 'lamp', pull: 0 },
    { name: 'key', wire: LAMP, pull: 0 },
    { name: '', pull: 1 },
  ]);

describe.each(MEMORY_KINDS)('a GPIO device (5.18), memory: %s', (memory) => {
  let bench: DeviceBench;

  beforeEach(() => {
    bench = new DeviceBench(device(), { memory }).up(FEATURES, 2);
  });

  const ask = (type: number, gpio: number, value = 0, room = 2): readonly number[] => {
    bench.offer(0, [structBytes(GPIO_REQUEST, { type, gpio, value })], [room]);
    return [...(bench.returned(0)[0]?.bytes ?? [])];
  };
  const unmask = (line: number): void => bench.offer(1, [Uint8Array.of(line & 0xff, line >> 8)], [1]);
  const events = (): readonly (readonly number[])[] => bench.returned(1).map(({ bytes }) => [...bytes]);
  /** Drives the lamp, and so the key. */
  const drive = (value: number): readonly number[] => ask(SET_VALUE, LAMP, value);

  it('5.18.4, 5.18.6.1: tells how many lines there are, and their names', () => {
    expect(Number(bench.registers.read(0x100, 2))).toBe(3);
    expect(Number(bench.registers.read(0x104, 4))).toBe(10);
    expect(Buffer.from(ask(GET_NAMES, 0, 0, 11)).toString()).toBe('\0lamp\0key\0\0');
    expect(ask(GET_NAMES, 0, 0, 10)).toEqual([ERR, 0]);
  });

  it('drives and senses lines: a value is that of the line once it is an output', () => {
    expect([ask(GET_DIRECTION, LAMP), ask(GET_VALUE, FREE)]).toEqual([
      [OK, NONE],
      [OK, 1],
    ]);
    expect(drive(1)).toEqual([OK, 0]);
    expect(ask(GET_VALUE, KEY)).toEqual([OK, 0]);
    expect(ask(SET_DIRECTION, LAMP, OUT)).toEqual([OK, 0]);
    expect([ask(GET_VALUE, LAMP), ask(GET_VALUE, KEY), ask(GET_DIRECTION, LAMP)]).toEqual([
      [OK, 1],
      [OK, 1],
      [OK, OUT],
    ]);
    // 5.18.6.8: without a direction, everything is forgotten.
    expect(ask(SET_DIRECTION, LAMP, NONE)).toEqual([OK, 0]);
    expect(ask(SET_DIRECTION, LAMP, OUT)).toEqual([OK, 0]);
    expect(ask(GET_VALUE, KEY)).toEqual([OK, 0]);
  });

  it.each([
    ['a line beyond the last', SET_VALUE, 3, 1],
    ['a value that is none', SET_VALUE, LAMP, 2],
    ['a direction that is none', SET_DIRECTION, LAMP, 3],
    ['a message that is none', 9, LAMP, 0],
    ['an interrupt type that is none', SET_IRQ, KEY, 5],
    ['an interrupt of a line beyond the last', SET_IRQ, 0xffff, EDGE_BOTH],
  ])('refuses %s', (_what, type, gpio, value) => {
    expect(ask(type, gpio, value)).toEqual([ERR, 0]);
  });

  it('gives back what is no request, and no event', () => {
    bench.offer(0, [new Uint8Array(7)], [2]);
    bench.offer(0, [structBytes(GPIO_REQUEST, { type: GET_VALUE })], [1]);
    expect(bench.returned(0).map(({ written }) => written)).toEqual([0, 0]);
    bench.offer(1, [new Uint8Array(1)], [1]);
    bench.offer(1, [new Uint8Array(2)], []);
    expect(bench.returned(1).map(({ written }) => written)).toEqual([0, 0]);
  });

  describe('an interrupt', () => {
    beforeEach(() => {
      ask(SET_DIRECTION, LAMP, OUT);
      ask(SET_DIRECTION, KEY, IN);
    });

    it.each([
      ['rising', EDGE_RISING, [1, 0, 1]],
      ['falling', EDGE_FALLING, [0, 1, 0]],
      ['both', EDGE_BOTH, [1, 1, 1]],
    ])('comes with each %s edge', (_what, type, expected) => {
      ask(SET_IRQ, KEY, type);
      unmask(KEY);
      const came = [1, 0, 1].map((level) => {
        drive(level);
        const valid = events().length;
        if (valid > 0) unmask(KEY);
        return valid;
      });
      expect(came).toEqual(expected);
    });

    it('5.18.6.8: an edge is latched while it is masked, a level is not', () => {
      ask(SET_IRQ, KEY, EDGE_RISING);
      drive(1);
      drive(0);
      expect(events()).toEqual([]);
      unmask(KEY);
      expect(events()).toEqual([VALID]);
      ask(SET_IRQ, KEY, 0);
      ask(SET_IRQ, KEY, LEVEL_HIGH);
      drive(1);
      drive(0);
      unmask(KEY);
      expect(events()).toEqual([]);
      drive(1);
      expect(events()).toEqual([VALID]);
      unmask(KEY);
      expect(events()).toEqual([VALID]);
    });

    it('comes with a low level', () => {
      ask(SET_IRQ, FREE, LEVEL_LOW);
      ask(SET_IRQ, KEY, LEVEL_LOW);
      unmask(FREE);
      unmask(KEY);
      expect(events()).toEqual([VALID]);
    });

    it('5.18.7.3: is sent only when it is both enabled and unmasked', () => {
      unmask(KEY);
      expect(events()).toEqual([INVALID]);
      ask(SET_IRQ, KEY, EDGE_BOTH);
      unmask(KEY);
      unmask(KEY);
      // A second buffer for the same line comes back.
      expect(events()).toEqual([INVALID]);
      unmask(77);
      expect(events()).toEqual([INVALID]);
      ask(SET_IRQ, KEY, 0);
      expect(events()).toEqual([INVALID]);
      drive(1);
      expect(events()).toEqual([]);
    });

    it('5.18.6.7: is disabled before it becomes another, and an output has none', () => {
      expect(ask(SET_IRQ, KEY, EDGE_BOTH)).toEqual([OK, 0]);
      expect(ask(SET_IRQ, KEY, EDGE_RISING)).toEqual([ERR, 0]);
      expect(ask(SET_DIRECTION, KEY, OUT)).toEqual([ERR, 0]);
      expect(ask(SET_IRQ, LAMP, EDGE_BOTH)).toEqual([ERR, 0]);
    });

    it('ends with the direction: the buffer comes back', () => {
      ask(SET_IRQ, KEY, EDGE_BOTH);
      unmask(KEY);
      ask(SET_DIRECTION, KEY, NONE);
      expect(events()).toEqual([INVALID]);
    });

    it('2.6.1: a reset of the event queue ends, with buffers in it', () => {
      ask(SET_IRQ, KEY, EDGE_BOTH);
      unmask(KEY);
      bench.write(MMIO.QueueSel, 1);
      bench.write(MMIO.QueueReset, 1);
      bench.settle();
      expect(bench.read(MMIO.QueueReset)).toBe(0);
    });

    it('2.4: a reset of the device forgets lines and buffers', () => {
      ask(SET_IRQ, KEY, EDGE_BOTH);
      unmask(KEY);
      drive(1);
      bench.up(FEATURES, 2);
      expect(ask(GET_DIRECTION, KEY)).toEqual([OK, NONE]);
      expect(ask(SET_DIRECTION, LAMP, OUT)).toEqual([OK, 0]);
      drive(1);
      expect(events()).toEqual([]);
    });
  });

  it('5.18.6.6: without the feature, there are no interrupts', () => {
    bench.up(0n, 1);
    expect(ask(SET_IRQ, KEY, EDGE_BOTH)).toEqual([ERR, 0]);
  });

  it('is always notified of buffers for events, while others wait', () => {
    bench.up(FEATURES | featureSet(VIRTIO_F_EVENT_IDX), 2);
    ask(SET_DIRECTION, LAMP, OUT);
    for (const line of [KEY, FREE]) ask(SET_IRQ, line, EDGE_RISING);
    unmask(FREE);
    unmask(KEY);
    drive(1);
    expect(events()).toEqual([VALID]);
  });
});

it('offers no IN_ORDER: events come in whatever order they come', () => {
  const bench = new DeviceBench(device());
  bench.write(MMIO.DeviceFeaturesSel, 1);
  expect(hasFeature(BigInt(bench.read(MMIO.DeviceFeatures)) << 32n, VIRTIO_F_IN_ORDER)).toBe(false);
});
