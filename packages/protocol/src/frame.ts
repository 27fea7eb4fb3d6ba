import { err, ok, type Result } from '@remio/base';
import { Packr } from 'msgpackr';
import { plainValue } from './plain-value.js';
import {
  type Field,
  MalformedFrame,
  readHypervisorRecords,
  readVmRecords,
  writeHypervisorRecord,
  writeVmRecord,
} from './record-codec.js';
import type { HypervisorRecord, VmRecord } from './records.js';

/** Version of everything that travels; both ends must have the same. */
export const PROTOCOL_VERSION = 1;

/** First element of every frame. */
export const MESSAGE = {
  HELLO: 1,
  WELCOME: 2,
  REFUSED: 3,
  RECORDS: 4,
  HEARTBEAT: 5,
  GOODBYE: 6,
  REPORT: 7,
  QUERY: 8,
  REPLY: 9,
} as const;

/** Why a HELLO was refused. */
export const REFUSALS = ['version', 'topology', 'unknown-vm', 'vm-taken', 'protocol'] as const;
export type Refusal = (typeof REFUSALS)[number];

/** Messages that both ends send, or that are not on the hot path. */
export type ControlMessage =
  /** The first message of a peer. `vms` are the names it claims; an observer claims none. */
  | { readonly kind: 'hello'; readonly version: number; readonly digest: string; readonly vms: readonly string[] }
  | { readonly kind: 'welcome'; readonly session: number; readonly heartbeatMs: number }
  | { readonly kind: 'refused'; readonly code: Refusal; readonly reason: string }
  | { readonly kind: 'heartbeat'; readonly session: number; readonly ack: number }
  | { readonly kind: 'goodbye'; readonly session: number; readonly reason: string }
  /** Something for whoever watches: from a VM's process to the hypervisor, and on to observers. */
  | { readonly kind: 'report'; readonly vm: string; readonly event: unknown }
  | { readonly kind: 'query'; readonly id: number; readonly what: string; readonly argument: unknown }
  | { readonly kind: 'reply'; readonly id: number; readonly value: unknown };

/** Records of one turn. */
export interface RecordFrame<Record> {
  readonly kind: 'records';
  /** The session that WELCOME gave: a frame of an earlier one is refused. */
  readonly session: number;
  /** Counts the frames of this direction from 1. */
  readonly seq: number;
  /** The last frame received. */
  readonly ack: number;
  /** When it was sent, nanoseconds on the host's monotonic clock; 0: not said. */
  readonly sentAt: number;
  readonly records: readonly Record[];
}

export type VmMessage = ControlMessage | RecordFrame<VmRecord>;
export type HypervisorMessage = ControlMessage | RecordFrame<HypervisorRecord>;

/** Bytes that a frame may have: more is not decoded. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024;

const packr = new Packr({ useRecords: false, int64AsType: 'bigint', moreTypes: false, structuredClone: false });

const encodeRecords = <R>(frame: RecordFrame<R>, write: (out: Field[], record: R) => void): Buffer => {
  const fields: Field[] = [MESSAGE.RECORDS, frame.session, frame.seq, frame.ack, frame.sentAt];
  for (const record of frame.records) write(fields, record);
  return packr.pack(fields);
};

function encodeControl(message: ControlMessage): Buffer {
  switch (message.kind) {
    case 'hello':
      return packr.pack([MESSAGE.HELLO, message.version, message.digest, message.vms]);
    case 'welcome':
      return packr.pack([MESSAGE.WELCOME, message.session, message.heartbeatMs]);
    case 'refused':
      return packr.pack([MESSAGE.REFUSED, message.code, message.reason]);
    case 'heartbeat':
      return packr.pack([MESSAGE.HEARTBEAT, message.session, message.ack]);
    case 'goodbye':
      return packr.pack([MESSAGE.GOODBYE, message.session, message.reason]);
    case 'report':
      return packr.pack([MESSAGE.REPORT, message.vm, message.event]);
    case 'query':
      return packr.pack([MESSAGE.QUERY, message.id, message.what, message.argument]);
    case 'reply':
      return packr.pack([MESSAGE.REPLY, message.id, message.value]);
  }
}

/** A frame as a VM's process (or an observer) sends it. */
export const encodeVmMessage = (message: VmMessage): Buffer =>
  message.kind === 'records' ? encodeRecords(message, writeVmRecord) : encodeControl(message);

