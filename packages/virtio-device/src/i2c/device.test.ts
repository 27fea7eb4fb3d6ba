import {
  VIRTIO_I2C_FLAGS_FAIL_NEXT as FAIL_NEXT,
  featureSet,
  I2C_OUT_HEADER,
  MMIO,
  millicelsiusOf,
  VIRTIO_I2C_FLAGS_M_RD as READ,
  STATUS_ACKNOWLEDGE,
  STATUS_DRIVER,
  STATUS_FEATURES_OK,
  structBytes,
  VIRTIO_F_VERSION_1,
  VIRTIO_I2C_F_ZERO_LENGTH_REQUEST,
} from '@remio/virtio-spec';
import { beforeEach, describe, expect, it } from 'vitest';
import { DeviceBench, MEMORY_KINDS } from '../testing/device-bench.js';
import { I2cDevice } from './device.js';
import { Eeprom, type I2cTarget, TemperatureSensor } from './targets.js';

const FEATURES = featureSet(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);
const EEPROM = 0x50 << 1;
const SENSOR = 0x48 << 1;
const [OK, ERR] = [0, 1];

const device = (): I2cDevice =>
  new I2cDevice(
    new Map<number, I2cTarget>([
      [0x50, new Eeprom(Uint8Array.of(1, 2, 3, 4))],
      [0x48, new TemperatureSensor(-12_500)],
    ]),
  );

describe.each(MEMORY_KINDS)('an I2C adapter (5.16), memory: %s', (memory) => {
  let bench: DeviceBench;

  beforeEach(() => {
    bench = new DeviceBench(device(), { memory }).up(FEATURES, 1);
  });

  /** Makes a request and gives what came back: data, then the status. */
  const request = (addr: number, flags: number, data: readonly number[], reads = 0): readonly number[] => {
    const header = structBytes(I2C_OUT_HEADER, { addr, flags });
    bench.offer(0, data.length > 0 ? [header, Uint8Array.from(data)] : [header], reads > 0 ? [reads, 1] : [1]);
    const [returned] = bench.returned(0);
    return [...(returned?.bytes ?? [])];
  };

  it('carries out a write and the read after it', () => {
    expect(request(EEPROM, FAIL_NEXT, [1])).toEqual([OK]);
    expect(request(EEPROM, READ, [], 4)).toEqual([2, 3, 4, 0xff, OK]);
    expect(request(EEPROM, 0, [2, 9, 8])).toEqual([OK]);
    expect(request(EEPROM, 0, [0])).toEqual([OK]);
    expect(request(EEPROM, READ, [], 5)).toEqual([1, 2, 9, 8, 0xff, OK]);
  });

  it('finds chips by requests without data, and nothing where there is none', () => {
    expect(request(EEPROM, 0, [])).toEqual([OK]);
    expect(request(SENSOR, 0, [])).toEqual([OK]);
    expect(request(0x51 << 1, 0, [])).toEqual([ERR]);
    // An address of 10 bits (5.16.6.1).
    expect(request(0x50f0, 0, [])).toEqual([ERR]);
    expect(request(EEPROM | 1, 0, [])).toEqual([ERR]);
  });

  it('reads a temperature, below zero too', () => {
    expect(request(SENSOR, FAIL_NEXT, [0])).toEqual([OK]);
    const [high = 0, low = 0, status] = request(SENSOR, READ, [], 2);
    expect([millicelsiusOf(high, low), status]).toEqual([-12_500, OK]);
    expect(request(SENSOR, 0, [0, 1, 1])).toEqual([ERR]);
    expect(request(SENSOR, 0, [4])).toEqual([ERR]);
    expect(request(SENSOR, 0, [1, 0x5a])).toEqual([OK]);
    expect(request(SENSOR, READ, [], 2)).toEqual([0x5a, 0x5a, OK]);
  });

  it('5.16.6.1: fails the rest of a group when one of it failed, and the next group not', () => {
    expect(request(0x51 << 1, FAIL_NEXT, [0])).toEqual([ERR]);
    expect(request(EEPROM, FAIL_NEXT | READ, [], 1).at(-1)).toBe(ERR);
    expect(request(EEPROM, READ, [], 1).at(-1)).toBe(ERR);
    expect(request(EEPROM, READ, [], 1)).toEqual([1, OK]);
  });

  it.each([
    ['reserved flags', 4, [0], 0],
    ['a read that brings data', READ, [0], 1],
    ['a write with room for data', 0, [0], 1],
    ['a segment that is too long', READ, [], 5000],
  ])('%s: the request fails', (_what, flags, data, reads) => {
    expect(request(EEPROM, flags, data, reads).at(-1)).toBe(ERR);
    expect(request(EEPROM, READ, [], 1)).toEqual([1, OK]);
  });

  it('gives back what is no request: without a header, without room for a status', () => {
    bench.offer(0, [new Uint8Array(7)], [1]);
    bench.offer(0, [structBytes(I2C_OUT_HEADER, { addr: EEPROM })], []);
    expect(bench.returned(0).map(({ written }) => written)).toEqual([0, 0]);
    expect(request(EEPROM, 0, [])).toEqual([OK]);
  });
});

it('5.16.6.4: a driver that does not accept ZERO_LENGTH_REQUEST is rejected', () => {
  const bench = new DeviceBench(device());
  const status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
  bench.write(MMIO.Status, STATUS_ACKNOWLEDGE);
  bench.write(MMIO.Status, status);
  bench.write(MMIO.DriverFeaturesSel, 1);
  bench.write(MMIO.DriverFeatures, Number(featureSet(VIRTIO_F_VERSION_1) >> 32n));
  bench.write(MMIO.Status, status | STATUS_FEATURES_OK);
  expect(bench.read(MMIO.Status) & STATUS_FEATURES_OK).toBe(0);
});

it('an EEPROM wraps a write within its page, and a read at its end', () => {
  const eeprom = new Eeprom(new Uint8Array(0));
  eeprom.write(Uint8Array.of(6, 1, 2, 3));
  eeprom.write(Uint8Array.of(0));
  const bytes = new Uint8Array(9);
  eeprom.read(bytes);
  expect([...bytes]).toEqual([3, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 0xff]);
  eeprom.write(Uint8Array.of(255));
  const end = new Uint8Array(2);
  eeprom.read(end);
  expect([...end]).toEqual([0xff, 3]);
});
