import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Handshake,
  NBD_FLAG_CAN_MULTI_CONN,
  NBD_FLAG_HAS_FLAGS,
  NBD_FLAG_READ_ONLY,
  NBD_FLAG_SEND_DF,
  NBD_FLAG_SEND_FLUSH,
  NBD_FLAG_SEND_FUA,
  NBD_FLAG_SEND_TRIM,
  NBD_FLAG_SEND_WRITE_ZEROES,
  NBD_IHAVEOPT,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_OPTION_MAX,
  NBD_REP_ACK,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_SERVER,
  type NbdExport,
  transmissionFlags,
} from './index.js';

const disk: NbdExport = {
  name: 'disk0',
  description: 'a disk',
  size: 0x1_2345_6000,
  readOnly: false,
  canTrim: true,
  canWriteZeroes: true,
  minimumBlock: 512,
  preferredBlock: 4096,
  maximumPayload: 1 << 20,
};

const u32 = (...values: readonly number[]): number[] =>
  values.flatMap((value) => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff]);
const u16 = (value: number): number[] => [value >>> 8, value & 0xff];
const chars = (text: string): number[] => [...new TextEncoder().encode(text)];
const flags = (value = 3): number[] => u32(value);
const option = (type: number, data: readonly number[] = []): number[] => [
  ...u32(Number(NBD_IHAVEOPT >> 32n), Number(NBD_IHAVEOPT & 0xffff_ffffn), type, data.length),
  ...data,
];
const go = (name: string, type = NBD_OPT_GO, requests: readonly number[] = [3]): number[] =>
  option(type, [...u32(name.length), ...chars(name), ...u16(requests.length), ...requests.flatMap(u16)]);

/** Everything that a server says to these bytes, and how it ends. */
function talk(
  bytes: readonly number[],
  exported: NbdExport = disk,
): {
  readonly replies: readonly Uint8Array[];
  readonly next: string;
  readonly left: number;
  readonly structured: boolean;
} {
  const handshake = new Handshake(exported);
  let left = Uint8Array.from(bytes);
  const replies: Uint8Array[] = [];
  for (;;) {
    const step = handshake.step(left);
    replies.push(...step.replies);
    left = left.subarray(step.consumed);
    if (step.next !== 'more' || step.consumed === 0) {
      return { replies, next: step.next, left: left.length, structured: handshake.structured };
    }
  }
}

/** Option and type of a reply to an option, and its payload. */
function parsed(reply: Uint8Array | undefined): { option: number; type: number; payload: DataView } {
  const view = new DataView((reply ?? new Uint8Array(20)).slice().buffer);
  expect(view.getBigUint64(0)).toBe(0x3e889045565a9n);
  expect(view.getUint32(16)).toBe(view.byteLength - 20);
  return { option: view.getUint32(8), type: view.getUint32(12), payload: new DataView(view.buffer, 20) };
}

const types = (replies: readonly Uint8Array[]): number[] => replies.map((reply) => parsed(reply).type);

