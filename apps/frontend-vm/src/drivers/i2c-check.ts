import { ProgramError } from '@remio/guest';
import { VirtioI2cDriver } from '@remio/virtio-driver';
import { EEPROM_SIZE, millicelsiusOf } from '@remio/virtio-spec';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** Where EEPROMs and temperature sensors usually are. */
const isEeprom = (address: number): boolean => address >= 0x50 && address <= 0x57;
const isSensor = (address: number): boolean => address >= 0x48 && address <= 0x4f;

/** Where the check writes, and what: a page at the end, so that what people keep at the start stays. */
const TRIED = EEPROM_SIZE - 8;
const PATTERN = [0x52, 0x65, 0x6d, 0x69, 0x6f, 0x21, 0x00, 0xff];

/** Looks for chips, reads temperatures, reads EEPROMs whole, writes a page of each and reads it back; reports all of it. */
export const i2cCheck: DriverProgram = async (cpu, end, vm) => {
  const driver = orThrow(await VirtioI2cDriver.probe(cpu, end));
  const found = orThrow(await driver.scan());
  const read = async (address: number, from: number, length: number): Promise<Uint8Array> => {
    const outcome = orThrow(await driver.transfer(address, [{ write: Uint8Array.of(from) }, { read: length }]));
    const bytes = outcome === 'not-acknowledged' ? undefined : outcome[0];
    if (bytes === undefined) throw new ProgramError(`the chip at 0x${address.toString(16)} does not answer`);
    return bytes;
  };
  const sensors = [];
  for (const address of found.filter(isSensor)) {
    const [high = 0, low = 0] = await read(address, 0, 2);
    sensors.push({ address, millicelsius: millicelsiusOf(high, low) });
  }
  const eeproms = [];
  for (const address of found.filter(isEeprom)) {
    const content = await read(address, 0, EEPROM_SIZE);
    const wrote = orThrow(await driver.transfer(address, [{ write: Uint8Array.of(TRIED, ...PATTERN) }]));
    const back = await read(address, TRIED, PATTERN.length);
    const end = content.indexOf(0xff);
    eeproms.push({
      address,
      content: Buffer.from(content.subarray(0, end < 0 ? content.length : end)).toString(),
      written: wrote !== 'not-acknowledged' && PATTERN.every((byte, n) => back[n] === byte),
    });
  }
  vm.report({ kind: 'i2c-check', device: end.name, found, sensors, eeproms });
};
