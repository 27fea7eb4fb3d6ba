import { layout } from './layout.js';

/**
 * The FUSE protocol as virtio-fs carries it (5.11.6.1). Names and numbers are those of Linux's `include/uapi/linux/fuse.h`;
 * "in" is what a request brings, "out" what its reply brings.
 */

/** The version spoken here; a peer with a higher minor version speaks this one, too. */
export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 31;
/** The lowest minor version whose structures are those below. */
export const FUSE_KERNEL_MINOR_VERSION_MIN = 27;

/** The node id of a file system's root. */
export const FUSE_ROOT_ID = 1n;

export const FUSE_LOOKUP = 1;
export const FUSE_FORGET = 2;
export const FUSE_GETATTR = 3;
export const FUSE_SETATTR = 4;
export const FUSE_READLINK = 5;
export const FUSE_SYMLINK = 6;
export const FUSE_MKNOD = 8;
export const FUSE_MKDIR = 9;
export const FUSE_UNLINK = 10;
export const FUSE_RMDIR = 11;
export const FUSE_RENAME = 12;
export const FUSE_LINK = 13;
export const FUSE_OPEN = 14;
export const FUSE_READ = 15;
export const FUSE_WRITE = 16;
export const FUSE_STATFS = 17;
export const FUSE_RELEASE = 18;
export const FUSE_FSYNC = 20;
export const FUSE_FLUSH = 25;
export const FUSE_INIT = 26;
export const FUSE_OPENDIR = 27;
export const FUSE_READDIR = 28;
export const FUSE_RELEASEDIR = 29;
export const FUSE_FSYNCDIR = 30;
export const FUSE_ACCESS = 34;
export const FUSE_CREATE = 35;
export const FUSE_INTERRUPT = 36;
export const FUSE_DESTROY = 38;
export const FUSE_BATCH_FORGET = 42;
export const FUSE_FALLOCATE = 43;
export const FUSE_READDIRPLUS = 44;
export const FUSE_RENAME2 = 45;
export const FUSE_LSEEK = 46;
/** FUSE_INIT as it looks when the driver's byte order is the other one. */
export const FUSE_INIT_BSWAP_RESERVED = 436_207_616;

/** Flags of INIT. */
export const FUSE_ASYNC_READ = 1 << 0;
export const FUSE_ATOMIC_O_TRUNC = 1 << 3;
export const FUSE_BIG_WRITES = 1 << 5;
export const FUSE_AUTO_INVAL_DATA = 1 << 12;
export const FUSE_DO_READDIRPLUS = 1 << 13;
export const FUSE_READDIRPLUS_AUTO = 1 << 14;
export const FUSE_PARALLEL_DIROPS = 1 << 18;
export const FUSE_MAX_PAGES = 1 << 22;

/** `valid` of SETATTR. */
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_FH = 1 << 6;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;

/** `getattr_flags`: `fh` is valid. */
export const FUSE_GETATTR_FH = 1 << 0;
/** `fsync_flags`: data only. */
export const FUSE_FSYNC_FDATASYNC = 1 << 0;

/** `flags` of RENAME2, as of renameat2(2). */
export const RENAME_NOREPLACE = 1 << 0;
export const RENAME_EXCHANGE = 1 << 1;

/** `mode` of FALLOCATE, as of fallocate(2). */
export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;

/** `whence` of LSEEK that a server answers; the others are the client's own. */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** `mask` of ACCESS. */
export const R_OK = 4;
export const W_OK = 2;
export const X_OK = 1;

/** Flags of OPEN and CREATE. These have the same value on AArch64, RV64 and x86-64; O_DIRECTORY and others do not. */
export const O_ACCMODE = 0o3;
export const O_RDONLY = 0o0;
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_DSYNC = 0o10000;
export const O_SYNC = 0o4010000;

/** Types of files in a mode; shifted right by 12, in a directory entry. */
export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

/** Bytes of a name, at most, without its NUL; of a symlink's target. */
export const NAME_MAX = 255;
export const PATH_MAX = 4096;

/** Error numbers of a reply, negated there; the same on AArch64, RV64 and x86-64. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EBADF: 9,
  EACCES: 13,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EPROTO: 71,
  EOPNOTSUPP: 95,
  ENOTCONN: 107,
  ESTALE: 116,
} as const;

/** The largest error number that a reply may carry. */
export const ERRNO_MAX = 4095;

export const FUSE_IN_HEADER = layout({
  /** Bytes of the request, this header included. */
  len: 'u32',
  opcode: 'u32',
  /** Names the request; its reply brings it back. */
  unique: 'u64',
  nodeid: 'u64',
  uid: 'u32',
  gid: 'u32',
  pid: 'u32',
  total_extlen: 'u16',
  padding: 'u16',
});

export const FUSE_OUT_HEADER = layout({
  /** Bytes of the reply, this header included. */
  len: 'u32',
  /** 0, or an error number negated. */
  error: 'i32',
  unique: 'u64',
});

const ATTR = {
  ino: 'u64',
  size: 'u64',
  blocks: 'u64',
  atime: 'u64',
  mtime: 'u64',
  ctime: 'u64',
  atimensec: 'u32',
  mtimensec: 'u32',
  ctimensec: 'u32',
  mode: 'u32',
  nlink: 'u32',
  uid: 'u32',
  gid: 'u32',
  rdev: 'u32',
  blksize: 'u32',
  flags: 'u32',
} as const;

export const FUSE_ATTR = layout(ATTR);

/** `fuse_entry_out`, its attributes included. */
export const FUSE_ENTRY_OUT = layout({
  nodeid: 'u64',
  generation: 'u64',
  entry_valid: 'u64',
  attr_valid: 'u64',
  entry_valid_nsec: 'u32',
  attr_valid_nsec: 'u32',
  ...ATTR,
});

