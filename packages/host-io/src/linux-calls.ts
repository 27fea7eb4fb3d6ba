import { err, ok, type Result } from '@remio/base';
import koffi from 'koffi';

/** Flags of open(2) that Node does not name; the same on x86-64, AArch64 and RV64. */
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;

/** `resolve` of openat2(2). */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;

export const AT_FDCWD = -100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;

/** openat2(2): the same number on every architecture. */
const SYS_OPENAT2 = 437;

/** `tv_nsec` of utimensat(2): the host's own now, or leave it. */
const UTIME_NOW = 0x3fff_ffffn;
const UTIME_OMIT = 0x3fff_fffen;

/** A time for utimensat(2). */
export type Timespec = { readonly seconds: bigint; readonly nanoseconds: number } | 'now' | undefined;

/** A call's result, 0 or more, or the error number that it set. */
export type CallResult = Promise<Result<number, number>>;

type Argument = number | bigint | Uint8Array | BigUint64Array | BigInt64Array;

/** A C function as koffi binds it. */
interface Bound {
  async(...args: unknown[]): void;
}

/** Calls under way at the same time, over all who use this: koffi has room for 256 in a process, Node's pool for four threads. */
const CALLS_MAX = 16;

let underWay = 0;
const waiting: (() => void)[] = [];

const bound = new Map<string, Bound>();

/** Calls a function of the C library on another thread, so that a slow disk holds up nobody else. */
function call(prototype: string, ...args: readonly Argument[]): CallResult {
  let fn = bound.get(prototype);
  if (fn === undefined) {
    fn = koffi.load('libc.so.6').func(prototype) as unknown as Bound;
    bound.set(prototype, fn);
  }
  const start = fn;
  return new Promise((resolve, reject) => {
    const run = (): void => {
      underWay += 1;
      // `args` stay referenced, so that their memory stays, until the call has ended.
      start.async(...args, (error: unknown, result: unknown) => {
        const errno = koffi.errno();
        underWay -= 1;
        waiting.shift()?.();
        if (error !== null) reject(error);
        else if (Number(result) < 0) resolve(err(errno));
        else resolve(ok(Number(result)));
        void args.length;
      });
    };
    if (underWay < CALLS_MAX) run();
    else waiting.push(run);
  });
}

/** A name for a call: bytes, closed by a NUL. */
function zeroEnded(name: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(name.length + 1);
  bytes.set(name);
  return bytes;
}

/** What the kernel knows an open descriptor by: the way back from an O_PATH descriptor to a file. */
export const descriptorPath = (fd: number): string => `/proc/self/fd/${fd}`;

export const openat2 = (
  directory: number,
  name: Uint8Array,
  flags: number,
  mode: number,
  resolve: number,
): CallResult => {
  const how = new BigUint64Array([BigInt(flags), BigInt(mode), BigInt(resolve)]);
  const prototype = 'long syscall(long number, int dirfd, const void *path, void *how, size_t size)';
  return call(prototype, SYS_OPENAT2, directory, zeroEnded(name), how, how.byteLength);
};

export const mkdirat = (directory: number, name: Uint8Array, mode: number): CallResult =>
  call('int mkdirat(int dirfd, const void *path, unsigned int mode)', directory, zeroEnded(name), mode);

export const unlinkat = (directory: number, name: Uint8Array, flags: number): CallResult =>
  call('int unlinkat(int dirfd, const void *path, int flags)', directory, zeroEnded(name), flags);

export const symlinkat = (target: Uint8Array, directory: number, name: Uint8Array): CallResult =>
  call('int symlinkat(const void *target, int dirfd, const void *path)', zeroEnded(target), directory, zeroEnded(name));

export const linkat = (
  from: number,
  path: Uint8Array,
  directory: number,
  name: Uint8Array,
  flags: number,
): CallResult =>
  call(
    'int linkat(int from, const void *path, int to, const void *name, int flags)',
    from,
    zeroEnded(path),
    directory,
    zeroEnded(name),
    flags,
  );

export const renameat2 = (from: number, name: Uint8Array, to: number, newName: Uint8Array, flags: number): CallResult =>
  call(
    'int renameat2(int from, const void *path, int to, const void *name, unsigned int flags)',
    from,
    zeroEnded(name),
    to,
    zeroEnded(newName),
    flags,
  );

/** Reads the target of the symbolic link that a descriptor holds. */
export const readlinkat = (link: number, target: Uint8Array): CallResult =>
  call(
    'long readlinkat(int dirfd, const void *path, void *buffer, size_t size)',
    link,
    zeroEnded(new Uint8Array(0)),
    target,
    target.length,
  );

/** Sets the times of the file that a descriptor holds. */
export const setTimes = (fd: number, atime: Timespec, mtime: Timespec): CallResult => {
  const times = new BigInt64Array([...timespec(atime), ...timespec(mtime)]);
  const path = new TextEncoder().encode(descriptorPath(fd));
  const prototype = 'int utimensat(int dirfd, const void *path, void *times, int flags)';
  return call(prototype, AT_FDCWD, zeroEnded(path), times, 0);
};

const timespec = (time: Timespec): readonly [bigint, bigint] =>
  time === undefined ? [0n, UTIME_OMIT] : time === 'now' ? [0n, UTIME_NOW] : [time.seconds, BigInt(time.nanoseconds)];

export const fallocate = (fd: number, mode: number, offset: number, length: number): CallResult =>
  call('int fallocate(int fd, int mode, int64_t offset, int64_t length)', fd, mode, BigInt(offset), BigInt(length));

export const lseek = (fd: number, offset: bigint, whence: number): CallResult =>
  call('int64_t lseek(int fd, int64_t offset, int whence)', fd, offset, whence);

/** Reads entries of a directory from the descriptor's position on; bytes filled, 0 at the end. */
export const getdents64 = (fd: number, entries: Uint8Array): CallResult =>
  call('long getdents64(int fd, void *buffer, size_t size)', fd, entries, entries.length);
