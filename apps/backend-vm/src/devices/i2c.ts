import type { I2cChip, I2cModelOptions } from '@remio/topology';
import { Eeprom, I2cDevice, type I2cTarget, TemperatureSensor } from '@remio/virtio-device';

function targetOf(chip: I2cChip): I2cTarget {
  switch (chip.type) {
    case 'eeprom':
      return new Eeprom(new TextEncoder().encode(chip.content));
    case 'lm75':
      return new TemperatureSensor(chip.millicelsius);
  }
}

/** An I2C adapter with chips that are simulated. */
export const i2cDevice = ({ chips }: I2cModelOptions): I2cDevice =>
  new I2cDevice(new Map(chips.map((chip) => [chip.address, targetOf(chip)])));
