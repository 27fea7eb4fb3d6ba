import { describe, expect, it } from 'vitest';
import {
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
  NBD_REQUEST_SIZE,
  type NbdExport,
  type NbdRequest,
  parseRequest,
  plainReply,
  readHeaderSize,
  requestError,
  writeReadHeader,
} from './index.js';

const disk: NbdExport = {
  name: '',
  description: '',
  size: 1 << 20,
  readOnly: false,
  canTrim: true,
  canWriteZeroes: true,
  minimumBlock: 512,
  preferredBlock: 4096,
  maximumPayload: 64 * 1024,
};

const COOKIE = 0xfedc_ba98_7654_3210n;
const request = (type: number, offset = 0, length = 512, flags = 0): NbdRequest => ({
  flags,
  type,
  cookie: COOKIE,
  offset,
  length,
});

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('requests', () => {
  it('are read as the protocol lays them out', () => {
    const view = new DataView(new ArrayBuffer(NBD_REQUEST_SIZE + 3));
    view.setUint32(3, NBD_REQUEST_MAGIC);
    view.setUint16(7, 0x0102);
    view.setUint16(9, 6);
    view.setBigUint64(11, COOKIE);
    view.setBigUint64(19, 0x1_2345_6789n);
    view.setUint32(27, 0xffff_fe00);
    expect(parseRequest(view, 3)).toEqual({
      flags: 0x0102,
      type: 6,
      cookie: COOKIE,
      offset: 0x1_2345_6789,
      length: 0xffff_fe00,
    });
    view.setUint32(3, NBD_REQUEST_MAGIC + 1);
    expect(parseRequest(view, 3)).toBeUndefined();
  });

  it.each([
    ['a read', request(NBD_CMD_READ, 512, 1024), 0],
    ['a read to the last byte', request(NBD_CMD_READ, (1 << 20) - 512), 0],
    ['FUA on anything', request(NBD_CMD_READ, 0, 512, 1), 0],
    ['NO_HOLE on WRITE_ZEROES', request(NBD_CMD_WRITE_ZEROES, 0, 1 << 20, 2), 0],
    ['NO_HOLE on anything else', request(NBD_CMD_WRITE, 0, 512, 2), NBD_EINVAL],
    ['DF without structured replies', request(NBD_CMD_READ, 0, 512, 4), NBD_EINVAL],
    ['an unknown flag', request(NBD_CMD_READ, 0, 512, 0x8000), NBD_EINVAL],
    ['an unknown type', request(0xffff), NBD_EINVAL],
    ['nothing to read', request(NBD_CMD_READ, 0, 0), NBD_EINVAL],
    ['an offset that is not aligned', request(NBD_CMD_READ, 1), NBD_EINVAL],
    ['a length that is not aligned', request(NBD_CMD_WRITE, 0, 100), NBD_EINVAL],
    ['a read across the end', request(NBD_CMD_READ, (1 << 20) - 512, 1024), NBD_EINVAL],
    ['a trim beyond the end', request(NBD_CMD_TRIM, 1 << 20), NBD_EINVAL],
    ['a write beyond the end', request(NBD_CMD_WRITE, 1 << 20), NBD_ENOSPC],
    ['zeroes at 2^64', request(NBD_CMD_WRITE_ZEROES, 2 ** 64, 512), NBD_ENOSPC],
    ['a payload above the maximum', request(NBD_CMD_READ, 0, 65 * 1024), NBD_EINVAL],
    ['a flush', request(NBD_CMD_FLUSH, 0, 0), 0],
    ['a flush of a range', request(NBD_CMD_FLUSH, 0, 512), NBD_EINVAL],
  ] as const)('%s: error %#', (_, checked, error) => {
    expect(requestError(checked, disk, false)).toBe(error);
  });

  it('of what the export cannot do are refused', () => {
    const bare = { ...disk, canTrim: false, canWriteZeroes: false };
    expect(requestError(request(NBD_CMD_TRIM), bare, true)).toBe(NBD_EINVAL);
    expect(requestError(request(NBD_CMD_WRITE_ZEROES), bare, true)).toBe(NBD_EINVAL);
    for (const type of [NBD_CMD_WRITE, NBD_CMD_TRIM, NBD_CMD_WRITE_ZEROES]) {
      expect(requestError(request(type), { ...disk, readOnly: true }, true)).toBe(NBD_EPERM);
    }
    expect(requestError(request(NBD_CMD_READ, 0, 65 * 1024), disk, true)).toBe(NBD_EOVERFLOW);
    expect(requestError(request(NBD_CMD_READ, 0, 512, 4), disk, true)).toBe(0);
  });
});

describe('replies', () => {
  it('to a read: a simple reply, or one data chunk that is the last, before the data', () => {
    for (const [structured, expected] of [
      [false, '67446698' + '00000000' + 'fedcba9876543210'],
      [true, '668e33ef' + '0001' + '0001' + 'fedcba9876543210' + '00000408' + '0000000000000200'],
    ] as const) {
      const bytes = new Uint8Array(2 + readHeaderSize(structured));
      writeReadHeader(new DataView(bytes.buffer), 2, request(NBD_CMD_READ, 512, 1024), structured);
      expect(hex(bytes)).toBe(`0000${expected}`);
    }
  });

  it('without data are simple; an error is a chunk once structured replies are negotiated', () => {
    expect(hex(plainReply(request(NBD_CMD_WRITE), 0, true))).toBe('6744669800000000fedcba9876543210');
    expect(hex(plainReply(request(NBD_CMD_READ), 5, false))).toBe('6744669800000005fedcba9876543210');
    expect(hex(plainReply(request(NBD_CMD_READ), 5, true))).toBe(
      '668e33ef' + '0001' + '8001' + 'fedcba9876543210' + '00000006' + '00000005' + '0000',
    );
  });
});
