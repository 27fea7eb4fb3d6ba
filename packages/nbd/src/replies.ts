import {
  NBD_DATA_CHUNK_SIZE,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_SIMPLE_REPLY_SIZE,
  NBD_STRUCTURED_REPLY_MAGIC,
} from './constants.js';
import type { NbdRequest } from './requests.js';

/** Bytes of a chunk's header. */
const CHUNK_HEADER = 20;
/** Bytes of an error chunk's payload without a message: error, message length. */
const ERROR_PAYLOAD = 6;

/** Bytes that go before the data of a read's reply. */
export const readHeaderSize = (structured: boolean): number =>
  structured ? NBD_DATA_CHUNK_SIZE : NBD_SIMPLE_REPLY_SIZE;

/**
 * Writes what goes before the data of a read that succeeded: a simple reply, or one chunk with everything.
 * @param at where its {@link readHeaderSize} bytes start
 */
export function writeReadHeader(view: DataView, at: number, request: NbdRequest, structured: boolean): void {
  if (!structured) {
    writeSimpleReply(view, at, 0, request.cookie);
    return;
  }
  const payload = NBD_DATA_CHUNK_SIZE - CHUNK_HEADER + request.length;
  writeChunkHeader(view, at, NBD_REPLY_TYPE_OFFSET_DATA, request.cookie, payload);
  view.setBigUint64(at + CHUNK_HEADER, BigInt(request.offset));
}

/** The reply to a request without data, or one that failed. */
export function plainReply(request: NbdRequest, error: number, structured: boolean): Uint8Array {
  // A read has a structured reply also when it fails; all else may have a simple one (Structured reply chunk message).
  if (!structured || error === 0) {
    const bytes = new Uint8Array(NBD_SIMPLE_REPLY_SIZE);
    writeSimpleReply(new DataView(bytes.buffer), 0, error, request.cookie);
    return bytes;
  }
  const bytes = new Uint8Array(CHUNK_HEADER + ERROR_PAYLOAD);
  const view = new DataView(bytes.buffer);
  writeChunkHeader(view, 0, NBD_REPLY_TYPE_ERROR, request.cookie, ERROR_PAYLOAD);
  view.setUint32(CHUNK_HEADER, error);
  return bytes;
}

function writeSimpleReply(view: DataView, at: number, error: number, cookie: bigint): void {
  view.setUint32(at, NBD_SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setBigUint64(at + 8, cookie);
}

function writeChunkHeader(view: DataView, at: number, type: number, cookie: bigint, payload: number): void {
  view.setUint32(at, NBD_STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, NBD_REPLY_FLAG_DONE);
  view.setUint16(at + 6, type);
  view.setBigUint64(at + 8, cookie);
  view.setUint32(at + 16, payload);
}
