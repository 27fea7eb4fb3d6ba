import type { Socket } from 'node:net';
import { assert } from '@remio/base';
import { type Landing, landSocket } from '@remio/host-io';
import {
  Handshake,
  NBD_CMD_DISC,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_OPTION_MAX,
  NBD_PAYLOAD_TOLERATED,
  NBD_REQUEST_SIZE,
  type NbdExport,
  type NbdRequest,
  parseRequest,
  plainReply,
  readHeaderSize,
  requestError,
  writeReadHeader,
} from '@remio/nbd';
import type { PoolPiece } from '@remio/virtio-driver';
import type { NbdDisk } from './disk.js';
import type { Share } from './fair-pool.js';
import { Inbox, type Payload, type Segment } from './inbox.js';

/** Room for the largest option; after the handshake, for what arrives while there is no shared memory to read into. */
const ASIDE_SIZE = NBD_OPTION_MAX + 64;
/** Room before the data of a read for the header of its reply, so that both leave in one piece. */
const HEADER_ROOM = 64;
/** Requests that a connection may have open: those that the disk has, and those whose replies are not sent. */
const OPEN_MAX = 512;
/** Milliseconds after which a client is dropped that keeps the server waiting in the middle of something. */
const STALL_MS = 30_000;

/** What a connection has of its server. */
export interface ConnectionHost {
  readonly disk: NbdDisk;
  /** The shared memory, by offset. */
  readonly view: DataView;
  /** Makes this connection's shares of the memory for what arrives, and for what is read. */
  share(freed: () => void): { readonly chunks: Share; readonly data: Share };
  /** There may be something to send, to hand to the disk, or to go on with. */
  wake(connection: NbdConnection): void;
  closed(connection: NbdConnection): void;
}

/** A reply that is ready: bytes to send, and the memory that they lie in. */
interface Reply {
  readonly bytes: Uint8Array;
  readonly piece: PoolPiece | undefined;
}

/**
 * One client: handshake, then requests, each answered when the disk has carried it out. Headers and payloads lie in
 * memory that the backend can write to as well; what decides something is read once. A backend that scribbles there
 * ruins the conversations about its own disk, and no more.
 */
export class NbdConnection implements Landing {
  readonly #host: ConnectionHost;
  readonly #export: NbdExport;
  readonly #handshake: Handshake;
  readonly #data: Share;
  readonly #chunks: Share;
  readonly #inbox: Inbox;
  readonly #socket: Socket;
  /** Memory of the process: the handshake's, and what arrived aside of the shared memory. */
  readonly #aside = new Uint8Array(ASIDE_SIZE);
  #asideStart = 0;
  #asideEnd = 0;
  /** Where the next bytes will land: in the inbox, or at a position aside. */
  #promised: 'inbox' | number = 0;
  #phase: 'handshake' | 'transmission' | 'ending' | 'closed' = 'handshake';
  /** Reading is stopped until memory comes back, or requests end. */
  #stopped = false;
  /** A write whose payload is arriving. */
  #write: { readonly request: NbdRequest; readonly payload: Payload } | undefined;
  #open = 0;
  /** Replies that the socket has not taken yet. */
  #sending = 0;
  #replies: Reply[] = [];

  constructor(host: ConnectionHost, exported: NbdExport, accepted: Socket) {
    this.#host = host;
    this.#export = exported;
    this.#handshake = new Handshake(exported);
    const { chunks, data } = host.share(() => host.wake(this));
    this.#chunks = chunks;
    this.#data = data;
    this.#inbox = new Inbox(host.disk.driver.allocator.memory, chunks, data);
    this.#socket = landSocket(accepted, this);
    // What goes wrong with a connection ends it: `close` follows.
    this.#socket.on('error', () => {});
    this.#socket.on('end', () => this.#finish());
    this.#socket.on('close', () => this.#close());
    this.#socket.setTimeout(STALL_MS, () => this.#stalled());
    this.#socket.write(this.#handshake.greeting());
  }

  /** Ends the connection at once. */
  drop(): void {
    this.#socket.destroy();
  }

  // --- what arrives

