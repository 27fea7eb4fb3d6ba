import koffi from 'koffi';
import { EAGAIN, libc, RWF_NOWAIT } from './libc.js';

/** Most buffers that are read into at once. */
const BUFFERS_MAX = 64;
/** struct iovec of a 64-bit system: address, length; 32-bit words, low first. */
const IOVEC_WORDS = 4;
const TWO_32 = 2 ** 32;

const vectors = new Uint32Array(BUFFERS_MAX * IOVEC_WORDS);
/** Where the memory of a buffer lies; it does not move. Addresses of user space are below 2^48. */
const addresses = new WeakMap<ArrayBufferLike, number>();

/**
 * Reads from a file what the system has in memory already, without waiting for a device: in a tenth of the time of a
 * read that goes through a thread of its own.
 * @returns bytes read, perhaps fewer than asked for; `absent`: the first of them is not in memory; `unsupported`: this
 *   file system or this system cannot tell
 */
export function readCached(
  fd: number,
  position: number,
  buffers: readonly Uint8Array[],
): number | 'absent' | 'unsupported' {
  if (buffers.length > BUFFERS_MAX) return 'absent';
  buffers.forEach(({ buffer, byteOffset, length }, n) => {
    const address = addressOf(buffer) + byteOffset;
    const at = n * IOVEC_WORDS;
    vectors[at] = address % TWO_32;
    vectors[at + 1] = Math.floor(address / TWO_32);
    vectors[at + 2] = length;
    vectors[at + 3] = 0;
  });
  const read = libc().preadv2(fd, vectors, buffers.length, position, RWF_NOWAIT);
  if (read >= 0) return read;
  return koffi.errno() === EAGAIN ? 'absent' : 'unsupported';
}

function addressOf(buffer: ArrayBufferLike): number {
  const known = addresses.get(buffer);
  if (known !== undefined) return known;
  const address = Number(koffi.address(new Uint8Array(buffer)));
  addresses.set(buffer, address);
  return address;
}
