import { createHash } from 'node:crypto';
import { Prng, type Result } from '@remio/base';
import { ProgramError } from '@remio/guest';
import type { FsCheckChoice } from '@remio/topology';
import { type FsError, FsMount, VirtioFsDriver } from '@remio/virtio-driver';
import { ERRNO, FUSE_ROOT_ID, S_IFDIR, S_IFLNK, S_IFREG } from '@remio/virtio-spec';
import type { VcpuPool } from '../vcpus.js';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** A file as this guest sees it. */
interface Listed {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

/** Directories in directories, at most: a device can nest them for ever. */
const DEPTH_MAX = 32;

/** What would lead out of the file system, if anything did. */
const ESCAPES = ['/etc/passwd', '../../../etc/passwd', `${'../'.repeat(100)}proc/self/environ`] as const;
/** Names of which a device must make nothing. */
const WRONG_NAMES = ['..', '.', '', '/etc/passwd', '../secret'] as const;

/**
 * Lists a file system and reads all of it, tries to leave it, then makes a directory, writes files, reads them back, renames,
 * links, cuts and removes some, and reports what is there.
 */
export const fsCheck =
  (options: FsCheckChoice, vcpus: VcpuPool): DriverProgram =>
  async (cpu, end, vm) => {
    const queues = await Promise.all(end.queueVcpus.map((index) => vcpus.get(index)));
    const driver = orThrow(await VirtioFsDriver.probe(cpu, end, queues.length === 0 ? {} : { queues }));
    const mount = value('mount', await FsMount.create(driver));
    const start = vm.hostTime();
    const found: Listed[] = [];
    const links: { readonly path: string; readonly target: string; readonly leads: string }[] = [];
    await readTree(mount, '', 0, found, links);
    const read = vm.hostTime();
    const escapes = Object.fromEntries(
      await Promise.all(ESCAPES.map(async (path) => [path, said(await mount.stat(path))])),
    );
    const names: Record<string, string> = {};
    for (const name of WRONG_NAMES) names[name] = said(await mount.client.lookup(FUSE_ROOT_ID, name));
    const before = vm.hostTime();
    const written = await writeFiles(mount, options);
    value('unmount', await mount.unmount());
    vm.report({
      kind: 'fs-check',
      device: end.name,
      tag: driver.tag,
      found,
      links,
      escapes,
      names,
      readOnly: written === undefined,
      written: written?.files ?? [],
      mismatches: written?.mismatches ?? 0,
      readNs: Number(read - start),
      writeNs: Number(vm.hostTime() - before),
      counters: { ...driver.counters, accesses: driver.transport.accesses },
    });
  };

/** What a result says: `ok`, or the name of the error. */
const said = (result: Result<unknown, FsError>): string => (result.ok ? 'ok' : result.error.code);

/** @throws Error that says what failed, for the program `drivers` to report */
function value<T>(what: string, result: Result<T, FsError>): T {
  if (result.ok) return result.value;
  throw new ProgramError(`${what}: ${result.error.code}: ${result.error.detail}`);
}

const listed = (path: string, bytes: Uint8Array): Listed => ({
  path,
  size: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

async function readTree(
  mount: FsMount,
  directory: string,
  depth: number,
  found: Listed[],
  links: { readonly path: string; readonly target: string; readonly leads: string }[],
): Promise<void> {
  if (depth > DEPTH_MAX) throw new ProgramError(`directories nested deeper than ${DEPTH_MAX}`);
  for (const { name, type } of value(`list ${directory}`, await mount.list(directory))) {
    const path = directory === '' ? name : `${directory}/${name}`;
    if (type === S_IFDIR) await readTree(mount, path, depth + 1, found, links);
    else if (type === S_IFLNK) {
      const target = value(`readlink ${path}`, await mount.readlink(path));
      links.push({ path, target, leads: said(await mount.stat(path)) });
    } else if (type === S_IFREG) found.push(listed(path, value(`read ${path}`, await mount.readFile(path))));
  }
}

/** @returns what is in the new directory in the end; undefined if the file system is read-only */
async function writeFiles(
  mount: FsMount,
  { directory, files, size, seed }: FsCheckChoice,
): Promise<{ readonly files: readonly Listed[]; readonly mismatches: number } | undefined> {
  const made = await mount.mkdir(directory);
  if (!made.ok && made.error.errno === ERRNO.EROFS) return undefined;
  if (!made.ok && made.error.errno === ERRNO.EEXIST) {
    throw new ProgramError(
      `${directory} is there already: remove it, or write another name in the driver’s field directory`,
    );
  }
  value(`mkdir ${directory}`, made);
  const prng = new Prng(seed);
  let mismatches = 0;
  const check = async (path: string, expected: Uint8Array): Promise<void> => {
    const bytes = value(`read ${path}`, await mount.readFile(path));
    if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).equals(expected)) mismatches += 1;
  };
  for (let n = 0; n < files; n += 1) {
    const bytes = new Uint8Array(size);
    prng.fill(bytes);
    const [first, last] = [`${directory}/new-${n}`, `${directory}/file-${n}`];
    value(`write ${first}`, await mount.writeFile(first, bytes));
    await check(first, bytes);
    value(`rename ${first}`, await mount.rename(first, last));
    if ((await mount.stat(first)).ok) mismatches += 1;
    await check(last, bytes);
  }
  if (files > 0) {
    const first = `${directory}/file-0`;
    value('symlink', await mount.symlink('file-0', `${directory}/link`));
    value('link', await mount.link(first, `${directory}/second`));
    const file = value('open', await mount.open(`${directory}/link`, 2));
    value('truncate', await file.truncate(Math.floor(size / 2)));
    value('sync', await file.sync());
    value('close', await file.close());
    value('write', await mount.writeFile(`${directory}/gone`, new Uint8Array(1)));
    value('unlink', await mount.unlink(`${directory}/gone`));
    value('mkdir', await mount.mkdir(`${directory}/empty`));
    value('rmdir', await mount.rmdir(`${directory}/empty`));
  }
  const left: Listed[] = [];
  await readTree(mount, directory, 0, left, []);
  return { files: left, mismatches };
}
