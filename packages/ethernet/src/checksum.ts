import { putBe16 } from './bytes.js';

/**
 * Adds up 16-bit words as the Internet checksum does (RFC 1071); an odd last byte is the high half of a word.
 * Exact for less than 2^37 bytes: a sum below 2^53.
 */
export function sumWords(bytes: Uint8Array, from: number, to: number, start = 0): number {
  let sum = start;
  let at = from;
  for (; at + 1 < to; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  if (at < to) sum += (bytes[at] ?? 0) << 8;
  return sum;
}

/** Folds a sum to 16 bits, with the carries added in. */
export const fold = (sum: number): number => {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return folded;
};

/** The Internet checksum of bytes `from` to `to`. */
export const checksum = (bytes: Uint8Array, from: number, to: number, start = 0): number =>
  ~fold(sumWords(bytes, from, to, start)) & 0xffff;

/**
 * Completes a partial checksum (5.1.9.2): the field at `start + offset` holds the sum of the pseudo header, and gets the
 * checksum from `start` to the end. Both were checked to lie inside the frame.
 */
export function completeChecksum(frame: Uint8Array, start: number, offset: number): void {
  const sum = checksum(frame, start, frame.length);
  // A UDP checksum of 0 means that there is none (RFC 768); 0xffff is the same number, and for TCP as good.
  putBe16(frame, start + offset, sum === 0 ? 0xffff : sum);
}