describe('the handshake', () => {
  it('greets with both magic numbers, FIXED_NEWSTYLE and NO_ZEROES', () => {
    expect([...new Handshake(disk).greeting()]).toEqual([...chars('NBDMAGIC'), ...chars('IHAVEOPT'), 0, 3]);
  });

  it('Client flags: drops who sets one that nobody defined', () => {
    expect(talk(flags(4))).toMatchObject({ next: 'close', replies: [] });
    expect(talk(flags(0))).toMatchObject({ next: 'more' });
  });

  it('NBD_OPT_GO: tells size, flags, name and block sizes, next enters transmission', () => {
    for (const name of ['disk0', '']) {
      const { replies, next } = talk([...flags(), ...go(name)]);
      expect(next).toBe('transmission');
      expect(types(replies)).toEqual([NBD_REP_INFO, NBD_REP_INFO, NBD_REP_INFO, NBD_REP_INFO, NBD_REP_ACK]);
      const exported = parsed(replies[0]).payload;
      expect([exported.getUint16(0), exported.getBigUint64(2), exported.getUint16(10)]).toEqual([
        0,
        BigInt(disk.size),
        transmissionFlags(disk, false),
      ]);
      const sizes = parsed(replies[3]).payload;
      expect([0, 2, 6, 10].map((at) => (at === 0 ? sizes.getUint16(0) : sizes.getUint32(at)))).toEqual([
        3,
        512,
        4096,
        1 << 20,
      ]);
    }
  });

  it('NBD_OPT_INFO: tells the same, and goes on haggling', () => {
    const { replies, next } = talk([...flags(), ...go('disk0', NBD_OPT_INFO), ...go('disk0')]);
    expect(next).toBe('transmission');
    expect(replies.slice(0, 4).map((reply) => [...reply.subarray(16)])).toEqual(
      replies.slice(5, 9).map((reply) => [...reply.subarray(16)]),
    );
  });

  it('an export that is not there: NBD_REP_ERR_UNKNOWN, or the end after NBD_OPT_EXPORT_NAME', () => {
    for (const name of ['disk', 'disk00', 'DISK0']) {
      expect(types(talk([...flags(), ...go(name)]).replies)).toEqual([NBD_REP_ERR_UNKNOWN]);
      expect(talk([...flags(), ...option(NBD_OPT_EXPORT_NAME, chars(name))])).toMatchObject({
        next: 'close',
        replies: [],
      });
    }
  });

  it('NBD_OPT_EXPORT_NAME: size and flags, with 124 zeros unless the client does without', () => {
    for (const [clientFlags, length] of [
      [1, 134],
      [3, 10],
    ] as const) {
      const { replies, next } = talk([...flags(clientFlags), ...option(NBD_OPT_EXPORT_NAME)]);
      expect(next).toBe('transmission');
      expect(replies.map((reply) => reply.length)).toEqual([length]);
      const view = new DataView((replies[0] ?? new Uint8Array(10)).slice().buffer);
      expect([view.getBigUint64(0), view.getUint16(8)]).toEqual([BigInt(disk.size), transmissionFlags(disk, false)]);
    }
  });

  it('NBD_OPT_LIST: name and description; NBD_OPT_ABORT: an acknowledgement, and the end', () => {
    const { replies, next } = talk([...flags(), ...option(NBD_OPT_LIST), ...option(NBD_OPT_ABORT, [1, 2])]);
    expect(types(replies)).toEqual([NBD_REP_SERVER, NBD_REP_ACK, NBD_REP_ACK]);
    expect([...(replies[0] ?? []).slice(20)]).toEqual([...u32(5), ...chars('disk0'), ...chars('a disk')]);
    expect(next).toBe('close');
  });

  it('NBD_OPT_STRUCTURED_REPLY: DF means something from then on', () => {
    const { structured, replies } = talk([...flags(), ...option(NBD_OPT_STRUCTURED_REPLY), ...go('')]);
    expect(structured).toBe(true);
    expect(parsed(replies[1]).payload.getUint16(10) & NBD_FLAG_SEND_DF).toBe(NBD_FLAG_SEND_DF);
  });

  it.each([
    ['data with NBD_OPT_LIST', option(NBD_OPT_LIST, [0]), NBD_REP_ERR_INVALID],
    ['data with NBD_OPT_STRUCTURED_REPLY', option(NBD_OPT_STRUCTURED_REPLY, [0]), NBD_REP_ERR_INVALID],
    ['a name longer than the option', option(NBD_OPT_GO, [...u32(100), 0, 0]), NBD_REP_ERR_INVALID],
    ['a name of 2^32-1 bytes', option(NBD_OPT_INFO, [...u32(0xffff_ffff), 0, 0]), NBD_REP_ERR_INVALID],
    ['fewer information requests than it says', option(NBD_OPT_GO, [...u32(0), 0, 2, 0, 3]), NBD_REP_ERR_INVALID],
    ['an option that is too short', option(NBD_OPT_GO, [0, 0, 0]), NBD_REP_ERR_INVALID],
    ['NBD_OPT_STARTTLS', option(5), NBD_REP_ERR_UNSUP],
    ['an option of the future', option(77, [1, 2, 3]), NBD_REP_ERR_UNSUP],
  ] as const)('%s: an error, and haggling goes on', (_, bytes, type) => {
    const { replies, next } = talk([...flags(), ...bytes, ...go('')]);
    expect(types(replies.slice(0, 1))).toEqual([type]);
    expect(next).toBe('transmission');
  });

  it('drops who sends no option, or one that is too long', () => {
    expect(talk([...flags(), ...new Array<number>(16).fill(0x55)])).toMatchObject({ next: 'close' });
    const long = option(NBD_OPT_LIST)
      .slice(0, 12)
      .concat(u32(NBD_OPTION_MAX + 1));
    expect(talk([...flags(), ...long])).toMatchObject({ next: 'close' });
  });

  it('takes its bytes however they come, and leaves what follows it', () => {
    const bytes = [...flags(), ...option(NBD_OPT_STRUCTURED_REPLY), ...go('disk0'), 1, 2, 3];
    expect(talk(bytes)).toMatchObject({ next: 'transmission', left: 3 });
    for (let cut = 0; cut < bytes.length - 3; cut += 1) {
      expect(talk(bytes.slice(0, cut)).next).toBe('more');
    }
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (noise, after) => {
        const start = after ? flags() : [];
        expect(['more', 'close', 'transmission']).toContain(talk([...start, ...noise]).next);
      }),
    );
  });
});

describe('transmission flags', () => {
  it('tell what the export can do', () => {
    const always = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN;
    expect(transmissionFlags(disk, false)).toBe(always | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES);
    expect(transmissionFlags({ ...disk, canTrim: false, canWriteZeroes: false }, false)).toBe(always);
    expect(transmissionFlags({ ...disk, readOnly: true }, false)).toBe(always | NBD_FLAG_READ_ONLY);
  });
});
