import { ok } from '@remio/base';
import {
  ERRNO,
  FUSE_ROOT_ID,
  isComponent,
  NAME_MAX,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  PATH_MAX,
  RENAME_NOREPLACE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from '@remio/virtio-spec';
import type { Forgotten, VirtioFsDriver } from './fs-driver.js';
import { type FsOutcome, fsError } from './fs-error.js';
import { type FsAttributes, type FsEntry, type FsNode, FuseClient } from './fuse-client.js';

/** Symbolic links on the way to one file, at most. */
const LINKS_MAX = 40;
/** Entries that a directory may have: a device can give names for ever. */
const ENTRIES_MAX = 1 << 18;
/** Bytes of a file that is read whole, at most. */
const FILE_MAX = 1 << 30;

/** A directory on the way to a file. */
interface Step {
  readonly id: bigint;
  readonly directory: boolean;
}

const ROOT: Step = { id: FUSE_ROOT_ID, directory: true };

const typeOf = ({ mode }: FsAttributes): number => mode & S_IFMT;

/** A file that is open. */
export interface FsFile {
  readonly attributes: FsAttributes;
  /** Bytes from a position on; fewer at the end of the file. */
  read(position: number, length: number): FsOutcome<Uint8Array>;
  /** All of the data, or an error. */
  write(position: number, data: Uint8Array): FsOutcome<void>;
  truncate(size: number): FsOutcome<void>;
  /** Makes what was written durable. */
  sync(): FsOutcome<void>;
  close(): FsOutcome<void>;
}

/**
 * A file system as programs of a guest use it: by paths. A path is walked here, one name after the other, links included,
 * and stays within the mount as it would within a root directory: `..` of the root is the root, and a link to `/etc` leads
 * to the mount’s own `/etc`.
 */
export class FsMount {
  readonly client: FuseClient;

  private constructor(client: FuseClient) {
    this.client = client;
  }

  /** Starts a session on a device. */
  static async create(driver: VirtioFsDriver): FsOutcome<FsMount> {
    const client = await FuseClient.init(driver);
    return client.ok ? ok(new FsMount(client.value)) : client;
  }

  /** Ends the session. */
  unmount(): FsOutcome<void> {
    return this.client.destroy();
  }

  /** Attributes of a file, of what a link leads to. */
  stat(path: string): FsOutcome<FsAttributes> {
    return this.#at(path, true, ({ id }) => this.client.getattr(id));
  }

  /** Attributes of a file, of a link itself. */
  lstat(path: string): FsOutcome<FsAttributes> {
    return this.#at(path, false, ({ id }) => this.client.getattr(id));
  }

  /** Entries of a directory, in the order in which the device gives them, without `.` and `..`. */
  list(path: string): FsOutcome<readonly FsEntry[]> {
    return this.#at(path, true, async ({ id }) => {
      const fh = await this.client.opendir(id);
      if (!fh.ok) return fh;
      const entries = await this.#readAll(id, fh.value);
      const released = await this.client.releasedir(id, fh.value);
      return released.ok ? entries : released;
    });
  }

  /** @param flags O_RDONLY, O_WRONLY or O_RDWR */
  async open(path: string, flags: number): FsOutcome<FsFile> {
    const walk = new Walk(this.client);
    const opened = await this.#openEnd(walk, path, flags);
    // The node of an open file is forgotten when the file is closed.
    await walk.forget(opened.ok ? opened.value : undefined);
    return opened;
  }

  /** Makes a file that must not exist, and opens it. */
  create(path: string, mode = 0o644): FsOutcome<FsFile> {
    return this.#in(path, async (directory, name) => {
      const made = await this.client.create(directory, name, mode, O_RDWR | O_CREAT | O_EXCL);
      return made.ok ? ok(new OpenFile(this.client, made.value.node, made.value.fh)) : made;
    });
  }

  async readFile(path: string): FsOutcome<Uint8Array> {
    const file = await this.open(path, O_RDONLY);
    if (!file.ok) return file;
    const { size } = file.value.attributes;
    const bytes =
      size <= BigInt(FILE_MAX) ? await file.value.read(0, Number(size)) : fsError(ERRNO.EFBIG, `${size} bytes at once`);
    const closed = await file.value.close();
    return closed.ok ? bytes : closed;
  }

  /** Makes a file with this content, or gives it to the file that is there. */
  async writeFile(path: string, data: Uint8Array): FsOutcome<void> {
    let file = await this.open(path, O_RDWR);
    if (!file.ok && file.error.errno === ERRNO.ENOENT) file = await this.create(path);
    if (!file.ok) return file;
    const truncated = await file.value.truncate(0);
    const written = truncated.ok ? await file.value.write(0, data) : truncated;
    const closed = await file.value.close();
    return written.ok ? closed : written;
  }

  mkdir(path: string, mode = 0o755): FsOutcome<void> {
    return this.#in(path, (directory, name) => this.#made(this.client.mkdir(directory, name, mode)));
  }

  rmdir(path: string): FsOutcome<void> {
    return this.#in(path, (directory, name) => this.client.rmdir(directory, name));
  }

  unlink(path: string): FsOutcome<void> {
    return this.#in(path, (directory, name) => this.client.unlink(directory, name));
  }

  /** Gives a file another path; what has it already is replaced, unless `replace` is false. */
  rename(from: string, to: string, replace = true): FsOutcome<void> {
    return this.#in(from, (directory, name) =>
      this.#in(to, (newDirectory, newName) =>
        this.client.rename(directory, name, newDirectory, newName, replace ? 0 : RENAME_NOREPLACE),
      ),
    );
  }

  async symlink(target: string, path: string): FsOutcome<void> {
    const bytes = new TextEncoder().encode(target).length;
    if (bytes >= PATH_MAX) return fsError(ERRNO.ENAMETOOLONG, `a target of ${bytes} bytes`);
    return this.#in(path, (directory, name) => this.#made(this.client.symlink(directory, name, target)));
  }

  readlink(path: string): FsOutcome<string> {
    return this.#at(path, false, ({ id }) => this.client.readlink(id));
  }

  /** Gives a file a second path. */
  link(existing: string, path: string): FsOutcome<void> {
    return this.#at(existing, false, ({ id }) =>
      this.#in(path, (directory, name) => this.#made(this.client.link(id, directory, name))),
    );
  }

  async #openEnd(walk: Walk, path: string, flags: number): FsOutcome<OpenFile> {
    const end = await walk.to(path, true);
    if (!end.ok) return end;
    const { id } = end.value;
    const attributes = await this.client.getattr(id);
    if (!attributes.ok) return attributes;
    const fh = await this.client.open(id, flags);
    return fh.ok ? ok(new OpenFile(this.client, { id, attributes: attributes.value }, fh.value)) : fh;
  }

  async #made(made: FsOutcome<FsNode>): FsOutcome<void> {
    const node = await made;
    if (!node.ok) return node;
    await this.client.forget([{ nodeid: node.value.id, lookups: 1n }]);
    return ok(undefined);
  }

  async #readAll(id: bigint, fh: bigint): FsOutcome<readonly FsEntry[]> {
    const all: FsEntry[] = [];
    for (let from = 0n; ; ) {
      const some = await this.client.readdir(id, fh, from);
      if (!some.ok) return some;
      const { entries, next } = some.value;
      if (next === from) return ok(all);
      all.push(...entries);
      if (all.length > ENTRIES_MAX) return fsError(ERRNO.EPROTO, `a directory of more than ${ENTRIES_MAX} entries`);
      from = next;
    }
  }

  /** Does something with the node that a path leads to, and forgets it then. */
  async #at<T>(path: string, follow: boolean, use: (node: Step) => FsOutcome<T>): FsOutcome<T> {
    const walk = new Walk(this.client);
    const end = await walk.to(path, follow);
    const outcome = end.ok ? await use(end.value) : end;
    await walk.forget();
    return outcome;
  }

  /** Does something with the last name of a path, in its directory. */
  async #in<T>(path: string, use: (directory: bigint, name: string) => FsOutcome<T>): FsOutcome<T> {
    const parts = path.split('/').filter((part) => part !== '');
    const name = parts.pop();
    if (name === undefined || name === '.' || name === '..') {
      return fsError(ERRNO.EINVAL, `${JSON.stringify(path)} does not end with a name`);
    }
    const problem = nameProblem(name);
    if (problem !== undefined) return problem;
    return this.#at(parts.join('/'), true, ({ id }) => use(id, name));
  }
}

