import { assert, err, ok, type Result } from '@remio/base';
import { Packr } from 'msgpackr';
import { FRAME_BYTES_MAX, FrameReader, FrameWriter, MalformedFrame } from './frame-bytes.js';
import { plainValue } from './plain-value.js';
import { NONCE_BYTES, PROOF_BYTES } from './proof.js';
import {
  RECORD_BYTES_MAX,
  readHypervisorRecord,
  readVmRecord,
  writeHypervisorRecord,
  writeVmRecord,
} from './record-codec.js';
import type { HypervisorRecord, VmRecord } from './records.js';

/** Version of everything that travels; both ends must have the same. */
export const PROTOCOL_VERSION = 4;

/** First byte of a frame of records. MessagePack never uses it, and every other frame is a MessagePack array. */
export const RECORDS_MARK = 0xc1;

/** First element of every other frame. */
export const MESSAGE = {
  HELLO: 1,
  WELCOME: 2,
  REFUSED: 3,
  HEARTBEAT: 5,
  GOODBYE: 6,
  REPORT: 7,
  QUERY: 8,
  REPLY: 9,
  RESUME: 10,
  RESUMED: 11,
  CLAIM: 12,
  GRANTED: 13,
  CHALLENGE: 14,
  PROOF: 15,
} as const;

/** Why a HELLO or RESUME was refused, or a peer cut off. */
export const REFUSALS = [
  'version',
  'topology',
  'unknown-vm',
  'vm-taken',
  'none-free',
  'session',
  'protocol',
  'denied',
] as const;
export type Refusal = (typeof REFUSALS)[number];

/** What a process may claim one of, whichever is free. */
export const VM_KINDS = ['frontend', 'backend'] as const;
export type VmKind = (typeof VM_KINDS)[number];

/** Messages that both ends send, or that are not on the hot path. */
export type ControlMessage =
  /** The first message of a peer. `vms` are the names it claims; an observer claims none. */
  | { readonly kind: 'hello'; readonly version: number; readonly digest: string; readonly vms: readonly string[] }
  /** Instead of HELLO: claims any VM of a kind that is free. */
  | { readonly kind: 'claim'; readonly version: number; readonly digest: string; readonly of: VmKind }
  /** What a claim got; WELCOME follows. */
  | { readonly kind: 'granted'; readonly vms: readonly string[] }
  | {
      readonly kind: 'welcome';
      readonly session: number;
      /** Only the peer and the hypervisor know it: whoever resumes the session shows it. */
      readonly token: string;
      readonly heartbeatMs: number;
      /** How long the session outlives its connection. */
      readonly resumeMs: number;
      /** What each side may have sent that the other has not acknowledged. */
      readonly credit: Credit;
    }
  /** The first message of a peer on a new connection, after it lost one: it has every frame up to `received`. */
  | { readonly kind: 'resume'; readonly session: number; readonly token: string; readonly received: number }
  | { readonly kind: 'resumed'; readonly session: number; readonly received: number }
  /** Where keys are used, the answer to HELLO, CLAIM and RESUME: the peer is to prove its keys over this nonce. */
  | { readonly kind: 'challenge'; readonly nonce: Uint8Array }
  /** The answer to CHALLENGE: by name of a VM, or under the empty name as an observer. */
  | { readonly kind: 'proof'; readonly proofs: readonly Proof[] }
  | { readonly kind: 'refused'; readonly code: Refusal; readonly reason: string }
  | { readonly kind: 'heartbeat'; readonly session: number; readonly ack: number }
  | { readonly kind: 'goodbye'; readonly session: number; readonly reason: string }
  /** Something for whoever watches: from a VM's process to the hypervisor, and on to observers. */
  | { readonly kind: 'report'; readonly vm: string; readonly event: unknown }
  | { readonly kind: 'query'; readonly id: number; readonly what: string; readonly argument: unknown }
  | { readonly kind: 'reply'; readonly id: number; readonly value: unknown };

/** That a peer has the key which the topology binds to a name. */
export interface Proof {
  readonly name: string;
  readonly proof: Uint8Array;
}

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

/** What a side may have sent that the other has not acknowledged. */
export interface Credit {
  readonly frames: number;
  /** Bytes: no further frame is sent once this many are on their way. */
  readonly bytes: number;
}

export type VmMessage = ControlMessage | RecordFrame<VmRecord>;
export type HypervisorMessage = ControlMessage | RecordFrame<HypervisorRecord>;

/** Bytes that a control message may have: more is not decoded. */
export const CONTROL_BYTES_MAX = 16 * 1024 * 1024;

