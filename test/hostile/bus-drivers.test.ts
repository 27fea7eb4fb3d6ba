import { type DeviceIo, Eeprom, GpioDevice, I2cDevice, type VirtioDevice } from '@remio/virtio-device';
import { VirtioGpioDriver, VirtioI2cDriver } from '@remio/virtio-driver';
import {
  DEVICE_ID_GPIO,
  DEVICE_ID_I2C,
  featureSet,
  GPIO_CONFIG_NAMES_SIZE,
  GPIO_CONFIG_SIZE,
  VIRTIO_GPIO_DIRECTION_IN,
  VIRTIO_GPIO_DIRECTION_OUT,
  VIRTIO_GPIO_F_IRQ,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING,
  VIRTIO_GPIO_IRQ_TYPE_NONE,
  VIRTIO_I2C_F_ZERO_LENGTH_REQUEST,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { type PairProgram, pair } from '../support/pair.js';

/** A device that answers each request with these bytes; `broken`: it says that it needs a reset. */
class Liar implements VirtioDevice {
  readonly queueCount = 2;
  readonly queueSizeMax = 64;
  #io: DeviceIo | undefined;

  constructor(
    readonly deviceId: number,
    readonly features: bigint,
    private readonly says: (room: number) => readonly number[] | 'broken',
    readonly config: Uint8Array = new Uint8Array(GPIO_CONFIG_SIZE),
  ) {}

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(index: number): void {
    const io = this.#io;
    const queue = io?.queues[index];
    if (io === undefined || queue === undefined) return;
    for (let popped = queue.pop(); popped.kind === 'chain'; popped = queue.pop()) {
      const { head, writable, writableLength } = popped.chain;
      const says = this.says(writableLength);
      if (says === 'broken') {
        io.broken(index, { code: 'made-up', clause: '2.1.2', detail: 'of its own accord' });
        return;
      }
      const [room] = writable;
      if (room !== undefined) io.memory.bytes(room.offset, room.length).set(says.slice(0, room.length));
      queue.push(head, says.length);
    }
    io.used(index);
  }

  reset(done: () => void): void {
    done();
  }
}

const I2C = featureSet(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);

/** Reads two bytes of a chip. */
const readChip: PairProgram<unknown> = async (cpu, end) => {
  const driver = await VirtioI2cDriver.probe(cpu, end);
  if (!driver.ok) return `${driver.error.code} ${driver.error.clause}`;
  const read = await driver.value.transfer(0x50, [{ write: Uint8Array.of(1) }, { read: 2 }]);
  if (!read.ok) return read.error.code;
  return read.value === 'not-acknowledged' ? read.value : [...(read.value[0] ?? [])];
};

describe('the I2C driver (5.16)', () => {
  const eeprom = () => new Map([[0x50, new Eeprom(Uint8Array.of(1, 2, 3))]]);

  it('writes and reads in one transaction', async () => {
    expect(await pair(new I2cDevice(eeprom()), readChip)).toEqual([2, 3]);
  });

  it('finds what answers, and hears from nobody else', async () => {
    const found = await pair(new I2cDevice(eeprom()), async (cpu, end) => {
      const driver = await VirtioI2cDriver.probe(cpu, end);
      if (!driver.ok) return driver.error.code;
      const absent = await driver.value.transfer(0x51, [{ write: Uint8Array.of(1) }, { read: 2 }]);
      const scan = await driver.value.scan();
      return [absent.ok && absent.value, scan.ok && scan.value];
    });
    expect(found).toEqual(['not-acknowledged', [0x50]]);
  });

  it('5.16.6.3: gives up on a device without ZERO_LENGTH_REQUEST', async () => {
    expect(await pair(new Liar(DEVICE_ID_I2C, 0n, () => [0]), readChip)).toBe('features 5.16.6.3');
  });

  it.each([
    ['V4 answers nothing', () => []],
    ['V4 answers without a status', (room: number) => (room === 1 ? [0] : [7, 7])],
    ['V18 says a status nobody knows', () => [9, 9, 9]],
    ['5.16.6.3 fails the first of two', (room: number) => (room === 1 ? [1] : [7, 7, 0])],
  ])('takes no data of a device that %s', async (_, says) => {
    expect(await pair(new Liar(DEVICE_ID_I2C, I2C, says), readChip)).toBe('not-acknowledged');
  });

  it('V16: ends with a device that needs a reset', async () => {
    expect(await pair(new Liar(DEVICE_ID_I2C, I2C, () => 'broken'), readChip)).toBe('needs-reset');
  });
});

const names: PairProgram<unknown> = async (cpu, end) => {
  const driver = await VirtioGpioDriver.probe(cpu, end);
  if (!driver.ok) return `${driver.error.code} ${driver.error.clause}`;
  const all = await driver.value.names();
  return all.ok ? all.value : all.error.code;
};

describe('the GPIO driver (5.18)', () => {
  const device = () =>
    new GpioDevice([
      { name: 'out', pull: 0 },
      { name: 'in', wire: 0, pull: 0 },
    ]);

  it('drives, senses and waits for several lines at the same time', async () => {
    const heard = await pair(device(), async (cpu, end) => {
      const driver = await VirtioGpioDriver.probe(cpu, end);
      if (!driver.ok) return driver.error.code;
      const gpio = driver.value;
      await gpio.setDirection(0, VIRTIO_GPIO_DIRECTION_OUT);
      await gpio.setDirection(1, VIRTIO_GPIO_DIRECTION_IN);
      await gpio.setIrqType(1, VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING);
      const first = gpio.interrupt(1);
      await gpio.setValue(0, 1);
      const second = await first;
      const level = await gpio.value(1);
      const disabled = gpio.interrupt(1);
      await gpio.setIrqType(1, VIRTIO_GPIO_IRQ_TYPE_NONE);
      const third = await disabled;
      const refused = await gpio.setDirection(7, VIRTIO_GPIO_DIRECTION_IN);
      return [second, level, third, refused].map((outcome) => outcome.ok && outcome.value);
    });
    expect(heard).toEqual([true, 1, false, 'refused']);
  });

  it('reads names', async () => {
    expect(await pair(device(), names)).toEqual(['out', 'in']);
  });

  const named = (size: number, lines = 3): Uint8Array => {
    const config = new Uint8Array(GPIO_CONFIG_SIZE);
    new DataView(config.buffer).setUint16(0, lines, true);
    new DataView(config.buffer).setUint32(GPIO_CONFIG_NAMES_SIZE, size, true);
    return config;
  };

  it.each([
    ['V20 4 GiB of names', named(0xffff_ffff), () => [0], 'config 5.18.4'],
    ['V20 names without an end', named(4), () => [0, 0x61, 0x62, 0x63, 0x64], ['abcd', '', '']],
    ['V20 more names than lines', named(4, 1), () => [0, 0x61, 0, 0x62, 0], ['a']],
    ['V4 nothing', named(4), () => [], 'refused'],
    ['no names at all', named(0), () => [0], 'refused'],
  ] as const)('%s', async (_, config, says, expected) => {
    const liar = new Liar(DEVICE_ID_GPIO, featureSet(VIRTIO_GPIO_F_IRQ), says, config);
    expect(await pair(liar, names)).toEqual(expected);
  });

  it('V16: ends with a device that needs a reset, also while it waits for an interrupt', async () => {
    const liar = new Liar(DEVICE_ID_GPIO, featureSet(VIRTIO_GPIO_F_IRQ), () => 'broken', named(0));
    const heard = await pair(liar, async (cpu, end) => {
      const driver = await VirtioGpioDriver.probe(cpu, end);
      if (!driver.ok) return driver.error.code;
      const interrupt = await driver.value.interrupt(0);
      return interrupt.ok ? interrupt.value : interrupt.error.code;
    });
    expect(heard).toBe('needs-reset');
  });
});
