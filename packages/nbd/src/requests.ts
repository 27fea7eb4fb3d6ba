import {
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_ENOSPC,
  NBD_EOVERFLOW,
  NBD_EPERM,
  NBD_REQUEST_MAGIC,
} from './constants.js';
import type { NbdExport } from './export.js';

/** A request as it came (Request message). */
export interface NbdRequest {
  readonly flags: number;
  readonly type: number;
  /** Whatever the client chose; goes into the reply as it is. */
  readonly cookie: bigint;
  /** Bytes. What is beyond 2^53 is rounded, and beyond any export. */
  readonly offset: number;
  readonly length: number;
}

/**
 * Reads a request's 28 bytes.
 * @returns undefined if they do not start with the magic number: the stream is lost then
 */
export function parseRequest(view: DataView, at: number): NbdRequest | undefined {
  if (view.getUint32(at) !== NBD_REQUEST_MAGIC) return undefined;
  return {
    flags: view.getUint16(at + 4),
    type: view.getUint16(at + 6),
    cookie: view.getBigUint64(at + 8),
    offset: view.getUint32(at + 16) * 2 ** 32 + view.getUint32(at + 20),
    length: view.getUint32(at + 24),
  };
}

/** Command flags that each request type may have (Command flags); FUA is allowed everywhere. */
const FLAGS: Readonly<Record<number, number>> = {
  [NBD_CMD_READ]: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF,
  [NBD_CMD_WRITE]: NBD_CMD_FLAG_FUA,
  [NBD_CMD_DISC]: NBD_CMD_FLAG_FUA,
  [NBD_CMD_FLUSH]: NBD_CMD_FLAG_FUA,
  [NBD_CMD_TRIM]: NBD_CMD_FLAG_FUA,
  [NBD_CMD_WRITE_ZEROES]: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE,
};

const writes = (type: number): boolean =>
  type === NBD_CMD_WRITE || type === NBD_CMD_TRIM || type === NBD_CMD_WRITE_ZEROES;

/**
 * Checks a request against what was negotiated.
 * @param structured whether structured replies were negotiated
 * @returns the error that it is to be answered with; 0 if it may be carried out
 */
export function requestError(request: NbdRequest, disk: NbdExport, structured: boolean): number {
  const { type, offset, length } = request;
  const allowed = FLAGS[type];
  if (allowed === undefined || (request.flags & ~allowed) !== 0) return NBD_EINVAL;
  if ((request.flags & NBD_CMD_FLAG_DF) !== 0 && !structured) return NBD_EINVAL;
  if (type === NBD_CMD_DISC) return 0;
  if (type === NBD_CMD_FLUSH) return offset === 0 && length === 0 ? 0 : NBD_EINVAL;
  if (type === NBD_CMD_TRIM && !disk.canTrim) return NBD_EINVAL;
  if (type === NBD_CMD_WRITE_ZEROES && !disk.canWriteZeroes) return NBD_EINVAL;
  if (writes(type) && disk.readOnly) return NBD_EPERM;
  if (length === 0) return NBD_EINVAL;
  if (offset + length > disk.size) {
    return type === NBD_CMD_WRITE || type === NBD_CMD_WRITE_ZEROES ? NBD_ENOSPC : NBD_EINVAL;
  }
  // Exact: both are below 2^53 here.
  if (offset % disk.minimumBlock !== 0 || length % disk.minimumBlock !== 0) return NBD_EINVAL;
  if ((type === NBD_CMD_READ || type === NBD_CMD_WRITE) && length > disk.maximumPayload) {
    return structured ? NBD_EOVERFLOW : NBD_EINVAL;
  }
  return 0;
}
