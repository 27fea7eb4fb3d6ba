import { ok } from '@remio/base';
import type { DirectoryEntry, Outcome } from '@remio/virtio-device';
import { isComponent } from '@remio/virtio-spec';
import { getdents64, lseek } from './linux-calls.js';

/** `linux_dirent64`: d_ino u64, d_off s64, d_reclen u16, d_type u8, d_name. */
const D_OFF = 8;
const D_RECLEN = 16;
const D_TYPE = 18;
const D_NAME = 19;
/** The largest entry, bytes: a name of 255 and its NUL, padded. */
const ENTRY_MAX = 280;

const SEEK_SET = 0;

/**
 * Reads entries of an open directory, `.` and `..` left out.
 * @param from where to read: 0, or `next` of an entry
 * @param bytes about so many; an entry at least, unless the directory ends
 */
export async function readDirectoryEntries(
  fd: number,
  from: bigint,
  bytes: number,
): Outcome<readonly DirectoryEntry[]> {
  const moved = await lseek(fd, BigInt.asIntN(64, from), SEEK_SET);
  if (!moved.ok) return moved;
  const buffer = new Uint8Array(Math.max(ENTRY_MAX, Math.floor(bytes)));
  for (;;) {
    const filled = await getdents64(fd, buffer);
    if (!filled.ok) return filled;
    if (filled.value === 0) return ok([]);
    const entries = entriesOf(buffer.subarray(0, filled.value)).filter(({ name }) => isComponent(name));
    if (entries.length > 0) return ok(entries);
  }
}

function entriesOf(buffer: Uint8Array): readonly DirectoryEntry[] {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const entries: DirectoryEntry[] = [];
  // Numbers are in the host's byte order; the architectures that this runs on are little-endian.
  for (let at = 0; at < buffer.length; at += view.getUint16(at + D_RECLEN, true)) {
    const end = buffer.indexOf(0, at + D_NAME);
    entries.push({
      ino: view.getBigUint64(at, true),
      next: view.getBigUint64(at + D_OFF, true),
      type: view.getUint8(at + D_TYPE),
      name: buffer.slice(at + D_NAME, end),
    });
  }
  return entries;
}