/** The largest credit that WELCOME may give. */
const CREDIT_FRAMES_MAX = 1 << 16;
const CREDIT_BYTES_MAX = 1 << 26;

/** Records that fit a frame, whatever they are. */
export const RECORDS_PER_FRAME_MAX = Math.floor(FRAME_BYTES_MAX / RECORD_BYTES_MAX) - 1;

const packr = new Packr({ useRecords: false, int64AsType: 'bigint', moreTypes: false, structuredClone: false });
const writer = new FrameWriter();
const reader = new FrameReader();

function writeRecords<R>(frame: RecordFrame<R>, write: (out: FrameWriter, record: R) => void): void {
  assert(frame.records.length <= RECORDS_PER_FRAME_MAX, 'the records fit a frame');
  writer.u8(RECORDS_MARK);
  writer.u32(frame.session);
  writer.count(frame.seq);
  writer.count(frame.ack);
  writer.count(frame.sentAt);
  for (const record of frame.records) write(writer, record);
}

function encodeControl(message: ControlMessage): Buffer {
  switch (message.kind) {
    case 'hello':
      return packr.pack([MESSAGE.HELLO, message.version, message.digest, message.vms]);
    case 'claim':
      return packr.pack([MESSAGE.CLAIM, message.version, message.digest, message.of]);
    case 'granted':
      return packr.pack([MESSAGE.GRANTED, message.vms]);
    case 'welcome':
      return packr.pack([
        MESSAGE.WELCOME,
        message.session,
        message.token,
        message.heartbeatMs,
        message.resumeMs,
        message.credit.frames,
        message.credit.bytes,
      ]);
    case 'resume':
      return packr.pack([MESSAGE.RESUME, message.session, message.token, message.received]);
    case 'resumed':
      return packr.pack([MESSAGE.RESUMED, message.session, message.received]);
    case 'challenge':
      return packr.pack([MESSAGE.CHALLENGE, message.nonce]);
    case 'proof':
      return packr.pack([MESSAGE.PROOF, message.proofs.map(({ name, proof }) => [name, proof])]);
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
export function encodeVmMessage(message: VmMessage): Buffer {
  if (message.kind !== 'records') return encodeControl(message);
  writeRecords(message, writeVmRecord);
  return writer.take();
}

/** A frame as the hypervisor sends it. */
export function encodeHypervisorMessage(message: HypervisorMessage): Buffer {
  if (message.kind !== 'records') return encodeControl(message);
  writeRecords(message, writeHypervisorRecord);
  return writer.take();
}

/**
 * Records of a VM's process, for a socket that copies them at once: up to {@link TRANSIENT_BYTES_MAX} bytes are valid
 * only until another frame is encoded or decoded.
 */
export function transientVmFrame(frame: RecordFrame<VmRecord>): Buffer {
  writeRecords(frame, writeVmRecord);
  return writer.transient();
}

/** Records of the hypervisor, as {@link transientVmFrame}. */
export function transientHypervisorFrame(frame: RecordFrame<HypervisorRecord>): Buffer {
  writeRecords(frame, writeHypervisorRecord);
  return writer.transient();
}

/** Whether a frame carries records: then it is read by {@link decodeVmFrame} or {@link decodeHypervisorFrame}. */
export const carriesRecords = (bytes: Uint8Array): boolean => bytes[0] === RECORDS_MARK;

/** Reads what a VM's process sent. Whatever the bytes are, the answer is a message or what is wrong with them. */
export const decodeVmMessage = (bytes: Uint8Array): Result<VmMessage, string> =>
  carriesRecords(bytes) ? decodeVmFrame(bytes) : decodeControl(bytes);

/** Reads what the hypervisor sent. */
export const decodeHypervisorMessage = (bytes: Uint8Array): Result<HypervisorMessage, string> =>
  carriesRecords(bytes) ? decodeHypervisorFrame(bytes) : decodeControl(bytes);

/** Reads a frame of records of a VM's process. */
export const decodeVmFrame = (bytes: Uint8Array): Result<RecordFrame<VmRecord>, string> =>
  orMalformed(() => decodeRecords(bytes, readVmRecord));

/** Reads a frame of records of the hypervisor. */
export const decodeHypervisorFrame = (bytes: Uint8Array): Result<RecordFrame<HypervisorRecord>, string> =>
  orMalformed(() => decodeRecords(bytes, readHypervisorRecord));

/** Reads a message that carries no records. */
export const decodeControl = (bytes: Uint8Array): Result<ControlMessage, string> => orMalformed(() => unpack(bytes));

function orMalformed<T>(decode: () => T): Result<T, string> {
  try {
    return ok(decode());
  } catch (error) {
    if (error instanceof MalformedFrame) return err(error.message);
    throw error;
  }
}

/** @throws MalformedFrame */
function decodeRecords<R>(bytes: Uint8Array, read: (from: FrameReader) => R): RecordFrame<R> {
  reader.open(bytes);
  reader.u8();
  const session = reader.u32();
  const seq = reader.count();
  const ack = reader.count();
  const sentAt = reader.count();
  if (reader.done) return { kind: 'records', session, seq, ack, sentAt, records: [] };
  // Most frames have one record: an array grows to 17 places when something is pushed.
  const records: R[] = [read(reader)];
  while (!reader.done) records.push(read(reader));
  return { kind: 'records', session, seq, ack, sentAt, records };
}

/** @throws MalformedFrame */
function unpack(bytes: Uint8Array): ControlMessage {
  if (bytes.length > CONTROL_BYTES_MAX) throw new MalformedFrame(`a message of ${bytes.length} bytes`);
  let fields: unknown;
  try {
    fields = packr.unpack(bytes);
  } catch (error) {
    // Truncated, trailing or too deeply nested: msgpackr throws, and the next message is read as if nothing was.
    throw new MalformedFrame(`no MessagePack: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!Array.isArray(fields)) throw new MalformedFrame('a message is an array');
  return control(fields);
}

function control(fields: readonly unknown[]): ControlMessage {
  const [type] = fields;
  switch (type) {
    case MESSAGE.HELLO:
      arity(fields, 4);
      return { kind: 'hello', version: count(fields, 1), digest: text(fields, 2), vms: names(fields, 3) };
    case MESSAGE.CLAIM: {
      arity(fields, 4);
      const of = VM_KINDS.find((kind) => kind === fields[3]);
      if (of === undefined) throw new MalformedFrame('a claim of an unknown kind');
      return { kind: 'claim', version: count(fields, 1), digest: text(fields, 2), of };
    }
    case MESSAGE.GRANTED:
      arity(fields, 2);
      return { kind: 'granted', vms: names(fields, 1) };
    case MESSAGE.WELCOME:
      arity(fields, 7);
      return {
        kind: 'welcome',
        session: count(fields, 1),
        token: text(fields, 2),
        heartbeatMs: count(fields, 3),
        resumeMs: count(fields, 4),
        credit: { frames: credit(fields, 5, CREDIT_FRAMES_MAX), bytes: credit(fields, 6, CREDIT_BYTES_MAX) },
      };
    case MESSAGE.RESUME:
      arity(fields, 4);
      return { kind: 'resume', session: count(fields, 1), token: text(fields, 2), received: count(fields, 3) };
    case MESSAGE.RESUMED:
      arity(fields, 3);
      return { kind: 'resumed', session: count(fields, 1), received: count(fields, 2) };
    case MESSAGE.CHALLENGE:
      arity(fields, 2);
      return { kind: 'challenge', nonce: bytesOf(fields, 1, NONCE_BYTES) };
    case MESSAGE.PROOF:
      arity(fields, 2);
      return { kind: 'proof', proofs: list(fields, 1).map(proofIn) };
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

/** What a side may have on its way: enough for anything to move, and not so much that memory runs out. */
function credit(fields: readonly unknown[], at: number, most: number): number {
  const value = count(fields, at);
  if (value < 1 || value > most) throw new MalformedFrame(`a credit of ${value}; there are 1 to ${most}`);
  return value;
}

function list(fields: readonly unknown[], at: number): readonly unknown[] {
  const elements = fields[at];
  if (!Array.isArray(elements) || elements.length > 65_536) throw new MalformedFrame(`element ${at} is no list`);
  return elements;
}

function names(fields: readonly unknown[], at: number): readonly string[] {
  return list(fields, at).map((_, n, all) => text(all, n));
}

function proofIn(pair: unknown): Proof {
  if (!Array.isArray(pair) || pair.length !== 2) throw new MalformedFrame('a proof has a name and bytes');
  return { name: text(pair, 0), proof: bytesOf(pair, 1, PROOF_BYTES) };
}

function bytesOf(fields: readonly unknown[], at: number, length: number): Uint8Array {
  const value = fields[at];
  if (value instanceof Uint8Array && value.length === length) return value;
  throw new MalformedFrame(`element ${at} is no ${length} bytes`);
}

function text(fields: readonly unknown[], at: number): string {
  const value = fields[at];
  if (typeof value === 'string' && value.length <= 65_536) return value;
  throw new MalformedFrame(`element ${at} is no text`);
}
