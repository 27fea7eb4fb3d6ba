import {
  NBD_FLAG_C_FIXED_NEWSTYLE,
  NBD_FLAG_C_NO_ZEROES,
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_IHAVEOPT,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_DESCRIPTION,
  NBD_INFO_EXPORT,
  NBD_INFO_NAME,
  NBD_MAGIC,
  NBD_OPT_ABORT,
  NBD_OPT_EXPORT_NAME,
  NBD_OPT_GO,
  NBD_OPT_INFO,
  NBD_OPT_LIST,
  NBD_OPT_STRUCTURED_REPLY,
  NBD_REP_ACK,
  NBD_REP_ERR_INVALID,
  NBD_REP_ERR_UNKNOWN,
  NBD_REP_ERR_UNSUP,
  NBD_REP_INFO,
  NBD_REP_SERVER,
  NBD_REPLY_MAGIC,
} from './constants.js';
import { type NbdExport, transmissionFlags } from './export.js';

/** Bytes of a client's flags, and of an option's magic, number and length. */
const CLIENT_FLAGS_SIZE = 4;
const OPTION_HEADER_SIZE = 16;
/** Most bytes of an option's data: room for a name of the longest kind and every information request there could be. */
export const NBD_OPTION_MAX = 16 * 1024;
/** Zeros after the answer to NBD_OPT_EXPORT_NAME, unless the client does without. */
const EXPORT_NAME_ZEROES = 124;

/** What the handshake makes of the bytes that are there. */
export interface HandshakeStep {
  /** Bytes that are dealt with; 0: more are needed. */
  readonly consumed: number;
  /** What to send, in order. */
  readonly replies: readonly Uint8Array[];
  /** `transmission`: requests follow. `close`: end the connection once the replies are sent. */
  readonly next: 'more' | 'transmission' | 'close';
}

const MORE: HandshakeStep = { consumed: 0, replies: [], next: 'more' };
const DROP: HandshakeStep = { consumed: 0, replies: [], next: 'close' };

/** The server's part of the handshake (fixed newstyle), for a server of one export. Whoever breaks its rules is dropped. */
export class Handshake {
  readonly #disk: NbdExport;
  #flagsSeen = false;
  #noZeroes = false;
  #structured = false;

  constructor(disk: NbdExport) {
    this.#disk = disk;
  }

  /** Whether structured replies were negotiated. */
  get structured(): boolean {
    return this.#structured;
  }