/** A frame as the hypervisor sends it. */
export const encodeHypervisorMessage = (message: HypervisorMessage): Buffer =>
  message.kind === 'records' ? encodeRecords(message, writeHypervisorRecord) : encodeControl(message);

/** Reads what a VM's process sent. Whatever the bytes are, the answer is a message or what is wrong with them. */
export const decodeVmMessage = (bytes: Uint8Array): Result<VmMessage, string> => decode(bytes, readVmRecords);

/** Reads what the hypervisor sent. */
export const decodeHypervisorMessage = (bytes: Uint8Array): Result<HypervisorMessage, string> =>
  decode(bytes, readHypervisorRecords);

function decode<R>(
  bytes: Uint8Array,
  read: (fields: readonly unknown[], from: number) => readonly R[],
): Result<ControlMessage | RecordFrame<R>, string> {
  if (bytes.length > FRAME_BYTES_MAX) return err(`a frame of ${bytes.length} bytes`);
  let fields: unknown;
  try {
    fields = packr.unpack(bytes);
  } catch (error) {
    // Truncated, trailing or too deeply nested: msgpackr throws, and the next frame is read as if nothing was.
    return err(`no MessagePack: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    if (!Array.isArray(fields)) throw new MalformedFrame('a frame is an array');
    return ok(message(fields, read));
  } catch (error) {
    if (error instanceof MalformedFrame) return err(error.message);
    throw error;
  }
}

function message<R>(
  fields: readonly unknown[],
  read: (fields: readonly unknown[], from: number) => readonly R[],
): ControlMessage | RecordFrame<R> {
  const [type] = fields;
  switch (type) {
    case MESSAGE.RECORDS:
      return {
        kind: 'records',
        session: count(fields, 1),
        seq: count(fields, 2),
        ack: count(fields, 3),
        sentAt: count(fields, 4),
        records: read(fields, 5),
      };
    case MESSAGE.HELLO: {
      arity(fields, 4);
      const vms = fields[3];
      if (!Array.isArray(vms) || vms.length > 65_536) throw new MalformedFrame('the claims are no list of names');
      return {
        kind: 'hello',
        version: count(fields, 1),
        digest: text(fields, 2),
        vms: vms.map((_, n) => text(vms, n)),
      };
    }
    case MESSAGE.WELCOME:
      arity(fields, 3);
      return { kind: 'welcome', session: count(fields, 1), heartbeatMs: count(fields, 2) };
    case MESSAGE.REFUSED: {
      arity(fields, 3);
      const code = REFUSALS.find((refusal) => refusal === fields[1]);
      if (code === undefined) throw new MalformedFrame('an unknown refusal');
      return { kind: 'refused', code, reason: text(fields, 2) };
    }
    case MESSAGE.HEARTBEAT:
      arity(fields, 3);
      return { kind: 'heartbeat', session: count(fields, 1), ack: count(fields, 2) };
    case MESSAGE.GOODBYE:
      arity(fields, 3);
      return { kind: 'goodbye', session: count(fields, 1), reason: text(fields, 2) };
    case MESSAGE.REPORT:
      arity(fields, 3);
      return { kind: 'report', vm: text(fields, 1), event: plainValue(fields[2]) };
    case MESSAGE.QUERY:
      arity(fields, 4);
      return { kind: 'query', id: count(fields, 1), what: text(fields, 2), argument: plainValue(fields[3]) };
    case MESSAGE.REPLY:
      arity(fields, 3);
      return { kind: 'reply', id: count(fields, 1), value: plainValue(fields[2]) };
    default:
      throw new MalformedFrame('an unknown type of message');
  }
}

function arity(fields: readonly unknown[], expected: number): void {
  if (fields.length !== expected) throw new MalformedFrame(`${fields.length} elements instead of ${expected}`);
}

/** A counter or a time: an integer from 0 to 2^53-1, however it was encoded. */
function count(fields: readonly unknown[], at: number): number {
  const value = fields[at];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  if (typeof value === 'bigint' && value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new MalformedFrame(`element ${at} is no integer from 0 to 2^53-1`);
}

function text(fields: readonly unknown[], at: number): string {
  const value = fields[at];
  if (typeof value === 'string' && value.length <= 65_536) return value;
  throw new MalformedFrame(`element ${at} is no text`);
}
