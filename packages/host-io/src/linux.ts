import koffi, { type KoffiFunc } from 'koffi';

/** Operations and flags of epoll(7), and errors, on Linux. */
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 1;
export const EPOLLONESHOT = 1 << 30;
export const EIO = 5;
export const EAGAIN = 11;
export const EBADFD = 77;

/** What is used of the C library by network interfaces. Calls that fail return -1; {@link errno} says why. */
export interface Linux {
  readonly ioctl: KoffiFunc<(fd: number, request: number, argument: Uint8Array | bigint) => number>;
  readonly readv: KoffiFunc<(fd: number, iov: BigUint64Array, count: number) => number>;
  readonly writev: KoffiFunc<(fd: number, iov: BigUint64Array, count: number) => number>;
  readonly epollCreate: KoffiFunc<(flags: number) => number>;
  readonly epollControl: KoffiFunc<(epoll: number, operation: number, fd: number, event: Uint8Array) => number>;
  readonly epollWait: KoffiFunc<(epoll: number, events: Uint8Array, count: number, timeout: number) => number>;
  readonly eventfd: KoffiFunc<(initial: number, flags: number) => number>;
}

let loaded: Linux | undefined;

/**
 * The C library, loaded on first use.
 * @throws Error where there is no glibc
 */
export function linux(): Linux {
  if (loaded === undefined) {
    const library = koffi.load('libc.so.6');
    loaded = {
      ioctl: library.func('int ioctl(int fd, unsigned long request, void *argument)') as Linux['ioctl'],
      readv: library.func('long readv(int fd, const void *iov, int count)') as Linux['readv'],
      writev: library.func('long writev(int fd, const void *iov, int count)') as Linux['writev'],
      epollCreate: library.func('int epoll_create1(int flags)') as Linux['epollCreate'],
      epollControl: library.func(
        'int epoll_ctl(int epoll, int operation, int fd, void *event)',
      ) as Linux['epollControl'],
      epollWait: library.func('int epoll_wait(int epoll, void *events, int count, int timeout)') as Linux['epollWait'],
      eventfd: library.func('int eventfd(unsigned int initial, int flags)') as Linux['eventfd'],
    };
  }
  return loaded;
}

/** Why the last call of this thread failed. */
export const errno = (): number => koffi.errno();

/** The name of the last call's error, such as EPERM. */
export const failure = (): string => {
  const code = errno();
  return Object.entries(koffi.os.errno).find(([, value]) => value === code)?.[0] ?? `errno ${code}`;
};

/** Address of a piece of memory, which must be kept alive as long as the address is used. */
export const addressOf = (bytes: Uint8Array): bigint => BigInt(koffi.address(bytes));
