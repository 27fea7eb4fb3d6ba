import { err, ok, type Result } from '@remio/base';

/** A MAC address as a number of 48 bits, the first byte on the wire the highest. */
export type Mac = number;

export const BROADCAST: Mac = 0xffff_ffff_ffff;
export const MAC_BYTES = 6;

const SHIFT_40 = 2 ** 40;
const FORM = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** The address at a place in a frame. */
export const macAt = (bytes: Uint8Array, at: number): Mac => {
  let mac = 0;
  for (let n = 0; n < MAC_BYTES; n += 1) mac = mac * 256 + (bytes[at + n] ?? 0);
  return mac;
};

/** The six bytes of an address. */
export const macBytes = (mac: Mac): Uint8Array =>
  Uint8Array.from({ length: MAC_BYTES }, (_, n) => Math.floor(mac / 256 ** (MAC_BYTES - 1 - n)) % 256);

/** Whether frames to this address are for many: the lowest bit of the first byte. Broadcast is one of these. */
export const isGroup = (mac: Mac): boolean => Math.floor(mac / SHIFT_40) % 2 === 1;

export const formatMac = (mac: Mac): string =>
  [...macBytes(mac)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');

/** An address as people write it: `52:54:00:00:00:01`. */
export const parseMac = (text: string): Result<Mac, string> =>
  FORM.test(text) ? ok(Number.parseInt(text.replaceAll(':', ''), 16)) : err(`${text} is no MAC address`);
