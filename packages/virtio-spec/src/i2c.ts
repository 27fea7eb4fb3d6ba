import { layout } from './layout.js';

/** I2C adapter device (5.16). */

/** Device type (5.16.1). */
export const DEVICE_ID_I2C = 34;

/** Feature bits (5.16.3). A device must offer it, a driver must accept it. */
export const VIRTIO_I2C_F_ZERO_LENGTH_REQUEST = 0;

/** Virtqueues (5.16.2). */
export const I2C_REQUESTQ = 0;

/** `virtio_i2c_out_hdr` (5.16.6.1); data of a write follows, and data of a read and a status byte come back. */
export const I2C_OUT_HEADER = layout({ addr: 'u16', padding: 'u16', flags: 'u32' });
export const I2C_STATUS_SIZE = 1;

/** If this request fails, the next one does. */
export const VIRTIO_I2C_FLAGS_FAIL_NEXT = 1 << 0;
/** The request reads. */
export const VIRTIO_I2C_FLAGS_M_RD = 1 << 1;

export const VIRTIO_I2C_MSG_OK = 0;
export const VIRTIO_I2C_MSG_ERR = 1;

/** Addresses of 7 bits, without those that the bus reserves. */
export const I2C_ADDRESS_MIN = 0x08;
export const I2C_ADDRESS_MAX = 0x77;

/** Bytes of a 24C02, an EEPROM with addresses of one byte, and of its pages: a write stays within one. */
export const EEPROM_SIZE = 256;
export const EEPROM_PAGE = 8;

/** Thousandths of a degree of one step of an LM75, whose temperature has 9 bits, from bit 7 of its register up. */
export const LM75_STEP = 500;

/** Thousandths of a degree that the two bytes of an LM75's register say. */
export const millicelsiusOf = (high: number, low: number): number => ((((high << 8) | low) << 16) >> 23) * LM75_STEP;