/** `fuse_attr_out`, its attributes included. */
export const FUSE_ATTR_OUT = layout({ attr_valid: 'u64', attr_valid_nsec: 'u32', dummy: 'u32', ...ATTR });

export const FUSE_INIT_IN = layout({ major: 'u32', minor: 'u32', max_readahead: 'u32', flags: 'u32' });

export const FUSE_INIT_OUT = layout({
  major: 'u32',
  minor: 'u32',
  max_readahead: 'u32',
  flags: 'u32',
  max_background: 'u16',
  congestion_threshold: 'u16',
  max_write: 'u32',
  time_gran: 'u32',
  max_pages: 'u16',
  map_alignment: 'u16',
  flags2: 'u32',
  unused0: 'u32',
  unused1: 'u32',
  unused2: 'u32',
  unused3: 'u32',
  unused4: 'u32',
  unused5: 'u32',
  unused6: 'u32',
});

export const FUSE_FORGET_IN = layout({ nlookup: 'u64' });
export const FUSE_BATCH_FORGET_IN = layout({ count: 'u32', dummy: 'u32' });
export const FUSE_FORGET_ONE = layout({ nodeid: 'u64', nlookup: 'u64' });
export const FUSE_GETATTR_IN = layout({ getattr_flags: 'u32', dummy: 'u32', fh: 'u64' });

export const FUSE_SETATTR_IN = layout({
  valid: 'u32',
  padding: 'u32',
  fh: 'u64',
  size: 'u64',
  lock_owner: 'u64',
  atime: 'u64',
  mtime: 'u64',
  ctime: 'u64',
  atimensec: 'u32',
  mtimensec: 'u32',
  ctimensec: 'u32',
  mode: 'u32',
  unused4: 'u32',
  uid: 'u32',
  gid: 'u32',
  unused5: 'u32',
});

export const FUSE_MKNOD_IN = layout({ mode: 'u32', rdev: 'u32', umask: 'u32', padding: 'u32' });
export const FUSE_MKDIR_IN = layout({ mode: 'u32', umask: 'u32' });
export const FUSE_RENAME_IN = layout({ newdir: 'u64' });
export const FUSE_RENAME2_IN = layout({ newdir: 'u64', flags: 'u32', padding: 'u32' });
export const FUSE_LINK_IN = layout({ oldnodeid: 'u64' });
export const FUSE_OPEN_IN = layout({ flags: 'u32', open_flags: 'u32' });
export const FUSE_CREATE_IN = layout({ flags: 'u32', mode: 'u32', umask: 'u32', open_flags: 'u32' });
export const FUSE_OPEN_OUT = layout({ fh: 'u64', open_flags: 'u32', padding: 'u32' });
export const FUSE_RELEASE_IN = layout({ fh: 'u64', flags: 'u32', release_flags: 'u32', lock_owner: 'u64' });
export const FUSE_FLUSH_IN = layout({ fh: 'u64', unused: 'u32', padding: 'u32', lock_owner: 'u64' });

/** READ, READDIR and READDIRPLUS. */
export const FUSE_READ_IN = layout({
  fh: 'u64',
  offset: 'u64',
  size: 'u32',
  read_flags: 'u32',
  lock_owner: 'u64',
  flags: 'u32',
  padding: 'u32',
});

export const FUSE_WRITE_IN = layout({
  fh: 'u64',
  offset: 'u64',
  size: 'u32',
  write_flags: 'u32',
  lock_owner: 'u64',
  flags: 'u32',
  padding: 'u32',
});

export const FUSE_WRITE_OUT = layout({ size: 'u32', padding: 'u32' });
export const FUSE_FSYNC_IN = layout({ fh: 'u64', fsync_flags: 'u32', padding: 'u32' });
export const FUSE_ACCESS_IN = layout({ mask: 'u32', padding: 'u32' });
export const FUSE_INTERRUPT_IN = layout({ unique: 'u64' });
export const FUSE_FALLOCATE_IN = layout({ fh: 'u64', offset: 'u64', length: 'u64', mode: 'u32', padding: 'u32' });
export const FUSE_LSEEK_IN = layout({ fh: 'u64', offset: 'u64', whence: 'u32', padding: 'u32' });
export const FUSE_LSEEK_OUT = layout({ offset: 'u64' });

export const FUSE_STATFS_OUT = layout({
  blocks: 'u64',
  bfree: 'u64',
  bavail: 'u64',
  files: 'u64',
  ffree: 'u64',
  bsize: 'u32',
  namelen: 'u32',
  frsize: 'u32',
  padding: 'u32',
  spare0: 'u32',
  spare1: 'u32',
  spare2: 'u32',
  spare3: 'u32',
  spare4: 'u32',
  spare5: 'u32',
});

/** `fuse_dirent` without its name, which follows, padded with zeros to a multiple of 8 bytes. */
export const FUSE_DIRENT = layout({ ino: 'u64', off: 'u64', namelen: 'u32', type: 'u32' });

/** Bytes of a directory entry with its name and padding. */
export const fuseDirentSize = (nameLength: number): number => Math.ceil((FUSE_DIRENT.size + nameLength) / 8) * 8;

const SLASH = 0x2f;
const DOT = 0x2e;

/** Whether a name is one component that stays in its directory: not empty, without `/` or NUL, not `.` or `..`. */
export const isComponent = (name: Uint8Array): boolean =>
  name.length > 0 &&
  !name.includes(SLASH) &&
  !name.includes(0) &&
  (name.length > 2 || !name.every((byte) => byte === DOT));
