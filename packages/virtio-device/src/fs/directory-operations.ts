import {
  ERRNO,
  FUSE_DIRENT,
  FUSE_ENTRY_OUT,
  FUSE_READ_IN,
  fuseDirentSize,
  readStruct,
  structView,
  writeStruct,
} from '@remio/virtio-spec';
import type { DirectoryEntry } from './file-tree.js';
import { done, entryOut, failed } from './reply.js';
import { type Operation, type Session, withFile } from './session.js';
import type { Node } from './tables.js';

/** Bytes of a reply with directory entries, at most: what a request can make the device keep. */
const LISTING_MAX = 32 * 1024;

/** Whether a driver knows an entry as something that it looked up, or by name only. */
type Form = 'plain' | 'plus';

const entrySize = (form: Form, { name }: DirectoryEntry): number =>
  (form === 'plus' ? FUSE_ENTRY_OUT.size : 0) + fuseDirentSize(name.length);

const readdirOf =
  (form: Form): Operation =>
  (session, { nodeid, args, littleEndian }) => {
    const { fh, offset, size } = readStruct(FUSE_READ_IN, args, 0, littleEndian);
    return withFile(session, fh, nodeid, 'directory', async ({ handle, node }) => {
      const room = Math.min(size, LISTING_MAX);
      // What the host gives beyond the room is read again; entries of READDIRPLUS are several times as large as the host's.
      const listed = await session.tree.list(handle, offset, form === 'plus' ? room / 4 : room);
      if (!listed.ok) return failed(listed.error);
      const fitting = takeFitting(form, listed.value, room);
      if (fitting.length === 0 && listed.value.length > 0) return failed(ERRNO.EINVAL);
      const payload = new Uint8Array(fitting.reduce((sum, entry) => sum + entrySize(form, entry), 0));
      let at = 0;
      for (const entry of fitting) {
        if (form === 'plus') {
          payload.set(await lookUp(session, node, entry), at);
          at += FUSE_ENTRY_OUT.size;
        }
        const { ino, next, type, name } = entry;
        writeStruct(FUSE_DIRENT, structView(payload), at, { ino, off: next, namelen: name.length, type }, littleEndian);
        payload.set(name, at + FUSE_DIRENT.size);
        at += fuseDirentSize(name.length);
      }
      return done(payload);
    });
  };

export const readdir = readdirOf('plain');
export const readdirplus = readdirOf('plus');

function takeFitting(form: Form, entries: readonly DirectoryEntry[], room: number): readonly DirectoryEntry[] {
  let left = room;
  const end = entries.findIndex((entry) => {
    left -= entrySize(form, entry);
    return left < 0;
  });
  return end < 0 ? entries : entries.slice(0, end);
}

/** Counts a lookup of an entry; where there is none, its node id is 0 and the driver looks for itself. */
async function lookUp(session: Session, directory: Node, { name }: DirectoryEntry): Promise<Uint8Array> {
  const found = await session.tree.lookup(directory.handle, name);
  const node = found.ok ? session.nodes.add(found.value) : undefined;
  return found.ok && node !== undefined
    ? entryOut(node, found.value.attributes, session.littleEndian)
    : new Uint8Array(FUSE_ENTRY_OUT.size);
}
