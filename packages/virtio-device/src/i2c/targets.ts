import { EEPROM_PAGE, EEPROM_SIZE, LM75_STEP } from '@remio/virtio-spec';

/** A chip on an I2C bus, at one address. What it does not acknowledge fails the request. */
export interface I2cTarget {
  /** A write segment, perhaps empty: false if the chip does not take it. */
  write(bytes: Uint8Array): boolean;
  /** Fills a read segment: false if the chip does not give it. */
  read(bytes: Uint8Array): boolean;
}

/** An EEPROM like the 24C02: 256 bytes, the first byte of a write is the address, and reads go on from there. */
export class Eeprom implements I2cTarget {
  readonly #bytes = new Uint8Array(EEPROM_SIZE).fill(0xff);
  #address = 0;

  /** @param content what it holds from address 0 on; the rest is erased */
  constructor(content: Uint8Array) {
    this.#bytes.set(content.subarray(0, EEPROM_SIZE));
  }

  write(bytes: Uint8Array): boolean {
    const [address] = bytes;
    if (address === undefined) return true;
    const page = address - (address % EEPROM_PAGE);
    for (let n = 1; n < bytes.length; n += 1) {
      // Within a page, the address wraps to its start.
      this.#bytes[page + ((address - page + n - 1) % EEPROM_PAGE)] = bytes[n] ?? 0;
    }
    this.#address = page + ((address - page + bytes.length - 1) % EEPROM_PAGE);
    if (bytes.length === 1) this.#address = address;
    return true;
  }

  read(bytes: Uint8Array): boolean {
    for (let n = 0; n < bytes.length; n += 1) {
      bytes[n] = this.#bytes[this.#address] ?? 0;
      this.#address = (this.#address + 1) % EEPROM_SIZE;
    }
    return true;
  }
}

/** Registers of an LM75. */
const TEMPERATURE = 0;
const CONFIGURATION = 1;
const SHUTDOWN = 3;

const register = (millicelsius: number): number => ((Math.round(millicelsius / LM75_STEP) & 0x1ff) << 7) & 0xffff;

/** A temperature sensor like the LM75: the first byte of a write selects a register, which reads give. */
export class TemperatureSensor implements I2cTarget {
  /** Temperature and limits, 16 bits each; configuration, 8. */
  readonly #registers: number[];
  #pointer = TEMPERATURE;

  /** @param millicelsius what it feels, -55000 to 125000 */
  constructor(millicelsius: number) {
    this.#registers = [register(millicelsius), 0, register(75_000), register(80_000)];
  }

  write(bytes: Uint8Array): boolean {
    const [pointer, ...values] = bytes;
    if (pointer === undefined) return true;
    if (pointer > SHUTDOWN) return false;
    this.#pointer = pointer;
    if (values.length === 0) return true;
    // The temperature itself is read-only.
    const size = pointer === CONFIGURATION ? 1 : 2;
    if (pointer === TEMPERATURE || values.length !== size) return false;
    this.#registers[pointer] =
      pointer === CONFIGURATION ? (values[0] ?? 0) : (((values[0] ?? 0) << 8) | (values[1] ?? 0)) & 0xff80;
    return true;
  }

  read(bytes: Uint8Array): boolean {
    const value = this.#registers[this.#pointer] ?? 0;
    const size = this.#pointer === CONFIGURATION ? 1 : 2;
    for (let n = 0; n < bytes.length; n += 1) bytes[n] = n % size === size - 1 ? value & 0xff : value >> 8;
    return true;
  }
}
