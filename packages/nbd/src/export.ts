import {
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
} from './constants.js';

/** A disk that a server offers. */
export interface NbdExport {
  readonly name: string;
  /** For people. */
  readonly description: string;
  /** Bytes; below 2^53. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  /** Size constraints: bytes, powers of two. Offsets and lengths are multiples of the first. */
  readonly minimumBlock: number;
  readonly preferredBlock: number;
  /** Most bytes of a read or write. */
  readonly maximumPayload: number;
}

/**
 * Transmission flags of an export. FLUSH, FUA and MULTI_CONN always: all connections share one disk.
 * @param structured whether structured replies were negotiated: DF has a meaning then only
 */
export const transmissionFlags = (disk: NbdExport, structured: boolean): number =>
  NBD_FLAG_HAS_FLAGS |
  NBD_FLAG_SEND_FLUSH |
  NBD_FLAG_SEND_FUA |
  NBD_FLAG_CAN_MULTI_CONN |
  (disk.readOnly ? NBD_FLAG_READ_ONLY : 0) |
  (disk.canTrim && !disk.readOnly ? NBD_FLAG_SEND_TRIM : 0) |
  (disk.canWriteZeroes && !disk.readOnly ? NBD_FLAG_SEND_WRITE_ZEROES : 0) |
  (structured ? NBD_FLAG_SEND_DF : 0);