  room(): Uint8Array {
    if (this.#phase === 'transmission' && !this.#stopped) {
      this.#promised = 'inbox';
      return this.#inbox.room();
    }
    this.#aside.copyWithin(0, this.#asideStart, this.#asideEnd);
    this.#asideEnd -= this.#asideStart;
    this.#asideStart = 0;
    this.#promised = this.#asideEnd;
    return this.#aside.subarray(this.#asideEnd);
  }

  landed(bytes: number): boolean {
    const at = this.#promised;
    if (at === 'inbox') this.#inbox.landed(bytes);
    else {
      // What lay there when the room was promised may be gone.
      if (this.#asideStart === this.#asideEnd) this.#asideStart = at;
      else assert(this.#asideEnd === at, 'reading goes on when nothing is left aside');
      this.#asideEnd = at + bytes;
    }
    this.#stopped = !this.#advance();
    return !this.#stopped;
  }

  /** Goes on after memory came back, or requests ended; sends what is ready. */
  turn(): void {
    if (this.#stopped && this.#advance()) {
      this.#stopped = false;
      this.#socket.resume();
    }
    if (this.#replies.length > 0) this.#send();
  }

  /** Deals with what is there; returns whether reading may go on. */
  #advance(): boolean {
    if (this.#phase === 'handshake') this.#haggle();
    return this.#phase === 'handshake' || (this.#phase === 'transmission' && this.#transmit());
  }

  #haggle(): void {
    while (this.#phase === 'handshake') {
      const step = this.#handshake.step(this.#aside.subarray(this.#asideStart, this.#asideEnd));
      this.#asideStart += step.consumed;
      for (const reply of step.replies) this.#socket.write(reply);
      if (step.next === 'transmission') this.#phase = 'transmission';
      else if (step.next === 'close') this.#finish();
      else if (step.consumed === 0) return;
    }
  }

  #transmit(): boolean {
    for (;;) {
      if (!this.#inbox.prepare()) return false;
      this.#absorb();
      if (!this.#parse()) return false;
      // Every round takes something of what lies aside: there was room for it.
      if (this.#asideStart === this.#asideEnd) return this.#inbox.prepare();
    }
  }

  /** Moves what arrived aside to where it belongs. */
  #absorb(): void {
    while (this.#asideStart < this.#asideEnd) {
      const room = this.#inbox.room();
      const bytes = Math.min(room.length, this.#asideEnd - this.#asideStart);
      if (bytes === 0) return;
      room.set(this.#aside.subarray(this.#asideStart, this.#asideStart + bytes));
      this.#asideStart += bytes;
      this.#inbox.landed(bytes);
    }
  }

  /** Begins every request that is there; false if no more can be begun now, or ever. */
  #parse(): boolean {
    for (;;) {
      if (this.#write !== undefined) {
        const { request, payload } = this.#write;
        if (payload.missing > 0) return true;
        this.#write = undefined;
        this.#carryOut(request, payload.segments, (error) => {
          payload.release();
          this.#reply(plainReply(request, error, this.#handshake.structured));
        });
      }
      if (this.#open >= OPEN_MAX) return false;
      const at = this.#inbox.peek(NBD_REQUEST_SIZE);
      if (at === undefined) return true;
      const request = parseRequest(this.#host.view, at);
      if (request === undefined) this.drop();
      if (request === undefined || !this.#begin(request)) return false;
    }
  }

  /** Begins one request; false if it cannot be begun now, or ends the connection. */
  #begin(request: NbdRequest): boolean {
    const { type, length } = request;
    const error = requestError(request, this.#export, this.#handshake.structured);
    if (error !== 0) return this.#refuse(request, error);
    switch (type) {
      case NBD_CMD_DISC:
        this.#finish();
        return false;
      case NBD_CMD_WRITE: {
        const payload = this.#inbox.payload(NBD_REQUEST_SIZE, length, this.#host.disk.onePiece);
        if (payload === undefined) return false;
        this.#write = { request, payload };
        break;
      }
      case NBD_CMD_READ: {
        const piece = this.#data.allocate(HEADER_ROOM + length);
        if (piece === undefined) return false;
        this.#inbox.skip(NBD_REQUEST_SIZE);
        const data = { offset: piece.offset + HEADER_ROOM, length };
        this.#carryOut(request, [data], (failed) => this.#replyToRead(request, failed, piece));
        break;
      }
      default:
        this.#inbox.skip(NBD_REQUEST_SIZE);
        this.#carryOut(request, [], (failed) => this.#reply(plainReply(request, failed, this.#handshake.structured)));
    }
    this.#open += 1;
    return true;
  }

  /** Answers a request that is no good; what it brings is dropped as it arrives. */
  #refuse(request: NbdRequest, error: number): boolean {
    const brings = request.type === NBD_CMD_WRITE ? request.length : 0;
    if (brings > NBD_PAYLOAD_TOLERATED) {
      this.drop();
      return false;
    }
    this.#inbox.discard(NBD_REQUEST_SIZE, brings);
    this.#open += 1;
    this.#reply(plainReply(request, error, this.#handshake.structured));
    return true;
  }

  #carryOut(request: NbdRequest, segments: readonly Segment[], ended: (error: number) => void): void {
    const { base } = this.#host.disk.driver.allocator.memory;
    const data = segments.map(({ offset, length }) => ({ address: base + BigInt(offset), length }));
    this.#host.disk.begin(request, data, ended);
    this.#host.wake(this);
  }

  // --- what leaves

  #replyToRead(request: NbdRequest, error: number, piece: PoolPiece): void {
    const { structured } = this.#handshake;
    if (error !== 0 || this.#phase === 'closed') {
      this.#data.release(piece);
      this.#reply(plainReply(request, error, structured));
      return;
    }
    const header = readHeaderSize(structured);
    const start = piece.offset + HEADER_ROOM - header;
    writeReadHeader(this.#host.view, start, request, structured);
    const { memory } = this.#host.disk.driver.allocator;
    this.#reply(memory.bytes(start, header + request.length), piece);
  }

  #reply(bytes: Uint8Array, piece?: PoolPiece): void {
    if (this.#phase === 'closed') return;
    this.#replies.push({ bytes, piece });
    this.#host.wake(this);
  }

  /** Hands everything that is ready to the socket at once; its memory comes back when it was sent. */
  #send(): void {
    const batch = this.#replies;
    this.#replies = [];
    this.#sending += batch.length;
    this.#socket.cork();
    batch.forEach(({ bytes }, n) => {
      if (n + 1 < batch.length) this.#socket.write(bytes);
      else this.#socket.write(bytes, () => this.#sent(batch));
    });
    this.#socket.uncork();
  }

  #sent(batch: readonly Reply[]): void {
    this.#sending -= batch.length;
    this.#open -= batch.length;
    for (const { piece } of batch) if (piece !== undefined) this.#data.release(piece);
    if (this.#phase === 'ending') this.#endWhenDone();
    else if (this.#stopped) this.#host.wake(this);
  }

  // --- how it ends

  /** The client has said everything: what is open is answered, then the connection ends. */
  #finish(): void {
    if (this.#phase === 'ending' || this.#phase === 'closed') return;
    this.#phase = 'ending';
    this.#abandonWrite();
    this.#endWhenDone();
  }

  #endWhenDone(): void {
    if (this.#open === 0) this.#socket.destroySoon();
  }

  #abandonWrite(): void {
    if (this.#write === undefined) return;
    this.#write.payload.release();
    this.#write = undefined;
    this.#open -= 1;
  }

  #close(): void {
    this.#phase = 'closed';
    this.#abandonWrite();
    this.#inbox.close();
    for (const { piece } of this.#replies) if (piece !== undefined) this.#data.release(piece);
    this.#replies = [];
    this.#chunks.close();
    this.#data.close();
    this.#host.closed(this);
  }

  /** Nothing moved for a long time. A client that asks for nothing may do so as long as it likes. */
  #stalled(): void {
    const midway = this.#write !== undefined && !this.#stopped;
    if (this.#phase !== 'transmission' || midway || this.#sending > 0) this.drop();
  }
}