  /** What a server says first. */
  greeting(): Uint8Array {
    const view = new DataView(new ArrayBuffer(18));
    view.setBigUint64(0, NBD_MAGIC);
    view.setBigUint64(8, NBD_IHAVEOPT);
    view.setUint16(16, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    return new Uint8Array(view.buffer);
  }

  /** Takes the next thing that the client said, if it is whole. To be called again until nothing is consumed. */
  step(bytes: Uint8Array): HandshakeStep {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (!this.#flagsSeen) return this.#clientFlags(view);
    if (bytes.length < OPTION_HEADER_SIZE) return MORE;
    const option = view.getUint32(8);
    const length = view.getUint32(12);
    if (view.getBigUint64(0) !== NBD_IHAVEOPT || length > NBD_OPTION_MAX) return DROP;
    if (bytes.length < OPTION_HEADER_SIZE + length) return MORE;
    const data = bytes.subarray(OPTION_HEADER_SIZE, OPTION_HEADER_SIZE + length);
    return { consumed: OPTION_HEADER_SIZE + length, ...this.#option(option, data) };
  }

  #clientFlags(view: DataView): HandshakeStep {
    if (view.byteLength < CLIENT_FLAGS_SIZE) return MORE;
    const flags = view.getUint32(0);
    // Client flags: the server must drop who sets one that it does not know.
    if ((flags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) !== 0) return DROP;
    this.#flagsSeen = true;
    this.#noZeroes = (flags & NBD_FLAG_C_NO_ZEROES) !== 0;
    return { consumed: CLIENT_FLAGS_SIZE, replies: [], next: 'more' };
  }

  #option(option: number, data: Uint8Array): Omit<HandshakeStep, 'consumed'> {
    const only = (type: number): Omit<HandshakeStep, 'consumed'> => ({ replies: [reply(option, type)], next: 'more' });
    switch (option) {
      case NBD_OPT_EXPORT_NAME:
        // There is no way to refuse but to end the connection.
        return this.#isOurs(data)
          ? { replies: [this.#exportNameReply()], next: 'transmission' }
          : { replies: [], next: 'close' };
      case NBD_OPT_ABORT:
        return { replies: [reply(option, NBD_REP_ACK)], next: 'close' };
      case NBD_OPT_LIST:
        if (data.length > 0) return only(NBD_REP_ERR_INVALID);
        return {
          replies: [reply(option, NBD_REP_SERVER, this.#serverPayload()), reply(option, NBD_REP_ACK)],
          next: 'more',
        };
      case NBD_OPT_STRUCTURED_REPLY:
        if (data.length > 0) return only(NBD_REP_ERR_INVALID);
        this.#structured = true;
        return only(NBD_REP_ACK);
      case NBD_OPT_INFO:
      case NBD_OPT_GO: {
        const name = requestedName(data);
        if (name === undefined) return only(NBD_REP_ERR_INVALID);
        if (!this.#isOurs(name)) return only(NBD_REP_ERR_UNKNOWN);
        const infos = this.#infos().map((info) => reply(option, NBD_REP_INFO, info));
        return {
          replies: [...infos, reply(option, NBD_REP_ACK)],
          next: option === NBD_OPT_GO ? 'transmission' : 'more',
        };
      }
      default:
        return only(NBD_REP_ERR_UNSUP);
    }
  }

  /** Whether a name is that of the export; the empty name is the default export's. */
  #isOurs(name: Uint8Array): boolean {
    if (name.length === 0) return true;
    const ours = utf8(this.#disk.name);
    return name.length === ours.length && ours.every((byte, n) => byte === name[n]);
  }

  #exportNameReply(): Uint8Array {
    const view = new DataView(new ArrayBuffer(10 + (this.#noZeroes ? 0 : EXPORT_NAME_ZEROES)));
    view.setBigUint64(0, BigInt(this.#disk.size));
    view.setUint16(8, transmissionFlags(this.#disk, this.#structured));
    return new Uint8Array(view.buffer);
  }

  #serverPayload(): Uint8Array {
    const name = utf8(this.#disk.name);
    const description = utf8(this.#disk.description);
    const payload = new Uint8Array(4 + name.length + description.length);
    new DataView(payload.buffer).setUint32(0, name.length);
    payload.set(name, 4);
    payload.set(description, 4 + name.length);
    return payload;
  }

  /** All that there is to know, asked for or not: the size constraints are not the defaults (Size constraints). */
  #infos(): readonly Uint8Array[] {
    const disk = this.#disk;
    const exported = new DataView(new ArrayBuffer(12));
    exported.setUint16(0, NBD_INFO_EXPORT);
    exported.setBigUint64(2, BigInt(disk.size));
    exported.setUint16(10, transmissionFlags(disk, this.#structured));
    const sizes = new DataView(new ArrayBuffer(14));
    sizes.setUint16(0, NBD_INFO_BLOCK_SIZE);
    sizes.setUint32(2, disk.minimumBlock);
    sizes.setUint32(6, disk.preferredBlock);
    sizes.setUint32(10, disk.maximumPayload);
    return [
      new Uint8Array(exported.buffer),
      text(NBD_INFO_NAME, disk.name),
      text(NBD_INFO_DESCRIPTION, disk.description),
      new Uint8Array(sizes.buffer),
    ];
  }
}

const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value);

/** An information payload that is a string. */
function text(type: number, value: string): Uint8Array {
  const bytes = utf8(value);
  const payload = new Uint8Array(2 + bytes.length);
  new DataView(payload.buffer).setUint16(0, type);
  payload.set(bytes, 2);
  return payload;
}

/** The name in the data of NBD_OPT_INFO or NBD_OPT_GO; undefined if its lengths do not fit. */
function requestedName(data: Uint8Array): Uint8Array | undefined {
  if (data.length < 6) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const length = view.getUint32(0);
  if (length > data.length - 6) return undefined;
  const requests = view.getUint16(4 + length);
  return data.length === 6 + length + 2 * requests ? data.subarray(4, 4 + length) : undefined;
}

function reply(option: number, type: number, payload: Uint8Array = new Uint8Array()): Uint8Array {
  const bytes = new Uint8Array(20 + payload.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, NBD_REPLY_MAGIC);
  view.setUint32(8, option);
  view.setUint32(12, type);
  view.setUint32(16, payload.length);
  bytes.set(payload, 20);
  return bytes;
}
