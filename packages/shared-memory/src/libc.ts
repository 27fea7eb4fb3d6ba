import koffi, { type KoffiFunc } from 'koffi';

/** Flags of mmap(2), flock(2) and fallocate(2) on Linux. */
export const PROT_READ_WRITE = 1 | 2;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 0x10;
/** Flag of preadv2(2), and the error that it brings where it would have to wait. */
export const RWF_NOWAIT = 8;
export const EAGAIN = 11;

/** What is used of the C library. Loaded on first use: the in-process engine needs none of it. */
export interface Libc {
  mmap(address: unknown, length: number, protection: number, flags: number, fd: number, offset: number): unknown;
  flock(fd: number, operation: number): number;
  sched_yield(): number;
  preadv2(fd: number, vectors: Uint32Array, count: number, offset: number, flags: number): number;
  fallocate: KoffiFunc<(fd: number, mode: number, offset: number, length: number) => number>;
}

let loaded: Libc | undefined;

/** @throws Error where there is no glibc */
export function libc(): Libc {
  if (loaded === undefined) {
    const library = koffi.load('libc.so.6');
    loaded = {
      mmap: library.func(
        'void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset)',
      ) as Libc['mmap'],
      flock: library.func('int flock(int fd, int operation)') as Libc['flock'],
      sched_yield: library.func('int sched_yield()') as Libc['sched_yield'],
      preadv2: library.func(
        'int64_t preadv2(int fd, void *iov, int iovcnt, int64_t offset, int flags)',
      ) as Libc['preadv2'],
      // 64-bit offsets whatever the platform's off_t is.
      fallocate: library.func('int fallocate64(int fd, int mode, int64_t offset, int64_t length)') as Libc['fallocate'],
    };
  }
  return loaded;
}

/** The bytes at a pointer as an array buffer, without a copy. */
export const viewOf = (pointer: unknown, length: number): ArrayBuffer => koffi.view(pointer, length) as ArrayBuffer;

/** Whether a pointer is mmap's MAP_FAILED. */
export const failed = (pointer: unknown): boolean => koffi.address(pointer) === 0xffff_ffff_ffff_ffffn;