/** What is wrong with a name before anybody is asked. */
function nameProblem(name: string): ReturnType<typeof fsError> | undefined {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length > NAME_MAX) return fsError(ERRNO.ENAMETOOLONG, `a name of ${bytes.length} bytes`);
  return isComponent(bytes) ? undefined : fsError(ERRNO.EINVAL, `${JSON.stringify(name)} is no name`);
}

/** The way to a file from the root of a mount. */
class Walk {
  readonly #client: FuseClient;
  readonly #found: Forgotten[] = [];
  #steps: Step[] = [ROOT];
  #links = 0;

  constructor(client: FuseClient) {
    this.#client = client;
  }

  /** @param follow whether a link at the end of the path is followed */
  async to(path: string, follow: boolean): FsOutcome<Step> {
    if (path.length >= PATH_MAX) return fsError(ERRNO.ENAMETOOLONG, `a path of ${path.length} characters`);
    const left = path.split('/');
    for (;;) {
      const name = left.shift();
      const here = this.#steps.at(-1) ?? ROOT;
      if (name === undefined) return ok(here);
      if (name === '') continue;
      if (!here.directory) return fsError(ERRNO.ENOTDIR, `${JSON.stringify(name)} of what is no directory`);
      if (name === '.') continue;
      if (name === '..') {
        // There is nothing above the root.
        if (this.#steps.length > 1) this.#steps.pop();
        continue;
      }
      const problem = nameProblem(name);
      if (problem !== undefined) return problem;
      const found = await this.#client.lookup(here.id, name);
      if (!found.ok) return found;
      const { id, attributes } = found.value;
      this.#found.push({ nodeid: id, lookups: 1n });
      const last = left.every((part) => part === '');
      if (typeOf(attributes) !== S_IFLNK || (last && !follow)) {
        this.#steps.push({ id, directory: typeOf(attributes) === S_IFDIR });
        continue;
      }
      this.#links += 1;
      if (this.#links > LINKS_MAX) return fsError(ERRNO.ELOOP, `more than ${LINKS_MAX} symbolic links`);
      const target = await this.#client.readlink(id);
      if (!target.ok) return target;
      if (target.value === '') return fsError(ERRNO.ENOENT, 'a link to nothing');
      if (target.value.startsWith('/')) this.#steps = [ROOT];
      left.unshift(...target.value.split('/'));
    }
  }

  /** Gives back every node that was looked up on the way; but one lookup of the file that was opened at its end. */
  forget(kept?: OpenFile): Promise<void> {
    const at = this.#found.findLastIndex(({ nodeid }) => nodeid === kept?.node);
    return this.#client.forget(this.#found.filter((_, n) => n !== at));
  }
}

class OpenFile implements FsFile {
  readonly attributes: FsAttributes;
  readonly #client: FuseClient;
  /** Of which a lookup is held until the file is closed. */
  readonly node: bigint;
  readonly #fh: bigint;

  constructor(client: FuseClient, { id, attributes }: FsNode, fh: bigint) {
    this.#client = client;
    this.node = id;
    this.#fh = fh;
    this.attributes = attributes;
  }

  async read(position: number, length: number): FsOutcome<Uint8Array> {
    const pieces: Uint8Array[] = [];
    let done = 0;
    while (done < length) {
      const asked = Math.min(this.#client.transfer, length - done);
      const piece = await this.#client.read(this.node, this.#fh, position + done, asked);
      if (!piece.ok) return piece;
      pieces.push(piece.value);
      done += piece.value.length;
      if (piece.value.length < asked) break;
    }
    const bytes = new Uint8Array(done);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    return ok(bytes);
  }

  async write(position: number, data: Uint8Array): FsOutcome<void> {
    for (let done = 0; done < data.length; ) {
      const piece = data.subarray(done, done + this.#client.transfer);
      const written = await this.#client.write(this.node, this.#fh, position + done, piece);
      if (!written.ok) return written;
      if (written.value === 0) return fsError(ERRNO.EIO, 'the device takes no data');
      done += written.value;
    }
    return ok(undefined);
  }

  async truncate(size: number): FsOutcome<void> {
    const set = await this.#client.setattr(this.node, { size, fh: this.#fh });
    return set.ok ? ok(undefined) : set;
  }

  sync(): FsOutcome<void> {
    return this.#client.fsync(this.node, this.#fh);
  }

  async close(): FsOutcome<void> {
    const released = await this.#client.release(this.node, this.#fh);
    await this.#client.forget([{ nodeid: this.node, lookups: 1n }]);
    return released;
  }
}
